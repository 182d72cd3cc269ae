"""
Finds the delay of the echo from the audio itself.

The times that devices report may be wrong by hundreds of milliseconds, for example with a Bluetooth
loudspeaker. The finder compares the recorded audio with the played audio (generalized
cross-correlation with phase transform).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["DelayFinder"]

_RATE_HZ: Final = 8000
_WINDOW_SECONDS: Final = 1.0
_HOP_SECONDS: Final = 0.2
# The range of the delays that are searched. With a negative delay, the echo is before the played
# audio.
_LEAST_SECONDS: Final = -0.2
_MOST_SECONDS: Final = 0.8
# The band in which speech and small loudspeakers have most of their energy.
_BAND_HZ: Final = (300, 3400)
# The peak of the correlation must be this many times the root mean square of the correlation.
_LEAST_PEAK: Final = 9.0
# A delay is found when this many results in a row differ by at most this time.
_AGREEING: Final = 3
_AGREEMENT_SECONDS: Final = 0.004
# Audio below this level is not compared. The unit is one step of a 16-bit sample.
_LEAST_LEVEL: Final = 20.0


class DelayFinder:
    """
    Finds the delay of the played audio in the recorded audio.

    Args:
        sample_rate_hz: The sample rate of both streams, a multiple of 8000.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        import numpy as np

        self._factor = sample_rate_hz // _RATE_HZ
        self._window = round(_WINDOW_SECONDS * _RATE_HZ)
        self._before = round(_MOST_SECONDS * _RATE_HZ)
        self._after = -round(_LEAST_SECONDS * _RATE_HZ)
        self._size = 1 << (self._before + self._window + self._after).bit_length()
        hertz = np.fft.rfftfreq(self._size, 1.0 / _RATE_HZ)
        self._band = (hertz >= _BAND_HZ[0]) & (hertz <= _BAND_HZ[1])
        self._played: list[npt.NDArray[np.float32]] = []
        self._recorded: list[npt.NDArray[np.float32]] = []
        self._count = 0
        self._found: deque[float | None] = deque(maxlen=_AGREEING)

    def add(
        self, played: npt.NDArray[np.float32], recorded: npt.NDArray[np.float32]
    ) -> float | None:
        """
        Add a frame of both streams.

        Returns:
            The delay in seconds if it was found with this frame; otherwise None.
        """
        for frames, frame in ((self._played, played), (self._recorded, recorded)):
            frames.append(frame.reshape(-1, self._factor).mean(axis=1))
        self._count += len(played) // self._factor
        if self._count < self._before + self._window + self._after:
            return None
        found = self._find()
        hop = round(_HOP_SECONDS * _RATE_HZ)
        while hop > 0:
            hop -= len(self._played[0])
            self._count -= len(self._played[0])
            del self._played[0], self._recorded[0]
        self._found.append(found)
        agreeing = [each for each in self._found if each is not None]
        if len(agreeing) < _AGREEING or max(agreeing) - min(agreeing) > _AGREEMENT_SECONDS:
            return None
        return found

    def clear(self) -> None:
        """Forget all audio, because the played audio was shifted."""
        self._played.clear()
        self._recorded.clear()
        self._count = 0
        self._found.clear()

    def _find(self) -> float | None:
        import numpy as np

        played = np.concatenate(self._played)[: self._before + self._window + self._after]
        recorded = np.concatenate(self._recorded)[self._before : self._before + self._window]
        if min(_level(played), _level(recorded)) < _LEAST_LEVEL:
            return None
        product = np.fft.rfft(recorded, self._size) * np.conj(np.fft.rfft(played, self._size))
        product = np.where(self._band, product / np.maximum(np.abs(product), 1e-9), 0.0)
        # Index -p of the correlation compares the recorded audio with the played audio that begins
        # at place p.
        correlation = np.fft.irfft(product, self._size)
        # The recorded audio begins at place self._before. So if it is the echo of the played audio
        # at place p, the delay is self._before - p.
        places = np.arange(self._before + self._after + 1)
        values = correlation[-places]
        best = int(np.argmax(values))
        if values[best] < _LEAST_PEAK * _level(values):
            return None
        return (self._before - best) / _RATE_HZ


def _level(samples: npt.NDArray[np.floating[Any]]) -> float:
    return math.sqrt(float((samples * samples).mean()))
