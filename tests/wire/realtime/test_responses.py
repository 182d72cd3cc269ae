"""The responses of a session: each response has one final state, for any order of messages."""

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.responses import Responses

from support.realtime_wire import read

LOST = rt.ErrorInfo(message="lost")


def created(response_id="r1", **fields):
    """Return the service's message about the start of a response."""
    response = {"id": response_id, "status": "in_progress", "output": [], **fields}
    return {"type": "response.created", "response": response}


def done(response_id="r1", status="completed", **fields):
    """Return the service's message about the end of a response."""
    return {"type": "response.done", "response": {"id": response_id, "status": status, **fields}}


def delta(text, kind="output_text", response_id="r1"):
    """Return a message with a piece of text."""
    return {
        "type": f"response.{kind}.delta",
        "response_id": response_id,
        "item_id": "a1",
        "delta": text,
    }


REFUSED = rt.ErrorInfo(code="invalid_value")


def handle(table, *messages):
    """Handle messages. Return the response that the last message has changed."""
    state = None
    for message in messages:
        state = table.handle(read(json.dumps(message)))
    return state


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete"])
def test_a_response_from_request_to_end(status):
    """The id in the metadata connects a response with its request, until the response ends."""
    table = Responses()
    state, command = table.request("q1", rt.ResponseConfig(metadata={"a": "b"}))
    seen = [state.status]
    for message in (created(metadata=command.response.metadata), done(status=status)):
        assert state is handle(table, message)
        seen.append(state.status)

    assert ["requested", "in_progress", status] == seen
    assert state.is_final
    assert "r1" == state.id
    assert ((), ()) == (table.active, table.requested)


def test_request():
    """The message of a request has the request's id in two places, and the given settings."""
    _, command = Responses().request("q1", rt.ResponseConfig(voice="x", metadata={"a": "b"}))
    config = rt.ResponseConfig(voice="x", metadata={"a": "b", "client_event_id": "q1"})

    assert rt.CreateResponse(config, event_id="q1") == command


def test_the_service_begins_by_itself():
    """A response without a request id does not belong to a request."""
    table = Responses()
    request, _ = table.request("q1")
    state = handle(table, created("r0"))

    assert (None, "r0", "in_progress") == (state.request_id, state.id, state.status)
    assert "requested" == request.status


def test_requests_are_distinguished():
    """Two requests get their responses by the ids in the metadata, in any order."""
    table = Responses()
    first, _ = table.request("q1")
    second, _ = table.request("q2")
    handle(table, created("r2", metadata={"client_event_id": "q2"}))
    handle(table, created("r1", metadata={"client_event_id": "q1"}))

    assert ("r1", "r2") == (first.id, second.id)


def test_done_without_created():
    """If ``response.created`` is missing, ``response.done`` still ends the request."""
    table = Responses()
    state, _ = table.request("q1")
    handle(table, done(metadata={"client_event_id": "q1"}))

    assert ("completed", "r1") == (state.status, state.id)


def test_refused_request():
    """A refused request fails with the error of the service."""
    table = Responses()
    state, _ = table.request("q1")

    assert state is table.withdraw("q1", "failed", REFUSED)
    assert ("failed", REFUSED) == (state.status, state.error)
    assert table.withdraw("q1") is None


def test_abandoned_request():
    """If the response of an abandoned request begins, the response is already being cancelled."""
    table = Responses()
    state, _ = table.request("q1")
    assert state is table.abandon("q1", "failed")
    late = handle(table, created(metadata={"client_event_id": "q1"}))
    handle(table, done())

    assert (True, "completed") == (late.is_cancelling, late.status)
    assert ("failed", None) == (state.status, state.id)


def test_abandoned_requests_are_bounded():
    """Only the latest abandoned requests are remembered."""
    table = Responses()
    for number in range(100):
        table.request(f"q{number}")
        table.abandon(f"q{number}", "failed")
    seen = [
        handle(table, created(f"r{number}", metadata={"client_event_id": f"q{number}"}))
        for number in (35, 36)
    ]

    assert [False, True] == [state.is_cancelling for state in seen]


ITEM = {"id": "a1", "type": "message", "role": "assistant"}
ITEM_ADDED = {"type": "response.output_item.added", "response_id": "r1", "item": ITEM}
ITEM_DONE = {"type": "response.output_item.done", "response_id": "r1", "item": ITEM}


# (messages after response.created, whether all items are done, status if response.done is lost)
ITEMS = [
    ([], False, "incomplete"),
    ([ITEM_ADDED], False, "incomplete"),
    ([ITEM_ADDED, ITEM_DONE], True, "completed"),
    ([ITEM_DONE], True, "completed"),
    ([ITEM_ADDED, ITEM_DONE, {**ITEM_ADDED, "item": {**ITEM, "id": "a2"}}], False, "incomplete"),
    ([ITEM_ADDED, ITEM_DONE, ITEM_ADDED], True, "completed"),
]


@pytest.mark.parametrize(("messages", "is_whole", "status"), ITEMS)
def test_whole_items(messages, is_whole, status):
    """If ``response.done`` is lost, a response whose items are all done counts as completed."""
    table = Responses()
    state = handle(table, created())
    handle(table, *messages)

    assert (is_whole, status) == (state.has_whole_items, state.last_status)
    table.cancel("r1")
    assert "cancelled" == state.last_status


# Statuses that are not final.
@pytest.mark.parametrize("status", [None, "", "in_progress", "novel"])
def test_end_without_a_status(status):
    """A response that ends without a final status has the status incomplete."""
    assert "incomplete" == handle(Responses(), created(), done(status=status)).status


def test_the_first_end_counts():
    """Messages after the end of a response do not change the response."""
    table = Responses()
    state = handle(table, created(), delta("a"), done(status="cancelled"))

    for message in (done(), created(), delta("b")):
        assert handle(table, message) is None
    assert ("cancelled", "a") == (state.status, state.text)


def test_last_description():
    """The response object of ``response.done``, with its usage, is kept."""
    state = handle(Responses(), created(), done(usage={"total_tokens": 3}))

    assert rt.Usage(total_tokens=3) == state.info.usage


# (messages, text): only text of the kind that arrives first is used.
TEXTS = [
    ([delta("a"), delta("b")], "ab"),
    ([delta("a", "output_audio_transcript"), delta("A"), delta("A")], "a"),
    ([delta("A"), delta("a", "output_audio_transcript"), delta("B")], "AB"),
    ([delta("x", response_id="other")], ""),
]


@pytest.mark.parametrize(("messages", "text"), TEXTS)
def test_text(messages, text):
    """The text of a response has the pieces of one kind, in order."""
    table = Responses()
    state = handle(table, created())
    handle(table, *messages)

    assert text == state.text


def test_cancelled_response_accepts_no_more_text():
    """Text that arrives after a cancel is not added to the response."""
    table = Responses()
    state = handle(table, created())
    handle(table, delta("a"))
    accepted = [table.accepts("r1"), table.cancel("r1"), table.accepts("r1"), table.cancel("r1")]
    handle(table, delta("b"))

    assert [True, True, False, False] == accepted
    assert ("a", False) == (state.text, state.is_final)


def test_cancelling_an_ended_response():
    """An ended or unknown response cannot be cancelled."""
    table = Responses()
    handle(table, created(), done())

    assert [False, False] == [table.cancel("r1"), table.cancel("r9")]


# (messages, whether audio of r1 is accepted after them)
ACCEPTED = [([], True), ([created()], True), ([created(), done()], False)]


@pytest.mark.parametrize(("messages", "accepted"), ACCEPTED)
def test_audio_after_the_end(messages, accepted):
    """Audio of an ended response is refused. Audio of an unknown response is accepted."""
    table = Responses()
    handle(table, *messages)

    assert accepted is table.accepts("r1")


def test_item_before_created():
    """If the first message of a response is about an item, the response is in progress."""
    item = {"id": "a1", "type": "message", "role": "assistant"}
    table = Responses()
    handle(table, {"type": "response.output_item.added", "response_id": "r1", "item": item})

    assert ["r1"] == [state.id for state in table.active]


def test_end_of_the_session():
    """When the session ends, each open response fails exactly once."""
    table = Responses()
    asked, _ = table.request("q1")
    given_ = handle(table, created("r2"))
    over = handle(table, created("r3"), done("r3"))

    assert {asked.request_id, "r2"} == {s.request_id or s.id for s in table.end_all(LOST)}
    assert ["failed", "failed", "completed"] == [asked.status, given_.status, over.status]
    assert () == table.end_all(LOST)


def test_memory_is_bounded():
    """Only the latest ended responses are kept."""
    table = Responses()
    for number in range(100):
        handle(table, created(f"r{number}"), done(f"r{number}"))

    assert [None, None, "completed"] == [
        table.get("r0"),
        table.get("r35"),
        table.get("r36") and table.get("r36").status,
    ]


MESSAGES = st.one_of(
    st.builds(created, st.sampled_from(["r1", "r2"])),
    st.builds(done, st.sampled_from(["r1", "r2"]), st.sampled_from(["completed", "failed", None])),
    st.builds(lambda r: delta("x", response_id=r), st.sampled_from(["r1", "r2"])),
    st.builds(
        lambda r: created(r, metadata={"client_event_id": "q1"}), st.sampled_from(["r1", "r2"])
    ),
)


@given(st.lists(MESSAGES, max_size=20))
def test_any_order_of_messages(messages):
    """After messages in any order, each response has one final state."""
    table = Responses()
    asked, _ = table.request("q1")
    seen = {id(asked): asked}
    finals = {}
    for message in messages:
        state = handle(table, message)
        if state is not None:
            seen[id(state)] = state
        for each in seen.values():
            if each.is_final:
                assert finals.setdefault(id(each), each.status) == each.status
    table.end_all(LOST)

    assert all(each.is_final for each in seen.values())
