"""
The user's audio on its way to the service, and the user's turn as the service reports it.

Lock rule: the lock of :class:`AudioInputQueue` is held while audio is converted and queued; it is
taken before the session's monitor, never after it. The monitor guards :class:`UserTurn`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import attrs

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
from inworld_sync.sessions.realtime.commands import Commands
from inworld_sync.wire.realtime.commands import APPEND_HEAD, APPEND_TAIL
from inworld_sync.wire.realtime.settings import Settings

__all__ = ["TURN_EVENTS", "AudioInputQueue", "UserTurn"]

# The service advises 100 to 200 ms for one message, and accepts at most 50 messages a second.
_BLOCK_MS = 100
_SAMPLE_BYTES = 2

# How 16-bit PCM is encoded in a frame of another format.
_FORMS = {MulawFormat: FrameForm.ULAW_FROM_S16, AlawFormat: FrameForm.ALAW_FROM_S16}

# Between two messages of the service about one turn of the user.
_LONGEST_SILENCE_SECONDS = 20.0

# The events that :meth:`UserTurn.handle` handles.
TURN_EVENTS = (
    InputSpeechStarted,
    InputSpeechStopped,
    InputAudioCommitted,
    InputAudioCleared,
    UserTranscriptUpdated,
)


class UserTurn:
    """
    The user's turn, over all connections of a session.

    Attributes:
        sent_ms: Audio sent since the last turn ended, or since the user began to speak.
        is_open: Whether the user began to speak and the audio is not committed yet.
    """

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.is_open = False
        self._active_at = 0.0

    @property
    def is_active(self) -> bool:
        """Whether the user speaks; False 20 s after the last message, since the end may be lost."""
        return self.is_open and time.monotonic() - self._active_at < _LONGEST_SILENCE_SECONDS

    def handle(self, event: RealtimeEvent) -> None:
        """Handle a message."""
        if isinstance(event, InputSpeechStarted):
            self.sent_ms, self.is_open = 0.0, True
        elif isinstance(event, (InputAudioCommitted, InputAudioCleared)):
            self.end()
        if isinstance(event, (InputSpeechStarted, InputSpeechStopped, UserTranscriptUpdated)):
            self._active_at = time.monotonic()

    def end(self) -> None:
        """End the turn."""
        self.sent_ms, self.is_open = 0.0, False


class _Frames:
    """
    Turns the user's audio into messages of 100 ms in the session's input format.

    Args:
        audio_format: The session's.
        from_hz: The sample rate of the user's audio.
        channels: Its channels, which are mixed to one.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(self, audio_format: AudioFormat, from_hz: int, channels: int) -> None:
        self.made_for = (audio_format, from_hz, channels)
        self._rate_hz = audio_format.sample_rate_hz
        self._is_float = isinstance(audio_format, Float32Format)
        self._input = AudioInput(from_hz, audio_format.sample_rate_hz, channels)
        self._block_bytes = audio_format.sample_rate_hz * _BLOCK_MS // 1000 * _SAMPLE_BYTES
        self._buffer = bytearray()
        self._builder = FrameBuilder(
            APPEND_HEAD, APPEND_TAIL, _FORMS.get(type(audio_format), FrameForm.BYTES)
        )

    def feed(self, audio: AudioData) -> Iterator[tuple[bytes, float]]:
        """
        Add a chunk; return whole masked frames, each with its milliseconds of audio.

        Raises:
            AudioError: It is not audio, see :meth:`AudioInput.feed`; nothing was added.
        """
        self._buffer += self._input.feed(audio)
        return self._frames()

    def finish(self) -> Iterator[tuple[bytes, float]]:
        """
        Return the rest as a last, shorter frame; nothing can be fed after it.

        Raises:
            AudioError: The last sample was cut; a second call returns the whole samples.
        """
        self._buffer += self._input.finish()
        return self._frames(last=True)

    def _frames(self, *, last: bool = False) -> Iterator[tuple[bytes, float]]:
        while len(self._buffer) >= self._block_bytes or (last and self._buffer):
            block = bytes(self._buffer[: self._block_bytes])
            del self._buffer[: self._block_bytes]
            duration_ms = len(block) // _SAMPLE_BYTES * 1000.0 / self._rate_hz
            samples = pcm.f32_from_s16(block) if self._is_float else block
            yield self._builder.build(samples), duration_ms


@attrs.define(eq=False)
class AudioInputQueue:
    """
    Sends the user's audio of one session, over all its connections.

    Args:
        commands: Sends the messages.
        settings: Hold the input format.
        turn: Counts the audio that was sent.

    Thread safety: every method may be called from any thread.
    """

    _commands: Commands
    _settings: Settings
    _turn: UserTurn
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _frames: _Frames | None = attrs.field(init=False, default=None)

    def send(
        self, audio: AudioData, sample_rate_hz: int | None, channels: int, timeout: float | None
    ) -> None:
        """Send audio; see :meth:`RealtimeSession.send_audio`."""
        with self._lock:
            with self._commands.monitor:
                self._commands.require_open()
                audio_format = self._settings.input_format
            made_for = (audio_format, sample_rate_hz or audio_format.sample_rate_hz, channels)
            frames = self._frames
            if frames is None or frames.made_for != made_for:
                self._finish(timeout)
                frames = self._frames = _Frames(*made_for)
            self._append(frames.feed(audio), timeout)

    def commit(self) -> None:
        """Send the buffered audio, and end the turn."""
        with self._lock:
            self._finish(None)
            self._commands.send(CommitInputAudio())

    def clear(self) -> None:
        """Drop the buffered audio, and the audio of the turn at the service."""
        with self._lock:
            self._frames = None
            self._commands.send(ClearInputAudio())

    def _finish(self, timeout: float | None) -> None:
        frames, self._frames = self._frames, None
        if frames is not None:
            self._append(frames.finish(), timeout)

    def _append(self, frames: Iterator[tuple[bytes, float]], timeout: float | None) -> None:
        for frame, duration_ms in frames:
            self._commands.send(frame, timeout)
            with self._commands.monitor:
                self._turn.sent_ms += duration_ms
