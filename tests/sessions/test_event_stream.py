"""The events of a stream can be received in four ways."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Literal

import attrs
import pytest

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    LocalProtocolError,
)
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.sessions import event_stream, mailbox
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor

PATIENCE_SECONDS = 30.0
LOST = StreamEnded("network", 1006, "cut", ConnectionLost("cut"))
CLOSED = StreamEnded("client", reason="closed")


@attrs.frozen
class Number:
    value: int


class Source:
    """A stream, with the methods that the reader thread calls."""

    def __init__(self, dispatch: Literal["thread", "poll"] = "thread") -> None:
        self.changed = Monitor("the test's stream")
        self.logger = logging.getLogger("inworld_sync.test")
        self.stream: EventStream[object] = EventStream(
            self.changed, name="test", dispatch=dispatch, logger=self.logger
        )

    def give(self, *events: object, size_bytes: int = 0) -> None:
        with self.changed:
            for event in events:
                self.stream.append(event, size_bytes)

    def end(self, ended: StreamEnded = CLOSED) -> None:
        with self.changed:
            self.stream.end(ended)


@pytest.fixture(autouse=True)
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the regular check of every wait, so that a missing notification causes a hang."""
    monkeypatch.setattr(event_stream, "LONGEST_WAIT_SECONDS", 60.0)


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.end()
    source.stream.join(PATIENCE_SECONDS)


@pytest.fixture
def polled() -> Source:
    return Source("poll")


def waits(source: Source, takers: int = 1) -> None:
    """Wait until *takers* threads wait for an event of the stream."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with source.changed:
            boxes = source.stream._mailboxes
            if sum(len(box.takers) for box in boxes if box.queue.empty()) >= takers:
                return
        threading.Event().wait(0.001)
    raise AssertionError("no thread waits")


def in_thread(work: Callable[[], object]) -> Callable[[], object]:
    """
    Run *work* on a thread. Return a function that waits for the thread, and then returns the result
    or raises the exception.
    """
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> object:
        thread.join(PATIENCE_SECONDS)
        assert results, "the work does not end"
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]

    return result


# Iteration.


def test_events_wait_for_the_first_consumer(source: Source) -> None:
    """Events that arrive before the first consumer are buffered for this consumer."""
    source.give(1, 2, 3)
    source.end()

    assert [1, 2, 3] == list(source.stream.events())


def test_an_iteration_ends_with_the_error_of_the_stream(source: Source) -> None:
    """The iteration yields the buffered events, then raises the error of the stream."""
    source.give(1)
    source.end(LOST)
    events = source.stream.events()

    assert 1 == next(events)
    with pytest.raises(ConnectionLost, match="cut"):
        next(events)


def test_every_consumer_gets_an_error_of_its_own(source: Source) -> None:
    """
    The error of a stream is raised as a new object each time.

    With a shared object, two threads would overwrite each other's traceback and ``partial``.
    """
    source.end(LOST)
    caught = []
    for _ in range(2):
        with pytest.raises(ConnectionLost) as info:
            list(source.stream.events())
        caught.append(info.value)

    assert 3 == len({id(error) for error in [*caught, LOST.error]})
    assert LOST.error is not None
    assert LOST.error.__traceback__ is None


def test_two_iterators_share_one_place(source: Source) -> None:
    """A second iterator continues where the first iterator stopped."""
    source.give(1, 2, 3, 4)
    source.end()
    first, second = source.stream.events(), source.stream.events()

    assert [1, 2, 3, 4] == [next(first), next(second), next(first), next(second)]
    assert [] == list(first)
    assert [] == list(second)


def test_two_threads_share_one_iteration(source: Source) -> None:
    """If two threads iterate, each event goes to only one thread, and both threads get the end."""
    results = [in_thread(lambda: list(source.stream.events())) for _ in range(2)]
    for number in range(200):
        source.give(number)
    source.end()
    taken = [result() for result in results]

    assert list(range(200)) == sorted(n for part in taken for n in part)  # type: ignore[attr-defined]


def test_a_timeout_loses_nothing(source: Source) -> None:
    """After a timeout, a new iteration continues at the same place."""
    with pytest.raises(DeadlineExceeded, match="no event came within 0 s"):
        next(source.stream.events(0.0))
    source.give(1)

    assert 1 == next(source.stream.events(0.0))


def test_a_waiting_consumer_is_woken(source: Source) -> None:
    """A waiting consumer gets the next event, and later the end."""
    result = in_thread(lambda: list(source.stream.events()))
    waits(source)
    source.give(1)
    waits(source)
    source.end()

    assert [1] == result()


def test_waiting_costs_nothing(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two waiting consumers do not wake each other.

    Otherwise two silent contexts of a connection would keep a processor busy.
    """
    wakes = []

    class Counting(SimpleQueue[object]):
        def get(self, block: bool = True, timeout: float | None = None) -> object:
            wakes.append(self)
            return super().get(block, timeout)

    monkeypatch.setattr(mailbox, "SimpleQueue", Counting)
    source.stream, other = (
        EventStream(source.changed, name=name, dispatch="thread", logger=source.logger)
        for name in ("one", "other")
    )
    results = [in_thread(lambda s=s: list(s.events())) for s in (source.stream, other)]
    waits(source)
    for _ in range(50):
        threading.Event().wait(0.002)
    with source.changed:
        other.end(CLOSED)
    source.end()
    for result in results:
        result()

    assert len(wakes) <= 8


# Queues.


def test_every_queue_gets_every_event(source: Source) -> None:
    """Each of several queues gets every event that is emitted while the queue is open."""
    first, second = source.stream.subscribe(), source.stream.subscribe()
    source.give(1, 2)
    source.end()

    assert [1, 2] == list(first)
    assert [1, 2] == list(second)


def test_queue_after_the_end(source: Source) -> None:
    """An empty queue of an ended stream raises ClosedError, or the error of the stream."""
    queue = source.stream.subscribe()
    source.end()
    with pytest.raises(ClosedError, match="no more events"):
        queue.get()


def test_queue_after_a_loss(source: Source) -> None:
    """A queue yields its events, then raises the error of the stream."""
    queue = source.stream.subscribe()
    source.give(1)
    source.end(LOST)

    assert 1 == queue.get()
    with pytest.raises(ConnectionLost):
        queue.get()


def test_closing_a_queue_wakes_its_reader(source: Source) -> None:
    """If a queue is closed, a get() that waits in another thread raises ClosedError."""
    queue = source.stream.subscribe()
    result = in_thread(queue.get)
    waits(source)
    queue.close()
    queue.close()

    with pytest.raises(ClosedError):
        result()


def test_queue_as_a_context(source: Source) -> None:
    """Leaving the ``with`` block closes the queue, so that the reader does not pause."""
    with source.stream.subscribe(maxsize=1) as queue:
        source.give(1)
        with source.changed:
            assert source.stream.is_full
    with source.changed:
        assert not source.stream.is_full
    assert [] == list(queue)


def test_queue_of_no_size(source: Source) -> None:
    """A queue with a maxsize below 1 is refused."""
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        source.stream.subscribe(maxsize=0)


# Handlers.


def test_handlers_run_in_order(source: Source) -> None:
    """Handlers for a class or a name get the events in order, and then get the end once."""
    seen: list[object] = []
    done = threading.Event()
    source.stream.on(Number, seen.append)
    source.stream.on("Number", lambda event: seen.append(event.value))
    source.stream.on("mouthMoved", lambda event: seen.append(event.type))
    source.stream.on(StreamEnded, seen.append)
    source.stream.on(StreamEnded, lambda _: done.set())
    source.give(Number(1), "other", UnknownEvent("mouthMoved", {}), Number(2))
    source.end(LOST)
    assert done.wait(PATIENCE_SECONDS)

    assert [Number(1), 1, "mouthMoved", Number(2), 2, LOST] == seen


def test_a_handler_may_be_added_by_decoration(source: Source) -> None:
    """on() returns the handler, so on() can be used as a decorator."""

    def handler(_: object) -> None: ...

    assert handler is source.stream.on(Number, handler)


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(1), KeyboardInterrupt()])
def test_a_raising_handler(
    source: Source, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """
    The first exception of a handler is logged, each exception is counted, and all handlers
    continue.

    A handler that calls sys.exit() must not end the dispatch thread.
    """
    seen: list[object] = []
    done = threading.Event()

    def broken(_: object) -> None:
        raise error

    source.stream.on(Number, broken)
    source.stream.on(Number, seen.append)
    source.stream.on(StreamEnded, lambda _: done.set())
    source.give(Number(1), Number(2), Number(3))
    source.end()
    assert done.wait(PATIENCE_SECONDS)

    assert [Number(1), Number(2), Number(3)] == seen
    assert 3 == source.stream.handler_errors
    assert 1 == len(caplog.records)
    assert "raised an exception on Number; further exceptions of this handler" in caplog.text


def test_errors_of_two_threads(source: Source) -> None:
    """If handlers and other code of the user fail at the same time, no error is lost."""
    count = 20_000
    done = threading.Event()

    def broken(_: object) -> None:
        raise ValueError

    source.stream.on(Number, broken)
    source.stream.on(StreamEnded, lambda _: done.set())
    source.give(*[Number(1)] * count)
    source.end()
    until, others = time.monotonic() + PATIENCE_SECONDS, 0
    while not done.is_set() and time.monotonic() < until:
        source.stream.count_error()
        others += 1

    assert count + others == source.stream.handler_errors


@pytest.mark.parametrize("dispatch", ["thread", "poll"])
def test_a_late_handler_gets_the_end(dispatch: Literal["thread", "poll"]) -> None:
    """
    A handler that is added after the end is called with the end, exactly once.

    The other events were handled before the end, so the handler must get the end separately.
    """
    source = Source(dispatch)
    first: list[object] = []
    late: list[object] = []
    source.stream.on(StreamEnded, first.append)
    source.end()
    source.stream.poll() if dispatch == "poll" else source.stream.join(PATIENCE_SECONDS)
    source.stream.on(StreamEnded, late.append)
    source.stream.poll() if dispatch == "poll" else source.stream.join(PATIENCE_SECONDS)

    assert ([CLOSED], [CLOSED]) == (first, late)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_handlers_keep_the_context_of_their_caller(source: Source) -> None:
    """Handlers run with the context variables of the caller of on()."""
    seen: list[str] = []
    done = threading.Event()
    token = variable.set("request 7")
    source.stream.on(Number, lambda _: seen.append(variable.get()))
    variable.reset(token)
    source.stream.on(StreamEnded, lambda _: done.set())
    source.give(Number(1))
    source.end()
    assert done.wait(PATIENCE_SECONDS)

    assert ["request 7"] == seen


# Polling.


def test_poll(polled: Source) -> None:
    """Handlers run on the thread that polls, and poll() returns how many events it handled."""
    seen: list[object] = []
    polled.stream.on(Number, lambda _: seen.append(threading.current_thread()))
    polled.give(Number(1), Number(2))

    assert 2 == polled.stream.poll(budget_ms=1000)
    assert [threading.current_thread()] * 2 == seen
    assert 0 == polled.stream.poll()


def test_poll_keeps_to_its_budget(polled: Source) -> None:
    """With a budget of 0, poll() handles one event."""
    polled.stream.on(Number, lambda _: None)
    polled.give(Number(1), Number(2), Number(3))

    assert [1, 1, 1, 0] == [polled.stream.poll(budget_ms=0) for _ in range(4)]


@pytest.mark.parametrize("budget_ms", [-1, float("nan"), "2", None])
def test_poll_with_a_wrong_budget(polled: Source, budget_ms: float) -> None:
    """A budget that is not a number of milliseconds is refused. A very long budget is honored."""
    polled.stream.on(int, int)
    polled.give(1, 2)
    with pytest.raises(ConfigError, match="budget_ms must be a number of milliseconds"):
        polled.stream.poll(budget_ms)

    assert 2 == polled.stream.poll(1e12)


def test_poll_within_a_handler(polled: Source) -> None:
    """poll() inside a handler handles nothing, so that the order of events is kept."""
    inner: list[int] = []
    polled.stream.on(Number, lambda _: inner.append(polled.stream.poll()))
    polled.give(Number(1), Number(2))
    polled.stream.poll(budget_ms=1000)

    assert [0, 0] == inner


def test_poll_raises_keyboard_interrupt(polled: Source) -> None:
    """poll() raises a KeyboardInterrupt of a handler. Afterwards, polling can continue."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    polled.stream.on(Number, interrupted)
    polled.give(Number(1), "other")
    with pytest.raises(KeyboardInterrupt):
        polled.stream.poll()

    assert 1 == polled.stream.poll()


def test_poll_without_handlers(polled: Source) -> None:
    """Without handlers, poll() takes no events."""
    polled.give(Number(1))

    assert 0 == polled.stream.poll()
    assert Number(1) == next(polled.stream.events(0.0))


def test_poll_of_a_threaded_stream(source: Source) -> None:
    """With dispatch threads, poll() raises an error that says what to do."""
    with pytest.raises(LocalProtocolError, match="dispatch='poll'"):
        source.stream.poll()


# Methods for the reader thread.


def test_full_and_starving(source: Source) -> None:
    """The reader can see that a mailbox is full, and that a consumer waits."""
    result = in_thread(lambda: next(source.stream.events()))
    waits(source)
    with source.changed:
        assert source.stream.is_starving
    source.give(1)
    assert 1 == result()
    assert not source.changed.has_full_queue
    source.give(2, size_bytes=16 * 1024 * 1024 + 1)
    with source.changed:
        assert source.stream.is_full
        assert source.changed.has_full_queue
        assert not source.stream.is_starving
    assert source.stream.waiting_bytes > 16 * 1024 * 1024


def test_full_from_the_start(source: Source) -> None:
    """A new consumer that takes over too many buffered events has a full mailbox at once."""
    source.give(1, 2)
    assert not source.changed.has_full_queue
    source.stream.subscribe(maxsize=2)

    assert source.changed.has_full_queue


def test_stopped_consumer(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue with too many events ends with an error. Other consumers get every event."""
    monkeypatch.setattr(event_stream, "MAX_BEHIND_BYTES", 5000)
    stopped, read = source.stream.subscribe(), source.stream.subscribe()
    for value in range(10):
        source.give(value, size_bytes=1000)
        assert value == read.get(PATIENCE_SECONDS)

    assert 0 == source.stream.waiting_bytes
    with pytest.raises(LocalProtocolError, match="of events were dropped"):
        stopped.get()
    stopped.close()
    source.give(10)
    assert 10 == read.get()


def test_stopped_before_the_first_consumer(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """If too many events were buffered for the first consumer, this consumer gets an error."""
    monkeypatch.setattr(event_stream, "MAX_BEHIND_BYTES", 5000)
    source.give(*range(10), size_bytes=1000)

    with pytest.raises(LocalProtocolError, match="of events were dropped"):
        next(source.stream.events())
    queue = source.stream.subscribe()
    source.give(10)
    assert 10 == queue.get()


def test_discard(source: Source) -> None:
    """discard() drops all events that were not taken, for every consumer. The end is kept."""
    queue = source.stream.subscribe()
    events = source.stream.events()
    source.give(1)
    with source.changed:
        source.stream.discard()
    source.end()

    assert [] == list(queue)
    assert [] == list(events)


def test_one_end(source: Source) -> None:
    """A second end of a stream is ignored."""
    source.end(LOST)
    source.end(CLOSED)

    assert LOST is source.stream.ended
