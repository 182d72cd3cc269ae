"""Measures the loudness of each moment of a segment of speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from inworld_sync.emulator.recognition.protocols import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["loudness", "quietest_byte"]

# This span is longer than a cycle of the lowest voice, and shorter than a phoneme.
_SPAN_SAMPLES: Final = SAMPLE_RATE_HZ // 50


def loudness(pcm: bytes) -> npt.NDArray[np.float32]:
    """Return the root mean square of the 20 ms around each sample."""
    import numpy as np

    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    if not samples.size:
        return samples
    power = np.convolve(samples * samples, np.full(_SPAN_SAMPLES, 1 / _SPAN_SAMPLES))
    return np.sqrt(power[_SPAN_SAMPLES // 2 :][: samples.size])


def quietest_byte(pcm: bytes, start: int, end: int) -> int:
    """Return the offset of the quietest sample from *start* to *end*, which are even offsets."""
    levels = loudness(pcm[start:end])
    return start + 2 * int(levels.argmin()) if levels.size else start
