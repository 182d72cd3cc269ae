"""A jump of the delay of an echo is measured by comparing recorded and played audio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inworld_sync.audio.echo.jump import find_jump

from support.room import babble

RATE_HZ = 16_000
TAPS = 3200
COUNT = 2400
GAP = 3600
SPEECH = babble(2, RATE_HZ, 1)[2000 : 2000 + TAPS - 1 + COUNT]

Wave = npt.NDArray[np.float64]


def response() -> Wave:
    random = np.random.default_rng(3)
    found = random.normal(size=TAPS) * np.exp(-6.9 * np.arange(TAPS) / 1600) * 0.02
    found[300] = 0.4
    return np.asarray(found)


def recorded(jump: float, played: Wave = SPEECH, gap: int = GAP) -> Wave:
    """Return the echo of audio that is heard *jump* samples later from *gap* on."""
    before, after = played.copy(), played.copy()
    before[gap:] = 0
    after[:gap] = 0
    size = 1 << 14
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * jump)
    spectrum = np.fft.rfft(before, size) + np.fft.rfft(after, size) * turn
    echo = np.fft.irfft(spectrum * np.fft.rfft(response(), size), size)
    noise = np.random.default_rng(4).normal(0, 4, COUNT)
    return np.asarray(echo[TAPS - 1 : TAPS - 1 + COUNT] + noise)


def find(audio: Wave) -> float | None:
    return find_jump(SPEECH, audio, response(), GAP, RATE_HZ)


@pytest.mark.parametrize("jump", [0.0, 3.4, -0.25, -40.7, 150.5])
def test_finds_the_jump(jump: float) -> None:
    """A jump of up to 10 ms is found, with an error of less than a twentieth of a sample."""
    assert jump == pytest.approx(find(recorded(jump)), abs=0.05)


def test_a_jump_that_is_too_large() -> None:
    """A jump of more than 10 ms is not taken for another jump."""
    assert find(recorded(400)) is None


def test_a_user_who_speaks_too() -> None:
    """If the user is as loud as the echo, nothing wrong is found."""
    echo = recorded(20.3)
    near = babble(1, RATE_HZ, 2)[4000 : 4000 + COUNT]
    near *= echo.std() / near.std()
    found = find(echo + near)

    assert found is None or abs(found - 20.3) < 0.5


def test_a_tone() -> None:
    """The jump of a periodic sound is ambiguous, so it is not found."""
    tone = 3000 * np.sin(2 * np.pi * 250 * np.arange(len(SPEECH)) / RATE_HZ)
    echo = recorded(5.0, tone, gap=200)

    assert find_jump(tone, echo, response(), 200, RATE_HZ) is None


def test_silence_and_little_audio() -> None:
    """A jump cannot be found in silence, or in less than 0.1 s of audio."""
    echo = recorded(5.0)

    assert find(np.zeros(COUNT)) is None
    assert find_jump(SPEECH[-(TAPS - 1 + 1500) :], echo[-1500:], response(), GAP, RATE_HZ) is None
