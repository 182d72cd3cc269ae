"""
Reduces the rest of an echo in audio that also contains the user's speech.

A linear canceller cannot remove the distortion of a loudspeaker, and its estimate of the room is
never exact. The rest is quieter than the user, but a detector of speech needs some hundred
milliseconds longer with this rest, even if the rest is 20 to 30 dB below the user.

While only the speaker plays, this module measures in each frequency band which share of the echo
remains. While the user speaks too, the expected rest is subtracted in each band (spectral
subtraction). A band in which the user is much louder than the expected rest is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from inworld_sync.audio.echo.processor import FRAME_MS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ResidualSuppressor"]

# The audio is filtered with a symmetric filter, which delays the audio by this time. The time must
# be shorter than the delay of the processor, because the gate aligns both.
_DELAY_SECONDS: Final = 0.004
# The share of the echo that remains is averaged over about a second: each frame has this weight.
_NEW: Final = 0.01
# The rest of an echo lasts longer than the estimated echo. So the power of the estimated echo
# decays at most by this factor in each frame.
_DECAY: Final = 0.6
# The power of the estimated echo is never below this, because smaller numbers lose precision.
_LEAST_POWER: Final = 1e-30
# The power of the rest in a single frame is often above its average. So a multiple of the average
# is subtracted.
_OVERESTIMATE: Final = 3.0
# No band is attenuated to less than this share of its amplitude. Otherwise, single bands would be
# heard as short tones.
_LEAST_GAIN: Final = 0.1


class ResidualSuppressor:
    """
    Reduces the rest of an echo.

    Args:
        sample_rate_hz: The sample rate. Frames have 10 ms.

    Attributes:
        delay_samples: By how many samples the result is later than the audio.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        import numpy as np

        self._frame = sample_rate_hz * FRAME_MS // 1000
        self.delay_samples: Final = round(_DELAY_SECONDS * sample_rate_hz)
        self._size = 1 << (2 * self._frame - 1).bit_length()
        self._window = np.hanning(2 * self._frame)
        self._last_echo: npt.NDArray[np.float64] = np.zeros(2 * self._frame)
        self._last_rest: npt.NDArray[np.float64] = np.zeros(2 * self._frame)
        bands = self._size // 2 + 1
        self._echo_power: npt.NDArray[np.float64] = np.zeros(bands)
        self._mean_echo: npt.NDArray[np.float64] = np.zeros(bands)
        self._mean_rest: npt.NDArray[np.float64] = np.zeros(bands)
        self._taper = np.hanning(2 * self.delay_samples + 3)[1:-1]
        self._taps: npt.NDArray[np.float64] = np.zeros(len(self._taper))
        self._taps[self.delay_samples] = 1.0
        self._before: npt.NDArray[np.float64] = np.zeros(len(self._taper) - 1)
        self._fade = np.linspace(0.0, 1.0, self._frame)

    def process(
        self,
        echo: npt.NDArray[np.float64],
        rest: npt.NDArray[np.float64],
        *,
        is_echo_only: bool,
    ) -> npt.NDArray[np.float64]:
        """
        Return a frame of the result.

        Args:
            echo: The estimated echo.
            rest: The audio without the estimated echo.
            is_echo_only: Whether the user is silent in this frame while the speaker plays. Then the
                frame contributes to the measurement.
        """
        import numpy as np

        self._last_echo = np.concatenate((self._last_echo[self._frame :], echo))
        self._last_rest = np.concatenate((self._last_rest[self._frame :], rest))
        rest_power = self._power(self._last_rest)
        # The floor prevents numbers that are too small for a float after a long silence.
        echo_power = np.maximum(self._power(self._last_echo), _DECAY * self._echo_power)
        self._echo_power = np.maximum(echo_power, _LEAST_POWER)
        if is_echo_only:
            self._mean_rest += _NEW * (rest_power - self._mean_rest)
            self._mean_echo += _NEW * (self._echo_power - self._mean_echo)
        expected = self._echo_power * self._mean_rest / (self._mean_echo + 1.0)
        gains = np.clip(1.0 - _OVERESTIMATE * expected / (rest_power + 1.0), _LEAST_GAIN, 1.0)
        return self._filtered(rest, gains)

    def _power(self, samples: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        import numpy as np

        spectrum = np.fft.rfft(samples * self._window, self._size)
        return np.asarray(spectrum.real**2 + spectrum.imag**2)

    def _filtered(
        self, rest: npt.NDArray[np.float64], gains: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Apply the gains. The filter changes gradually from the last gains to these gains."""
        import numpy as np

        last = self._taps
        response = np.roll(np.fft.irfft(gains, self._size), self.delay_samples)
        self._taps = response[: len(self._taper)] * self._taper
        samples = np.concatenate((self._before, rest))
        self._before = samples[self._frame :]
        old = np.convolve(samples, last, "valid")
        new = np.convolve(samples, self._taps, "valid")
        return np.asarray(old + self._fade * (new - old), np.float64)
