"""
Decides in each frame whether the rest of an echo or the user is heard, and attenuates the rest.

The level of the audio after the linear canceller, compared with the level of the estimated echo, is
steady while the speaker plays alone. When the user speaks, it rises by many decibels.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ResidualGate"]

# The attenuation while no user is heard. It ends between two levels above the usual level, which
# are also limited in comparison with the echo.
_ATTENUATION_DB: Final = -16.0
_ABOVE_USUAL_DB: Final = (4.0, 9.0)
_ABOVE_ECHO_DB: Final = (-16.0, -10.0)
# From these levels on, the audio is not processed further, so that the user is clear.
_CLEAR_ABOVE_USUAL_DB: Final = (9.0, 14.0)
_CLEAR_ABOVE_ECHO_DB: Final = (-8.0, -3.0)
# The usual level is measured in frames of this many seconds of playing, and lies in this range.
_FRAMES: Final = 400
_USUAL_PERCENTILE: Final = 50.0
# Above this usual level, the linear canceller has not adapted yet.
_ADAPTED_DB: Final = -12.0
_HIGHEST_USUAL_DB: Final = -6.0
# The energies are averaged with these weights.
_FAST: Final = 0.5
_SLOW: Final = 0.93
# Echoes that are quieter than this level are not compared. The unit is a 16-bit sample.
_LEAST_ECHO: Final = 20.0
# The time by which the processor delays the audio.
_PROCESSOR_SECONDS: Final = 0.0086


class ResidualGate:
    """
    Attenuates the rest of an echo, and prefers the unprocessed audio while the user speaks too.

    Args:
        sample_rate_hz: The sample rate.
        is_clear: Whether unprocessed audio may be preferred.

    Thread safety: one thread at a time.
    """

    def __init__(self, sample_rate_hz: int, *, is_clear: bool) -> None:
        import numpy as np

        self._is_clear = is_clear
        self._delayed: npt.NDArray[np.float64] = np.zeros(
            round(_PROCESSOR_SECONDS * sample_rate_hz)
        )
        self._echo = self._rest = 0.0
        self._ratios: deque[float] = deque(maxlen=_FRAMES)
        self._usual_db = _HIGHEST_USUAL_DB
        self._gain = 1.0
        self._clearness = 0.0

    @property
    def is_adapted(self) -> bool:
        """Whether the linear canceller removes an echo."""
        return self._usual_db < _ADAPTED_DB

    def process(
        self,
        echo: npt.NDArray[np.float64],
        rest: npt.NDArray[np.float64],
        processed: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """
        Return a frame of the result.

        Args:
            echo: The estimated echo.
            rest: The audio without the estimated echo.
            processed: *rest* after further processing.
        """
        import numpy as np

        power = float((echo * echo).mean())
        # The echo decays slowly in the comparison, because its reverberation is not estimated.
        self._echo = max(power, _SLOW * self._echo)
        self._rest = _FAST * self._rest + (1.0 - _FAST) * float((rest * rest).mean())
        gain, clearness = 1.0, 0.0
        if self._echo > _LEAST_ECHO**2:
            ratio_db = 10.0 * math.log10((self._rest + 1.0) / self._echo)
            self._ratios.append(ratio_db)
            if len(self._ratios) >= _FRAMES // 4 and len(self._ratios) % 10 == 0:
                usual_db = float(np.percentile(self._ratios, _USUAL_PERCENTILE))
                self._usual_db = min(usual_db, _HIGHEST_USUAL_DB)
            above_db = ratio_db - self._usual_db
            user = min(_share(above_db, _ABOVE_USUAL_DB), _share(ratio_db, _ABOVE_ECHO_DB))
            gain = 10 ** (_ATTENUATION_DB * (1.0 - user) / 20.0)
            if self._is_clear and self.is_adapted:
                clearness = min(
                    _share(above_db, _CLEAR_ABOVE_USUAL_DB), _share(ratio_db, _CLEAR_ABOVE_ECHO_DB)
                )
        frame = len(rest)
        both = np.concatenate((self._delayed, rest))
        clear, self._delayed = both[:frame], both[frame:]
        gains = np.linspace(self._gain, gain, frame)
        shares = np.linspace(self._clearness, clearness, frame)
        self._gain, self._clearness = gain, clearness
        return np.asarray(gains * ((1.0 - shares) * processed + shares * clear), np.float64)


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max((value - low) / (high - low), 0.0), 1.0)
