"""The pending requests of a session: which answer or error ends which of them."""

import math

import pytest

from inworld_sync.errors import ConnectionLost, DeadlineExceeded, InvalidRequestError
from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.requests import PendingReply, Request, Requests

LOST = ConnectionLost("lost")
UPDATED = rt.SessionUpdated(rt.SessionInfo())


def registered(*replies):
    """Pending requests, sent one second after the other with a timeout of 10 s."""
    requests = Requests()
    for number, reply in enumerate(replies):
        requests.register(reply, float(number), 10.0)
    return requests


def update(event_id="u1", *, kind=Request.UPDATE, is_watched=True, **change):
    return PendingReply.to_update(kind, change, event_id, is_watched=is_watched)


def about(kind, item_id="i1", *, is_watched=True):
    return PendingReply(kind, f"{kind.name}-{item_id}", "", item_id=item_id, is_watched=is_watched)


def refused(requests, is_opening=False, **fields):
    """The key of the request that an error refuses."""
    error = rt.ErrorInfo(type="invalid_request_error", message="no", **fields)
    entry = requests.match_error(error, is_opening=is_opening)
    return None if entry is None else entry.key


def test_answers():
    """An event ends the oldest command of its kind about its item."""
    first, second = about(Request.DELETE), about(Request.DELETE)
    requests = registered(first, second, about(Request.RETRIEVE))
    event = rt.ItemDeleted("i1")
    requests.match(Request.DELETE, "other", event)
    assert not first.is_over
    requests.match(Request.DELETE, "i1", event)

    assert (event, None) == (first.event, second.event)
    assert 2 == len(requests.table)


def test_updates_are_answered_in_order():
    """The service answers updates in their order."""
    requests = registered(update("u1", a=1), update("u2", a=2))

    found = [requests.match_update(UPDATED, is_cycle=False) for _ in range(3)]
    assert [{"a": 1}, {"a": 2}, None] == found


# (update, whether an event that reports a cycle of the memory answers it).
CYCLES = [
    (update(kind=Request.OPEN), True),
    (update(instructions="x"), False),
    (update(providerData={"memory": {"enabled": True}}), True),
    (update(providerData={"tts": {}}), False),
]


@pytest.mark.parametrize(("reply", "answers"), CYCLES)
def test_a_cycle_of_the_memory(reply, answers):
    """A cycle of the memory answers the first update and updates of the memory only."""
    requests = registered(reply)

    assert answers is (requests.match_update(UPDATED, is_cycle=True) is not None)


ALL = [
    update("u1"),
    about(Request.ITEM),
    about(Request.RETRIEVE),
    about(Request.TRUNCATE),
    about(Request.DELETE),
]

# (fields of an error, the request that it refuses): by its event id, its code or its parameter.
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
    """An error refuses the request that it names, or the only one of its kind."""
    assert key == refused(registered(*ALL), **fields)


def test_a_refusal_of_the_only_request():
    """An error that names nothing refuses the only request; never a response in progress."""
    requests = registered(about(Request.DELETE))
    for kind in (Request.ACTIVE, Request.RETRY, Request.RENEWAL):
        requests.table.add(kind, "r1", sent_at=0.0)
    assert "DELETE-i1" == refused(requests)
    assert refused(requests, code="input_audio_buffer_commit_empty") is None
    requests.register(about(Request.DELETE, "i2"), 1.0, 10.0)

    assert [None, None] == [refused(requests), refused(requests, code="item_delete_invalid")]
    assert refused(requests, event_id="r1") is None


def test_a_refusal_while_a_session_opens():
    """While a session opens, an error without an event id refuses its settings."""
    requests = registered(update("u1", kind=Request.OPEN), about(Request.ITEM))

    assert "u1" == refused(requests, is_opening=True, code="invalid_value")


def test_refused_reply():
    """The reply to a refused request has the service's error."""
    reply = about(Request.DELETE)
    requests = registered(reply)
    error = rt.ErrorInfo(type="invalid_request_error", message="no")
    entry = requests.match_error(error, is_opening=False)

    assert reply is requests.refuse(entry, error)
    assert (InvalidRequestError, "no") == (type(reply.error), str(reply.error))
    assert 0 == len(requests.table)


def test_expired():
    """A request that is not answered in time ends with an error that names it."""
    reply = about(Request.TRUNCATE)
    requests = registered(reply)
    assert 10.0 == requests.next_deadline()
    [entry] = requests.table.expire(10.0)

    assert requests.expire(entry) is reply.error
    assert isinstance(reply.error, DeadlineExceeded)
    assert "has not answered conversation.item.truncate in 10 s" in str(reply.error)
    assert math.inf == requests.next_deadline()


def test_items_before_a_response():
    """Items that were sent before a request that is answered are accepted; later ones are not."""
    replies = [about(Request.ITEM, f"i{number}") for number in range(3)]
    registered(*replies).accepted_before(1.5)

    assert [True, True, False] == [reply.is_over for reply in replies]


def test_a_lost_connection():
    """Items and unwatched updates are sent again, a deletion is done, all others are lost."""
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


def test_forgotten():
    """A request that its caller no longer waits for is not pending."""
    reply = about(Request.DELETE)
    requests = registered(reply)
    requests.forget(reply)
    requests.forget(reply)

    assert (0, False) == (len(requests.table), reply.is_over)
