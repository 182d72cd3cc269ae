"""
Runs one connection of a realtime session. A session may have several connections in succession.

The threads and locks are those of ``base.py``. The monitor belongs to the session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import attrs

from inworld_sync.audio.split import Splitter
from inworld_sync.errors import (
    AuthError,
    ClosedError,
    ConnectionLost,
    InworldError,
    ProtocolError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.events import InvalidMessage, StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import AudioDelta, BackchannelDelta, ErrorReported
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.transport.message_link import MessageLink
from inworld_sync.wire.codec import JsonObject, NotUtf8Error, load_object
from inworld_sync.wire.realtime import events
from inworld_sync.wire.realtime.delta_template import DeltaTemplate
from inworld_sync.wire.realtime.events import RealtimeMessage
from inworld_sync.wire.realtime.faults import (
    SessionFault,
    is_expired,
    is_fatal,
    service_error,
)

__all__ = [
    "MessageReader",
    "RealtimeConnection",
    "Received",
    "error_of",
    "session_end",
]

Received: TypeAlias = RealtimeMessage | InvalidMessage

# After these close codes, the client does not reconnect. The service has ended the session, or the
# client has violated the protocol, so a new connection would end in the same way.
_FINAL_CODES = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})

_AUDIO_TYPES = frozenset({AudioDelta.type.encode(), BackchannelDelta.type.encode()})


class Owner(Protocol):
    """
    The attributes and methods of a session that its connection uses. The caller of every method
    holds the monitor.

    Attributes:
        monitor: Guards the session and its connections.
        executor: Queues audio for a player. The reader may pause while the queue is full.
    """

    monitor: Monitor
    executor: Executor

    @property
    def has_waiting_threads(self) -> bool:
        """Whether a thread waits for an answer, so that the reader must not pause."""
        ...

    def receive(self, connection: RealtimeConnection, event: Received) -> None:
        """Handle one message of the service."""

    def expire(self, connection: RealtimeConnection, now: float) -> float:
        """End the requests whose deadline has passed, and return the next deadline."""
        ...

    def streams_of(self, connection: RealtimeConnection) -> list[EventStream[Any]]:
        """Return the streams that a connection feeds."""
        ...

    def connection_ended(self, connection: RealtimeConnection, ended: StreamEnded) -> StreamEnded:
        """Handle the end of a connection, and return the description of the end for users."""
        ...

    def end(self, ended: StreamEnded) -> None:
        """End the session."""


class RealtimeConnection(Connection[Received]):
    """
    A connection of a session.

    Args:
        owner: The session's state, which handles every message.
        link: An open link; this object closes the link.
        options: The client's settings.
        on_closed: Called once, on an arbitrary thread, when both threads have ended.
        renews_credential: Whether the next connection may have another credential.
    """

    service = "realtime"

    def __init__(
        self,
        owner: Owner,
        link: MessageLink,
        options: Options,
        *,
        on_closed: Callable[[], None],
        renews_credential: bool = False,
    ) -> None:
        # The streams and the waiting threads belong to the session, which continues after the end
        # of a connection.
        super().__init__(link, options, on_closed=on_closed, monitor=owner.monitor)
        self._owner = owner
        self._renews_credential = renews_credential
        self._reader = MessageReader()
        # The error in the latest message, if that message was an error without a type.
        self._latest_error: ServiceError | None = None

    def is_passing(self, ended: StreamEnded) -> bool:
        """Return whether the session may continue on a new connection after this end."""
        if isinstance(ended.error, AuthError):
            return self._renews_credential
        if isinstance(ended.error, ServiceError):
            return is_expired(ended.error.code, ended.error.details)
        if ended.by == "client" or isinstance(ended.error, ProtocolError):
            return False
        return ended.by == "network" or ended.code not in _FINAL_CODES

    def start(self) -> None:
        """Start both threads. If this fails, free all that this connection holds."""
        self._threads.start()

    def send(
        self, message: str | bytes, timeout: float | None = None, *, needs_room: bool = True
    ) -> None:
        """
        Queue a message. A ``str`` is the text of the message. ``bytes`` are a block of audio, see
        :meth:`MessageLink.send_frame`.

        Raises:
            ConnectionLost: The connection has ended; nothing was queued.
            ClosedError: This side closed the connection.
            DeadlineExceeded: There was no room in time; nothing was queued.
        """
        seconds = self._options.send_timeout if timeout is None else timeout
        if isinstance(message, bytes):
            self._link.send_frame(message, timeout=seconds)
        else:
            self._link.send(message, timeout=seconds, needs_room=needs_room)

    def settle_input(self, *, drop: bool) -> None:
        """Wait until the service has the audio that was sent; see the link."""
        self._link.settle_input(drop=drop, timeout=self._options.send_timeout)

    def expire_at(self, deadline: float) -> None:
        """Call the owner's ``expire`` at *deadline* or earlier. The caller holds the monitor."""
        self._expire_at(deadline)

    def _expire(self, now: float) -> float:
        return self._owner.expire(self, now)

    # Methods of the reader thread.

    def _parse(self, message: memoryview) -> Received:
        warnings: list[str] = []
        event = self._reader.read(message, warnings)
        if warnings:
            self._warn(warnings)
        if isinstance(event, (AudioDelta, BackchannelDelta)):
            self._audio_bytes = len(event.audio)
            # In base64, four characters encode three bytes.
            self._json_bytes -= self._audio_bytes * 4 // 3
        return event

    def _apply(self, event: Received) -> None:
        self._latest_error = None
        self._owner.receive(self, event)

    def _apply_invalid(self, event: InvalidMessage) -> None:
        self._latest_error = event.error if isinstance(event.error, ServiceError) else None
        self._owner.receive(self, event)

    def _after(self, event: Received) -> None:
        if type(event) is AudioDelta:
            return
        if isinstance(event, SessionFault):
            raise service_error(event)
        if isinstance(event, ErrorReported) and is_fatal(event.error):
            raise service_error(event.error)

    def _must_pause(self) -> bool:
        if self._owner.has_waiting_threads:
            return False
        if self._owner.executor.is_full:
            return not self._closing and self._link.end is None
        return super()._must_pause()

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        if self._latest_error is not None and ended.by != "client":
            # The service closed the connection because of this error.
            ended = attrs.evolve(ended, error=self._latest_error)
        try:
            return self._owner.connection_ended(self, ended)
        except Exception:
            # Waiting threads must wake, even if handling the end has raised an exception.
            self._owner.end(ended)
            raise

    def _streams(self) -> list[EventStream[Any]]:
        return self._owner.streams_of(self)


class MessageReader:
    """
    Reads the messages of one connection. The C core decodes audio whose string has no escapes.

    Thread safety: none; the reader of the connection owns this object.
    """

    def __init__(self) -> None:
        self._splitter = Splitter("delta", "type", "event_id")
        self._template = DeltaTemplate()

    def read(self, message: memoryview | bytes, warnings: list[str] | None = None) -> Received:
        """
        Read one message.

        Args:
            message: The JSON text.
            warnings: Gets the names of optional fields that were ignored.

        Returns:
            The event. The event is an :class:`InvalidMessage` if the message cannot be read, or if
            the message is an error that has no type and does not end the session.
        """
        split = self._splitter.split(message)
        if split is None:
            return _read(message, None, warnings)
        audio, rest, (kind, event_id) = split
        # Deltas of other types are text, which may look like base64.
        if audio is None or kind not in _AUDIO_TYPES:
            return _read(message, None, warnings)
        event: Received | None = self._template.read(rest, event_id, audio)
        if event is None:
            unread: list[str] = []
            event = _read(rest, audio, unread)
            if isinstance(event, AudioDelta) and not unread:
                self._template.learn(rest, event_id, event)
            if warnings is not None:
                warnings += unread
        return event


def _read(message: memoryview | bytes, audio: bytes | None, warnings: list[str] | None) -> Received:
    try:
        body = load_object(message)
    except NotUtf8Error:
        raise
    except RemoteProtocolError as error:
        return InvalidMessage("", error)
    try:
        event = events.read_object(body, audio, warnings)
    except InworldError as error:
        return _unreadable(body, error)
    if isinstance(event, SessionFault) and not is_fatal(event):
        return InvalidMessage("", service_error(event))
    return event


def _unreadable(body: JsonObject, error: InworldError) -> InvalidMessage:
    response = body.get("response")
    response_id = body.get("response_id")
    if response_id is None and isinstance(response, dict):
        response_id = response.get("id")
    name = body.get("type")
    if not isinstance(error, RemoteProtocolError):
        cause, error = error, RemoteProtocolError(f"cannot read {name}: {error}")
        error.__cause__ = cause
    return InvalidMessage(str(name), error, response_id if isinstance(response_id, str) else None)


# The effect of the end of a connection on its session.


def session_end(ended: StreamEnded) -> StreamEnded:
    """Convert the end of a connection to the end of its session."""
    if isinstance(ended.error, ServiceError):
        # This side has closed the connection because of the service's error.
        return StreamEnded("server", ended.code, ended.reason, ended.error)
    if ended.error is None and ended.by == "server" and ended.code != 1000:
        return StreamEnded(ended.by, ended.code, ended.reason, error_of(ended))
    return ended


def error_of(ended: StreamEnded) -> InworldError:
    """Return the error for work that is unfinished when a session ends."""
    if ended.error is not None:
        return ended.error
    if ended.by == "client":
        return ClosedError("the session was closed before the call was done")
    return ConnectionLost(
        f"the {ended.by} closed the session (code {ended.code} {ended.reason!r})",
        code=ended.code,
        reason=ended.reason,
    )
