"""
Subtracts the linear part of an echo.

The response of the room is estimated again every 0.2 s, by least squares over about the last two
seconds: the Toeplitz equations of the correlations are solved with a few steps of the conjugate
gradient method. Each new estimate is tested with audio that did not contribute to the estimate. The
estimate is used only if it removes more of this audio than the present estimate. So the user's
speech does not make the response worse, and the speech itself is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from inworld_sync.audio.echo.jump import MOST_JUMP_SECONDS, find_jump

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LinearCanceller", "LinearResult"]

# The duration of the estimated response of the room.
_RESPONSE_SECONDS: Final = 0.2
# The time from the first sample of the response to the direct sound.
_LEAD_SECONDS: Final = 0.02
_MOST_DELAY_SECONDS: Final = 0.4
_SEGMENT_SECONDS: Final = 0.2
# With each new segment, the weights of all earlier segments are multiplied by this number.
_KEPT: Final = 0.88
_STEPS: Final = 5
# The diagonal of the equations is increased by this share of its value.
_REGULARIZATION: Final = 1e-4
# Segments of played audio below this level are not used. The unit is one step of a 16-bit sample.
_LEAST_LEVEL: Final = 30.0
# A jump of the delay is measured with at most this much recorded audio.
_COMPARED_SECONDS: Final = 0.3
# A result with more than this many times the energy of the recorded audio is not used.
_DIVERGED: Final = 2.0


class LinearResult(NamedTuple):
    """
    A frame of recorded audio, split into two parts. The sum of the parts is the recorded audio.

    Attributes:
        echo: The estimated echo.
        rest: The recorded audio without the estimated echo.
    """

    echo: npt.NDArray[np.float64]
    rest: npt.NDArray[np.float64]


class LinearCanceller:
    """
    Subtracts the linear part of the echo of a speaker.

    Args:
        sample_rate_hz: The sample rate of both streams.
        frame_samples: The number of samples in every frame.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self, sample_rate_hz: int, frame_samples: int) -> None:
        import numpy as np

        self._rate_hz = sample_rate_hz
        self._frame = frame_samples
        self._taps = round(_RESPONSE_SECONDS * sample_rate_hz)
        self._segment = round(_SEGMENT_SECONDS * sample_rate_hz) // frame_samples * frame_samples
        self._most_compared = round(_COMPARED_SECONDS * sample_rate_hz)
        self._delay = 0
        most_delay = round(_MOST_DELAY_SECONDS * sample_rate_hz)
        self._played: npt.NDArray[np.float32] = np.zeros(
            most_delay + self._taps + max(self._segment, self._most_compared), np.float32
        )
        self._recorded: npt.NDArray[np.float32] = np.zeros(
            max(self._segment, self._most_compared), np.float32
        )
        self._filled = 0
        self._frame_size = _power_of_two(self._taps + frame_samples)
        self._segment_size = _power_of_two(self._taps + self._segment)
        self._equations_size = _power_of_two(2 * self._taps)
        self.forget()
        self._set_response(np.zeros(self._taps))

    def set_delay(self, seconds: float) -> None:
        """Set how many seconds after the played audio the direct sound of its echo is recorded."""
        import numpy as np

        wanted = round(max(seconds - _LEAD_SECONDS, 0.0) * self._rate_hz)
        wanted = min(wanted, round(_MOST_DELAY_SECONDS * self._rate_hz))
        if abs(wanted - self._delay) < _LEAD_SECONDS / 2 * self._rate_hz:
            return
        later = wanted - self._delay
        response = np.zeros(self._taps)
        if 0 <= later < self._taps:
            response[: self._taps - later] = self._response[later:]
        elif -self._taps < later < 0:
            response[-later:] = self._response[:later]
        self._delay = wanted
        self.forget()
        self._set_response(response)

    def process(
        self,
        played: npt.NDArray[np.float32],
        recorded: npt.NDArray[np.float32],
        *,
        is_uncertain: bool = False,
    ) -> LinearResult:
        """
        Divide a frame of recorded audio into echo and rest.

        Args:
            played: The frame of the speaker.
            recorded: The frame of the microphone.
            is_uncertain: Whether the delay of the echo may be wrong. Then the estimate is not
                changed.
        """
        import numpy as np

        self._played[: -self._frame] = self._played[self._frame :]
        self._played[-self._frame :] = played
        self._recorded[: -self._frame] = self._recorded[self._frame :]
        self._recorded[-self._frame :] = recorded
        window = self._delayed(self._taps - 1 + self._frame)
        spectrum = np.fft.rfft(window, self._frame_size) * self._response_spectrum
        echo = np.fft.irfft(spectrum, self._frame_size)[self._taps - 1 : len(window)]
        rest = recorded - echo
        self._filled += self._frame
        if self._filled >= self._segment:
            self._filled = 0
            if not is_uncertain:
                self._learn()
        if not is_uncertain and _energy(rest) > _DIVERGED * _energy(recorded):
            return LinearResult(np.zeros(self._frame), recorded.astype(np.float64))
        return LinearResult(echo, rest)

    def after_gap(self, played_samples: float) -> int:
        """
        Return how many recorded samples contain the echo of audio after a gap.

        Args:
            played_samples: The count of samples of played audio since the gap.
        """
        lead = round(_LEAD_SECONDS * self._rate_hz)
        return max(round(played_samples) - self._delay - lead, 0)

    def find_jump(self, played_samples: float) -> float | None:
        """
        Measure how many seconds the echo is later since a gap in the played audio.

        Args:
            played_samples: The count of samples of played audio since the gap.

        Returns:
            The time; None if it cannot be measured with the audio so far.
        """
        count = min(self.after_gap(played_samples), self._most_compared)
        if count <= 2 * MOST_JUMP_SECONDS * self._rate_hz:
            return None
        played = self._delayed(self._taps - 1 + count)
        gap = max(len(played) + self._delay - round(played_samples), 0)
        samples = find_jump(played, self._recorded[-count:], self._response, gap, self._rate_hz)
        return None if samples is None else samples / self._rate_hz

    def replace_played(self, played: npt.NDArray[np.float32]) -> None:
        """Replace the last samples of the speaker. Audio that is no longer held is ignored."""
        count = min(len(played), len(self._played))
        if count:
            self._played[-count:] = played[-count:]

    def _delayed(self, count: int) -> npt.NDArray[np.float32]:
        end = len(self._played) - self._delay
        return self._played[end - count : end]

    def _set_response(self, response: npt.NDArray[np.float64]) -> None:
        import numpy as np

        self._response = response
        self._response_spectrum = np.fft.rfft(response, self._frame_size)

    def forget(self) -> None:
        """Estimate the response only from later audio. Keep the present estimate."""
        import numpy as np

        self._own: npt.NDArray[np.float64] = np.zeros(self._taps)
        self._cross: npt.NDArray[np.float64] = np.zeros(self._taps)
        self._candidate: npt.NDArray[np.float64] | None = None

    def _learn(self) -> None:
        """Test the last estimate with the last segment, and make the next estimate."""
        import numpy as np

        before = self._taps - 1
        played = self._delayed(before + self._segment).astype(np.float64)
        if _energy(played[before:]) < _LEAST_LEVEL**2 * self._segment:
            return
        recorded = self._recorded[-self._segment :]
        size = self._segment_size
        spectrum = np.fft.rfft(played, size)
        if self._candidate is not None:
            echoes = [
                np.fft.irfft(spectrum * np.fft.rfft(each, size), size)[before : len(played)]
                for each in (self._candidate, self._response)
            ]
            new, present = (_energy(recorded - each) for each in echoes)
            if new < present:
                self._set_response(self._candidate)
        ends = np.zeros((2, len(played)))
        ends[0, before:] = played[before:]
        ends[1, before:] = recorded
        correlations = np.fft.irfft(np.fft.rfft(ends, size) * np.conj(spectrum), size)
        self._own = _KEPT * self._own + correlations[0, : self._taps]
        self._cross = _KEPT * self._cross + correlations[1, : self._taps]
        self._candidate = self._solve()

    def _solve(self) -> npt.NDArray[np.float64]:
        """Improve the present response by some steps towards the solution of the equations."""
        import numpy as np

        taps, size = self._taps, self._equations_size
        row = self._own.copy()
        row[0] *= 1.0 + _REGULARIZATION
        circle = np.zeros(size)
        circle[:taps] = row
        circle[size - taps + 1 :] = row[:0:-1]
        spectrum = np.fft.rfft(circle)
        # T. Chan's circulant matrix is the preconditioner.
        places = np.arange(taps)
        mirrored = np.concatenate((row[:1], row[:0:-1]))
        near = np.fft.rfft(((taps - places) * row + places * mirrored) / taps).real
        near = np.maximum(near, 1e-6 * row[0] + 1e-9)

        def times(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            product = np.fft.irfft(spectrum * np.fft.rfft(vector, size), size)
            return np.asarray(product[:taps], np.float64)

        response = self._response.copy()
        rest = self._cross - times(response)
        conditioned = np.fft.irfft(np.fft.rfft(rest) / near, taps)
        direction = conditioned
        weight = float(rest @ conditioned)
        for _ in range(_STEPS):
            product = times(direction)
            length = weight / (float(direction @ product) + 1e-30)
            response = response + length * direction
            rest = rest - length * product
            conditioned = np.fft.irfft(np.fft.rfft(rest) / near, taps)
            last, weight = weight, float(rest @ conditioned)
            direction = conditioned + weight / (last + 1e-30) * direction
        return response


def _energy(samples: npt.NDArray[np.floating[Any]]) -> float:
    return float((samples * samples).sum())


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
