"""
Stores the audio that a speaker played, and reads this audio at any position and any rate.

The clocks of a speaker and a microphone differ by up to 0.1 %. So the canceller reads the played
audio a little faster or slower than it was played, with interpolation between the samples.
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

    def read(self, position: float, ratio: float, count: int) -> npt.NDArray[np.float32]:
        """
        Return resampled audio. Positions without samples are silence.

        Args:
            position: The position of the first sample.
            ratio: The speed of reading, relative to the nominal rate; about 1.
            count: How many samples to return.
        """
        import numpy as np

        places = position + np.arange(count) * (self._step * ratio)
        whole = np.floor(places)
        phases = np.rint((places - whole) * _PHASES).astype(np.intp)
        first = int(whole[0]) - self._taps // 2 + 1
        last = int(whole[-1]) + self._taps // 2 + 1
        window = self._window(first, last)
        indices = (whole.astype(np.intp) - int(whole[0]))[:, None] + np.arange(self._taps)
        result: npt.NDArray[np.float32] = np.einsum(
            "ij,ij->i", window[indices], self._filter[phases]
        )
        return result

    def _window(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """Return the samples from *first* to *last*, both included."""
        import numpy as np

        window = np.zeros(last - first + 1, np.float32)
        begin, end = max(first, self._start), min(last + 1, self.end)
        if begin < end:
            stored = self._samples[begin - self._start : end - self._start]
            window[begin - first : end - first] = stored
        return window


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
