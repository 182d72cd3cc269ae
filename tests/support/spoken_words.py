"""
Audio that encodes numbered words, and recognizers that read these words.

A word has 200 ms of samples whose value is the number of the word. 100 ms of silence separate two
words, and 500 ms of silence follow a turn. If a recognizer gets only a part of a word, the result
shows the duration of this part. So a test detects audio that is lost, repeated or cut in the middle
of a word.
"""

from __future__ import annotations

from array import array
from itertools import groupby
from typing import Any

from inworld_sync.emulator.recognition.protocols import HeardWord

__all__ = [
    "RATE_HZ",
    "WORD_MS",
    "NumberedRecognizer",
    "NumberedVad",
    "ScriptedRecognizer",
    "number_names",
    "spoken_turns",
]

RATE_HZ = 16_000
WORD_MS = 200
_GAP_MS = 100
_PAUSE_MS = 500
_TURN_END_MS = 300
_PER_MS = RATE_HZ // 1000


def number_names(*numbers: int) -> str:
    """Return the transcript of numbered words."""
    return " ".join(f"w{number}" for number in numbers)


def _level(number: int, milliseconds: int) -> bytes:
    return array("h", [number]).tobytes() * (milliseconds * _PER_MS)


def spoken_turns(*turns: int, pause_ms: int = _PAUSE_MS) -> tuple[bytes, str]:
    """
    Return the audio of numbered words in turns. *turns* has the count of words of each turn.

    Returns:
        The audio, and all its words.
    """
    pcm, number = _level(0, pause_ms), 0
    for words in turns:
        for _ in range(words):
            number += 1
            pcm += _level(number, WORD_MS) + _level(0, _GAP_MS)
        pcm += _level(0, pause_ms)
    return pcm, number_names(*range(1, number + 1))


class ScriptedRecognizer:
    """
    Transcribes the audio of one connection. The results are the JSON objects of the service.

    Args:
        is_timed: Whether words have times.
        is_manual: Whether only the client ends turns.
        reports_speech: Whether the start and the end of speech are reported.
        counts_only: Whether samples are only counted, and no words are recognized.
        max_words: A turn also ends after this number of words, even without silence. 0 means no
            limit.
        time_error_ms: An error that is added to the times of words.
    """

    def __init__(
        self,
        *,
        is_timed: bool = True,
        is_manual: bool = False,
        reports_speech: bool = True,
        counts_only: bool = False,
        max_words: int = 0,
        time_error_ms: int = 0,
    ) -> None:
        self.counts_only = counts_only
        self.max_words = max_words
        self.time_error_ms = time_error_ms
        self.is_timed = is_timed
        self.is_manual = is_manual
        self.reports_speech = reports_speech
        self.samples = 0
        self._words: list[dict[str, Any]] = []
        self._open: list[int] | None = None
        self._silent_ms = 0.0
        self._is_speaking = False
        self.spoken_ms = 0.0

    @property
    def received_ms(self) -> float:
        return self.samples / _PER_MS

    def feed(self, pcm: bytes) -> list[dict[str, Any]]:
        """Transcribe the next samples. Return the new results."""
        results: list[dict[str, Any]] = []
        samples = array("h", pcm)
        if self.counts_only:
            self.samples += len(samples)
            return results
        at = 0
        while at < len(samples):
            end = at
            while end < len(samples) and samples[end] == samples[at]:
                end += 1
            self._feed_run(samples[at], end - at, results)
            at = end
        return results

    def end_turn(self) -> list[dict[str, Any]]:
        """End the turn. If only the client ends turns, a turn without words also has a result."""
        results: list[dict[str, Any]] = []
        self._end_word(results)
        if self._is_speaking or self._words or self.is_manual:
            self._end_turn(results)
        return results

    def finish(self) -> list[dict[str, Any]]:
        """End the turn that is still open."""
        results: list[dict[str, Any]] = []
        self._end_word(results)
        if self._is_speaking or self._words:
            self._end_turn(results)
        return results

    def _feed_run(self, number: int, samples: int, results: list[dict[str, Any]]) -> None:
        if self._open is not None and self._open[0] != number:
            self._end_word(results)
        if number:
            if self._open is None:
                self._open = [number, self.samples, 0]
                self._start(results)
            self._open[2] += samples
            self._silent_ms = 0.0
        else:
            self._silent_ms += samples / _PER_MS
        self.samples += samples
        ended = self._silent_ms >= _TURN_END_MS and not self.is_manual
        if ended and (self._is_speaking or self._words):
            self._end_turn(results)

    def _start(self, results: list[dict[str, Any]]) -> None:
        if self._is_speaking:
            return
        self._is_speaking = True
        if self.reports_speech and not self.is_manual:
            start = {"startTimeMs": round(self.received_ms), "confidence": 0.9}
            results.append({"speechStarted": start})

    def _end_word(self, results: list[dict[str, Any]]) -> None:
        if self._open is None:
            return
        number, start, samples = self._open
        self._open = None
        length_ms = samples / _PER_MS
        self.spoken_ms += length_ms
        self._words.append(
            {
                "word": _word(number, length_ms),
                "confidence": 0.8,
                "startTimeMs": round(start / _PER_MS) + self.time_error_ms,
                "endTimeMs": round((start + samples) / _PER_MS) + self.time_error_ms,
            }
        )
        results.append(self._transcription(is_final=False))
        if len(self._words) == self.max_words:
            self._end_turn(results)

    def _end_turn(self, results: list[dict[str, Any]]) -> None:
        silence = {"silenceDurationMs": round(self._silent_ms)}
        if self.reports_speech and not self.is_manual:
            results.append({"speechStopped": silence})
        results.append(self._transcription(is_final=True))
        self._words.clear()
        self._is_speaking = False

    def _transcription(self, *, is_final: bool) -> dict[str, Any]:
        words = list(self._words) if is_final and self.is_timed else []
        return {
            "transcription": {
                "transcript": " ".join(word["word"] for word in self._words),
                "isFinal": is_final,
                "wordTimestamps": words,
                "voiceProfile": None,
                "silenceDurationMs": 0,
            }
        }


class NumberedVad:
    """Reports speech for every window that has a sample other than zero."""

    # The durations of words and pauses are multiples of a window, so the start of speech is exact.
    window_samples = 20 * _PER_MS

    def probability(self, window: bytes) -> float:
        return 1.0 if any(window) else 0.0


class NumberedRecognizer:
    """Reads the numbered words in audio, for the emulator."""

    languages = ("en",)

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        words, at_ms = [], 0.0
        for number, run in groupby(array("h", pcm)):
            length_ms = sum(1 for _ in run) / _PER_MS
            if number:
                # Because of the period, a short silence ends the turn.
                text = f"{_word(number, length_ms)}."
                words.append(HeardWord(text, 0.8, round(at_ms), round(at_ms + length_ms)))
            at_ms += length_ms
        return tuple(words)


def _word(number: int, length_ms: float) -> str:
    """Return the name of a word. The name of a part of a word has the duration in ms."""
    return f"w{number}" if length_ms == WORD_MS else f"w{number}[{length_ms:g}]"
