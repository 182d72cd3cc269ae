"""Requests for responses are sent one by one. A request that is refused as busy is sent again."""

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


def handle(queue, *events, matches_by_order=False):
    for event in events:
        queue.handle(event, matches_by_order=matches_by_order)


def sent(queue):
    """Return the ids of all requests that can be sent now."""
    ids = []
    while (found := queue.pop()) is not None:
        ids.append(found[1].event_id)
    return ids


BUSY = rt.ErrorInfo(code="conversation_already_has_active_response")


def test_one_after_another():
    """The second request is sent after the first response has ended."""
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
    """An out-of-band request is sent at once. Other requests do not wait for its response."""
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
    """A request that is refused because a response is active is sent at most three times."""
    queue = ResponseQueue()
    state = queue.add("q1")
    for number in range(2):
        assert ["q1"] == sent(queue)
        handle(queue, created(f"r{number}"))
        assert queue.refuse("q1", BUSY) is None
        assert [] == sent(queue)
        handle(queue, done(f"r{number}"))
    assert ["q1"] == sent(queue)
    handle(queue, created("r2"))
    assert state is queue.refuse("q1", BUSY)

    assert (False, "failed") == (queue.has_waiting, state.status)


def test_busy_with_an_unknown_response():
    """If a request is refused as busy but no response is known, the queue pauses until resumed."""
    queue = ResponseQueue()
    state = queue.add("q1")
    queue.add("q2", OUT_OF_BAND)
    sent(queue)
    for _ in range(10):
        assert queue.refuse("q1", BUSY) is None
        assert ([], True) == (sent(queue), queue.is_paused)
        queue.is_paused = False
        assert ["q1"] == sent(queue)
    queue.refuse("q1", BUSY)

    assert (state, BUSY) == queue.give_up("q1")
    assert ("failed", False) == (state.status, queue.is_paused)


def test_refused():
    """A refused request fails with the error of the service, and the next request is sent."""
    queue = ResponseQueue()
    state = queue.add("q1")
    queue.add("q2")
    sent(queue)
    error = rt.ErrorInfo(code="invalid_value")

    assert state is queue.refuse("q1", error)
    assert ("failed", error) == (state.status, state.error)
    assert ["q2"] == sent(queue)
    assert queue.refuse("q1", error) is None


def test_given_up():
    """If the caller gives up a request, the request fails, and a late response is cancelled."""
    queue = ResponseQueue()
    state = queue.add("q1")
    queue.add("q2")
    sent(queue)

    assert (state, None) == queue.give_up("q1")
    assert ["q2"] == sent(queue)
    late = queue.handle(created("r1", "q1"), matches_by_order=False)
    assert ("failed", True, False) == (state.status, late.is_cancelling, late is state)
    assert (None, None) == queue.give_up("q1")


def test_replaced():
    """If an in-band response begins, the previous in-band response counts as ended."""
    queue = ResponseQueue()
    state = queue.add("q1")
    queue.add("q2", OUT_OF_BAND)
    sent(queue)
    handle(queue, created("r1", "q1"))
    found = [queue.replaced_by(created(*each)) for each in (("r1", "q1"), ("r2", "q2"), ("r3",))]
    handle(queue, created("r2", "q2"))

    # A response without an id may belong to the pending out-of-band request.
    assert [[], [], []] == found
    assert [state] == queue.replaced_by(created("r3"))


def test_presumed_over():
    """If a response is presumed to be over, the next request is sent without ``response.done``."""
    queue = ResponseQueue()
    state = queue.add("q1")
    queue.add("q2")
    sent(queue)
    handle(queue, created("r1", "q1"))
    assert [] == sent(queue)
    state.is_presumed_over = True
    assert ["q2"] == sent(queue)
    queue.refuse("q2", BUSY)

    assert (False, False, []) == (state.is_presumed_over, queue.is_paused, sent(queue))


def test_matched_by_order():
    """If the service returns no ids, a new response belongs to the oldest request."""
    queue = ResponseQueue()
    states = [queue.add("q1"), queue.add("q2", OUT_OF_BAND)]
    assert ["q1", "q2"] == sent(queue)
    item = rt.Message(role="assistant", content=(), id="a2")
    handle(
        queue, created("r1"), rt.OutputItemAdded(item=item, response_id="r2"), matches_by_order=True
    )
    handle(queue, done("r1"), done("r2"), matches_by_order=True)

    assert ["r1", "r2"] == [state.id for state in states]
    assert ["completed"] * 2 == [state.status for state in states]
    assert not queue.echoes_ids


def test_manual_turns():
    """In a session with manual turns, a response without an id belongs to the pending request."""
    queue = ResponseQueue()
    state = queue.add("q1")
    sent(queue)
    handle(queue, created("r1"), matches_by_order=True)

    assert ("r1", "in_progress") == (state.id, state.status)


def test_needless_answer():
    """The request after a tool output is dropped if the service responds to the output itself."""
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
    """
    An interruption returns the active responses, and cancels requests that are not sent yet.

    Out-of-band responses continue.
    """
    queue = ResponseQueue()
    states = [queue.add("q1"), queue.add("q2"), queue.add("q3", OUT_OF_BAND)]
    assert ["q1", "q3"] == sent(queue)
    handle(queue, created("r1", "q1"), created("r3", "q3"))
    ids, ended = queue.interrupt()

    assert (["r1"], states[:2]) == (ids, ended)
    assert ([], []) == queue.interrupt()
    assert ["in_progress", "cancelled", "in_progress"] == [state.status for state in states]


def test_a_lost_connection():
    """If the connection is lost, active responses fail. Other requests are sent again in order."""
    queue = ResponseQueue()
    states = [queue.add("q1", OUT_OF_BAND), queue.add("q2"), queue.add("q3")]
    assert ["q1", "q2"] == sent(queue)
    handle(queue, created("r1", "q1"))

    assert (states[0],) == queue.lose_connection(LOST)
    assert ["q2"] == sent(queue)
    assert tuple(states[1:]) == queue.end_all(LOST)
    assert ["failed"] * 3 == [state.status for state in states]
