"""
Sends the user's audio to the service, and follows the user's turn as the service reports it.

Lock rule: the lock of :class:`AudioInputQueue` is held while audio is converted and queued. A
thread acquires this lock before the session's monitor, never after it. The monitor guards
:class:`UserTurn`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import attrs

from inworld_sync.audio import pcm
from inworld_sync.audio.frame import FrameBuilder, FrameForm
from inworld_sync.audio.source import AudioData, AudioInput
from inworld_sync.errors import AudioError
from inworld_sync.models.checks import require_timeout
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

# The longest time between two messages of the service about one turn of the user.
_LONGEST_SILENCE_SECONDS = 20.0

# How much audio from before a turn is kept. The service reports the beginning of a turn late.
_MARGIN_MS = 2000.0

# The most audio of a turn that is kept.
_MAX_KEPT_MS = 60_000.0

# The time between two messages that are sent again.
_PACE_SECONDS = 0.02

# A message, and its milliseconds of audio.
_Message: TypeAlias = "tuple[bytes | str, float]"

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

    This object keeps the audio of the turn, so that the audio can be sent again on a new
    connection. If the service detects turns, the last seconds of audio between two turns are kept
    too. This audio may have the beginning of speech that the service has not detected yet.

    Attributes:
        sent_ms: How many milliseconds of audio were sent since the user began to speak. Before the
            user speaks, the audio since the end of the last turn is counted.
        is_open: Whether the user began to speak and the audio is not committed yet.
        unsent: The messages that the present connection must get before any new audio.
    """

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self.is_open = False
        self.unsent: deque[_Message] = deque()
        self._kept: deque[_Message] = deque()
        self._kept_ms = 0.0
        self._active_at = 0.0

    @property
    def is_active(self) -> bool:
        """True while the user speaks, until 20 s after the last message about the turn."""
        return self.is_open and time.monotonic() - self._active_at < _LONGEST_SILENCE_SECONDS

    def add(self, message: bytes | str, duration_ms: float, *, is_manual: bool) -> None:
        """Record that a message with audio, or a commit, was sent."""
        self.sent_ms += duration_ms
        self._kept.append((message, duration_ms))
        self._kept_ms += duration_ms
        turn_ms = self.sent_ms if self.is_open or is_manual else 0.0
        limit_ms = min(turn_ms + _MARGIN_MS, _MAX_KEPT_MS)
        while self._kept_ms - self._kept[0][1] >= limit_ms:
            self._kept_ms -= self._kept.popleft()[1]

    def handle(self, event: RealtimeEvent) -> None:
        """Handle a message."""
        if isinstance(event, InputSpeechStarted):
            self.sent_ms, self.is_open = 0.0, True
        elif isinstance(event, (InputAudioCommitted, InputAudioCleared)):
            self.end()
        if isinstance(event, (InputSpeechStarted, InputSpeechStopped, UserTranscriptUpdated)):
            self._active_at = time.monotonic()

    def end(self) -> None:
        """End the turn, and forget its audio."""
        self.sent_ms, self.is_open = 0.0, False
        self._kept.clear()
        self._kept_ms = 0.0

    def move(self, *, is_renewed: bool, is_manual: bool) -> float:
        """
        Move to a new connection, which gets the kept audio.

        Args:
            is_renewed: Whether the client renewed the session, which it does between two turns.
                Then all kept audio is sent again. Otherwise only the audio of an open turn is sent
                again.
            is_manual: Whether the application ends turns.

        Returns:
            How many milliseconds of the open turn are lost.
        """
        is_open = self.is_open or is_manual
        lost_ms = max(0.0, self.sent_ms - self._kept_ms) if is_open else 0.0
        if is_open or is_renewed:
            self.unsent.extendleft(reversed(self._kept))
        self.end()
        return lost_ms


class _Frames:
    """
    Turns the user's audio into messages of 100 ms in the session's input format.

    Args:
        audio_format: The input format of the session.
        from_hz: The sample rate of the user's audio.
        channels: The number of channels of the user's audio, which are mixed to one.
        is_encoded: Whether the audio has the input format already, so that it is sent unchanged.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(
        self, audio_format: AudioFormat, from_hz: int, channels: int, *, is_encoded: bool = False
    ) -> None:
        self.made_for = (audio_format, from_hz, channels, is_encoded)
        self._rate_hz = audio_format.sample_rate_hz
        self._is_float = isinstance(audio_format, Float32Format) and not is_encoded
        self._input = AudioInput(from_hz, audio_format.sample_rate_hz, channels)
        self._is_encoded = is_encoded
        self._sample_bytes = audio_format.bytes_per_sample if is_encoded else _SAMPLE_BYTES
        self._block_bytes = audio_format.sample_rate_hz * _BLOCK_MS // 1000 * self._sample_bytes
        self._buffer = bytearray()
        form = FrameForm.BYTES if is_encoded else _FORMS.get(type(audio_format), FrameForm.BYTES)
        self._builder = FrameBuilder(APPEND_HEAD, APPEND_TAIL, form)

    def feed(self, audio: AudioData) -> Iterator[tuple[bytes, float]]:
        """
        Add a chunk; return whole masked frames, each with its milliseconds of audio.

        Raises:
            AudioError: The chunk is not audio, see :meth:`AudioInput.feed`. Nothing was added.
        """
        if self._is_encoded:
            self._buffer += _encoded(audio)
        else:
            self._buffer += self._input.feed(audio)
        return self._frames()

    def finish(self) -> Iterator[tuple[bytes, float]]:
        """
        Return the rest as a last, shorter frame. After this call, nothing can be fed.

        Raises:
            AudioError: The last sample is incomplete. A second call returns the whole samples.
        """
        self._buffer += self._input.finish()
        return self._frames(last=True)

    def _frames(self, *, last: bool = False) -> Iterator[tuple[bytes, float]]:
        while len(self._buffer) >= self._block_bytes or (last and self._buffer):
            block = bytes(self._buffer[: self._block_bytes])
            del self._buffer[: self._block_bytes]
            duration_ms = len(block) // self._sample_bytes * 1000.0 / self._rate_hz
            samples = pcm.f32_from_s16(block) if self._is_float else block
            yield self._builder.build(samples), duration_ms


def _encoded(audio: AudioData) -> bytes | bytearray | memoryview:
    if isinstance(audio, (bytes, bytearray, memoryview)):
        return audio
    raise AudioError(f"encoded audio must be bytes, got {type(audio).__name__}")


@attrs.define(eq=False)
class AudioInputQueue:
    """
    Sends the user's audio of one session, over all its connections.

    Args:
        commands: Sends the messages.
        settings: The settings, which have the input format.
        turn: Counts the audio that was sent.

    Thread safety: every method may be called from any thread.
    """

    _commands: Commands
    _settings: Settings
    _turn: UserTurn
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _frames: _Frames | None = attrs.field(init=False, default=None)

    def send(
        self,
        audio: AudioData,
        sample_rate_hz: int | None,
        channels: int,
        timeout: float | None,
        *,
        is_encoded: bool = False,
    ) -> None:
        """Send audio; see :meth:`RealtimeSession.send_audio`."""
        require_timeout(timeout)
        with self._lock:
            with self._commands.monitor:
                self._commands.require_open()
                audio_format = self._settings.input_format
            from_hz = sample_rate_hz or audio_format.sample_rate_hz
            made_for = (audio_format, from_hz, channels, is_encoded)
            frames = self._frames
            if frames is None or frames.made_for != made_for:
                self._finish(timeout)
                frames = self._frames = _Frames(
                    audio_format, from_hz, channels, is_encoded=is_encoded
                )
            self._append(frames.feed(audio), timeout)

    def commit(self) -> None:
        """Send the buffered audio, and end the turn."""
        with self._lock:
            self._finish(None)
            self._send(self._commands.endpoint.write(CommitInputAudio()), 0.0, None)

    def clear(self) -> None:
        """Drop the buffered audio, and the audio of the turn at the service."""
        with self._lock:
            self._frames = None
            with self._commands.monitor:
                self._turn.unsent.clear()
                self._turn.end()
            self._commands.send(ClearInputAudio())

    def resend(self) -> None:
        """Send the audio that a new connection must get, unless another thread sends audio now."""
        if self._lock.acquire(blocking=False):
            try:
                self._send_unsent(None)
            finally:
                self._lock.release()

    def _finish(self, timeout: float | None) -> None:
        frames, self._frames = self._frames, None
        if frames is not None:
            self._append(frames.finish(), timeout)

    def _append(self, frames: Iterator[tuple[bytes, float]], timeout: float | None) -> None:
        for frame, duration_ms in frames:
            self._send(frame, duration_ms, timeout)

    def _send(self, message: bytes | str, duration_ms: float, timeout: float | None) -> None:
        self._commands.await_open(timeout)
        self._send_unsent(timeout)
        self._send_one(message, duration_ms, timeout)

    def _send_unsent(self, timeout: float | None) -> None:
        while True:
            with self._commands.monitor:
                if not self._turn.unsent:
                    return
                message, duration_ms = self._turn.unsent.popleft()
            try:
                self._send_one(message, duration_ms, timeout)
            except BaseException:
                with self._commands.monitor:
                    self._turn.unsent.appendleft((message, duration_ms))
                raise
            # The service accepts at most 50 messages a second.
            time.sleep(_PACE_SECONDS)

    def _send_one(self, message: bytes | str, duration_ms: float, timeout: float | None) -> None:
        connection = self._commands.send(message, timeout)
        with self._commands.monitor:
            if connection is self._commands.connection:
                is_manual = self._settings.has_manual_turns
                self._turn.add(message, duration_ms, is_manual=is_manual)
            else:
                # The connection that has the message is lost, so the next connection must send the
                # message too.
                self._turn.unsent.append((message, duration_ms))
