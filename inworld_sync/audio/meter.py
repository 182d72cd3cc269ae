r"""
Measures the level of 16-bit samples: the peak and the root mean square.

Full scale is 32768, so a level is in [0, 1] and at most 0 dBFS. A sine of full scale has a peak
of 0 dBFS and a root mean square of -3 dBFS.

>>> level = measure(b"\x00\x40\x00\xc0")  # 16384 and -16384
>>> level.peak, level.rms, round(level.rms_dbfs, 2)
(0.5, 0.5, -6.02)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from inworld_sync._native import lib
from inworld_sync.audio._memory import cut_sample, readable_samples
from inworld_sync.audio.pcm import SAMPLE_BYTES

if TYPE_CHECKING:
    from inworld_sync.audio.samples import AudioData

__all__ = ["Level", "measure"]

_FULL_SCALE = 32768


@attrs.frozen
class Level:
    """
    The level of a piece of audio.

    Levels can be added. The sum of the levels of two pieces is exactly the level of the joined
    pieces.

    Attributes:
        samples: The number of samples that were measured.
        peak_magnitude: The largest magnitude of a sample, 0 to 32768.
        energy: The sum of the squares of the samples.

    Thread safety:
        The object is immutable, so threads may share it.
    """

    samples: int = 0
    peak_magnitude: int = 0
    energy: int = 0

    def __add__(self, other: Level) -> Level:
        return Level(
            self.samples + other.samples,
            max(self.peak_magnitude, other.peak_magnitude),
            self.energy + other.energy,
        )

    @property
    def peak(self) -> float:
        """The exact peak, 0 to 1."""
        return self.peak_magnitude / _FULL_SCALE

    @property
    def is_clipped(self) -> bool:
        """
        Whether the peak is at full scale, which means a magnitude of 32767 or 32768.

        Audio that is too loud is cut at full scale. The listener hears the cut as distortion.
        """
        return self.peak_magnitude >= _FULL_SCALE - 1

    @property
    def rms(self) -> float:
        """The root mean square, 0 to 1; 0 if there are no samples."""
        return math.sqrt(self.energy / self.samples) / _FULL_SCALE if self.samples else 0.0

    @property
    def peak_dbfs(self) -> float:
        """The peak in decibels of full scale; minus infinity for silence."""
        return _decibels(self.peak)

    @property
    def rms_dbfs(self) -> float:
        """The root mean square in decibels of full scale; minus infinity for silence."""
        return _decibels(self.rms)


def measure(data: AudioData) -> Level:
    """
    Measure 16-bit samples.

    Peak and energy are exact integers, so the result does not depend on the instruction set, nor
    on how a stream is divided into pieces.

    Args:
        data: Little-endian samples, interleaved, as bytes; or an array of samples.

    Raises:
        AudioError: The byte count is odd, so the last sample is incomplete; or *data* is not audio.

    Thread safety:
        Any thread may call the function at any time.
    """
    src = readable_samples(data, "s16")
    size_bytes = len(src)
    if size_bytes % SAMPLE_BYTES:
        del src  # a traceback would keep the buffer locked
        raise cut_sample("s16", SAMPLE_BYTES, size_bytes)
    samples = size_bytes // SAMPLE_BYTES
    return Level(samples, lib.iw_pcm_peak_s16(src, samples), lib.iw_pcm_energy_s16(src, samples))


def _decibels(amplitude: float) -> float:
    return 20.0 * math.log10(amplitude) if amplitude else -math.inf
