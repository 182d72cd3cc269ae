"""
One socket of a realtime session. The session may have several, one after another.

Threads and locks: those of ``base.py``; the monitor is the session's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from inworld_sync.audio.split import Splitter
from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    InworldError,
    ProtocolError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import AudioDelta, BackchannelDelta, ErrorReported
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.realtime.events import InvalidMessage
from inworld_sync.transport.websocket import Link
from inworld_sync.wire.codec import JsonObject, load_object
from inworld_sync.wire.realtime import events
from inworld_sync.wire.realtime.events import RealtimeMessage
from inworld_sync.wire.realtime.faults import SessionFault, is_fatal, service_error

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.core import RealtimeCore

__all__ = [
    "RealtimeConnection",
    "Received",
    "audio_splitter",
    "is_passing",
    "read_message",
    "told",
    "unfinished",
]

Received: TypeAlias = RealtimeMessage | InvalidMessage

# The service's will, or this side's fault: another connection would end in the same way.
_FINAL_CODES = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})

_AUDIO_TYPES = frozenset({AudioDelta.type.encode(), BackchannelDelta.type.encode()})


class RealtimeConnection(Connection[Received]):
    """
    A connection of a session.

    Args:
        core: The session's state, which follows every message.
        link: Open, and owned by this object from now on.
        options: The client's settings.
        on_closed: Called once, on an arbitrary thread, when both threads have left.
    """

    service = "realtime"

    def __init__(
        self,
        core: RealtimeCore,
        link: Link,
        options: Options,
        *,
        on_closed: Callable[[], None],
    ) -> None:
        # The session outlives its connections, and so do its streams and who waits for them.
        super().__init__(link, options, on_closed=on_closed, monitor=core.monitor)
        self._core = core
        self._splitter = audio_splitter()

    @property
    def name(self) -> str:
        """The connection's name, unique in the process."""
        return self._link.name

    @property
    def request_id(self) -> str | None:
        """The service's id for the connection, to quote to its support, or None."""
        return self._link.request_id

    def start(self) -> None:
        """Start both threads, or free all that this connection holds."""
        self._start()

    def send(
        self, message: str | bytes, timeout: float | None = None, *, needs_room: bool = True
    ) -> None:
        """
        Queue a message, or as bytes a whole masked frame; see :meth:`Link.send`.

        Raises:
            ConnectionLost: The connection is over; nothing was queued.
            ClosedError: This side closed it.
            DeadlineExceeded: There was no room in time; nothing was queued.
        """
        seconds = self._options.send_timeout if timeout is None else timeout
        if isinstance(message, bytes):
            self._link.send_frame(message, timeout=seconds)
        else:
            self._link.send(message, timeout=seconds, needs_room=needs_room)

    # The reader's part.

    def _parse(self, message: memoryview) -> Received:
        return read_message(message, self._splitter)

    def _apply(self, event: Received) -> None:
        self._core.receive(self, event)

    def _after(self, event: Received) -> None:
        if isinstance(event, SessionFault):
            raise service_error(event)
        if isinstance(event, ErrorReported) and is_fatal(event.error):
            raise service_error(event.error)

    def _must_pause(self) -> bool:
        if self._closing or self._link.end is not None or self._core.is_awaited:
            return False
        return self._core.worker.is_full or super()._must_pause()

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        try:
            return self._core.connection_ended(self, ended)
        except Exception:
            # Whoever waits must learn of the end, whatever is wrong with its meaning.
            self._core.end(ended)
            raise

    def _streams(self) -> list[EventStream[Any]]:
        return self._core.streams_of(self)


def audio_splitter() -> Splitter:
    """Make what :func:`read_message` takes; each reader has its own."""
    return Splitter("delta", "type")


def read_message(message: memoryview | bytes, splitter: Splitter) -> Received:
    """
    Read one message; its audio is decoded by the C core where it is written plainly.

    Raises:
        RemoteProtocolError: It is not JSON, which leaves nothing to be trusted.
    """
    split = splitter.split(message)
    audio = None
    # Other deltas are texts, which may look like base64.
    if split is not None and split.audio is not None and split.picks[0] in _AUDIO_TYPES:
        body, audio = load_object(split.rest), split.audio
    else:
        body = load_object(message)
    try:
        return events.read_object(body, audio)
    except InworldError as error:
        return _unreadable(body, error)


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


# What the end of a connection means for its session.


def told(ended: StreamEnded) -> StreamEnded:
    """The end of a connection as its session tells it."""
    if isinstance(ended.error, ServiceError):
        # This side has hung up, because of what the service said.
        return StreamEnded("server", ended.code, ended.reason, ended.error)
    if ended.error is None and ended.by == "server" and ended.code != 1000:
        return StreamEnded(ended.by, ended.code, ended.reason, unfinished(ended))
    return ended


def is_passing(ended: StreamEnded) -> bool:
    """Whether another connection may carry the session on."""
    if ended.by == "client" or isinstance(ended.error, (ProtocolError, ServiceError)):
        return False
    return ended.by == "network" or ended.code not in _FINAL_CODES


def unfinished(ended: StreamEnded) -> InworldError:
    """The error of what a session leaves unfinished that itself ends without one."""
    if ended.by == "client":
        return ClosedError("the session was closed before it was done")
    return ConnectionLost(
        f"the {ended.by} closed the session (code {ended.code} {ended.reason!r})",
        code=ended.code,
        reason=ended.reason,
    )
