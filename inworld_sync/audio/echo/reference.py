"""
Stores the audio that a speaker played, and reads this audio at any place and any rate.

The clocks of a speaker and a microphone differ by up to 0.1 %. So the canceller reads the played
audio a little faster or slower than it was played, with interpolation between the samples.

A speaker that has nothing to play is silent for a moment, between two samples. Such a gap is not a
whole number of samples. The *position* of a sample counts the samples before it. The *place* of a
sample is its position plus the durations of all gaps before it, in samples.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PlayedAudio"]

# The interpolation filter has _CROSSINGS zero crossings on each side. A position between two
# samples is rounded to one of _PHASES phases. The error of the rounding is -66 dB at a quarter of
# the sample rate.
_CROSSINGS: Final = 12
_PHASES: Final = 1024
# The filter passes frequencies up to this share of half the lower of the two sample rates.
_BANDWIDTH: Final = 0.92


class PlayedAudio:
    """
    Holds the last samples of a speaker.

    Args:
        held_samples: How many samples to hold.
        from_hz: The sample rate of the held samples.
        to_hz: The sample rate of the audio that :meth:`read` returns.

    Attributes:
        end: The position after the last sample.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self, held_samples: int, from_hz: int, to_hz: int) -> None:
        import numpy as np

        self._held_samples = held_samples
        # The samples are at the front of the array. When the array is full, the newest held_samples
        # move to the front. One call adds at most held_samples of silence and held_samples of
        # audio.
        self._samples: npt.NDArray[np.int16] = np.zeros(4 * held_samples, np.int16)
        self._filter = _filter(min(1.0, to_hz / from_hz))
        self._taps = int(self._filter.shape[1])
        self._step = from_hz / to_hz
        self._start = 0  # the position of the first sample
        self.end = 0
        # The position of the first sample after each gap, with the duration of the gap in samples.
        self._gaps: dict[int, float] = {}
        self._earlier_gaps = 0.0  # the total duration of the gaps that are no longer in self._gaps

    @property
    def reach(self) -> int:
        """How many samples after a position the filter needs."""
        return self._taps // 2 + 1

    def append(self, position: int, pcm: bytes) -> None:
        """
        Add samples.

        Args:
            position: The position of the first sample. If samples before this position are missing,
                silence takes their place. Samples that were added earlier are skipped.
            pcm: 16-bit little-endian samples.
        """
        import numpy as np

        samples = np.frombuffer(pcm, "<i2")
        last = position + len(samples)
        samples = samples[max(self.end - position, 0) :][-self._held_samples :]
        first = max(last - len(samples), self.end)
        if first - self.end > self._held_samples:
            self._start = self.end = first
        if first + len(samples) - self._start > len(self._samples):
            stored = self.end - self._start
            kept = self._samples[stored - self._held_samples : stored].copy()
            self._samples[: len(kept)] = kept
            self._start = self.end - len(kept)
        self._samples[self.end - self._start : first - self._start] = 0
        self.end = first + len(samples)
        self._samples[first - self._start : self.end - self._start] = samples

    def gap(self, position: int) -> float | None:
        """Return how many samples the gap before *position* lasts; None if there is no gap."""
        return self._gaps.get(position)

    def set_gap(self, position: int, samples: float) -> None:
        """
        Add the last gap so far, or change its duration.

        Args:
            position: The position of the first sample after the gap.
            samples: The duration of the gap in samples. If the duration is negative, the last
                samples before the gap were not heard.
        """
        self._gaps[position] = samples
        for old in [each for each in self._gaps if each < min(self._start, position)]:
            self._earlier_gaps += self._gaps.pop(old)

    def place(self, position: float) -> float:
        """Return the place of a sample."""
        gaps = sum(samples for start, samples in self._gaps.items() if start <= position)
        return position + self._earlier_gaps + gaps

    def read(self, place: float, ratio: float, count: int) -> npt.NDArray[np.float32]:
        """
        Return resampled audio. Gaps, and places without samples, are silence.

        Args:
            place: The place of the first sample.
            ratio: The speed of reading, relative to the nominal rate; about 1.
            count: How many samples to return.
        """
        import numpy as np

        places = np.arange(count, dtype=np.float64) * (self._step * ratio)
        places += place - self._earlier_gaps
        result = np.zeros(count, np.float32)
        begin = self._start
        silence = 0.0  # the gaps before *begin*
        for start, samples in [*self._gaps.items(), (self.end, 0.0)]:
            end = start + min(math.floor(samples), 0)
            positions = np.asarray(places - silence, np.float64)
            is_near = positions[-1] > begin - self.reach and positions[0] < end + self.reach
            if begin < end and is_near:
                result += self._read(positions, begin, end)
            begin, silence = max(begin, start), silence + samples
        return result

    def _read(
        self, positions: npt.NDArray[np.float64], begin: int, end: int
    ) -> npt.NDArray[np.float32]:
        """Interpolate between the samples from *begin* to *end* only."""
        import numpy as np

        whole = np.floor(positions)
        phases = np.rint((positions - whole) * _PHASES).astype(np.intp)
        first = int(whole[0]) - self._taps // 2 + 1
        last = int(whole[-1]) + self._taps // 2 + 1
        window = np.zeros(last - first + 1, np.float32)
        from_, to = max(first, begin), min(last + 1, end)
        if from_ < to:
            window[from_ - first : to - first] = self._samples[
                from_ - self._start : to - self._start
            ]
        indices = (whole.astype(np.intp) - int(whole[0]))[:, None] + np.arange(self._taps)
        result: npt.NDArray[np.float32] = np.einsum(
            "ij,ij->i", window[indices], self._filter[phases]
        )
        return result


@functools.cache
def _filter(rate: float) -> npt.NDArray[np.float32]:
    """
    Return a row of filter coefficients for each phase.

    Args:
        rate: The bandwidth of the output as a share of the bandwidth of the input.
    """
    import numpy as np

    cutoff = rate * _BANDWIDTH
    side = math.ceil(_CROSSINGS / rate)
    taps = 2 * side
    # The coefficient of tap t belongs to the sample t - side + 1 after the whole position.
    phases = np.arange(_PHASES + 1)[:, None] / _PHASES
    distance = np.arange(taps)[None, :] - side + 1 - phases
    window = np.kaiser(4097, 8.0)
    shape = np.interp(distance / side, np.linspace(-1, 1, 4097), window)
    coefficients = cutoff * np.sinc(cutoff * distance) * shape
    coefficients /= coefficients.sum(axis=1, keepdims=True)
    return np.asarray(coefficients, dtype=np.float32)
