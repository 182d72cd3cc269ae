"""
Sends the user's audio to the service, and follows the user's turn as the service reports it.

Lock rule: the lock of :class:`AudioInputQueue` is held while audio is converted and queued. A
thread acquires this lock before the session's monitor, never after. The monitor guards
:class:`UserTurn`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TypeAlias

import attrs

from inworld_sync.audio import pcm
from inworld_sync.audio.frame import FrameBuilder, FrameForm
from inworld_sync.audio.source import AudioData, AudioInput
from inworld_sync.errors import AudioError, ClosedError, ConfigError, ConnectionLost
from inworld_sync.locks import make_lock
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
from inworld_sync.sessions.realtime.commands import Commands, Phase
from inworld_sync.sessions.realtime.connection import RealtimeConnection
from inworld_sync.wire.realtime.commands import APPEND_HEAD, APPEND_TAIL
from inworld_sync.wire.realtime.settings import Settings

__all__ = ["TURN_EVENTS", "AudioInputQueue", "UserTurn"]

# The service advises 100 to 200 ms for one message, and accepts at most 50 messages a second.
_BLOCK_MS = 100
# A WebRTC track sends packets of 20 ms.
_TRACK_BLOCK_MS = 20
_SAMPLE_BYTES = 2

# The form of the frames, if 16-bit PCM is converted to another format.
_FORMS = {MulawFormat: FrameForm.ULAW_FROM_S16, AlawFormat: FrameForm.ALAW_FROM_S16}

# The longest time between two messages of the service about one turn of the user.
_LONGEST_SILENCE_SECONDS = 20.0

# This much audio from before a turn is kept, because the service reports the beginning of a turn
# late.
_MARGIN_MS = 2000.0

# At most this many milliseconds of a turn's audio are kept.
_MAX_KEPT_MS = 60_000.0

# The time between two messages that are sent again.
_PACE_SECONDS = 0.02

# A message, and the duration of its audio in milliseconds.
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
        """Whether the user speaks. A turn counts as over if no message came for 20 s."""
        return self.is_open and time.monotonic() - self._active_at < _LONGEST_SILENCE_SECONDS

    def add(
        self, message: bytes | str, duration_ms: float, *, is_manual: bool, is_kept: bool = True
    ) -> None:
        """
        Record that a message with audio, or a commit, was sent. If *is_kept* is False, the message
        is not sent again.
        """
        self.sent_ms += duration_ms
        if not is_kept:
            return
        self._kept.append((message, duration_ms))
        self._kept_ms += duration_ms
        turn_ms = self.sent_ms if self.is_open or is_manual else 0.0
        limit_ms = min(turn_ms + _MARGIN_MS, _MAX_KEPT_MS)
        while self._kept_ms - self._kept[0][1] >= limit_ms:
            self._kept_ms -= self._kept.popleft()[1]

    def handle(self, event: RealtimeEvent) -> None:
        """Handle an event of :data:`TURN_EVENTS`."""
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
            is_renewed: Whether the client renewed the session, which happens between two turns.
                After a renewal, all kept audio is sent again. Otherwise only the audio of an open
                turn is sent again.
            is_manual: Whether the application ends turns.

        Returns:
            How many milliseconds of the open turn's audio are lost.
        """
        is_open = self.is_open or is_manual
        lost_ms = max(0.0, self.sent_ms - self._kept_ms) if is_open else 0.0
        if is_open or is_renewed:
            self.unsent.extendleft(reversed(self._kept))
        self.end()
        return lost_ms


class _Blocks:
    """
    Divides the user's audio into blocks of 100 ms in the session's input format. For a WebRTC
    track, the blocks have 20 ms of 16-bit PCM.

    Args:
        audio_format: The input format of the session.
        from_hz: The sample rate of the user's audio.
        channels: The number of channels of the user's audio. The channels are mixed to one.
        is_encoded: Whether the audio has the input format already, so that it is sent unchanged.
        has_tracks: Whether the audio is sent in a track.

    Attributes:
        buffer: The audio that was not sent yet.
        size_bytes: The size of a block in the buffer.

    Raises:
        ConfigError: A number is out of its range, or encoded audio was passed for a WebRTC track.
    """

    def __init__(
        self,
        audio_format: AudioFormat,
        from_hz: int,
        channels: int,
        *,
        is_encoded: bool,
        has_tracks: bool,
    ) -> None:
        if is_encoded and has_tracks:
            raise ConfigError(
                "a WebRTC track has its own encoding: pass samples, not encoded audio"
            )
        self.made_for = (audio_format, from_hz, channels, is_encoded)
        self.buffer = bytearray()
        self._sample_bytes = audio_format.bytes_per_sample if is_encoded else _SAMPLE_BYTES
        block_ms = _TRACK_BLOCK_MS if has_tracks else _BLOCK_MS
        self.size_bytes = audio_format.sample_rate_hz * block_ms // 1000 * self._sample_bytes
        self._rate_hz = audio_format.sample_rate_hz
        self._is_encoded = is_encoded
        self._is_float = isinstance(audio_format, Float32Format) and not is_encoded
        self._input = AudioInput(from_hz, audio_format.sample_rate_hz, channels)
        form = FrameForm.BYTES if is_encoded else _FORMS.get(type(audio_format), FrameForm.BYTES)
        self._build = bytes if has_tracks else FrameBuilder(APPEND_HEAD, APPEND_TAIL, form).build

    @property
    def accepts_bytes(self) -> bool:
        """Whether whole samples may be added to the buffer without :meth:`feed`."""
        return self._is_encoded or self._input.is_unchanged

    def feed(self, audio: AudioData) -> None:
        """
        Add a chunk to the buffer.

        Raises:
            AudioError: The chunk is not audio, see :meth:`AudioInput.feed`. Nothing was added.
        """
        self.buffer += _encoded(audio) if self._is_encoded else self._input.feed(audio)

    def finish(self) -> None:
        """
        Add the rest of the converted audio to the buffer. After this call, nothing can be fed.

        Raises:
            AudioError: The last sample is incomplete. A second call adds the whole samples.
        """
        self.buffer += self._input.finish()

    def pop(self) -> tuple[bytes, float]:
        """
        Remove a block, or a shorter last part, from the buffer. Return the masked frame of the
        block, or its samples for a track, and the duration of the block in milliseconds.
        """
        block = bytes(self.buffer[: self.size_bytes])
        del self.buffer[: self.size_bytes]
        duration_ms = len(block) // self._sample_bytes * 1000.0 / self._rate_hz
        return self._build(pcm.f32_from_s16(block) if self._is_float else block), duration_ms


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
        turn: Counts and keeps the audio that was sent.

    Attributes:
        lock: See the lock rule of this module.
        usual_block: The buffer for audio that needs neither a check nor a conversion; None if the
            next audio must be passed to :meth:`send`. Only a thread that holds the lock and the
            monitor sets a buffer. A thread that holds only one of the two locks may set None.
        usual_kinds: Pairs of a sample rate and ``is_encoded``. Audio that a user passes with such a
            pair may be added to the buffer.
        block_bytes: The size at which the buffer is sent.

    Thread safety: every method may be called from any thread.
    """

    _commands: Commands
    _settings: Settings
    _turn: UserTurn
    lock: threading.Lock = attrs.field(init=False, factory=make_lock)
    usual_block: bytearray | None = attrs.field(init=False, default=None)
    usual_kinds: tuple[tuple[int | None, bool], ...] = attrs.field(init=False, default=())
    block_bytes: int = attrs.field(init=False, default=0)
    _blocks: _Blocks | None = attrs.field(init=False, default=None)

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
        with self.lock:
            self.usual_block = None
            with self._commands.monitor:
                self._commands.require_open()
                audio_format = self._settings.input_format
            from_hz = sample_rate_hz or audio_format.sample_rate_hz
            made_for = (audio_format, from_hz, channels, is_encoded)
            blocks = self._blocks
            if blocks is None or blocks.made_for != made_for:
                self._finish(timeout)
                blocks = self._blocks = _Blocks(
                    audio_format,
                    from_hz,
                    channels,
                    is_encoded=is_encoded,
                    has_tracks=self._commands.endpoint.has_tracks,
                )
            blocks.feed(audio)
            self._send_blocks(blocks, timeout)
            self._set_usual(blocks)

    def send_full_block(self) -> None:
        """Send the audio of :attr:`usual_block`; the lock is held."""
        if self._blocks is not None:
            self._send_blocks(self._blocks, None)

    def _set_usual(self, blocks: _Blocks) -> None:
        """Allow the session to add audio of this kind to the buffer without :meth:`send`."""
        with self._commands.monitor:
            audio_format, from_hz, _, is_encoded = blocks.made_for
            is_same = audio_format == self._settings.input_format
            if is_same and blocks.accepts_bytes and not self._commands.is_over:
                self.usual_kinds = ((None, is_encoded), (from_hz, is_encoded))
                self.block_bytes = blocks.size_bytes
                self.usual_block = blocks.buffer

    def commit(self) -> None:
        """Send the buffered audio, and end the turn."""
        with self.lock:
            self._finish(None)
            self._settle(drop=False)
            self._send(self._commands.endpoint.write(CommitInputAudio()), 0.0, None)

    def clear(self) -> None:
        """Drop the buffered audio, and the audio of the turn at the service."""
        with self.lock:
            self._blocks = self.usual_block = None
            with self._commands.monitor:
                self._turn.unsent.clear()
                self._turn.end()
            self._settle(drop=True)
            self._commands.send(ClearInputAudio())

    def resend(self) -> None:
        """Send the audio that a new connection must get, unless another thread sends audio now."""
        if self.lock.acquire(blocking=False):
            try:
                self._send_unsent(None)
            finally:
                self.lock.release()

    def _settle(self, *, drop: bool) -> None:
        """Wait until the audio in a track is sent. A later message could overtake the audio."""
        with self._commands.monitor:
            connection = self._commands.open_connection
        if connection is not None:
            connection.settle_input(drop=drop)

    def _finish(self, timeout: float | None) -> None:
        blocks, self._blocks, self.usual_block = self._blocks, None, None
        if blocks is not None:
            blocks.finish()
            self._send_blocks(blocks, timeout, is_last=True)

    def _send_blocks(
        self, blocks: _Blocks, timeout: float | None, *, is_last: bool = False
    ) -> None:
        buffer, least_bytes = blocks.buffer, 1 if is_last else blocks.size_bytes
        while len(buffer) >= least_bytes:
            frame, duration_ms = blocks.pop()
            self._send(frame, duration_ms, timeout)

    def _send(self, message: bytes | str, duration_ms: float, timeout: float | None) -> None:
        commands, turn = self._commands, self._turn
        with commands.monitor:
            is_ready = commands.phase is Phase.OPEN and not (commands.is_closing or turn.unsent)
            connection = commands.connection if is_ready else None
        if connection is not None:
            try:
                connection.send(message, timeout)
            except (ConnectionLost, ClosedError):
                # Nothing was queued. If there is a next connection, the next connection sends the
                # message.
                connection = None
        if connection is None:
            commands.await_open(timeout)
            self._send_unsent(timeout)
            connection = commands.send(message, timeout)
        self._record(connection, message, duration_ms)

    def _send_unsent(self, timeout: float | None) -> None:
        while True:
            with self._commands.monitor:
                if not self._turn.unsent:
                    return
                message, duration_ms = self._turn.unsent.popleft()
            try:
                connection = self._commands.send(message, timeout)
                self._record(connection, message, duration_ms)
            except BaseException:
                with self._commands.monitor:
                    self._turn.unsent.appendleft((message, duration_ms))
                raise
            # The service accepts at most 50 messages a second.
            time.sleep(_PACE_SECONDS)

    def _record(
        self, connection: RealtimeConnection, message: bytes | str, duration_ms: float
    ) -> None:
        with self._commands.monitor:
            if connection is self._commands.connection:
                # A track sends audio in real time, so old audio would delay all later audio.
                is_kept = not self._commands.endpoint.has_tracks
                is_manual = self._settings.has_manual_turns
                self._turn.add(message, duration_ms, is_manual=is_manual, is_kept=is_kept)
            else:
                # The connection that has the message is lost, so the next connection must send the
                # message too.
                self._turn.unsent.append((message, duration_ms))
