r"""
One stream of events and four ways to take it: iterator, callback, queue and poll.

Lock rule: all streams of a connection share that connection's monitor, which guards every
mailbox; it is never held while user code runs. The producer is the connection's reader thread
alone, and calls :meth:`EventStream.append` and :meth:`EventStream.end` with the monitor held.
Whoever takes from a mailbox waits on a condition of that mailbox; who waits for room waits on the
monitor itself.

Nothing is dropped: what nobody has asked for yet waits for the first consumer, and a mailbox that
is full makes the reader pause (see ``base.py``), so that the network slows the service down.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeAlias, TypeVar, cast

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    LocalProtocolError,
    fresh,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.fork_guard import ForkGuard

__all__ = ["EventStream", "Monitor", "Subscription", "require_callable"]

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., object])

# What it wants to see, the function, and the context variables that it runs with.
_Handler: TypeAlias = "tuple[type | str, Callable[..., object], contextvars.Context]"

# Five minutes of 24 kHz PCM: more than any consumer should fall behind, little for a machine.
MAX_WAITING_BYTES = 16 * 1024 * 1024

# An event without audio is small; this stands for its weight in memory.
_EVENT_BYTES = 256


class Monitor(threading.Condition):
    """
    A condition whose lock further conditions may share.

    Entering it in a forked child raises instead of waiting for ever: the lock may have been held
    when the process forked, and the threads that would change anything live in the parent.

    Args:
        what: What it guards, for the error.

    Attributes:
        lock: The lock without that check, for threads of the package, which no child has.
        has_full_mailbox: False if no mailbox is full, so that the reader need not look; see
            ``base.py``.
    """

    def __init__(self, what: str) -> None:
        self.lock = threading.RLock()
        super().__init__(self.lock)
        self._what = what
        self.has_full_mailbox = False
        self._fork_guard = ForkGuard()

    @property
    def in_child(self) -> bool:
        """Whether this process is a forked child of the one that it belongs to."""
        return self._fork_guard.in_child

    def part(self) -> threading.Condition:
        """Another condition on the same lock, so that a notification wakes only whom it is for."""
        return threading.Condition(self.lock)

    def __enter__(self) -> bool:
        self._fork_guard.require(self._what)
        return super().__enter__()


class _Mailbox(Generic[E]):
    """What one consumer has not taken yet."""

    def __init__(self, ready: threading.Condition, max_events: int | None = None) -> None:
        self.ready = ready
        self.events: deque[tuple[E, int]] = deque()
        self.max_events = max_events
        self.waiting_bytes = 0
        self.takers = 0
        self.closed = False

    @property
    def is_full(self) -> bool:
        return self.waiting_bytes > MAX_WAITING_BYTES or (
            self.max_events is not None and len(self.events) >= self.max_events
        )

    def empty(self) -> None:
        self.events.clear()
        self.waiting_bytes = 0


class Subscription(Generic[E]):
    """
    A queue of events of its own; several may exist on one stream.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, stream: EventStream[E], mailbox: _Mailbox[E]) -> None:
        self._stream = stream
        self._mailbox = mailbox

    def get(self, timeout: float | None = None) -> E:
        """
        Take the next event.

        Raises:
            DeadlineExceeded: None came within *timeout* seconds.
            ClosedError: The stream has ended, or the subscription was closed; where the stream
                ended with an error, that error instead.
        """
        found, event = self._stream.pop(self._mailbox, timeout)
        if not found:
            self._stream.raise_end()
            raise ClosedError("the stream has ended, there are no more events")
        return cast("E", event)

    def __iter__(self) -> Iterator[E]:
        return self._stream.drain(self._mailbox, None)

    def close(self) -> None:
        """Stop taking events; a blocked :meth:`get` ends. May be called twice."""
        self._stream.detach(self._mailbox)

    def __enter__(self) -> Subscription[E]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventStream(Generic[E]):
    """
    Events of one session or context, in order, to any number of consumers.

    Args:
        changed: The connection's monitor; see the rule at the head of the module.
        name: For threads and logs.
        dispatch: Where handlers run, as in :class:`~inworld_sync.Options`.
        logger: Where a raising handler is reported.

    Attributes:
        ended: The terminal state, None while events may come; :meth:`end` sets it.
        handler_errors: How often a handler raised.
    """

    def __init__(
        self,
        changed: Monitor,
        *,
        name: str,
        dispatch: Literal["thread", "poll"],
        logger: logging.Logger,
    ) -> None:
        self._changed = changed
        self._name = name
        self._dispatch = dispatch
        self._logger = logger
        self.ended: StreamEnded | None = None
        # Of the first consumer, until it comes.
        self._backlog: _Mailbox[E] | None = _Mailbox(changed.part())
        self._mailboxes: list[_Mailbox[E]] = [self._backlog]
        self._pull: _Mailbox[E] | None = None
        self._for_handlers: _Mailbox[E] | None = None
        self._handlers: tuple[_Handler, ...] = ()
        self._reported: set[int] = set()
        self.handler_errors = 0
        self._dispatcher: threading.Thread | None = None
        self._polling = threading.Lock()

    # The producer's side; the monitor is held.

    def append(self, event: E, size_bytes: int = 0) -> None:
        """Give an event to every consumer, or keep it for the first."""
        size_bytes += _EVENT_BYTES
        for mailbox in self._mailboxes:
            mailbox.events.append((event, size_bytes))
            mailbox.waiting_bytes += size_bytes
            if mailbox.takers:
                mailbox.ready.notify()
            if mailbox.waiting_bytes > MAX_WAITING_BYTES or mailbox.max_events is not None:
                self._changed.has_full_mailbox = True

    def end(self, ended: StreamEnded) -> None:
        """Set the one terminal state; later calls change nothing."""
        if self.ended is None:
            self.ended = ended
            for mailbox in self._mailboxes:
                mailbox.ready.notify_all()
            self._changed.notify_all()

    def discard(self) -> None:
        """Drop all that nobody has taken yet."""
        for mailbox in self._mailboxes:
            mailbox.empty()
        self._changed.notify_all()

    @property
    def is_full(self) -> bool:
        """Whether a consumer has fallen so far behind that the reader should pause."""
        return any(mailbox.is_full for mailbox in self._mailboxes)

    @property
    def is_starving(self) -> bool:
        """Whether somebody waits for an event of this stream now."""
        return any(mailbox.takers and not mailbox.events for mailbox in self._mailboxes)

    # The consumers' side; the monitor is not held.

    @property
    def waiting_bytes(self) -> int:
        """What the slowest consumer has not taken yet; a snapshot."""
        return max((mailbox.waiting_bytes for mailbox in self._mailboxes), default=0)

    def raise_end(self) -> None:
        """Raise the error that the stream ended with, if there is one."""
        if self.ended is not None and self.ended.error is not None:
            raise fresh(self.ended.error)

    def events(self, timeout: float | None = None) -> Iterator[E]:
        """
        Iterate over the events; all calls share one place in the stream.

        Args:
            timeout: The most seconds to wait for each event; None waits for ever.

        Raises:
            DeadlineExceeded: No event came in time; iterating again goes on where it stopped.
            InworldError: The stream ended before its work was done.
            ConfigError: *timeout* is no number.
        """
        # Refused here too, for where an event is there already nothing is waited for.
        Deadline(timeout, "waiting for an event")
        with self._changed:
            if self._pull is None:
                self._pull = self._attach()
        return self.drain(self._pull, timeout)

    def subscribe(self, maxsize: int | None = None) -> Subscription[E]:
        """
        Open a queue of its own.

        Args:
            maxsize: Events that may wait before the connection stops reading; None bounds only
                their bytes.
        """
        if maxsize is not None and not (isinstance(maxsize, int) and maxsize >= 1):
            raise ConfigError(f"maxsize must be a whole number of at least 1, got {maxsize!r}")
        with self._changed:
            return Subscription(self, self._attach(maxsize))

    def on(self, kind: type | str, handler: F) -> F:
        """
        Call *handler* with every event of a class, or of a name on the wire or of a class.

        Handlers run one after the other, in the order of the events, with the context variables
        of the caller of this method. One that raises is logged once and counted.
        ``on(StreamEnded, ...)`` is called last, exactly once.

        Raises:
            ConfigError: *kind* is neither a class nor a name, or *handler* cannot be called.
        """
        if not isinstance(kind, (type, str)):
            raise ConfigError(f"kind must be a class or a name of events, got {kind!r}")
        require_callable(handler, "handler")
        start = None
        with self._changed:
            self._handlers = (*self._handlers, (kind, handler, contextvars.copy_context()))
            # Closed means that the end was handled; a late handler is still owed it.
            if self._for_handlers is None or self._for_handlers.closed:
                self._for_handlers = self._attach()
                if self._dispatch == "thread":
                    start = self._dispatcher = threading.Thread(
                        target=self._run_handlers,
                        args=(self._for_handlers,),
                        name=f"inworld-dispatch-{self._name}",
                        daemon=True,
                    )
        if start is not None:
            start.start()
        return handler

    def poll(self, budget_ms: float = 2.0) -> int:
        """
        Run handlers for events that wait, on this thread.

        Args:
            budget_ms: No further event is started after this many milliseconds.

        Returns:
            How many events were handled.

        Raises:
            LocalProtocolError: Handlers of this client run on their own thread.
        """
        if self._dispatch != "poll":
            raise LocalProtocolError(
                "poll() needs handlers that wait for it: make the client with dispatch='poll'"
            )
        with self._changed:
            mailbox = self._for_handlers
        if mailbox is None or not self._polling.acquire(blocking=False):
            return 0
        try:
            handled = 0
            until = time.monotonic() + budget_ms / 1000.0
            while self._handle_next(mailbox, timeout=0.0):
                handled += 1
                if time.monotonic() >= until:
                    break
            return handled
        finally:
            self._polling.release()

    def join(self, timeout: float) -> None:
        """Wait for the dispatch thread to finish what waits; no-op on that thread itself."""
        if self._dispatcher is not None and self._dispatcher is not threading.current_thread():
            self._dispatcher.join(timeout)

    def pop(self, mailbox: _Mailbox[E], timeout: float | None) -> tuple[bool, E | None]:
        """Take one event of a mailbox; ``(False, None)`` once there will be none."""
        with self._changed:
            return self._pop(mailbox, timeout)

    def _pop(self, mailbox: _Mailbox[E], timeout: float | None) -> tuple[bool, E | None]:
        """Do the same; the monitor is held."""
        if not mailbox.events and not self._await_event(mailbox, timeout):
            return False, None
        event, size_bytes = mailbox.events.popleft()
        mailbox.waiting_bytes -= size_bytes
        # The reader may wait for room here, and a feeder of text for audio to be read.
        self._changed.notify_all()
        return True, event

    def _await_event(self, mailbox: _Mailbox[E], timeout: float | None) -> bool:
        """Wait for an event of a mailbox; False once there will be none. The monitor is held."""
        deadline = None if timeout is None else Deadline(timeout, "waiting for an event")
        mailbox.takers += 1
        # A reader that pauses for another consumer must know that this one starves.
        self._changed.notify_all()
        try:
            while not mailbox.events:
                if mailbox.closed or self.ended is not None:
                    return False
                if deadline is None:
                    mailbox.ready.wait(LONGEST_WAIT_SECONDS)
                elif deadline.expired:
                    raise DeadlineExceeded(f"no event came within {timeout:g} s")
                else:
                    mailbox.ready.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
        finally:
            mailbox.takers -= 1
        return True

    def drain(self, mailbox: _Mailbox[E], timeout: float | None) -> Iterator[E]:
        """Yield a mailbox's events to the end of the stream, then raise what it ended with."""
        while True:
            found, event = self.pop(mailbox, timeout)
            if not found:
                break
            yield cast("E", event)
        self.raise_end()

    def detach(self, mailbox: _Mailbox[E]) -> None:
        """Forget a consumer; what it did not take is dropped."""
        if self._changed.in_child:
            return
        with self._changed:
            mailbox.closed = True
            mailbox.empty()
            if mailbox in self._mailboxes:
                self._mailboxes.remove(mailbox)
            mailbox.ready.notify_all()
            self._changed.notify_all()

    def _attach(self, max_events: int | None = None) -> _Mailbox[E]:
        mailbox: _Mailbox[E] = _Mailbox(self._changed.part(), max_events)
        if self._backlog is not None:
            mailbox.events = self._backlog.events
            mailbox.waiting_bytes = self._backlog.waiting_bytes
            self._backlog = None
            self._mailboxes.clear()
        self._mailboxes.append(mailbox)
        self._changed.has_full_mailbox |= mailbox.is_full
        return mailbox

    def _run_handlers(self, mailbox: _Mailbox[E]) -> None:
        while self._handle_next(mailbox, timeout=None):
            pass

    def _handle_next(self, mailbox: _Mailbox[E], timeout: float | None) -> bool:
        """Handle one event; False when none waits, or when the stream is over and handled."""
        with self._changed.lock:
            try:
                found, event = self._pop(mailbox, timeout)
            except DeadlineExceeded:
                return False
            handlers = self._handlers
            if not found:
                if mailbox.closed:
                    return False
                mailbox.closed = True
                self._mailboxes.remove(mailbox)
                # A later handler gets a mailbox and an end of its own.
                self._handlers = ()
        self._handle(event if found else self.ended, handlers)
        return found

    def _handle(self, event: object, handlers: tuple[_Handler, ...]) -> None:
        for kind, handler, context in handlers:
            if not (isinstance(event, kind) if isinstance(kind, type) else _is_named(event, kind)):
                continue
            try:
                context.run(handler, event)
            except BaseException as error:
                # On a thread of ours, whatever ends the handler must not end the events.
                if self._dispatch == "poll" and not isinstance(error, Exception):
                    raise
                self.handler_errors += 1
                if id(handler) not in self._reported:
                    self._reported.add(id(handler))
                    self._logger.exception(
                        "handler %r raised on %s; further errors of it are counted only",
                        handler,
                        type(event).__name__,
                    )


def require_callable(value: object, name: str) -> None:
    """Refuse a handler that cannot be called."""
    if not callable(value):
        raise ConfigError(f"{name} must be callable, got {value!r}")


def _is_named(event: object, kind: str) -> bool:
    name = type(event).__name__
    # Messages of TTS and STT are named on the wire as their classes are, but for the capital.
    return kind in (getattr(event, "type", None), name, name[0].lower() + name[1:])
