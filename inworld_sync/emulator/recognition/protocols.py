"""
What a speech recognizer must offer to be used by the emulator.

All sound here is 16-bit little-endian mono PCM at 16 kHz in ``bytes``; none of it needs numpy.
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
    One recognized word, with the punctuation that the recognizer wrote.

    Attributes:
        text: The word as written, for example ``London?``.
        confidence: How sure the recognizer is, in [0, 1].
        start_ms: Where it begins; None when nothing aligned it. Milliseconds of the piece of
            sound that was recognized, or of the stream once a :class:`Listener` gave it out.
        end_ms: Where it ends, on the same clock.
    """

    text: str
    confidence: float
    start_ms: int | None = None
    end_ms: int | None = None


class Recognizer(Protocol):
    """
    Turns a piece of speech into words.

    Only one thread at a time calls a recognizer: :class:`SpeechEngine` sees to it.
    """

    @property
    def languages(self) -> tuple[str, ...]:
        """Primary language subtags that it understands, for example ``("en",)``."""
        ...

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """Words of one piece of speech, at most about 15 s; empty when there are none."""
        ...


class VoiceActivityDetector(Protocol):
    """
    Says how likely a window of sound holds speech.

    It has the memory of one stream, so every stream has its own; one thread at a time calls it.
    """

    @property
    def window_samples(self) -> int:
        """How many samples :meth:`probability` takes."""
        ...

    def probability(self, window: bytes) -> float:
        """Likelihood in [0, 1] that the next *window* of the stream holds speech."""
        ...


class WordAligner(Protocol):
    """Finds where known words lie in a piece of speech; one thread at a time calls it."""

    def align(self, pcm: bytes, words: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
        """Start and end of each word in ms from the start of *pcm*, or None if it cannot."""
        ...
