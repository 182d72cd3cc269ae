"""
Keeps the turns of an STT stream over all connections of the stream. A :class:`TurnLog` returns the
events to emit and the transcript, and computes how much audio the final transcripts cover.

Times are in milliseconds from the start of the stream. Each time is the sum of a time of the
service and the position at which the audio of the connection began.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import attrs

from inworld_sync.models.events import InvalidMessage, UnknownEvent
from inworld_sync.models.stt import (
    Reconnected,
    SpeechStarted,
    SpeechStopped,
    SttUsage,
    TranscribeConfig,
    Transcript,
    Transcription,
)
from inworld_sync.models.turns import Turn, Word
from inworld_sync.wire.stt_repeats import Repeats

__all__ = ["Answer", "SttEvent", "TurnLog", "is_manual"]

SttEvent: TypeAlias = (
    InvalidMessage
    | Reconnected
    | SpeechStarted
    | SpeechStopped
    | SttUsage
    | Transcription
    | UnknownEvent
)

# A word may begin up to this much before the start of speech that the service reports.
_ONSET_MS: Final = 500
# The largest expected error of a word's end time. The mean error of recognizers is a third of this
# value.
_WORD_END_MS: Final = 100
# A reported time may be later than the sent audio by this much, because times are rounded, and
# because the service may report a time in audio that is still being sent.
_TOLERANCE_MS: Final = 1000


@attrs.frozen(kw_only=True)
class Answer:
    """
    The position up to which an event of the service has answered the audio.

    Attributes:
        until_ms: If *is_exact*, the end of the audio that final transcripts cover. Otherwise, the
            end of the sent audio.
        is_exact: Whether the event or an ``endTurn`` gives the position of the end. If not, the
            answered speech may end earlier than *until_ms*.
        is_final: Whether the turn has ended. If not, the final transcript of the turn may follow.
    """

    until_ms: float = attrs.field(kw_only=False)
    is_exact: bool
    is_final: bool


class TurnLog:
    """
    The turns of one stream.

    Args:
        is_manual: Whether only the user ends turns. If True, every final transcript answers an
            ``endTurn``.

    Attributes:
        covered_ms: The end of the audio that need not be sent again, because final transcripts
            cover it.
        answer: The answer in the latest event, or None if this event answers no audio.
        free_ms: The last position at which the audio of a new connection may begin. The audio
            between *covered_ms* and *free_ms* need not be sent again.
        is_speaking: Whether speech has started and has not stopped.
        is_open: Whether a turn has begun and has no final transcript yet.
        has_words: Whether this connection sent words of the open turn.
        usage: The usage of the service, or None until the service has sent the usage.
    """

    def __init__(self, *, is_manual: bool) -> None:
        self._is_manual = is_manual
        self.covered_ms = self.free_ms = 0.0
        self.answer: Answer | None = None
        self.is_speaking = False
        self.is_open = False
        self.has_words = False
        self.usage: SttUsage | None = None
        self._turns: list[Turn] = []
        self._offset_ms = 0
        self._started_ms: int | None = None
        self._silence_ms = 0
        self._repeats = Repeats()

    def lost_ms(self, start_ms: float) -> float:
        """Return how much of the open turn is before *start_ms*, or 0 if no turn is open."""
        if not self.is_open:
            return 0.0
        open_from_ms = self.covered_ms if self._started_ms is None else self._started_ms
        return max(0.0, start_ms - open_from_ms)

    @property
    def is_unfinished(self) -> bool:
        """Whether a final transcript must follow, because the user speaks or the turn has words."""
        return self.is_open and (self.is_speaking or self.has_words)

    @property
    def turn_count(self) -> int:
        """How many turns are finished."""
        return len(self._turns)

    @property
    def transcript(self) -> Transcript:
        """All finished turns so far."""
        return Transcript(tuple(self._turns), self.usage)

    def settle(self, start_ms: float) -> None:
        """Record that the audio of the next connection begins at *start_ms*."""
        if start_ms <= self.free_ms:
            self.covered_ms = max(self.covered_ms, start_ms)
        self.free_ms = 0.0

    def restart(self, offset_ms: int) -> None:
        """Continue with a connection whose audio begins at *offset_ms*."""
        self._offset_ms = offset_ms
        self._started_ms = None
        self._silence_ms = 0
        self.has_words = False
        self._repeats.restart()

    def handle(
        self, event: SttEvent, sent_ms: float, turn_end_ms: float | None = None
    ) -> list[SttEvent]:
        """
        Handle an event.

        Args:
            event: The event as the service sent it.
            sent_ms: The duration of the audio that was sent, or infinity if this duration is not
                known.
            turn_end_ms: The position of the oldest ``endTurn`` that was sent and that no final
                transcript covers. None without such an ``endTurn``.

        Returns:
            The events to emit, with times of the stream.
        """
        self.answer = None
        if isinstance(event, SpeechStarted):
            return self._handle_start(event, sent_ms)
        if isinstance(event, SpeechStopped):
            self.is_speaking = False
            self._silence_ms = event.silence_ms
            self.answer = Answer(sent_ms, is_exact=False, is_final=False)
            return [event]
        if isinstance(event, SttUsage):
            self.usage = event
            return [event]
        if not isinstance(event, Transcription):
            return [event]
        words = tuple(self._moved(word) for word in event.words)
        if event.is_final:
            if words and self._turns and words == self._turns[-1].words:
                # The same words at the same times are a repeated message, not repeated speech.
                return []
            return self._handle_final(attrs.evolve(event, words=words), sent_ms, turn_end_ms)
        text = self._repeats.new_part(event.text, is_final=False)
        self.has_words = self.has_words or bool(text)
        self.is_open = self.is_open or self.has_words
        return [attrs.evolve(event, text=text, words=words)] if text or not event.text else []

    def _handle_start(self, event: SpeechStarted, sent_ms: float) -> list[SttEvent]:
        start_ms = event.start_ms + self._offset_ms
        if start_ms <= sent_ms + _TOLERANCE_MS:
            self._started_ms = start_ms
            self._end_before(start_ms)
            if not self.is_open:
                # Every earlier turn has its final transcript.
                self._cover(start_ms - _ONSET_MS, start_ms, sent_ms)
                self.answer = Answer(self.covered_ms, is_exact=True, is_final=True)
        self.is_open = True
        if self.is_speaking:
            return []
        self.is_speaking = True
        return [attrs.evolve(event, start_ms=start_ms)]

    def _end_before(self, start_ms: int) -> None:
        """Correct the estimated end of the last turn."""
        last = self._turns[-1] if self._turns else None
        if last is None or last.words or last.start_ms is None or last.end_ms is None:
            return
        if last.start_ms <= start_ms < last.end_ms:
            self._turns[-1] = attrs.evolve(last, end_ms=start_ms)

    def _handle_final(
        self, event: Transcription, sent_ms: float, turn_end_ms: float | None
    ) -> list[SttEvent]:
        text = event.text
        end_ms = self._end_of(event.words, sent_ms)
        if end_ms is not None:
            # New audio may begin in the middle of the silence after the last word. A cut at this
            # point affects neither the last word nor the first word of the next turn.
            middle_ms = end_ms + max(self._silence_ms, event.silence_ms) / 2
            slack_ms = max(0.0, end_ms + _WORD_END_MS - middle_ms)
            self._cover(middle_ms - slack_ms, middle_ms + slack_ms, sent_ms)
            self.answer = Answer(self.covered_ms, is_exact=True, is_final=True)
        else:
            self.answer = Answer(sent_ms, is_exact=False, is_final=True)
            text = self._repeats.new_part(text, is_final=True)
            if self._is_manual and turn_end_ms is not None:
                self._cover(turn_end_ms, turn_end_ms, sent_ms)
                self.answer = Answer(self.covered_ms, is_exact=True, is_final=True)
            else:
                self._repeats.remember(text)
        emitted: list[SttEvent] = []
        if self.is_speaking:
            emitted.append(SpeechStopped(event.silence_ms))
        if text or not event.text:
            emitted.append(attrs.evolve(event, text=text))
        if text.strip():
            words = event.words
            start_ms = words[0].start_ms if words else self._started_ms
            last_ms = words[-1].end_ms if words else self._estimated_end(event, sent_ms)
            tokens = event.tokens if text == event.text else ()
            self._turns.append(Turn(text, words, start_ms, last_ms, event.voice_profile, tokens))
        self.is_speaking = self.is_open = self.has_words = False
        self._started_ms = None
        self._silence_ms = 0
        return emitted

    def _estimated_end(self, event: Transcription, sent_ms: float) -> int | None:
        """
        Return the latest possible end of a turn whose words have no times, or None if this end is
        unknown.

        The service does not send the end of such a turn, and audio may be sent faster than real
        time. The start of the next turn corrects the estimate.
        """
        if self._started_ms is None or math.isinf(sent_ms):
            return None
        end_ms = round(sent_ms) - max(self._silence_ms, event.silence_ms)
        return max(self._started_ms, end_ms)

    def _end_of(self, words: tuple[Word, ...], sent_ms: float) -> int | None:
        """Return the end of the last word, or None without plausible times."""
        end_ms = max((word.end_ms for word in words), default=0)
        first_ms = max(self._offset_ms, self._started_ms or 0)
        return end_ms if first_ms < end_ms <= sent_ms + _TOLERANCE_MS else None

    def _cover(self, until_ms: float, free_ms: float, sent_ms: float) -> None:
        until_ms = min(until_ms, sent_ms)
        if until_ms > self.covered_ms:
            self.covered_ms, self.free_ms = until_ms, min(free_ms, sent_ms)
            self._repeats.clear()

    def _moved(self, word: Word) -> Word:
        by_ms = self._offset_ms
        if not by_ms:
            return word
        return attrs.evolve(word, start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms)


def is_manual(config: TranscribeConfig) -> bool:
    """Return whether only the user ends turns."""
    if config.soniox is not None:
        return config.soniox.enable_endpoint_detection is False
    own = config.inworld or config.assemblyai
    return own is not None and own.vad_threshold == 0
