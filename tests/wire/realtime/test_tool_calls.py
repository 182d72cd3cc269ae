"""Function calls are returned once and complete, even if fields of messages are missing."""

import json

import pytest

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.tool_calls import FunctionCalls, PendingCalls

from support.realtime_wire import read

OSLO = '{"city":"Oslo"}'


def item(kind, **fields):
    """Return a message about the item of a call. The item id is ``f1``. The call id is ``c1``."""
    call = {"id": "f1", "type": "function_call", "call_id": "c1", **fields}
    return {"type": f"response.output_item.{kind}", "response_id": "r1", "item": call}


def arguments(kind, **fields):
    """Return a message about the arguments of a call."""
    return {
        "type": f"response.function_call_arguments.{kind}",
        "response_id": "r1",
        "item_id": "f1",
        **fields,
    }


def response(status="completed", output=(), response_id="r1"):
    """Return the service's message about the end of a response."""
    return {
        "type": "response.done",
        "response": {"id": response_id, "status": status, "output": list(output)},
    }


def completed_by(calls, *messages):
    """Return how many calls each message completes, and the calls."""
    counts, found = [], []
    for message in messages:
        ready = calls.handle(read(json.dumps(message)))
        counts.append(len(ready))
        found.extend(ready)
    return counts, found


WEATHER = rt.FunctionCall(id="f1", call_id="c1", name="weather", arguments=OSLO, status="completed")

# name: (messages, index of the message that completes the call). Some services leave out the fields
# that are missing here.
SCRIPTS = {
    "reference": (
        [
            item("added", name="weather", arguments=""),
            arguments("delta", delta='{"city"'),
            arguments("delta", delta=':"Oslo"}'),
            arguments("done", call_id="c1", name="weather", arguments=OSLO),
            item("done", name="weather", arguments=OSLO, status="completed"),
            response(),
        ],
        4,
    ),
    "done without name and call id": (
        [
            item("added", name="weather"),
            arguments("done", arguments=OSLO),
            item("done", name="weather"),
        ],
        2,
    ),
    "arguments only in deltas": (
        [
            item("added", name="weather"),
            arguments("delta", delta='{"city":'),
            arguments("delta", delta='"Oslo"}'),
            arguments("done", arguments=""),
            item("done", arguments="", name=""),
        ],
        4,
    ),
    "name only with the arguments": (
        [item("added"), arguments("done", name="weather", arguments=OSLO), item("done")],
        2,
    ),
    "nothing before the item is done": (
        [item("done", name="weather", arguments=OSLO)],
        0,
    ),
    "no item is done": (
        [item("added", name="weather"), arguments("done", arguments=OSLO), response()],
        2,
    ),
    "call only in response.done": (
        [
            response(
                output=[
                    {
                        "id": "f1",
                        "type": "function_call",
                        "call_id": "c1",
                        "name": "weather",
                        "arguments": OSLO,
                    }
                ]
            )
        ],
        0,
    ),
}


@pytest.mark.parametrize(("messages", "completing"), SCRIPTS.values(), ids=SCRIPTS)
def test_scripts(messages, completing):
    """A call is returned once, after the message that completes the call."""
    counts, found = completed_by(FunctionCalls(), *messages)

    assert [WEATHER] == found
    assert [int(n == completing) for n in range(len(messages))] == counts


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_interrupted_response(status):
    """A call is not returned if its response was not completed."""
    _, found = completed_by(
        FunctionCalls(),
        item("added", name="weather"),
        arguments("done", arguments='{"city":"Os'),
        item("done", name="weather", arguments='{"city":"Os', status="incomplete"),
        response(status),
    )

    assert [] == found


def test_no_arguments():
    """A call without arguments is returned."""
    _, found = completed_by(
        FunctionCalls(), item("added", name="now"), arguments("done"), item("done", name="now")
    )

    assert [""] == [call.arguments for call in found]


def test_nameless_call():
    """A call without a name is returned at the end of the response, since it needs an output."""
    counts, found = completed_by(FunctionCalls(), item("added"), item("done"), response())

    assert [0, 0, 1] == counts
    assert ("c1", "") == (found[0].call_id, found[0].name)


def test_parallel_calls():
    """Two calls of one response are returned separately."""
    second = {"id": "f2", "call_id": "c2"}
    counts, found = completed_by(
        FunctionCalls(),
        item("added", name="a"),
        item("added", name="b", **second),
        arguments("done", arguments="{}", item_id="f2"),
        item("done", name="b", **second),
        item("done", name="a"),
        response(),
    )

    assert [0, 0, 0, 1, 1, 0] == counts
    assert ["c2", "c1"] == [call.call_id for call in found]


def test_another_response_ends():
    """The end of a response does not complete the calls of another response."""
    counts, _ = completed_by(
        FunctionCalls(), item("added", name="a"), response(response_id="r2"), response()
    )

    assert [0, 0, 1] == counts


# Calls whose outputs are not sent yet (PendingCalls).


def call(call_id):
    return rt.FunctionCall(id=f"item_{call_id}", call_id=call_id, name="f")


def test_a_response_follows_once_all_outputs_are_sent():
    """A response is due after the last output was sent and the calling response has ended."""
    pending = PendingCalls()
    for call_id in ("c1", "c2"):
        assert pending.add(call(call_id), "r1", is_ours=True)

    assert (True, True, False) == (bool(pending), "c1" in pending, "c3" in pending)
    assert pending.resolve("c1", "o1") is None
    assert pending.end_response("r1", completed=True) is None
    batch = pending.resolve("c2", "o2")
    assert batch is not None
    assert ({"o1", "o2"}, True) == (batch.outputs, batch.is_ours)
    assert (False, None) == (bool(pending), pending.batch_of("r1"))


def test_a_call_is_pending_once():
    """A call that is repeated is not added again, even after its output was sent."""
    pending = PendingCalls()

    assert pending.add(call("c1"), "r1", is_ours=False)
    assert not pending.add(call("c1"), "r1", is_ours=True)
    assert pending.resolve("c1", "o1") is None
    assert pending.resolve("c1", "o1") is None
    assert not pending.add(call("c1"), "r1", is_ours=True)


def test_nothing_follows_a_cancelled_response():
    """No response is due after the outputs of a response that was not completed."""
    pending = PendingCalls()
    pending.add(call("c1"), "r1", is_ours=True)
    pending.resolve("c1", "o1")

    assert pending.end_response("r1", completed=False) is None


def test_calls_over_a_lost_connection():
    """After a lost connection, calls still get outputs, and the ids of calls may be used again."""
    pending = PendingCalls()
    pending.add(call("c1"), "r1", is_ours=True)
    pending.add(call("c2"), "r2", is_ours=True)
    pending.resolve("c1", "o1")
    [first] = pending.lose_connection()

    assert {"o1"} == first.outputs
    assert pending.add(call("c1"), "r1", is_ours=True)
    second = pending.resolve("c2", "o2")
    assert second is not None
    assert {"o2"} == second.outputs
