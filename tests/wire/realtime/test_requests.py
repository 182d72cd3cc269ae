"""The pending requests of a session: each answer or error ends the right request."""

import math

import pytest

from inworld_sync.errors import ConnectionLost, DeadlineExceeded, InvalidRequestError
from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.requests import PendingReply, Request, Requests

LOST = ConnectionLost("lost")
UPDATED = rt.SessionUpdated(rt.SessionInfo())


def registered(*replies):
    """Register requests that were sent at intervals of 1 s. Each request has a timeout of 10 s."""
    requests = Requests()
    for number, reply in enumerate(replies):
        requests.register(reply, float(number), 10.0)
    return requests


def update(event_id="u1", *, kind=Request.UPDATE, is_watched=True, **change):
    return PendingReply.to_update(kind, change, event_id, is_watched=is_watched)


def about(kind, item_id="i1", *, is_watched=True):
    return PendingReply(kind, f"{kind.name}-{item_id}", "", item_id=item_id, is_watched=is_watched)


def refused(requests, is_opening=False, **fields):
    """Return the key of the request that an error refuses."""
    error = rt.ErrorInfo(type="invalid_request_error", message="no", **fields)
    entry = requests.match_error(error, is_opening=is_opening)
    return None if entry is None else entry.key


def test_answers():
    """An event about an item ends the oldest request of its kind about this item."""
    first, second = about(Request.DELETE), about(Request.DELETE)
    requests = registered(first, second, about(Request.RETRIEVE))
    event = rt.ItemDeleted("i1")
    requests.match(Request.DELETE, "other", event)
    assert not first.is_over
    requests.match(Request.DELETE, "i1", event)

    assert (event, None) == (first.event, second.event)
    assert 2 == len(requests.table)


def test_updates_are_answered_in_order():
    """The answers to updates end the updates in the order in which they were sent."""
    requests = registered(update("u1", a=1), update("u2", a=2))

    found = [requests.match_update(UPDATED, is_cycle=False) for _ in range(3)]
    assert [{"a": 1}, {"a": 2}, None] == found


# (update, whether a session.updated that reports a memory cycle answers this update)
CYCLES = [
    (update(kind=Request.OPEN), True),
    (update(instructions="x"), False),
    (update(providerData={"memory": {"enabled": True}}), True),
    (update(providerData={"tts": {}}), False),
]


@pytest.mark.parametrize(("reply", "answers"), CYCLES)
def test_a_cycle_of_the_memory(reply, answers):
    """The message of a memory cycle answers only the first update and updates of the memory."""
    requests = registered(reply)

    assert answers is (requests.match_update(UPDATED, is_cycle=True) is not None)


ALL = [
    update("u1"),
    about(Request.ITEM),
    about(Request.RETRIEVE),
    about(Request.TRUNCATE),
    about(Request.DELETE),
]

# (fields of an error, key of the request): found by event id, by code, or by parameter.
ERRORS = [
    ({"event_id": "u1"}, "u1"),
    ({"event_id": "ITEM-i1", "code": "cannot_update_voice"}, "ITEM-i1"),
    ({"event_id": "unknown"}, None),
    ({"param": "session.voice"}, "u1"),
    ({"code": "cannot_update_voice"}, "u1"),
    ({"param": "item.content"}, "ITEM-i1"),
    ({"param": "previous_item_id"}, "ITEM-i1"),
    ({"code": "item_create_duplicate_item_id"}, "ITEM-i1"),
    ({"code": "item_retrieve_invalid_item_id"}, "RETRIEVE-i1"),
    ({"code": "item_truncate_invalid_item_id"}, "TRUNCATE-i1"),
    ({"param": "audio_end_ms"}, "TRUNCATE-i1"),
    ({"code": "item_delete_invalid_item_id"}, "DELETE-i1"),
    ({"code": "conversation_already_has_active_response"}, None),
    ({"code": "invalid_value"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("fields", "key"), ERRORS)
def test_refusals(fields, key):
    """An error refuses the request that the error names, or the only request of a kind."""
    assert key == refused(registered(*ALL), **fields)


def test_a_refusal_of_the_only_request():
    """An error that names no request refuses the only request, but never an active response."""
    requests = registered(about(Request.DELETE))
    for kind in (Request.ACTIVE, Request.RETRY, Request.RENEWAL):
        requests.table.add(kind, "r1", sent_at=0.0)
    assert "DELETE-i1" == refused(requests)
    assert refused(requests, code="input_audio_buffer_commit_empty") is None
    requests.register(about(Request.DELETE, "i2"), 1.0, 10.0)

    assert [None, None] == [refused(requests), refused(requests, code="item_delete_invalid")]
    assert refused(requests, event_id="r1") is None


def test_a_refusal_while_a_session_opens():
    """While a session opens, an error without an event id refuses the first session.update."""
    requests = registered(update("u1", kind=Request.OPEN), about(Request.ITEM))

    assert "u1" == refused(requests, is_opening=True, code="invalid_value")


def test_refused_reply():
    """The PendingReply of a refused request has the error of the service."""
    reply = about(Request.DELETE)
    requests = registered(reply)
    error = rt.ErrorInfo(type="invalid_request_error", message="no")
    entry = requests.match_error(error, is_opening=False)

    assert reply is requests.refuse(entry, error)
    assert (InvalidRequestError, "no") == (type(reply.error), str(reply.error))
    assert 0 == len(requests.table)


def test_expired():
    """A request without an answer ends at its deadline with an error that names the request."""
    reply = about(Request.TRUNCATE)
    requests = registered(reply)
    assert 10.0 == requests.next_deadline()
    [entry] = requests.table.expire(10.0)

    assert requests.expire(entry) is reply.error
    assert isinstance(reply.error, DeadlineExceeded)
    assert "has not answered conversation.item.truncate in 10 s" in str(reply.error)
    assert math.inf == requests.next_deadline()


def test_items_before_a_response():
    """If a request is answered, all items that were sent before the request count as accepted."""
    replies = [about(Request.ITEM, f"i{number}") for number in range(3)]
    registered(*replies).accepted_before(1.5)

    assert [True, True, False] == [reply.is_over for reply in replies]


def test_a_lost_connection():
    """After a lost connection, items and unwatched updates stay pending; all other requests end."""
    watched_item = about(Request.ITEM)
    late_update = update("u2", is_watched=False)
    replies = [
        watched_item,
        about(Request.ITEM, "i2", is_watched=False),
        update("u1"),
        late_update,
        about(Request.RETRIEVE),
        about(Request.TRUNCATE),
        about(Request.DELETE, "i3"),
    ]
    requests = registered(*replies)
    for kind in (Request.RESPONSE, Request.ACTIVE, Request.RETRY, Request.RENEWAL):
        requests.table.add(kind, sent_at=0.0, deadline=5.0)

    assert ["i3"] == requests.lose_connection(LOST)
    assert [None, LOST, LOST, None, LOST, LOST, None] == [reply.error for reply in replies]
    assert rt.ItemDeleted("i3") == replies[-1].event
    assert math.inf == requests.next_deadline()

    requests.replay([rt.CreateItem(rt.Message.user("x", id=i)) for i in ("i1", "i2")], 20.0, 10.0)
    assert [late_update.text] == requests.send_again(21.0, 10.0)
    assert 30.0 == requests.next_deadline()
    assert 2 == len(requests.table.of_kind(Request.ITEM))
    requests.end_all(LOST)
    assert (LOST, 0) == (watched_item.error, len(requests.table))


def test_forget():
    """A request whose caller does not wait any more is removed from the pending requests."""
    reply = about(Request.DELETE)
    requests = registered(reply)
    requests.forget(reply)
    requests.forget(reply)

    assert (0, False) == (len(requests.table), reply.is_over)
