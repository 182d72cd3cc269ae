"""Word times without an aligner: each word gets a share of the voiced time by its letters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from inworld_sync.emulator.recognition.loudness import loudness
from inworld_sync.emulator.recognition.protocols import SAMPLE_RATE_HZ

__all__ = ["proportional_times"]

# Of the loudest moment; below it lie pauses, breath and room.
_VOICED_SHARE: Final = 0.02


def proportional_times(pcm: bytes, words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """
    Guess where *words* lie in *pcm*; about 80 ms off on average.

    Returns:
        As many pairs of start and end in ms as there are words, in order and without gaps.
    """
    import numpy as np

    levels = loudness(pcm)
    if not words or not levels.size:
        return tuple((0, 0) for _ in words)
    voiced = np.flatnonzero(levels >= _VOICED_SHARE * levels.max())
    shares = np.cumsum([0, *(len(word) + 1 for word in words)])
    borders = voiced[shares * (voiced.size - 1) // shares[-1]] * 1000 // SAMPLE_RATE_HZ
    return tuple(pairwise(borders.tolist()))
