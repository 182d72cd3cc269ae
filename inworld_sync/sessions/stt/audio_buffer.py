"""
Buffers and limits the audio of one STT stream on its way from the caller to the connection.

| class | does |
|---|---|
| AudioBuffer | keeps audio that waits to be sent, and sent audio that may be sent again |
| EncodedBuffer | keeps encoded audio until it is sent |
| AudioQueue | limits the audio that waits to be sent |
| MaxLead | limits how far sent audio may run ahead of the transcript |

Positions are samples from the start of the stream, at the sample rate of the wire. Positions in
encoded audio are bytes.

Threads and locks: all objects here belong to one stream. The stream's monitor guards these objects,
and the callers hold the monitor.
"""

from __future__ import annotations

import enum
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, get_args

import attrs

from inworld_sync.audio.meter import Level, measure
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.quiet import quietest_sample
from inworld_sync.errors import DeadlineExceeded
from inworld_sync.locks import Part
from inworld_sync.models import checks
from inworld_sync.models.stt import PartialTranscript, SttStats, Transcript
from inworld_sync.sessions.monitor import require_may_wait
from inworld_sync.transport.chunk_rate import ChunkRateLimiter
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, RunningDeadline
from inworld_sync.wire.stt_turns import Answer

__all__ = [
    "DEFAULT_CHUNKS_PER_SECOND",
    "AudioBuffer",
    "AudioQueue",
    "EncodedBuffer",
    "MaxLead",
    "Overflow",
    "SendSettings",
    "TurnEnd",
]

Overflow: TypeAlias = Literal["block", "raise", "drop_oldest"]


# Source: the service's documentation, "rate limits", audio chunks of STT.
DEFAULT_CHUNKS_PER_SECOND: Final = 50.0

# Audio that no final transcript covers is kept for at least this long after the audio was sent.
# While a turn is open, the audio is also kept for this long after the service's latest message.
_TRANSCRIPT_SECONDS: Final = 10.0
# Live audio is ahead of the clock by less than this, so MaxLead never limits live audio.
_LIVE_LEAD_SECONDS: Final = 5.0


_CHUNK_MS: Final = 100
# The largest message of encoded audio.
_ENCODED_CHUNK_BYTES: Final = 16 * 1024
# Frames of this length count as speech if they are not below this level.
_FRAME_MS: Final = 20
_SILENCE_DBFS: Final = -50.0
# A pause of this length ends a turn.
_PAUSE_MS: Final = 1000.0


class TurnEnd(enum.Enum):
    """Marks the position in the audio at which the caller ended a turn."""

    MARK = "endTurn"


class AudioBuffer:
    """
    Keeps 16-bit mono PCM from ``start`` to ``end``. The part up to ``sent`` was sent.

    Args:
        sample_rate_hz: The sample rate of the audio.
        keep_samples: The largest number of samples of sent audio that are kept until a final
            transcript covers them.

    Attributes:
        start: Position of the oldest sample that is kept.
        sent: Position up to which samples were popped.
        end: Position after the newest sample.
        chunk_samples: The number of samples in one message.
    """

    # The size of one unit of a position.
    unit_bytes = SAMPLE_BYTES
    # Whether audio can be sent again from a position in the middle.
    can_repeat = True

    def __init__(self, sample_rate_hz: int, keep_samples: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self.chunk_samples = sample_rate_hz * _CHUNK_MS // 1000
        self._frame_bytes = sample_rate_hz * _FRAME_MS // 1000 * SAMPLE_BYTES
        self._keep_samples = keep_samples
        # A deletion at the front of a bytearray copies no bytes.
        self._pcm = bytearray()
        # Whether speech before the oldest sample was discarded without a transcript of this speech.
        self._is_truncated = False
        # The positions at which the answered speech and the last answered turn end.
        self._answered = self._answered_turn = 0
        # The number of discarded samples of speech after the answered position.
        self._discarded_speech_samples = 0
        self._sent_turn_ends: deque[int] = deque()
        self._turn_ends: deque[int] = deque()
        self.start = 0
        self.sent = 0
        self.end = 0

    @property
    def unsent_bytes(self) -> int:
        """Size of the audio that waits to be sent."""
        return (self.end - self.sent) * self.unit_bytes

    @property
    def sent_ms(self) -> float:
        """Length of the audio that was sent, in milliseconds."""
        return self.ms(self.sent)

    @property
    def has_unsent(self) -> bool:
        """Whether audio or the end of a turn waits to be sent."""
        return self.end > self.sent or bool(self._turn_ends)

    @property
    def sent_turn_end(self) -> int | None:
        """Position of the oldest end of a turn that was sent and that no transcript covers."""
        return self._sent_turn_ends[0] if self._sent_turn_ends else None

    def append(self, pcm: bytes | bytearray | memoryview) -> None:
        """Add whole samples."""
        self._pcm += pcm
        self.end += len(pcm) // self.unit_bytes

    def end_turn(self) -> None:
        """Mark the end of a turn after the newest sample."""
        if not self._turn_ends or self._turn_ends[-1] != self.end:
            self._turn_ends.append(self.end)

    def pop(self, chunk_samples: int, *, flush: bool) -> bytes | TurnEnd | None:
        """
        Return the next samples or the next end of a turn, and record that they are sent.

        Args:
            chunk_samples: The largest number of samples to return.
            flush: Whether to return fewer than *chunk_samples* samples if no more are left. The
                last samples of a turn are returned in any case.
        """
        limit = self.end
        if self._turn_ends:
            limit = self._turn_ends[0]
            if limit == self.sent:
                self._sent_turn_ends.append(self._turn_ends.popleft())
                return TurnEnd.MARK
        samples = min(chunk_samples, limit - self.sent)
        if not samples or (samples < chunk_samples and not flush and not self._turn_ends):
            return None
        at = (self.sent - self.start) * self.unit_bytes
        pcm = bytes(self._pcm[at : at + samples * self.unit_bytes])
        self.sent += samples
        if self.sent - self._keep_samples > self.start:
            oldest = self.sent - self._keep_samples
            self._discarded_speech_samples += self._speech(self._answered, oldest)
            self._discard(oldest)
            self._is_truncated = True
        return pcm

    def cover(self, position: int) -> None:
        """Discard the sent samples before *position*, whose final transcript has arrived."""
        if min(position, self.sent) > self.start:
            self._discard(min(position, self.sent))
            self._is_truncated = False

    def ms(self, samples: int) -> float:
        """Convert samples to milliseconds."""
        return samples * 1000.0 / self._sample_rate_hz

    def samples(self, milliseconds: float) -> int:
        """Convert milliseconds to samples."""
        return int(milliseconds * self._sample_rate_hz / 1000)

    def handle_answer(self, answer: Answer) -> None:
        """
        Record that the service has answered speech.

        If the answer has no times, the end of the turn is estimated. The estimate is the first long
        pause after the previous turn. Without such a pause, it is the end of the audio that was
        sent.
        """
        until = self.samples(answer.until_ms)
        if answer.is_exact:
            until = max(until, self._answered_turn)
        else:
            until = self._first_pause(self._answered_turn, until)
        if until > self._answered:
            self._discarded_speech_samples = 0
        self._answered = until
        if answer.is_final:
            self._answered_turn = until

    def unanswered_ms(self, until_ms: float | None = None) -> float:
        """
        Return the length of the speech that the service has not answered.

        Args:
            until_ms: Speech after this position is left out; None means all speech.
        """
        until = self.end if until_ms is None else self.samples(until_ms)
        return self.ms(self._discarded_speech_samples + self._speech(self._answered, until))

    def rewind(self, search_until: int, truncated_samples: int) -> None:
        """
        Send the kept audio again, starting at the quietest sample of a range.

        If the audio of a new connection began in the middle of a word, the service would transcribe
        the rest of the word as another word.

        Args:
            search_until: The range begins at the oldest kept sample and ends at this position.
            truncated_samples: Length of the range if speech was discarded before a transcript
                covered it.
        """
        until = self.start + truncated_samples if self._is_truncated else search_until
        until = min(self.sent, until)
        if until > self.start:
            searched = self._pcm[: (until - self.start) * self.unit_bytes]
            self._discard(self.start + quietest_sample(searched))
        self._is_truncated = False
        # The audio is sent again, so the service answers this audio again.
        self._answered = self._answered_turn = min(self._answered_turn, self.start)
        self._turn_ends.extendleft(reversed(self._sent_turn_ends))
        self._sent_turn_ends.clear()
        self.sent = self.start

    def drop_oldest(self, size_bytes: int) -> int:
        """Drop the oldest *size_bytes* of the unsent audio; return the number of samples."""
        samples = min(-(-size_bytes // self.unit_bytes), self.end - self.sent)
        at = (self.sent - self.start) * self.unit_bytes
        del self._pcm[at : at + samples * self.unit_bytes]
        self.end -= samples
        self._turn_ends = deque(max(self.sent, end - samples) for end in self._turn_ends)
        return samples

    def partial(self, transcript: Transcript) -> PartialTranscript:
        """Return a partial transcript with all audio that is kept or waits to be sent."""
        start_ms = round(self.ms(self.start))
        return PartialTranscript(transcript, bytes(self._pcm), start_ms, self._sample_rate_hz)

    def _speech(self, start: int, end: int) -> int:
        """Return how many of the kept samples between two positions are in frames of speech."""
        levels = self._levels(start, end)
        return sum(level.samples for level in levels if level.rms_dbfs >= _SILENCE_DBFS)

    def _first_pause(self, start: int, end: int) -> int:
        """Return the end of the first long pause after speech, or *end* if there is none."""
        at, is_speech, pause_samples = max(start, self.start), False, 0
        for level in self._levels(start, end):
            at += level.samples
            if level.rms_dbfs >= _SILENCE_DBFS:
                is_speech, pause_samples = True, 0
            elif is_speech:
                pause_samples += level.samples
                if self.ms(pause_samples) >= _PAUSE_MS:
                    return at
        return end

    def _levels(self, start: int, end: int) -> Iterator[Level]:
        """Yield the levels of the frames of the kept audio between two positions."""
        first, last = (max(0, at - self.start) * self.unit_bytes for at in (start, end))
        pcm, size_bytes = bytes(self._pcm[first:last]), self._frame_bytes
        return (measure(pcm[at : at + size_bytes]) for at in range(0, len(pcm), size_bytes))

    def _discard(self, position: int) -> None:
        del self._pcm[: (position - self.start) * self.unit_bytes]
        self.start = position
        while self._sent_turn_ends and self._sent_turn_ends[0] <= position:
            self._sent_turn_ends.popleft()


class EncodedBuffer(AudioBuffer):
    """
    Encoded audio, whose times are unknown.

    The audio is discarded when it is sent, because another connection could not decode it from the
    middle.

    Args:
        sample_rate_hz: The sample rate in the settings of the stream.
    """

    unit_bytes = 1
    can_repeat = False

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__(sample_rate_hz, keep_samples=0)
        self.chunk_samples = _ENCODED_CHUNK_BYTES

    @property
    def sent_ms(self) -> float:
        """Infinity, because any time that the service reports may be in the sent audio."""
        return math.inf

    def pop(self, chunk_samples: int, *, flush: bool) -> bytes | TurnEnd | None:  # noqa: ARG002
        """Return the next bytes at once, because they may complete a frame for the decoder."""
        return super().pop(chunk_samples, flush=True)

    def ms(self, samples: int) -> float:  # noqa: ARG002
        """Return 0, since the duration is unknown."""
        return 0.0

    def samples(self, milliseconds: float) -> int:  # noqa: ARG002
        """Return 0, since the position is unknown."""
        return 0

    def partial(self, transcript: Transcript) -> PartialTranscript:
        """Return a transcript without audio."""
        return PartialTranscript(transcript, b"", 0, self._sample_rate_hz)

    def _speech(self, start: int, end: int) -> int:  # noqa: ARG002
        return 0


class AudioQueue:
    """
    Adds the caller's audio to an :class:`AudioBuffer`, and limits the audio that waits to be sent.

    Args:
        buffer: The buffer that gets the audio.
        settings: The limit, and the action when the limit is reached.
        room: A condition that is notified when audio was sent, or when the stream ends.
    """

    def __init__(self, buffer: AudioBuffer, settings: SendSettings, room: Part) -> None:
        self._buffer = buffer
        self._settings = settings
        self._room = room
        self._dropped_samples = 0
        unit_bytes = buffer.unit_bytes
        samples = min(10 * buffer.chunk_samples, settings.max_waiting_bytes // unit_bytes or 1)
        self._piece_bytes = samples * unit_bytes

    def pieces(self, pcm: bytes | memoryview) -> Iterator[memoryview]:
        """Divide audio into pieces that fit into ``max_waiting_bytes``."""
        view = memoryview(pcm)
        for at in range(0, len(view), self._piece_bytes):
            yield view[at : at + self._piece_bytes]

    def append(
        self,
        pcm: bytes | memoryview,
        timeout: float | None,
        require_open: Callable[[], None],
    ) -> None:
        """
        Queue whole samples to be sent. If there is no room, ``overflow`` decides what happens.

        A piece that is larger than the limit is accepted when nothing waits.

        Args:
            pcm: The samples.
            timeout: The largest number of seconds to wait for room; None means no limit.
            require_open: Raises an error if the stream accepts no audio. The function is called
                after each wait.

        Raises:
            DeadlineExceeded: There was no room; nothing was queued.
        """
        buffer, overflow = self._buffer, self._settings.overflow
        if overflow != "drop_oldest":
            self._await_room(len(pcm), 0.0 if overflow == "raise" else timeout, require_open)
        buffer.append(pcm)
        excess_bytes = buffer.unsent_bytes - self._settings.max_waiting_bytes
        if overflow == "drop_oldest" and excess_bytes > 0:
            self._dropped_samples += buffer.drop_oldest(excess_bytes)

    def stats(self, covered_ms: float, reconnects: int, warnings: Mapping[str, int]) -> SttStats:
        """Return a snapshot of the counters. The monitor need not be held."""
        buffer = self._buffer
        return SttStats(
            sent_bytes=buffer.sent * buffer.unit_bytes,
            waiting_bytes=buffer.unsent_bytes,
            sent_ms=buffer.ms(buffer.sent),
            waiting_ms=buffer.ms(buffer.end - buffer.sent),
            dropped_ms=buffer.ms(self._dropped_samples),
            covered_ms=covered_ms,
            reconnects=reconnects,
            warnings=warnings,
        )

    def _await_room(
        self, size_bytes: int, timeout: float | None, require_open: Callable[[], None]
    ) -> None:
        buffer, limit = self._buffer, self._settings.max_waiting_bytes
        deadline = RunningDeadline(timeout, "waiting for room for audio")
        while buffer.unsent_bytes and buffer.unsent_bytes + size_bytes > limit:
            if deadline.expired:
                raise DeadlineExceeded(
                    f"no room for {size_bytes} bytes of audio: {buffer.unsent_bytes} wait to be "
                    f"sent, and max_waiting_bytes is {limit}"
                )
            require_may_wait("waiting for room for audio")
            self._room.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
            require_open()


class MaxLead:
    """
    Limits how far audio that is sent faster than real time runs ahead of the transcript.

    Without this limit, a long recording could be sent and discarded from the buffer before the
    service has transcribed it. A lost connection would then lose words.

    Args:
        buffer: The audio of the stream.
        sample_rate_hz: The sample rate of the audio.
        keep_samples: The largest number of sent samples that the buffer keeps.
    """

    def __init__(self, buffer: AudioBuffer, sample_rate_hz: int, keep_samples: int) -> None:
        self._buffer = buffer
        self._sample_rate_hz = sample_rate_hz
        self._keep_samples = keep_samples
        self._began_at = time.monotonic()
        # Each entry is the position up to which samples were sent, and the time when they were
        # sent.
        self._sent: deque[tuple[int, float]] = deque()

    def record_sent(self) -> None:
        """Record that samples were sent now, up to the ``sent`` of the buffer."""
        self._sent.append((self._buffer.sent, time.monotonic()))
        while self._sent and self._sent[0][0] <= self._buffer.start:
            self._sent.popleft()

    def reset(self) -> None:
        """Forget the records, because all kept audio is sent again."""
        self._sent.clear()

    def is_reached(self, heard_at: float | None) -> bool:
        """
        Return whether the limit is reached.

        If more audio were sent then, the buffer would discard audio that the service may not have
        transcribed yet.

        Args:
            heard_at: The time of the service's latest message, or None if no turn is open.
        """
        kept = self._buffer.sent - self._buffer.start
        if kept + self._sample_rate_hz <= self._keep_samples or not self._sent:
            return False
        now = time.monotonic()
        if self._buffer.end / self._sample_rate_hz - (now - self._began_at) < _LIVE_LEAD_SECONDS:
            return False
        return now - max(self._sent[0][1], heard_at or 0.0) < _TRANSCRIPT_SECONDS


@attrs.frozen(kw_only=True)
class SendSettings:
    """
    The limits for queueing and sending the audio of one stream.

    Attributes:
        rate: Limits the audio messages per second.
        overflow: The action when *max_waiting_bytes* wait to be sent.
        max_waiting_bytes: The largest amount of audio that waits to be sent.
    """

    rate: ChunkRateLimiter
    overflow: Overflow = attrs.field(validator=checks.one_of(get_args(Overflow)))
    max_waiting_bytes: int = attrs.field(validator=checks.whole(1, 1 << 40, " bytes"))
