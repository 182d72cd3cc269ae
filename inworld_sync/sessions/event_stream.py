r"""
Implements streams of events. A user can receive events with an iterator, handlers, a queue or
``poll``.

Lock rule: all streams of a connection share the monitor of the connection, which guards the list of
mailboxes. The monitor is never held while user code runs. Only the reader thread of the connection
produces events. The reader calls :meth:`EventStream.append` and :meth:`EventStream.end` with the
monitor held. A consumer waits in the queue of its mailbox, not for the monitor, because the reader
still holds the monitor when the reader wakes the consumer. A thread that waits for room in a
mailbox waits on the monitor. This thread first increments ``Monitor.watchers``. A consumer that has
taken an event then notifies the monitor.

Events are buffered until the first consumer attaches. If a mailbox is full, the reader pauses (see
``base.py``), so that TCP flow control slows the service down. Events are dropped in one case only:
if a consumer stops taking events while the reader continues for other consumers, this consumer ends
with an error.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Generic, Literal, TypeAlias, TypeVar

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    LocalProtocolError,
    fresh,
)
from inworld_sync.models.checks import require_timeout
from inworld_sync.models.events import StreamEnded
from inworld_sync.sessions.mailbox import END, MAX_WAITING_BYTES, Mailbox
from inworld_sync.sessions.monitor import Monitor, require_may_wait
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline, RunningDeadline

__all__ = ["EventStream", "Subscription", "require_callable"]

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., object])

# The class or name of the events, the function, and the context variables of the function.
_Handler: TypeAlias = "tuple[type | str, Callable[..., object], contextvars.Context]"

# At most this many bytes may wait for a consumer while the reader continues for other consumers.
MAX_BEHIND_BYTES = 4 * MAX_WAITING_BYTES

# This number is added to the size of each event, because even an event of a small message takes
# about this many bytes.
_EVENT_BYTES = 256


class Subscription(Generic[E]):
    """
    A queue that receives every event of a stream; a stream may have any number of queues.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, stream: EventStream[E], mailbox: Mailbox[E]) -> None:
        self._stream = stream
        self._mailbox = mailbox
        # A reference to the source of the events. Without a reference, the source would be closed.
        self.source: object = None

    def get(self, timeout: float | None = None) -> E:
        """
        Return the next event. Wait if no event is available.

        Args:
            timeout: The longest wait in seconds; None waits without a limit.

        Raises:
            DeadlineExceeded: No event came within *timeout* seconds.
            ClosedError: The stream has ended without an error, or the queue was closed.
            InworldError: The stream has ended with this error.
            LocalProtocolError: The queue has ended, because too many events waited in it.
        """
        require_timeout(timeout)
        event = self._stream.pop(self._mailbox, timeout)
        if event is None:
            self._stream.raise_end(self._mailbox)
            raise ClosedError("the stream has ended, there are no more events")
        return event

    def __iter__(self) -> Iterator[E]:
        return self._stream.drain(self._mailbox, None)

    def close(self) -> None:
        """Stop receiving events, and end a :meth:`get` that waits. May be called twice."""
        self._stream.detach(self._mailbox)

    def __enter__(self) -> Subscription[E]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventStream(Generic[E]):
    """
    The events of one session, stream or context. Every consumer receives all events in order.

    Args:
        changed: The monitor of the connection; see the lock rule of this module.
        name: The name of the stream, for threads and logs.
        dispatch: Where handlers run, as in :class:`~inworld_sync.Options`.
        logger: Receives the exceptions of handlers.

    Attributes:
        ended: How the stream ended; None while it is open. :meth:`end` sets it.
        handler_errors: How many times a handler raised an exception.
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
        # The first consumer takes over this mailbox.
        self._backlog: Mailbox[E] | None = Mailbox()
        self._mailboxes: list[Mailbox[E]] = [self._backlog]
        self._pull: Mailbox[E] | None = None
        self._for_handlers: Mailbox[E] | None = None
        self._handlers: tuple[_Handler, ...] = ()
        self._reported: set[int] = set()
        self.handler_errors = 0
        self._dispatcher: threading.Thread | None = None
        # The calls of poll() that are running; only the first call runs handlers.
        self._polls: deque[object] = deque()

    # Methods for the producer. The monitor is held.

    def append(self, event: E, size_bytes: int | None = None) -> None:
        """
        Add an event to the mailbox of every consumer, or buffer it for the first consumer.

        Args:
            event: Any event.
            size_bytes: The approximate size of the event in memory. None means the size of the
                message that the reader handles now.
        """
        size_bytes = _EVENT_BYTES + (
            self._changed.message_bytes if size_bytes is None else size_bytes
        )
        for mailbox in tuple(self._mailboxes):
            mailbox.put_bytes += size_bytes
            waiting_bytes = mailbox.put_bytes - mailbox.taken_bytes
            if waiting_bytes > mailbox.max_bytes or mailbox.max_events is not None:
                self._changed.has_full_queue = True
            if waiting_bytes > MAX_BEHIND_BYTES and not mailbox.queue.empty():
                self._end_consumer(mailbox)
            else:
                mailbox.queue.put((event, size_bytes))

    def _end_consumer(self, mailbox: Mailbox[E]) -> None:
        """End a consumer that has stopped taking events. The stream continues."""
        mailbox.error = LocalProtocolError(
            f"{mailbox.waiting_bytes} bytes of events were dropped, because this consumer did not "
            "take them while others did: take events faster, or close a queue that is not read"
        )
        self._logger.warning("%s: a consumer has ended: %s", self._name, mailbox.error)
        self._mailboxes.remove(mailbox)
        mailbox.close()

    def end(self, ended: StreamEnded) -> None:
        """Set how the stream ended. Later calls do not change how it ended."""
        if self.ended is None:
            self.ended = ended
        # A signal handler may have interrupted an earlier call, so every call wakes the consumers.
        for mailbox in self._mailboxes:
            mailbox.queue.put(END)
        self._changed.notify_all()

    def discard(self) -> None:
        """Drop all events that no consumer has taken yet."""
        for mailbox in self._mailboxes:
            mailbox.empty()
        self._changed.notify_all()

    @property
    def is_full(self) -> bool:
        """Whether the mailbox of a consumer is full, so that the reader should pause."""
        return any(mailbox.is_full for mailbox in self._mailboxes)

    @property
    def is_starving(self) -> bool:
        """Whether a consumer waits for an event of this stream now."""
        return any(mailbox.is_starving for mailbox in self._mailboxes)

    # Methods for the consumers. The monitor is not held.

    @property
    def has_dispatcher(self) -> bool:
        """Whether a thread runs handlers of this stream."""
        return self._dispatcher is not None

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of events the slowest consumer has not taken yet; a snapshot."""
        if self._changed.in_child:
            self._changed.refuse()
        return max((mailbox.waiting_bytes for mailbox in self._mailboxes), default=0)

    def raise_end(self, mailbox: Mailbox[E] | None = None) -> None:
        """Raise the error of the consumer with *mailbox*, or the stream's error, if one exists."""
        if mailbox is not None and mailbox.error is not None:
            raise fresh(mailbox.error)
        if self.ended is not None and self.ended.error is not None:
            raise fresh(self.ended.error)

    def events(self, timeout: float | None = None) -> Iterator[E]:
        """
        Iterate over the events; all calls share one position in the stream.

        Args:
            timeout: The longest wait for each event in seconds; None waits without a limit.

        Raises:
            DeadlineExceeded: No event came in time; iterating again continues at the same place.
            InworldError: The stream ended before its work was done.
            ConfigError: *timeout* is not a number.
        """
        # This line checks *timeout*. The iteration checks *timeout* only before a wait.
        Deadline(timeout, "waiting for an event")
        with self._changed:
            if self._pull is None:
                self._pull = Mailbox()
            self._attach(self._pull)
        return self.drain(self._pull, timeout)

    def subscribe(self, maxsize: int | None = None, *, pauses: bool = True) -> Subscription[E]:
        """
        Open a queue of events.

        Args:
            maxsize: If this many events wait, the reader pauses. With None, only the bytes of the
                events are limited.
            pauses: Whether the reader pauses if the queue is full. Otherwise the queue ends with an
                error if :data:`MAX_BEHIND_BYTES` wait.
        """
        if maxsize is not None and not (isinstance(maxsize, int) and maxsize >= 1):
            raise ConfigError(f"maxsize must be an integer of at least 1, got {maxsize!r}")
        mailbox: Mailbox[E] = Mailbox(maxsize)
        if not pauses:
            mailbox.max_bytes = MAX_BEHIND_BYTES
        try:
            with self._changed:
                self._attach(mailbox)
            return Subscription(self, mailbox)
        except BaseException:
            # After an exception, no consumer would ever read the mailbox.
            self.detach(mailbox)
            raise

    def on(self, kind: type | str, handler: F) -> F:
        """
        Call *handler* with every event of a class or name; see :meth:`EventSource.on`.

        Raises:
            ConfigError: *kind* is neither a class nor a text, or *handler* cannot be called.
        """
        if not isinstance(kind, (type, str)):
            raise ConfigError(f"kind must be a class of events or the name of one, got {kind!r}")
        require_callable(handler, "handler")
        start = None
        with self._changed:
            self._handlers = (*self._handlers, (kind, handler, contextvars.copy_context()))
            # If the mailbox of the handlers is closed, the handlers have already got the end. So a
            # new handler gets the end from a new mailbox.
            if self._for_handlers is None or self._for_handlers.closed:
                self._for_handlers = Mailbox()
                self._attach(self._for_handlers)
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
        Run handlers for the events that wait, on the calling thread; see :meth:`EventSource.poll`.

        Raises:
            LocalProtocolError: The handlers of this client run on a thread of the client.
            ConfigError: *budget_ms* is negative or not a number.
        """
        if self._dispatch != "poll":
            raise LocalProtocolError("poll() needs a client that was made with dispatch='poll'")
        # NaN fails the comparison.
        if not (isinstance(budget_ms, (int, float)) and budget_ms >= 0):
            raise ConfigError(
                f"budget_ms must be a number of milliseconds, 0 or more, got {budget_ms!r}"
            )
        with self._changed:
            mailbox = self._for_handlers
        if mailbox is None:
            return 0
        call, handled = object(), 0
        try:
            self._polls.append(call)
            if self._polls[0] is not call:
                return 0
            until = time.monotonic() + budget_ms / 1000.0
            while self._handle_next(mailbox, timeout=0.0):
                handled += 1
                if time.monotonic() >= until:
                    break
            return handled
        finally:
            self._polls.remove(call)

    def count_error(self) -> None:
        """Count an error of the user's code."""
        with self._changed:
            self.handler_errors += 1

    def join(self, timeout: float) -> None:
        """
        Wait until the dispatch thread has handled all events; on the dispatch thread, return at
        once.
        """
        if self._dispatcher is not None and self._dispatcher is not threading.current_thread():
            self._dispatcher.join(timeout)

    def pop(self, mailbox: Mailbox[E], timeout: float | None) -> E | None:
        """Take the next event of a mailbox; return None if no event will follow."""
        changed = self._changed
        if changed.in_child:
            changed.refuse()
        queue = mailbox.queue
        try:
            event, size_bytes = self._await(mailbox, timeout) if queue.empty() else queue.get(False)
        except Empty:
            # Another consumer of this mailbox was faster.
            event, size_bytes = self._await(mailbox, timeout)
        if not size_bytes:
            # Other threads that wait for this mailbox need the entry END too.
            queue.put(END)
            return None
        with mailbox.lock:
            mailbox.taken_bytes += size_bytes
        # The reader may wait for room, and a text feed may wait until the user takes audio.
        if changed.watchers:
            with changed:
                changed.notify_all()
        return event

    def _await(self, mailbox: Mailbox[E], timeout: float | None) -> tuple[E | None, int]:
        """Wait for the next entry of a mailbox."""
        changed, call = self._changed, object()
        deadline = None if timeout is None else RunningDeadline(timeout, "waiting for an event")
        seconds = LONGEST_WAIT_SECONDS
        try:
            with mailbox.lock:
                mailbox.takers.append(call)
            # If the reader has paused because of another consumer, the reader must continue now.
            if changed.watchers:
                with changed:
                    changed.notify_all()
            while True:
                if deadline is not None:
                    seconds = deadline.at_most(LONGEST_WAIT_SECONDS)
                if seconds:
                    require_may_wait("waiting for an event")
                try:
                    return mailbox.queue.get(timeout=seconds)
                except Empty:
                    if deadline is not None and deadline.expired:
                        raise DeadlineExceeded(f"no event came within {timeout:g} s") from None
        finally:
            if call in mailbox.takers:
                mailbox.takers.remove(call)

    def drain(self, mailbox: Mailbox[E], timeout: float | None) -> Iterator[E]:
        """
        Yield the events of a mailbox to the end of the stream.

        Then raise the stream's error, if any.
        """
        while (event := self.pop(mailbox, timeout)) is not None:
            yield event
        self.raise_end(mailbox)

    def detach(self, mailbox: Mailbox[E]) -> None:
        """Remove a consumer, and drop the events that it has not taken."""
        if self._changed.in_child:
            return
        with self._changed:
            if mailbox in self._mailboxes:
                self._mailboxes.remove(mailbox)
            mailbox.close()
            self._changed.notify_all()

    def _attach(self, mailbox: Mailbox[E]) -> None:
        """Give the mailbox all further events. The first mailbox gets the backlog too."""
        backlog = self._backlog
        if mailbox in self._mailboxes or mailbox.closed:
            return
        if backlog is None:
            self._mailboxes = [*self._mailboxes, mailbox]
            if self.ended is not None:
                mailbox.queue.put(END)
        else:
            mailbox.adopt(backlog)
            self._mailboxes = [] if mailbox.closed else [mailbox]
            self._backlog = None
        self._changed.has_full_queue |= mailbox.is_full

    def _run_handlers(self, mailbox: Mailbox[E]) -> None:
        while self._handle_next(mailbox, timeout=None):
            pass

    def _handle_next(self, mailbox: Mailbox[E], timeout: float | None) -> bool:
        """Handle one event or the end; return False if there is no event."""
        try:
            event = self.pop(mailbox, timeout)
        except DeadlineExceeded:
            return False
        with self._changed:
            handlers = self._handlers
            if event is None:
                if mailbox.closed:
                    return False
                mailbox.closed = True
                self._mailboxes.remove(mailbox)
                # A handler that is added later gets a new mailbox, which has only the end of the
                # stream.
                self._handlers = ()
        self._handle(self.ended if event is None else event, handlers)
        return event is not None

    def _handle(self, event: object, handlers: tuple[_Handler, ...]) -> None:
        for kind, handler, context in handlers:
            if not (isinstance(event, kind) if isinstance(kind, type) else _is_named(event, kind)):
                continue
            try:
                context.run(handler, event)
            except BaseException as error:
                # No exception of a handler may end the dispatch thread.
                if self._dispatch == "poll" and not isinstance(error, Exception):
                    raise
                self.count_error()
                if id(handler) not in self._reported:
                    self._reported.add(id(handler))
                    self._logger.exception(
                        "handler %r raised an exception on %s; further exceptions of this handler "
                        "are only counted",
                        handler,
                        type(event).__name__,
                    )


def require_callable(value: object, name: str) -> None:
    """Raise :class:`ConfigError` if a handler cannot be called."""
    if not callable(value):
        raise ConfigError(f"{name} must be callable, got {value!r}")


def _is_named(event: object, kind: str) -> bool:
    name = type(event).__name__
    # On the wire, TTS and STT messages have the names of their classes with a small first letter.
    return kind in (getattr(event, "type", None), name, name[0].lower() + name[1:])
