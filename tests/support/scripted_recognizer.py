"""
A voice activity detector and a recognizer whose results are encoded in the audio.

The level of a window encodes the probability of speech and the number of a word. So a test knows
the exact results.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence

from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS, HeardWord

__all__ = [
    "WINDOW_MS",
    "LoudnessVad",
    "ScriptedAligner",
    "ScriptedRecognizer",
    "engine_for",
    "sound",
]

WINDOW_MS = 32
_WORD_LEVELS = 100


def sound(windows: int, likelihood: float = 1.0, word: int = 0) -> bytes:
    """Return windows of 32 ms that encode a probability of speech and the number of a word."""
    level = round(likelihood * 300) * _WORD_LEVELS + word
    return array("h", [level]).tobytes() * (WINDOW_MS * BYTES_PER_MS // 2 * windows)


class LoudnessVad:
    """Returns the probability that the level of a window encodes."""

    window_samples = WINDOW_MS * BYTES_PER_MS // 2

    def probability(self, window: bytes) -> float:
        return array("h", window)[0] // _WORD_LEVELS / 300


class ScriptedRecognizer:
    """
    Returns the words whose numbers are in the audio. A run of the same number is one word.

    Attributes:
        texts: The words by number. Number 0 is silence.
        heard: The audio of each call.
        gives_times: Whether the words have times.
        may_answer: Each call waits until this event is set.
        asked: The first call sets this event.
    """

    languages = ("en",)

    def __init__(self, *texts: str) -> None:
        self.texts = ("", *texts)
        self.heard: list[bytes] = []
        self.gives_times = True
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Event()

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        self.heard.append(pcm)
        self.asked.set()
        assert self.may_answer.wait(30)
        words: list[HeardWord] = []
        before = 0
        for at, level in enumerate(array("h", pcm)):
            number = level % _WORD_LEVELS
            if number and number != before:
                at_ms = at * 2 // BYTES_PER_MS
                span = (at_ms, at_ms + WINDOW_MS) if self.gives_times else ()
                words.append(HeardWord(self.texts[number], 0.5, *span))
            before = number
        return tuple(words)


class ScriptedAligner:
    """
    Returns fixed positions of the words, or None.

    Attributes:
        spans: The positions that every call returns, or None.
        asked: The number of calls.
    """

    def __init__(self, spans: tuple[tuple[int, int], ...] | None = None) -> None:
        self.spans = spans
        self.asked = 0

    def align(self, pcm: bytes, words: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
        self.asked += 1
        return self.spans


def engine_for(
    recognizer: ScriptedRecognizer, aligner: ScriptedAligner | None = None
) -> SpeechEngine:
    """Return an engine with this recognizer and aligner. The engine loads no model."""
    return SpeechEngine(recognizer, aligner=aligner or ScriptedAligner(), new_vad=LoudnessVad)
