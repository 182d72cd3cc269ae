"""
Keeps the audio of a WebRTC session's replies until the audio is encoded for the track.

A reply is generated faster than it is played, so its audio waits here. The track gets the audio in
real time, and gets silence if there is no audio.

Source for the events: the OpenAI Realtime reference, ``output_audio_buffer``.

Threads: the threads of the responses add audio, the session's thread clears it, and the thread of
the event loop removes it. Lock: ``_changed`` guards the queue. Events are sent while the lock is
held, so that the events have the order of the changes. Sending never waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Mapping

import attrs

from inworld_sync.emulator.peer import PeerGone
from inworld_sync.emulator.realtime.events import EventSender
from inworld_sync.emulator.realtime.formats import TRACK_FORMAT

__all__ = ["TrackAudio"]

# A response waits while more audio than this is queued. The service's limit is not known.
_MAX_QUEUED_BYTES = 2 * 60 * TRACK_FORMAT.sample_rate_hz
_WAIT_SECONDS = 0.1


@attrs.define
class _Part:
    """
    Audio of one response, or the end of its message.

    Attributes:
        response_id: The id of the response.
        pcm: The samples that are not played yet.
        is_end: Whether the message ends here.
    """

    response_id: str
    pcm: memoryview = attrs.field(repr=False)
    is_end: bool = False


class TrackAudio:
    """
    The queue between the responses of a session and its track.

    Thread safety: any thread may use this object.
    """

    def __init__(self, events: EventSender) -> None:
        self._events = events
        self._changed = threading.Condition()
        self._parts: deque[_Part] = deque()
        self._queued_bytes = 0
        self._playing_id: str | None = None
        # The audio of these responses was cleared. Their later audio is dropped.
        self._cleared_ids: set[str] = set()
        self._is_closed = False

    def begin(self, response_id: str) -> None:
        """Do nothing, since ``output_audio_buffer.started`` is sent when the audio is played."""

    def send(
        self,
        place: Mapping[str, object],
        audio: bytes,
        times: Mapping[str, object],
        cancelled: threading.Event,
    ) -> None:
        """Queue audio for the track. Timestamps are sent in an event without audio."""
        response_id = str(place["response_id"])
        if times:
            self._events.send("response.output_audio.delta", **place, **times)
        with self._changed:
            # A cancel does not notify this condition, so each wait is short.
            while self._queued_bytes > _MAX_QUEUED_BYTES and not (
                self._is_closed or cancelled.is_set() or response_id in self._cleared_ids
            ):
                self._changed.wait(_WAIT_SECONDS)
            if self._is_closed:
                raise PeerGone("the call has ended")
            if not cancelled.is_set() and response_id not in self._cleared_ids:
                self._parts.append(_Part(response_id, memoryview(audio)))
                self._queued_bytes += len(audio)

    def end(self, response_id: str) -> None:
        """Queue the end of a message."""
        with self._changed:
            if response_id in self._cleared_ids:
                self._cleared_ids.discard(response_id)
            else:
                self._parts.append(_Part(response_id, memoryview(b""), is_end=True))

    def interrupt(self) -> None:
        """Drop the audio that is not played yet. Send ``cleared`` if there was such audio."""
        with self._changed:
            if (response_id := self._drop()) is not None:
                self._events.send("output_audio_buffer.cleared", response_id=response_id)

    def clear(self, active_id: str | None) -> None:
        """Drop the audio that is not played yet, and send ``output_audio_buffer.cleared``."""
        with self._changed:
            response_id = self._drop(active_id) or active_id
            self._events.send("output_audio_buffer.cleared", response_id=response_id)

    def pop(self, size: int) -> bytes:
        """Return the next *size* bytes. Silence replaces missing audio."""
        found = bytearray()
        with self._changed, contextlib.suppress(PeerGone):
            while self._parts and len(found) < size:
                part = self._parts[0]
                if part.is_end:
                    self._parts.popleft()
                    if part.response_id == self._playing_id:
                        self._playing_id = None
                        self._send("stopped", part.response_id)
                    continue
                if part.response_id != self._playing_id:
                    self._playing_id = part.response_id
                    self._send("started", part.response_id)
                piece = part.pcm[: size - len(found)]
                found += piece
                part.pcm = part.pcm[len(piece) :]
                self._queued_bytes -= len(piece)
                if not part.pcm:
                    self._parts.popleft()
            self._changed.notify_all()
        return bytes(found).ljust(size, b"\0")

    def close(self) -> None:
        """Drop all audio. A later ``send`` raises PeerGone."""
        with self._changed:
            self._is_closed = True
            self._drop()

    def _send(self, what: str, response_id: str) -> None:
        self._events.send(f"output_audio_buffer.{what}", response_id=response_id)

    def _drop(self, active_id: str | None = None) -> str | None:
        """Drop the queue; return the response that was played, or that would have been next."""
        ended = {part.response_id for part in self._parts if part.is_end}
        queued = [part.response_id for part in self._parts]
        found = self._playing_id or (queued[0] if queued else None)
        dropped = {each for each in (*queued, self._playing_id, active_id) if each is not None}
        # A message whose end was queued gets no more audio.
        self._cleared_ids |= dropped - ended
        self._parts.clear()
        self._queued_bytes = 0
        self._playing_id = None
        self._changed.notify_all()
        return found
