"""
Implements one connection of an STT stream. A stream may use several connections.

The threads and locks are those of ``base.py``. The monitor belongs to the stream. The reader
handles no message before :meth:`SttConnection.begin`, because the stream must first set the
position where the audio of the connection begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs

from inworld_sync.audio.frame import FrameBuilder, FrameForm
from inworld_sync.errors import (
    ConnectionLost,
)
from inworld_sync.locks import Event
from inworld_sync.models.events import InvalidMessage, StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.stt import SttEncoding, TranscribeConfig
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS
from inworld_sync.transport.websocket import Link
from inworld_sync.wire import stt
from inworld_sync.wire.faults import ConnectionFault
from inworld_sync.wire.stt_turns import SttEvent

__all__ = ["SttConnection", "SttOwner"]


class SttOwner(Protocol):
    """The stream to which a connection belongs."""

    changed: Monitor
    stream: EventStream[SttEvent]

    # Whether the stream sends no more audio and waits for the service's last messages.
    is_finishing: bool

    def receive(self, event: SttEvent) -> None:
        """Handle an event; the monitor is held."""

    def handle_end(self) -> None:
        """Handle the end of the connection; the monitor is held."""


class SttConnection(Connection[SttEvent]):
    """
    A connection on which the configuration was sent.

    Args:
        link: The open link.
        options: The client's options.
        config: The stream's settings.
        owner: The stream, which receives the events.
        on_closed: As in :class:`Connection`.
    """

    service = "stt"

    def __init__(
        self,
        link: Link,
        options: Options,
        config: TranscribeConfig,
        owner: SttOwner,
        *,
        on_closed: Callable[[], None],
    ) -> None:
        super().__init__(link, options, on_closed=on_closed, monitor=owner.changed)
        is_ulaw = config.encoding is SttEncoding.MULAW
        form = FrameForm.ULAW_FROM_S16 if is_ulaw else FrameForm.BYTES
        self._frames = FrameBuilder(stt.AUDIO_HEAD, stt.AUDIO_TAIL, form)
        self._owner = owner
        self._has_begun = Event()

    @classmethod
    def open(
        cls,
        connector: Connector,
        config: TranscribeConfig,
        owner: SttOwner,
        timeout: float | None,
        *,
        is_first: bool,
    ) -> SttConnection:
        """Connect and send the settings. The caller must call :meth:`begin` next."""
        place, name = connector.new_place(), cls.next_name()
        try:
            link = connector.open(
                stt.PATH, name, timeout=timeout, place=place, reconnects=not is_first
            )
            connection = cls(link, connector.options, config, owner, on_closed=place.release)
            connection._threads.start()
        except BaseException:
            place.release()
            raise
        try:
            connection._send(stt.transcribe_config(config))
        except BaseException:
            connection.begin()
            connection.abort()
            connection.close()
            raise
        return connection

    def begin(self) -> None:
        """Allow the reader to handle messages, because the stream is ready for messages."""
        self._has_begun.set()

    def send_audio(self, pcm: bytes) -> None:
        """Send 16-bit samples as one audio message."""
        self._link.send_frame(self._frames.build(pcm), timeout=self._options.send_timeout)

    def has_unread(self) -> bool:
        """Return whether messages that the reader has not received wait in the socket."""
        return self._link.has_unread()

    def end_turn(self) -> None:
        """Send ``endTurn``."""
        self._send(stt.end_turn())

    def close_stream(self) -> None:
        """Send ``closeStream``, since no more audio comes."""
        self._send(stt.close_stream())

    def _parse(self, message: memoryview) -> SttEvent | ConnectionFault:
        # The stream calls begin() as soon as the connection is open. If an exception prevents this
        # call, the end of the link ends the wait.
        while not self._has_begun.wait(LONGEST_WAIT_SECONDS) and self._link.end is None:
            pass
        warnings: list[str] = []
        event = stt.read(message, warnings)
        self._warn(warnings)
        if isinstance(event, stt.StreamFault):
            raise self._error_of(event)
        return event

    def _apply(self, event: SttEvent) -> None:
        self._owner.receive(event)

    def _apply_invalid(self, event: InvalidMessage) -> None:
        self._owner.receive(event)

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        self._owner.handle_end()
        if ended.by == "client" or ended.error is not None:
            return ended
        lost = ConnectionLost(
            f"the {ended.by} closed the connection (code {ended.code} {ended.reason!r})",
            code=ended.code,
            reason=ended.reason,
        )
        return attrs.evolve(ended, error=lost)

    def _must_pause(self) -> bool:
        # While a caller waits for the end, possibly no thread takes events. So the reader must not
        # pause then.
        return not self._owner.is_finishing and super()._must_pause()

    def _streams(self) -> list[EventStream[Any]]:
        # The end of one connection does not end the stream.
        return [self._owner.stream] if self.ended is None else []
