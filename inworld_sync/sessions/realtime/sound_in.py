"""
What the user says on its way to the service, and what the service makes of it.

Lock rule: the lock of :class:`SoundIn` is held while sound is converted and queued; it is taken
before the session's monitor, never after it. The monitor guards :class:`UserTurn`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from inworld_sync.audio import pcm
from inworld_sync.audio.frame import FrameBuilder, FrameForm
from inworld_sync.audio.source import AudioData, AudioInput
from inworld_sync.models.realtime import (
    AlawFormat,
    AudioFormat,
    ClearInputAudio,
    CommitInputAudio,
    Float32Format,
    InputAudioCleared,
    InputAudioCommitted,
    InputSpeechStarted,
    InputSpeechStopped,
    MulawFormat,
    RealtimeEvent,
    UserTranscriptUpdated,
)
from inworld_sync.wire.realtime.commands import APPEND_HEAD, APPEND_TAIL

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.core import RealtimeCore

__all__ = ["SoundIn", "UserTurn"]

# The service advises 100 to 200 ms for one message, and takes no more than 50 messages a second.
_BLOCK_MS = 100
_SAMPLE_BYTES = 2

# Within a turn of the user, for a service to say more of it.
_LONGEST_SILENCE_SECONDS = 20.0


class UserTurn:
    """
    What the user is saying, over all connections of a session.

    Attributes:
        sent_ms: Sound since the last turn ended, or since the user began to speak.
        is_open: Whether the service has said that the user speaks, and not yet that it took it in.
    """

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.is_open = False
        self._heard_at = 0.0

    @property
    def is_heard(self) -> bool:
        """Whether more is to be said of it; not for ever, for its end may be left out."""
        return self.is_open and time.monotonic() - self._heard_at < _LONGEST_SILENCE_SECONDS

    def note(self, event: RealtimeEvent) -> None:
        """Follow a message."""
        if isinstance(event, InputSpeechStarted):
            self.sent_ms, self.is_open = 0.0, True
        elif isinstance(event, (InputAudioCommitted, InputAudioCleared)):
            self.end()
        if isinstance(event, (InputSpeechStarted, InputSpeechStopped, UserTranscriptUpdated)):
            self._heard_at = time.monotonic()

    def end(self) -> None:
        """Begin the next one."""
        self.sent_ms, self.is_open = 0.0, False


class _Frames:
    """
    Turns what a user sends into messages of 100 ms in the session's input format.

    Args:
        audio_format: The session's.
        from_hz: Samples a second of what is fed.
        channels: Samples a frame of what is fed; mixed to one.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(self, audio_format: AudioFormat, from_hz: int, channels: int) -> None:
        self.made_for = (audio_format, from_hz, channels)
        self._rate_hz = audio_format.sample_rate_hz
        self._is_float = isinstance(audio_format, Float32Format)
        self._input = AudioInput(from_hz, audio_format.sample_rate_hz, channels)
        self._block_bytes = audio_format.sample_rate_hz * _BLOCK_MS // 1000 * _SAMPLE_BYTES
        self._held = bytearray()
        self._builder = FrameBuilder(APPEND_HEAD, APPEND_TAIL, _form(audio_format))

    def feed(self, audio: AudioData) -> Iterator[tuple[bytes, float]]:
        """
        Take a chunk; give whole masked frames, each with its milliseconds of sound.

        Raises:
            AudioError: It is no sound, see :meth:`AudioInput.feed`; nothing of it was taken.
        """
        self._held += self._input.feed(audio)
        return self._frames()

    def finish(self) -> Iterator[tuple[bytes, float]]:
        """
        Give the rest as a last, shorter frame; nothing can be fed after it.

        Raises:
            AudioError: The last sample was cut; what is whole is given all the same by a second
                call.
        """
        self._held += self._input.finish()
        return self._frames(last=True)

    def _frames(self, *, last: bool = False) -> Iterator[tuple[bytes, float]]:
        while len(self._held) >= self._block_bytes or (last and self._held):
            block = bytes(self._held[: self._block_bytes])
            del self._held[: self._block_bytes]
            duration_ms = len(block) // _SAMPLE_BYTES * 1000.0 / self._rate_hz
            sound = pcm.f32_from_s16(block) if self._is_float else block
            yield self._builder.build(sound), duration_ms


class SoundIn:
    """
    The ears of one session, over all its connections.

    Args:
        core: The session.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, core: RealtimeCore) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._frames: _Frames | None = None

    def send(
        self, audio: AudioData, sample_rate_hz: int | None, channels: int, timeout: float | None
    ) -> None:
        """Send sound; see :meth:`RealtimeSession.send_audio`."""
        with self._lock:
            with self._core.monitor:
                self._core.require_open()
                audio_format = self._core.settings.input_format
            made_for = (audio_format, sample_rate_hz or audio_format.sample_rate_hz, channels)
            frames = self._frames
            if frames is None or frames.made_for != made_for:
                self._finish(timeout)
                frames = self._frames = _Frames(*made_for)
            self._append(frames.feed(audio), timeout)

    def commit(self) -> None:
        """Send what is held back, and end the turn."""
        with self._lock:
            self._finish(None)
            self._core.send(CommitInputAudio())

    def clear(self) -> None:
        """Forget what is held back, and what was sent of the turn."""
        with self._lock:
            self._frames = None
            self._core.send(ClearInputAudio())

    def _finish(self, timeout: float | None) -> None:
        frames, self._frames = self._frames, None
        if frames is not None:
            self._append(frames.finish(), timeout)

    def _append(self, frames: Iterator[tuple[bytes, float]], timeout: float | None) -> None:
        for frame, duration_ms in frames:
            self._core.send(frame, timeout)
            with self._core.monitor:
                self._core.turn.sent_ms += duration_ms


def _form(audio_format: AudioFormat) -> FrameForm:
    if isinstance(audio_format, MulawFormat):
        return FrameForm.ULAW_FROM_S16
    if isinstance(audio_format, AlawFormat):
        return FrameForm.ALAW_FROM_S16
    return FrameForm.BYTES
