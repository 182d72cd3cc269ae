"""The rest of an echo is reduced in each frequency band."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inworld_sync.audio.echo.suppressor import ResidualSuppressor

FRAMES = 200
REST = 0.1  # the amplitude of the rest, as a share of the echo

Wave = npt.NDArray[np.float64]


def noise(rate_hz: int, seed: int) -> Wave:
    return np.random.default_rng(seed).normal(0, 1000, FRAMES * rate_hz // 100)


def run(
    suppressor: ResidualSuppressor, rate_hz: int, echo: Wave, rest: Wave, *, is_echo_only: bool
) -> Wave:
    frames = zip(echo.reshape(FRAMES, -1), rest.reshape(FRAMES, -1), strict=True)
    results = [suppressor.process(*each, is_echo_only=is_echo_only) for each in frames]
    assert all(len(each) == rate_hz // 100 for each in results)
    return np.concatenate(results)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_without_an_echo(rate_hz: int) -> None:
    """Without an echo, the audio is only delayed."""
    suppressor = ResidualSuppressor(rate_hz)
    near = noise(rate_hz, 1)
    result = run(suppressor, rate_hz, np.zeros(len(near)), near, is_echo_only=True)

    assert result[suppressor.delay_samples :] == pytest.approx(near[: -suppressor.delay_samples])


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_the_rest_is_reduced_and_the_user_is_not(rate_hz: int) -> None:
    """A tone that is louder than the rest of the echo loses at most 3 dB. The rest loses 10 dB."""
    suppressor = ResidualSuppressor(rate_hz)
    echo = noise(rate_hz, 1)
    run(suppressor, rate_hz, echo, REST * echo, is_echo_only=True)
    echo = noise(rate_hz, 2)
    phase = 2 * np.pi * 1000 * np.arange(len(echo)) / rate_hz
    tone = 1000 * np.cos(phase)
    result = run(suppressor, rate_hz, echo, REST * echo + tone, is_echo_only=False)

    amplitude = 2 * abs(complex((result * np.exp(1j * phase)).mean()))
    assert 700 < amplitude < 1050
    spectrum = abs(np.fft.rfft(result)) ** 2
    before = abs(np.fft.rfft(REST * echo)) ** 2
    hertz = np.fft.rfftfreq(len(result), 1 / rate_hz)
    other = (hertz > 1500) & (hertz < 7000)
    assert spectrum[other].sum() < before[other].sum() / 10


def test_the_user_does_not_change_the_measurement() -> None:
    """Frames with the user do not count as the rest of the echo."""
    suppressor = ResidualSuppressor(16_000)
    echo = noise(16_000, 1)
    run(suppressor, 16_000, echo, REST * echo, is_echo_only=True)
    near = noise(16_000, 2)
    run(suppressor, 16_000, echo, near, is_echo_only=False)
    result = run(suppressor, 16_000, echo, near, is_echo_only=False)

    assert near.std() == pytest.approx(result.std(), rel=0.15)
