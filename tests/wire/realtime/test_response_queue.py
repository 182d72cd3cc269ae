"""Requests for responses: one after another, and again if the service was busy."""

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.response_queue import ResponseQueue

OUT_OF_BAND = rt.ResponseConfig(conversation="none")
LOST = rt.ErrorInfo(message="lost")


def created(response_id, request_id=None):
    metadata = {} if request_id is None else {"client_event_id": request_id}
    return rt.ResponseCreated(
        rt.ResponseInfo(id=response_id, status="in_progress", metadata=metadata)
    )


def done(response_id, status="completed"):
    return rt.ResponseDone(rt.ResponseInfo(id=response_id, status=status))


def handle(queue, *events, has_manual_turns=False):
    for event in events:
        queue.handle(event, has_manual_turns=has_manual_turns)


def sent(queue):
    """The ids of all requests that can be sent now."""
    ids = []
    while (command := queue.pop()) is not None:
        ids.append(command.event_id)
    return ids


def busy(request_id):
    return rt.ErrorReported(
        rt.ErrorInfo(code="conversation_already_has_active_response", event_id=request_id)
    )


def test_one_after_another():
    """The second request is sent when the first response has ended."""
    queue = ResponseQueue()
    queue.add("q1")
    queue.add("q2")

    assert ["q1"] == sent(queue)
    handle(queue, created("r1", "q1"))
    assert [] == sent(queue)
    handle(queue, done("r1"))
    assert ["q2"] == sent(queue)
    assert not queue.has_waiting


def test_out_of_band():
    """An out-of-band request is sent at once, and other requests do not wait for it."""
    queue = ResponseQueue()
    for request_id, config in (("q1", None), ("q2", OUT_OF_BAND), ("q3", OUT_OF_BAND)):
        queue.add(request_id, config)

    assert ["q1", "q2", "q3"] == sent(queue)
    handle(queue, created("r1", "q1"), created("r2", "q2"))
    assert (False, True) == (queue.is_out_of_band("r1"), queue.is_out_of_band("r2"))
    handle(queue, done("r1"))
    queue.add("q4")
    assert ["q4"] == sent(queue)


def test_sent_again():
    """A request that was refused because of a response in progress is sent three times at most."""
    queue = ResponseQueue()
    state = queue.add("q1")
    for number in range(2):
        assert ["q1"] == sent(queue)
        handle(queue, created(f"r{number}"), busy("q1"))
        assert [] == sent(queue)
        handle(queue, done(f"r{number}"))
    assert ["q1"] == sent(queue)
    handle(queue, created("r2"), busy("q1"))

    assert (False, "failed") == (queue.has_waiting, state.status)


def test_manual_turns():
    """If the service begins no response by itself, a response belongs to the only request."""
    queue = ResponseQueue()
    state = queue.add("q1")
    sent(queue)
    handle(queue, created("r1"), has_manual_turns=True)

    assert ("r1", "in_progress") == (state.id, state.status)


def test_needless_answer():
    """A request to answer tools is dropped if the service answers them by itself."""
    queue = ResponseQueue()
    queue.add("q1")
    sent(queue)
    state = queue.add("q2", answers={"o1"})
    item = rt.FunctionCallOutput(call_id="c1", output="", id="o1")
    handle(queue, created("r1", "q1"))
    assert [] == queue.pop_needless()
    handle(queue, rt.ItemAdded(item), created("r2"))

    assert [state] == queue.pop_needless()
    assert [] == queue.pop_needless()
    handle(queue, done("r1"), done("r2"))
    assert [] == sent(queue)


def test_interruption():
    """It cancels responses in progress and requests, except for out-of-band responses."""
    queue = ResponseQueue()
    states = [queue.add("q1"), queue.add("q2"), queue.add("q3", OUT_OF_BAND)]
    assert ["q1", "q3"] == sent(queue)
    handle(queue, created("r1", "q1"), created("r3", "q3"))
    ids, ended = queue.interrupt()

    assert (["r1"], states[:2]) == (ids, ended)
    assert ([], []) == queue.interrupt()
    assert ["in_progress", "cancelled", "in_progress"] == [state.status for state in states]


def test_a_lost_connection():
    """Responses that have begun fail; other requests are sent again, in their order."""
    queue = ResponseQueue()
    states = [queue.add("q1", OUT_OF_BAND), queue.add("q2"), queue.add("q3")]
    assert ["q1", "q2"] == sent(queue)
    handle(queue, created("r1", "q1"))

    assert (states[0],) == queue.lose_connection(LOST)
    assert ["q2"] == sent(queue)
    assert tuple(states[1:]) == queue.end_all(LOST)
    assert ["failed"] * 3 == [state.status for state in states]
