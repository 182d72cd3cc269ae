"""
Measures by how much the delay of an echo has changed at a gap of the speaker.

A speaker that has nothing to play is silent for a moment. The reported times show the duration of
this gap with an error of some tenths of a millisecond, or of some milliseconds. An error of 0.1 ms
is enough to prevent a linear canceller from removing the echo. So the recorded audio is compared
with the expected echo at each delay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["MOST_JUMP_SECONDS", "find_jump"]

# The echo is searched up to this much earlier and later than expected.
MOST_JUMP_SECONDS: Final = 0.01
# At least this much audio is compared.
_LEAST_SECONDS: Final = 0.08
# The recorded audio must be louder than this. The unit is one step of a 16-bit sample.
_LEAST_LEVEL: Final = 30.0
# At the right delay, the recorded audio without the expected echo has at most this share of the
# energy. While the user speaks, the share is larger.
_MOST_REST: Final = 0.5
# A vowel resembles itself after a period. So at each delay that differs by more than this time, the
# rest must have at least this many times the energy.
_PEAK_SECONDS: Final = 0.001
_CONTRAST: Final = 2.0
# The delay between two samples is found with this many steps of the Gauss-Newton method.
_STEPS: Final = 3


def find_jump(
    played: npt.NDArray[np.floating[Any]],
    recorded: npt.NDArray[np.floating[Any]],
    response: npt.NDArray[np.float64],
    gap: int,
    sample_rate_hz: int,
) -> float | None:
    """
    Return how many samples later the echo of the audio after a gap is recorded than expected.

    Args:
        played: The played audio. It ends at the same time as *recorded*, and begins earlier by the
            length of the response minus 1.
        recorded: The recorded audio.
        response: The response of the room, as estimated before the gap.
        gap: The index in *played* of the first sample after the gap.
        sample_rate_hz: The sample rate of all audio.

    Returns:
        The samples, with a fraction; None if no delay fits well.
    """
    import numpy as np

    most = round(MOST_JUMP_SECONDS * sample_rate_hz)
    if len(recorded) - 2 * most < _LEAST_SECONDS * sample_rate_hz:
        return None
    parts = np.zeros((2, len(played)))
    parts[0, :gap], parts[1, gap:] = played[:gap], played[gap:]
    size = 1 << (len(played) - 1).bit_length()
    spectra = np.fft.rfft(parts, size) * np.fft.rfft(response, size)
    before, echo = np.fft.irfft(spectra, size)[:, len(response) - 1 : len(played)]
    wanted = (recorded - before)[most:-most]
    energy = float(wanted @ wanted)
    if energy < _LEAST_LEVEL**2 * len(wanted):
        return None
    whole = _whole_jump(echo, wanted, round(_PEAK_SECONDS * sample_rate_hz))
    if whole is None:
        return None
    later, rest = _exact_jump(echo, wanted, whole)
    return later if abs(later) < most and rest <= _MOST_REST * energy else None


def _whole_jump(
    echo: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], peak: int
) -> int | None:
    """
    Return how many samples *echo* must be delayed to be nearest to *wanted*.

    Args:
        echo: The expected echo, which begins earlier and ends later than *wanted*, by equal times.
        wanted: The recorded echo.
        peak: How many samples the delays may differ that have a similar result.

    Returns:
        The samples; None if another delay is nearly as good, or if the result is the largest delay.
    """
    import numpy as np

    # Index k is for a delay of most - k samples.
    most = (len(echo) - len(wanted)) // 2
    sums = np.concatenate(((0.0,), np.cumsum(echo * echo)))
    energies = sums[len(wanted) :] - sums[: -len(wanted)]
    size = 1 << (len(echo) - 1).bit_length()
    spectrum = np.fft.rfft(echo, size) * np.conj(np.fft.rfft(wanted, size))
    rests = energies + wanted @ wanted - 2.0 * np.fft.irfft(spectrum, size)[: 2 * most + 1]
    best = int(np.argmin(rests))
    others = np.abs(np.arange(len(rests)) - best) > peak
    if best in (0, 2 * most) or rests[others].min() < _CONTRAST * rests[best]:
        return None
    return most - best


def _exact_jump(
    echo: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], later: float
) -> tuple[float, float]:
    """Improve the delay *later* of *echo*. Return the delay, and the energy of the rest."""
    import numpy as np

    most = (len(echo) - len(wanted)) // 2
    spectrum = np.fft.rfft(echo)
    turn = -2j * np.pi * np.fft.rfftfreq(len(echo))
    for _ in range(_STEPS):
        delayed = spectrum * np.exp(turn * later)
        rest = wanted - np.fft.irfft(delayed, len(echo))[most:-most]
        slope = np.fft.irfft(delayed * turn, len(echo))[most:-most]
        later += float(rest @ slope) / (float(slope @ slope) + 1e-9)
    rest = wanted - np.fft.irfft(spectrum * np.exp(turn * later), len(echo))[most:-most]
    return later, float(rest @ rest)
