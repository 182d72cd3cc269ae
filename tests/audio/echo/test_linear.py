"""The linear part of an echo is subtracted, and the user's speech is not changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inworld_sync.audio.echo.linear import LinearCanceller
from inworld_sync.audio.echo.residual import ResidualGate

from support.room import babble

RATE_HZ = 16_000
FRAME = 160
PLAYED = babble(6, RATE_HZ, 1)

Wave = npt.NDArray[np.float64]


def echo_of(played: Wave, delay: int) -> Wave:
    random = np.random.default_rng(3)
    response = random.normal(size=1600) * np.exp(-6.9 * np.arange(1600) / 1600) * 0.02
    response[0] = 0.4
    late = np.concatenate((np.zeros(delay), played))[: len(played)]
    return np.convolve(late, response)[: len(played)]


def run(
    canceller: LinearCanceller, played: Wave, recorded: Wave, delay_at: int = -1
) -> tuple[Wave, Wave]:
    echoes, rests = [], []
    for at in range(0, len(played), FRAME):
        if at == delay_at:
            canceller.set_delay(0.04)
        frame = slice(at, at + FRAME)
        echo, rest = canceller.process(
            played[frame].astype(np.float32), recorded[frame].astype(np.float32)
        )
        echoes.append(echo)
        rests.append(rest)
    return np.concatenate(echoes), np.concatenate(rests)


def decibels(one: Wave, other: Wave) -> float:
    return float(10 * np.log10((one**2).mean() / (other**2).mean()))


def test_subtracts_the_echo() -> None:
    """After 2 s, the echo is 20 dB quieter. The sum of echo and rest is the recorded audio."""
    recorded = echo_of(PLAYED, 640)
    echo, rest = run(LinearCanceller(RATE_HZ, FRAME), PLAYED, recorded)

    assert decibels(recorded[32_000:], rest[32_000:]) > 20
    assert np.abs(echo + rest - recorded).max() < 1


def test_keeps_the_user() -> None:
    """While the user speaks during the echo, the speech remains, and the echo is 10 dB quieter."""
    echo = echo_of(PLAYED, 640)
    near = babble(6, RATE_HZ, 2) * 0.4
    near[:48_000] = 0
    _, rest = run(LinearCanceller(RATE_HZ, FRAME), PLAYED, echo + near)

    assert decibels(echo[48_000:], (rest - near)[48_000:]) > 10


def test_the_delay_changes() -> None:
    """After a change of the delay, the estimated response is kept and still removes the echo."""
    recorded = echo_of(PLAYED, 640)
    canceller = LinearCanceller(RATE_HZ, FRAME)
    _, rest = run(canceller, PLAYED, recorded, delay_at=64_000)

    assert decibels(recorded[64_000:72_000], rest[64_000:72_000]) > 20


def test_a_long_delay() -> None:
    """An echo after the end of the estimated response is subtracted if set_delay() was called."""
    recorded = echo_of(PLAYED, 5600)
    canceller = LinearCanceller(RATE_HZ, FRAME)
    canceller.set_delay(0.35)
    _, rest = run(canceller, PLAYED, recorded)

    assert decibels(recorded[32_000:], rest[32_000:]) > 20


def test_the_gate() -> None:
    """The rest of an echo is attenuated by 30 dB. The user's speech passes without a change."""
    gate = ResidualGate(RATE_HZ)
    random = np.random.default_rng(1)
    echo = random.normal(0, 3000, (500, FRAME))
    rest = random.normal(0, 100, (500, FRAME))
    rest[400:] += random.normal(0, 3000, (100, FRAME))
    processed = 0.1 * rest
    result = np.array(
        [gate.process(*each) for each in zip(echo, echo, rest, processed, strict=True)]
    )

    assert gate.is_adapted
    assert not result[1:90].any()
    assert decibels(processed[200:400], result[200:400]) == pytest.approx(30, abs=0.1)
    assert decibels(rest[410:], result[410:]) == pytest.approx(0, abs=0.2)


def test_the_gate_without_an_echo() -> None:
    """Without an echo, the result is the processed audio."""
    gate = ResidualGate(RATE_HZ)
    frame = np.full(FRAME, 50.0)

    for _ in range(300):
        assert (gate.process(np.zeros(FRAME), np.zeros(FRAME), frame, 2 * frame) == 2 * frame).all()
