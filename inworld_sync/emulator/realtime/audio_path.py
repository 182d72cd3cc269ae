"""
Sends the audio of a reply to the client. On a WebSocket, the audio is in events. A WebRTC
connection has an audio track instead; see ``rtc/track_audio.py``.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Protocol

from inworld_sync.emulator.realtime.events import EventSender

__all__ = ["AudioPath", "EventAudio"]


class AudioPath(Protocol):
    """
    Sends the audio of one session's replies.

    Thread safety: any thread may use this object.
    """

    def begin(self, response_id: str) -> None:
        """Handle the beginning of a spoken message."""
        ...

    def send(
        self,
        place: Mapping[str, object],
        audio: bytes,
        times: Mapping[str, object],
        cancelled: threading.Event,
    ) -> None:
        """
        Send a piece of a spoken message. Wait while too much audio is queued.

        Args:
            place: The fields that identify the message to which the audio belongs.
            audio: The audio in the output format of the session.
            times: The field with the times of words; empty if no times are sent.
            cancelled: An event that is set when the response is cancelled.

        Raises:
            PeerGone: The connection has ended.
        """
        ...

    def end(self, response_id: str) -> None:
        """Handle the end of a spoken message."""
        ...

    def interrupt(self) -> None:
        """Handle the start of the user's speech. The active response was already cancelled."""
        ...

    def clear(self, active_id: str | None) -> None:
        """Handle ``output_audio_buffer.clear``. *active_id* is the response in progress."""
        ...


class EventAudio:
    """
    Sends audio in events.

    Args:
        events: The object that sends the events.
        with_buffer_events: Whether to send ``output_audio_buffer.started`` and ``stopped``.
    """

    def __init__(self, events: EventSender, *, with_buffer_events: bool) -> None:
        self._events = events
        self._with_buffer_events = with_buffer_events

    def begin(self, response_id: str) -> None:
        """Send ``output_audio_buffer.started`` if the settings ask for this event."""
        if self._with_buffer_events:
            self._events.send("output_audio_buffer.started", response_id=response_id)

    def send(
        self,
        place: Mapping[str, object],
        audio: bytes,
        times: Mapping[str, object],
        cancelled: threading.Event,
    ) -> None:
        """Send ``response.output_audio.delta``."""
        del cancelled
        delta = base64.b64encode(audio).decode()
        self._events.send_audio("response.output_audio.delta", **place, delta=delta, **times)

    def end(self, response_id: str) -> None:
        """Send ``output_audio_buffer.stopped`` if the settings ask for this event."""
        if self._with_buffer_events:
            self._events.send("output_audio_buffer.stopped", response_id=response_id)

    def interrupt(self) -> None:
        """Do nothing, because audio in events is already at the client."""

    def clear(self, active_id: str | None) -> None:
        """Send ``output_audio_buffer.cleared``."""
        self._events.send("output_audio_buffer.cleared", response_id=active_id)
