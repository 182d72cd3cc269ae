"""
Defines the protocols of a speech recognizer, a voice activity detector and a word aligner.

All audio of these protocols is 16-bit little-endian mono PCM at 16 kHz in ``bytes``. numpy is not
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

__all__ = [
    "BYTES_PER_MS",
    "SAMPLE_RATE_HZ",
    "HeardWord",
    "Recognizer",
    "VoiceActivityDetector",
    "WordAligner",
]

SAMPLE_RATE_HZ = 16_000
BYTES_PER_MS = SAMPLE_RATE_HZ * 2 // 1000


@attrs.frozen
class HeardWord:
    """
    One recognized word, with its punctuation.

    Attributes:
        text: The word as written, for example ``London?``.
        confidence: The confidence of the recognizer, in [0, 1].
        start_ms: The start of the word, or None without alignment. A recognizer counts from the
            start of the segment, a :class:`Listener` from the start of the stream.
        end_ms: The end of the word, counted in the same way.
    """

    text: str
    confidence: float
    start_ms: int | None = None
    end_ms: int | None = None


class Recognizer(Protocol):
    """
    Recognizes the words in a segment of speech.

    :class:`SpeechEngine` calls a recognizer from one thread at a time.
    """

    @property
    def languages(self) -> tuple[str, ...]:
        """The primary subtags of the supported languages, for example ``("en",)``."""
        ...

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """Return the words of one segment of speech. In a stream, it has at most about 10 s."""
        ...


class VoiceActivityDetector(Protocol):
    """
    Estimates the probability that a window of audio has speech.

    A detector has the state of one stream, so every stream has its own detector. One thread at a
    time calls a detector.
    """

    @property
    def window_samples(self) -> int:
        """The number of samples in each window."""
        ...

    def probability(self, window: bytes) -> float:
        """Return the probability in [0, 1] that the next window of the stream has speech."""
        ...


class WordAligner(Protocol):
    """
    Finds the times of known words in a segment of speech.

    One thread at a time calls an aligner.
    """

    def align(self, pcm: bytes, words: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
        """Return start and end of each word in ms from the start of *pcm*, or None on failure."""
        ...
