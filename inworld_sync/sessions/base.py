r"""
Defines the base class of connections. A connection has one socket and two threads.

Threads: the reader and the writer are daemons. Only the reader reads the socket and handles the
messages of the service. The writer sends what the calling threads could not send at once, and ends
requests whose deadline has passed. While the connection is open, only ``observer`` and ``on_trace``
of the user's code run on these threads. ``connection_threads.py`` starts and ends the threads, and
``close`` joins them.

Locks, in the order in which a thread acquires them:

1. the connection's monitor ``_changed`` guards the state of the protocol and every mailbox of its
   event streams. A thread that holds the monitor runs no user code, and waits only on the
   monitor's conditions;
2. the locks of the link (``transport``), with the lock around TLS as the last.

Back-pressure: if a mailbox is full, the reader stops reading until there is room. The reader
continues while a thread waits for another message of the same connection, since that message could
not arrive otherwise. So the mailbox of a consumer that has stopped taking events can grow, up to a
limit. Beyond this limit, the events of this mailbox are dropped, and the consumer gets an error.

Messages that cannot be read: the connection continues, and its streams get an
:class:`InvalidMessage`. If only an optional field has a wrong type, the field is ignored, and
``stats.warnings`` counts the field.

Faults: TTS and STT report an error of the whole connection as a message. The error is fatal only if
the service closes the connection right after the message. Then this error is the error of the
connection. Otherwise the error is logged, and handled as a message that cannot be read.

A connection belongs to the process that opened it. In a forked child, every call raises an error.
"""

from __future__ import annotations

import itertools
import math
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import attrs

from inworld_sync.errors import (
    AuthError,
    ClosedError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    ProtocolError,
    RemoteProtocolError,
    ServiceError,
    error_from_status,
)
from inworld_sync.models.events import InvalidMessage, StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.sessions.connection_threads import JOIN_SECONDS, ConnectionThreads
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.link_stats import LinkStats
from inworld_sync.transport.message_link import MessageLink
from inworld_sync.wire.codec import NotUtf8Error
from inworld_sync.wire.faults import ConnectionFault

__all__ = ["Connection"]

M = TypeVar("M")

# A paused reader checks for room at this interval. Usually the reader is notified earlier.
_PAUSE_SECONDS = 1.0

# After a pause of the reader, after a stop of this process, and after a deadline at which the
# socket had unread bytes, no request ends for this time. Meanwhile the reader can read the answers
# that wait in the socket.
_CATCH_UP_SECONDS = 1.0

# A connection logs this many unreadable messages at level WARNING, and further messages at DEBUG.
_LOGGED_MESSAGES = 10

# About how many bytes of memory an event needs for each byte of its JSON.
_MEMORY_PER_JSON_BYTE = 8


class Connection(Generic[M]):
    """
    One open connection to a service.

    The class of a service implements :meth:`_parse`, :meth:`_apply`, :meth:`_conclude` and
    :meth:`_streams`, and sends with :meth:`_send`.

    Args:
        link: An open link. This object closes the link.
        options: The settings of the client.
        on_closed: Called once, on an arbitrary thread, when the connection and its threads have
            ended.
        monitor: The monitor of an object that outlives the connection. With None, the connection
            has a monitor of its own.

    Attributes:
        name: A name that is unique in the process. Threads, traces and observers have this name.
        ended: How the connection ended; None while it is open. The reader sets this attribute once.
    """

    service: ClassVar[str]
    _numbers = itertools.count(1)

    def __init__(
        self,
        link: MessageLink,
        options: Options,
        *,
        on_closed: Callable[[], None] | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self.name = link.name
        self.ended: StreamEnded | None = None
        self._link = link
        self._options = options
        self._changed = monitor or Monitor(f"the connection {link.name}")
        self._closing = False
        self._failure: InworldError | None = None
        self._fault: ConnectionFault | None = None
        # How many threads wait for an answer. The reader pauses only if this is 0.
        self._needing = 0
        # The bytes of JSON and of audio in the present message; only the reader uses them.
        self._json_bytes = self._audio_bytes = 0
        self._odd_messages = 0  # how many messages were unreadable
        self._made: weakref.WeakSet[EventStream[Any]] = weakref.WeakSet()
        self._timer_at = math.inf
        self._is_paused = False
        # From this time on, requests end at their deadlines; see _CATCH_UP_SECONDS.
        self._expires_from = -math.inf
        # How often each field was ignored, by its name. Only the reader changes the counts.
        self._warnings: Counter[str] = Counter()
        self._threads = ConnectionThreads(self, link, self._changed, self._made, options, on_closed)

    @classmethod
    def next_name(cls) -> str:
        """Return a name for the next connection, unique in the process."""
        return f"{cls.service}-{next(cls._numbers)}"

    def _new_stream(self, name: str) -> EventStream[Any]:
        """Make a stream with this connection's monitor. ``close`` joins the stream's thread."""
        stream: EventStream[Any] = EventStream(
            self._changed,
            name=f"{self.name}-{name}",
            dispatch=self._options.dispatch,
            logger=self._options.logger,
        )
        with self._changed:
            self._made.add(stream)
        return stream

    # Methods that the class of a service implements.

    def _parse(self, message: memoryview) -> M | ConnectionFault:
        """
        Read one message; no lock is held.

        Raises:
            RemoteProtocolError: The message cannot be read; the connection continues.
        """
        raise NotImplementedError

    def _apply(self, event: M) -> None:
        """Handle an event, and append the event to its stream; the monitor is held."""
        raise NotImplementedError

    def _apply_invalid(self, event: InvalidMessage) -> None:
        """Handle a message that cannot be read; the monitor is held."""
        for stream in self._streams():
            stream.append(event)

    def _after(self, event: M) -> None:
        """Handle an event after :meth:`_apply`, without a lock. The method must not block."""

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        """Return how the connection ended, in terms of the service; the monitor is held."""
        return ended

    def _streams(self) -> list[EventStream[Any]]:
        """Return every stream of this connection; the monitor is held."""
        raise NotImplementedError

    def _expire(self, now: float) -> float:  # noqa: ARG002 - for the classes of the services
        """
        End the requests whose deadline has passed; the monitor is held.

        Args:
            now: The time of ``time.monotonic()`` in seconds.

        Returns:
            The next deadline; infinity if nothing is pending.
        """
        return math.inf

    # Deadlines of requests.

    def _expire_at(self, deadline: float) -> None:
        """
        Make the writer call :meth:`_expire` at *deadline* or earlier; the monitor is held.

        If a deadline moves to a later time, no call is needed, because :meth:`_expire` returns the
        new deadline. No request ends while the reader is paused, since the answer may wait in the
        socket.
        """
        if deadline < self._timer_at:
            self._timer_at = deadline
            self._link.set_timer(deadline)

    def _on_timer(self) -> None:
        with self._changed:
            now, due_at, self._timer_at = time.monotonic(), self._timer_at, math.inf
            if self.ended is not None:
                return
            is_behind = due_at != self._expires_from and self._link.has_unread()
            if self._is_paused or now - due_at > _CATCH_UP_SECONDS or is_behind:
                self._expires_from = now + _CATCH_UP_SECONDS
            is_early = now < self._expires_from
            self._expire_at(self._expires_from if is_early else self._expire(now))
            self._changed.notify_all()

    # Methods for the reader.

    def _end(self, failure: InworldError | None) -> None:
        """Handle the end of the link. *failure* is the error with which the reader ended."""
        self._failure = failure or self._failure
        reason = self._end_error()
        if isinstance(reason, AuthError):
            self._report_refusal()
        with self._changed:
            self._finish(reason)

    def _read_message(self, message: memoryview) -> None:
        event: M | InvalidMessage | ConnectionFault
        self._json_bytes, self._audio_bytes = len(message), 0
        try:
            event = self._parse(message)
        except RemoteProtocolError as error:
            if isinstance(error, NotUtf8Error) and self._link.refuse_text(error):
                return
            self._log_odd("a message was ignored", error)
            event = InvalidMessage("", error)
        if self._fault is not None:
            self._report_fault(self._fault)
        if isinstance(event, ConnectionFault):
            # Only the reader uses the fault, here and when the connection ends.
            self._fault = event
            self._options.logger.debug("%s: the service reported code %d", self.name, event.code)
        else:
            self._handle(event, self._json_bytes * _MEMORY_PER_JSON_BYTE + self._audio_bytes)
        if self._changed.has_full_queue:
            self._pause()

    def _pause(self) -> None:
        """Wait while a queue is full and no thread needs a further message."""
        with self._changed:
            self._changed.watchers += 1
            while self._must_pause():
                self._is_paused = True
                self._changed.wait(_PAUSE_SECONDS)
            self._changed.watchers -= 1
            if self._is_paused:
                self._is_paused = False
                self._expires_from = time.monotonic() + _CATCH_UP_SECONDS

    def _handle(self, event: M | InvalidMessage, size_bytes: int) -> None:
        with self._changed:
            self._changed.message_bytes = size_bytes
            try:
                if isinstance(event, InvalidMessage):
                    self._apply_invalid(event)
                else:
                    self._apply(event)
            finally:
                self._changed.message_bytes = 0
            if self._changed.waiters:
                self._changed.notify_all()
        if not isinstance(event, InvalidMessage):
            self._after(event)

    def _log_odd(self, what: str, error: InworldError) -> None:
        """Log an error after which the connection continues. There may be thousands of errors."""
        self._odd_messages += 1
        logger = self._options.logger
        log = logger.warning if self._odd_messages <= _LOGGED_MESSAGES else logger.debug
        log("%s: %s: %s", self.name, what, error)

    def _warn(self, names: list[str]) -> None:
        """Count ignored fields of a message. Log each name once. Only the reader calls this."""
        for name in names:
            self._warnings[name] += 1
            if self._warnings[name] == 1:
                self._options.logger.warning(
                    "%s: ignored %s, which could not be read; stats.warnings counts further ones",
                    self.name,
                    name,
                )

    def _report_fault(self, fault: ConnectionFault) -> None:
        """Report a fault after which the connection continued."""
        self._fault = None
        error = self._error_of(fault)
        self._log_odd("the service reported", error)
        self._handle(InvalidMessage("error", error), len(fault.message) * _MEMORY_PER_JSON_BYTE)

    def _error_of(self, fault: ConnectionFault) -> ServiceError:
        return error_from_status(
            fault.code, fault.message, fault.details, request_id=self._link.request_id
        )

    def _must_pause(self) -> bool:
        is_needed = self._closing or self._needing or self._link.end is not None
        if is_needed or not self._changed.has_full_queue:
            return False
        streams = self._streams()
        is_full = self._changed.has_full_queue = any(stream.is_full for stream in streams)
        return is_full and not any(stream.is_starving for stream in streams)

    def _end_error(self) -> InworldError | None:
        """Return the error with which the link ended. Only the reader calls this method."""
        end = self._link.end
        assert end is not None, "the reader ends only after the link"
        if self._fault is not None and end.by != "client":
            return self._error_of(self._fault)
        return self._failure or end.error

    def _report_refusal(self) -> None:
        """Drop the refused credential, so that no waiting thread uses this credential again."""
        try:
            self._link.on_refused()
        except Exception:
            self._options.logger.exception(
                "%s: the credential's rejected() raised an exception", self.name
            )

    def _finish(self, reason: InworldError | None) -> None:
        end = self._link.end
        assert end is not None
        ended = StreamEnded(end.by, end.code, end.reason, reason)
        try:
            self.ended = self._conclude(ended)
        except Exception as error:
            # Waiting threads must be notified, even if ``_conclude`` failed.
            self._options.logger.exception("%s: the end was not handled", self.name)
            self.ended = attrs.evolve(ended, error=ended.error or _failure_of("reader", error))
        for stream in self._streams():
            stream.end(self.ended)
        self._changed.notify_all()

    def with_cause(self, error: DeadlineExceeded) -> DeadlineExceeded:
        """Return *error*. If the service's last message was an error, that error is the cause."""
        if self._fault is None:
            return error
        cause = self._error_of(self._fault)
        explained = DeadlineExceeded(f"{error}; the service had reported: {cause}")
        explained.__cause__ = cause
        return explained

    # Methods for the users of all services.

    @property
    def stats(self) -> LinkStats:
        """A snapshot of the connection's counters and times."""
        return attrs.evolve(self._link.stats(), warnings=dict(self._warnings))

    def _begin_close(self) -> None:
        """Begin to close and return at once, so that many connections can close in parallel."""
        if self._mark_closing():
            self._link.close(wait=False)

    def abort(self) -> None:
        """End the connection at once, without a close frame, since the service does not answer."""
        if self._mark_closing():
            self._link.abort("aborted")

    def _mark_closing(self) -> bool:
        """
        Record that the connection closes, so that the reader does not pause. Return False in a
        forked child.
        """
        if self._changed.in_child:
            return False
        self._threads.begin_close(self)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """
        End the connection. The method may be called from any thread, in any state, and twice.

        Queued messages are sent first. Then the service has ``close_timeout`` seconds to answer.
        When this method returns, every stream of the connection and all its threads have ended,
        except for a thread whose handler does not return.
        """
        if self._changed.in_child:
            return
        self._begin_close()
        self._link.close()
        deadline = Deadline(self._options.close_timeout + JOIN_SECONDS, "joining")
        self._threads.join(deadline)
        with self._changed:
            streams = {*self._streams(), *self._made}
        for stream in streams:
            stream.join(deadline.remaining() or 0.0)

    def _send(self, message: str, timeout: float | None = None) -> None:
        """Queue a message. The monitor must not be held, since this method may wait."""
        self._link.send(message, timeout=self._options.send_timeout if timeout is None else timeout)

    def _require_open(self) -> None:
        ended = self.ended
        if ended is None and not self._closing:
            return
        error = None if ended is None else ended.error
        if ended is None or error is None or isinstance(error, ClosedError):
            by = "client" if ended is None else ended.by
            raise ClosedError(f"the {by} closed the connection, open another")
        raise ConnectionLost(
            f"the connection has ended: {error}", code=ended.code, reason=ended.reason
        ) from error


def _failure_of(thread: str, error: Exception) -> ProtocolError:
    failure = ProtocolError(f"the {thread} failed: {type(error).__name__}")
    failure.__cause__ = error
    return failure
