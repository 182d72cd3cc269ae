"""
Detects and transcribes the speech in a stream of audio.

A listener has no clock, thread or lock, because times are positions in the audio. So the same audio
gives the same events at any speed, except that partial transcripts are skipped while the engine is
busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.recognition.events import (
    FinalTranscript,
    PartialTranscript,
    SpeechEvent,
    SpeechStarted,
    SpeechStopped,
)
from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS, HeardWord
from inworld_sync.emulator.recognition.segment import Segment
from inworld_sync.emulator.recognition.turns import (
    TurnSettings,
    end_of_turn_confidence,
    is_turn_over,
)
from inworld_sync.errors import ClosedError

__all__ = ["Listener"]

# A segment begins this long before the detected speech, because of the delay of the detector and
# the soft beginning of a word.
_PRE_ROLL_MS: Final = 200
# Speech begins only if this many windows in a row have speech, because one window may be a click.
_ONSET_WINDOWS: Final = 2
# Speech continues while the likelihood is at least this share of the threshold.
_GOING_ON_SHARE: Final = 0.7
# The threshold if the caller ends the turns. It only excludes silence from recognition.
_MANUAL_THRESHOLD: Final = 0.5
# After this silence inside a turn, the segment before the silence is recognized for the last time.
_PAUSE_MS: Final = 600
# No partial transcript is made during a silence that may end the turn.
_PARTIAL_SILENCE_MS: Final = 200
# A segment is recognized again for each partial transcript. The interval is this share of the
# segment's length, so that all runs together process at most five times this length. The limit of
# the segment's length keeps each run below 0.2 s of CPU time.
_PARTIAL_SHARE: Final = 0.25
_MAX_SEGMENT_MS: Final = 10_000
# The service's usage is a multiple of this time. Source: captured "usage" messages.
_USAGE_STEP_MS: Final = 50


@attrs.define
class _Turn:
    start: int
    speech_end: int
    words: list[HeardWord] = attrs.field(factory=list)
    partial: str = ""


class Listener:
    """
    Detects and transcribes the turns of one stream.

    Call ``feed`` with the audio, ``end_turn`` if the settings leave the turns to the caller, and
    ``finish`` at the end.

    Args:
        engine: The recognizer, shared with other streams.
        settings: How speech is divided into turns. The settings may be replaced between two calls.

    Thread safety: one thread at a time uses this object.
    """

    def __init__(self, engine: SpeechEngine, settings: TurnSettings | None = None) -> None:
        self.settings = settings or TurnSettings()
        self._engine = engine
        self._vad = engine.new_vad()
        self._pending = bytearray()
        self._now = 0
        self._before = bytearray()
        self._onset_windows = 0
        self._turn: _Turn | None = None
        self._segment: Segment | None = None
        self._candidate: tuple[int, tuple[HeardWord, ...]] | None = None
        self._spoken_ms = 0
        self._finished = False

    @property
    def heard_ms(self) -> int:
        """The length of the audio so far."""
        return (self._now + len(self._pending)) // BYTES_PER_MS

    @property
    def transcribed_ms(self) -> int:
        """The length of all finished turns in steps of 50 ms. The service counts this as usage."""
        return -(-self._spoken_ms // _USAGE_STEP_MS) * _USAGE_STEP_MS

    @property
    def pause_ms(self) -> int:
        """The silence since the last speech of the open turn; 0 without a turn."""
        if self._segment:
            return self._segment.silence_ms
        return (self._now - self._turn.speech_end) // BYTES_PER_MS if self._turn else 0

    def feed(self, pcm: bytes | bytearray | memoryview) -> list[SpeechEvent]:
        """
        Process the next audio and return its events, in order.

        Args:
            pcm: 16-bit little-endian mono at 16 kHz, any number of bytes. A sample may be split
                between two calls.

        Raises:
            ClosedError: ``finish`` was called before this call.
            DeadlineExceeded: The engine was busy for a minute.
        """
        if self._finished:
            raise ClosedError("feed() was called on a listener after finish()")
        self._pending += pcm
        events: list[SpeechEvent] = []
        size = self._vad.window_samples * 2
        whole = len(self._pending) // size * size
        for at in range(0, whole, size):
            self._process(bytes(self._pending[at : at + size]), events)
        del self._pending[:whole]
        self._emit_partial(events)
        return events

    def end_turn(self) -> list[SpeechEvent]:
        """
        End the open turn now.

        Returns:
            The events that end the turn. Without an open turn, the list is empty; but if the
            settings leave the turns to the caller, the list has an empty final transcript.
        """
        events: list[SpeechEvent] = []
        if self._segment:
            rest = bytes(self._pending[: len(self._pending) & ~1])
            del self._pending[: len(rest)]
            self._now += len(rest)
            self._segment.append(rest, is_speech=not self._segment.silence_ms)
        if self._turn:
            self._end_turn(self._turn, events)
        elif self.settings.is_manual:
            events.append(FinalTranscript("", (), self.heard_ms, self.heard_ms))
        return events

    def finish(self) -> list[SpeechEvent]:
        """End an open turn and the stream. A second call has no effect."""
        events = self.end_turn() if self._turn else []
        self._finished = True
        return events

    def _process(self, window: bytes, events: list[SpeechEvent]) -> None:
        likelihood = self._vad.probability(window)
        threshold = self.settings.vad_threshold or _MANUAL_THRESHOLD
        self._now += len(window)
        if self._segment:
            self._segment.append(window, is_speech=likelihood >= threshold * _GOING_ON_SHARE)
            self._judge_segment(self._segment, events)
            return
        self._before += window
        keep = _PRE_ROLL_MS * BYTES_PER_MS + len(window) * _ONSET_WINDOWS
        del self._before[:-keep]
        self._onset_windows = self._onset_windows + 1 if likelihood >= threshold else 0
        if self._onset_windows >= _ONSET_WINDOWS:
            self._begin(likelihood, events)
        elif self._turn:
            confidence = end_of_turn_confidence(_join(self._turn.words))
            if is_turn_over(self.pause_ms, confidence, self.settings):
                self._end_turn(self._turn, events)

    def _begin(self, likelihood: float, events: list[SpeechEvent]) -> None:
        """Open a segment, because speech was detected. Open a turn if no turn is open."""
        self._segment = Segment(self._now - len(self._before), bytes(self._before))
        onset = self._now - self._onset_windows * self._vad.window_samples * 2
        self._before.clear()
        self._onset_windows = 0
        self._open_turn(onset, likelihood, events)

    def _open_turn(self, start: int, likelihood: float, events: list[SpeechEvent]) -> None:
        """Open a turn at *start* if no turn is open."""
        if self._turn:
            return
        self._turn = _Turn(start, start)
        if not self.settings.is_manual:
            events.append(SpeechStarted(start // BYTES_PER_MS, round(likelihood, 4)))

    def _judge_segment(self, segment: Segment, events: list[SpeechEvent]) -> None:
        assert self._turn
        silence_ms = segment.silence_ms
        if silence_ms >= self.settings.min_silence_ms and not self.settings.is_manual:
            text = _join(self._turn.words, self._understand(segment))
            if is_turn_over(silence_ms, end_of_turn_confidence(text), self.settings):
                self._end_turn(self._turn, events)
                return
        if silence_ms >= _PAUSE_MS:
            self._close_segment(self._turn)
            self._end_if_full(self._turn, events)
        elif segment.length_ms >= min(_MAX_SEGMENT_MS, self.settings.max_turn_ms):
            self._cut_segment(segment, events)

    def _cut_segment(self, segment: Segment, events: list[SpeechEvent]) -> None:
        """
        Recognize the first part of a long segment for the last time.

        The rest becomes a new segment.
        """
        assert self._turn
        rest = segment.cut()
        self._close_segment(self._turn)
        self._end_if_full(self._turn, events)
        self._segment = rest
        if rest:
            self._open_turn(rest.start, 1.0, events)

    def _end_if_full(self, turn: _Turn, events: list[SpeechEvent]) -> None:
        """End a turn that has no room for another whole segment."""
        length_ms = (turn.speech_end - turn.start) // BYTES_PER_MS
        if length_ms + _MAX_SEGMENT_MS > self.settings.max_turn_ms:
            self._end_turn(turn, events)

    def _end_turn(self, turn: _Turn, events: list[SpeechEvent]) -> None:
        heard = self._segment.end if self._segment else self._now
        if self._segment:
            self._close_segment(turn)
        self._turn = None
        self._spoken_ms += (heard - turn.start) // BYTES_PER_MS
        end_ms = turn.speech_end // BYTES_PER_MS
        if not self.settings.is_manual:
            events.append(SpeechStopped(end_ms, (heard - turn.speech_end) // BYTES_PER_MS))
        words = tuple(turn.words)
        events.append(FinalTranscript(_join(words), words, turn.start // BYTES_PER_MS, end_ms))

    def _close_segment(self, turn: _Turn) -> None:
        """Recognize the open segment for the last time, and add its words to the turn."""
        segment = self._segment
        assert segment
        words = self._understand(segment)
        if self.settings.word_times and words:
            words = self._engine.with_times(segment.speech(), words)
        turn.words += _moved(words, segment.start // BYTES_PER_MS)
        turn.speech_end = segment.speech_end
        self._before = bytearray(segment.last(_PRE_ROLL_MS))
        self._segment = self._candidate = None

    def _understand(self, segment: Segment) -> tuple[HeardWord, ...]:
        """Return the words of *segment*. Run the recognizer only if the speech has a new end."""
        if self._candidate is None or self._candidate[0] != segment.speech_end:
            self._candidate = segment.speech_end, self._engine.recognize(segment.speech())
        return self._candidate[1]

    def _emit_partial(self, events: list[SpeechEvent]) -> None:
        segment, turn, interval_ms = self._segment, self._turn, self.settings.partial_interval_ms
        if not (segment and turn and interval_ms) or segment.silence_ms > _PARTIAL_SILENCE_MS:
            return
        interval_ms = max(interval_ms, int(segment.length_ms * _PARTIAL_SHARE))
        if segment.end - segment.looked_at < interval_ms * BYTES_PER_MS:
            return
        words = self._engine.try_recognize(segment.so_far())
        if words is None:
            return
        segment.looked_at = segment.end
        text = _join(turn.words, words)
        if text and text != turn.partial:
            turn.partial = text
            events.append(PartialTranscript(text))


def _join(*parts: Sequence[HeardWord]) -> str:
    return " ".join(word.text for part in parts for word in part)


def _moved(words: Sequence[HeardWord], by_ms: int) -> list[HeardWord]:
    """Return the words with times from the start of the stream instead of the segment."""
    return [
        word
        if word.start_ms is None or word.end_ms is None
        else attrs.evolve(word, start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms)
        for word in words
    ]
