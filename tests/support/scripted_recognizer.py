"""
A detector and a recognizer whose answers are in the sound itself.

A window's likelihood of speech is its loudness, and what is understood is spelled by levels, so a
test writes down exactly what a listener will be told.
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
    """Windows of 32 ms that the detector takes for speech so likely; *word* is what is said."""
    level = round(likelihood * 300) * _WORD_LEVELS + word
    return array("h", [level]).tobytes() * (WINDOW_MS * BYTES_PER_MS // 2 * windows)


class LoudnessVad:
    """Takes the level of a window for its likelihood."""

    window_samples = WINDOW_MS * BYTES_PER_MS // 2

    def probability(self, window: bytes) -> float:
        return array("h", window)[0] // _WORD_LEVELS / 300


class ScriptedRecognizer:
    """
    Says the words whose numbers are in the sound, each once for an unbroken run of it.

    Attributes:
        texts: The words by number; number 0 is silence.
        heard: The pieces of sound that were asked about.
        gives_times: Whether its words have times.
        may_answer: Cleared, it holds the recognizer inside a call.
        asked: Set by the first call.
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
    Puts every word where it was told to, or nowhere.

    Attributes:
        spans: What it answers.
        asked: How often it was asked.
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
    """An engine that loads nothing."""
    return SpeechEngine(recognizer, aligner=aligner or ScriptedAligner(), new_vad=LoudnessVad)
