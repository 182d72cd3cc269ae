"""The gate finds out whether the user speaks while the speaker plays."""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync.audio.echo.residual import ResidualGate

RATE_HZ = 16_000
FRAME = RATE_HZ // 100
WEAK = 300.0  # the level of a weak part of the user's speech


class Feed:
    """A gate with its input. Levels are in units of 16-bit samples."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)
        self._gate = ResidualGate(RATE_HZ)
        self.add(400, echo=1000, rest=30, processed=3)
        assert self._gate.is_adapted

    def add(
        self,
        count: int,
        *,
        echo: float,
        rest: float,
        processed: float,
        is_uncertain: bool = False,
    ) -> float:
        """Process some frames. Return the level of the last result."""
        result = np.zeros(FRAME)
        for _ in range(count):
            one, two, three = (
                self._random.normal(0, each, FRAME) if each else np.zeros(FRAME)
                for each in (echo, rest, processed)
            )
            played = (3 * one).astype(np.float32)
            result = self._gate.process(played, one, two, three, is_uncertain=is_uncertain)
        return float(np.sqrt((result * result).mean()))


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_a_user_in_a_loud_echo(feed: Feed) -> None:
    """After the user was certain, the weak parts of the speech pass for 0.2 s."""
    feed.add(5, echo=1000, rest=1500, processed=1000)

    assert feed.add(15, echo=3000, rest=WEAK, processed=WEAK) > WEAK / 2
    assert feed.add(15, echo=3000, rest=WEAK, processed=WEAK) < WEAK / 10


def test_a_single_loud_frame(feed: Feed) -> None:
    """A single frame that looks like the user does not open the gate for longer."""
    feed.add(1, echo=1000, rest=1500, processed=1000)

    assert feed.add(5, echo=3000, rest=WEAK, processed=3) < WEAK / 10


def test_the_start_of_an_echo(feed: Feed) -> None:
    """The frames of the user before a silence of the speaker do not count after the silence."""
    feed.add(5, echo=1000, rest=1500, processed=1000)
    feed.add(150, echo=0, rest=1500, processed=1500)
    feed.add(1, echo=1000, rest=1000, processed=1000)

    assert feed.add(5, echo=3000, rest=WEAK, processed=3) < WEAK / 10


def test_a_reply_after_the_speaker_stopped(feed: Feed) -> None:
    """The user's speech after each short speech of the assistant is not measured as echo."""
    for _ in range(15):
        feed.add(20, echo=1000, rest=30, processed=3)
        feed.add(90, echo=0, rest=1000, processed=1000)

    assert feed.add(30, echo=1000, rest=50, processed=50) < 50 / 10
    assert feed.add(10, echo=1000, rest=1000, processed=1000) > 700


def test_an_uncertain_delay(feed: Feed) -> None:
    """While the delay of the echo is uncertain, a loud rest of the echo does not pass."""
    for level in (1000, 1400, 30):
        passed = feed.add(30, echo=1000, rest=level, processed=level, is_uncertain=True)
        assert passed == 0

    assert feed.add(10, echo=1000, rest=30, processed=30) < 30 / 10


def test_a_user_while_the_delay_is_uncertain(feed: Feed) -> None:
    """While the delay is uncertain, a user who is much louder than the echo passes."""
    assert feed.add(10, echo=1000, rest=3000, processed=100, is_uncertain=True) > 2000
    assert feed.add(30, echo=1000, rest=3000, processed=100, is_uncertain=True) > 2000
    assert feed.add(40, echo=1000, rest=1000, processed=1000, is_uncertain=True) == 0
