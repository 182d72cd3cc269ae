"""Gains follow the distance and the direction of a voice."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inworld_sync import ConfigError
from inworld_sync.games import Listener, Rolloff, stereo_gains

HERE = Listener()


def power(gains: tuple[float, float]) -> float:
    return gains[0] ** 2 + gains[1] ** 2


def test_directions() -> None:
    """
    A voice on the right is heard only on the right. A voice in front is equally loud on both sides.
    """
    right = stereo_gains((5, 0, 0), HERE)
    left = stereo_gains((-5, 0, 0), HERE)
    front = stereo_gains((0, 0, -5), HERE)

    assert right[0] == pytest.approx(0, abs=1e-9)
    assert left[1] == pytest.approx(0, abs=1e-9)
    assert front[0] == pytest.approx(front[1])


def test_the_power_does_not_depend_on_the_direction() -> None:
    """The total power of both gains is the same in every direction."""
    around = [
        stereo_gains((5 * math.sin(angle), 0, -5 * math.cos(angle)), HERE)
        for angle in (0, 0.4, 1.1, 2.0, 3.1, 4.5)
    ]

    assert [power(each) for each in around] == pytest.approx([power(around[0])] * 6)


def test_a_turned_listener() -> None:
    """If the listener looks along +x, a voice at +z is on the right."""
    listener = Listener(position=(1, 0, 0), forward=(2, 0, 0))
    left, right = stereo_gains((1, 0, 5), listener)

    assert left == pytest.approx(0, abs=1e-9)
    assert right > 0.1


def test_a_voice_at_the_listener_is_in_the_middle() -> None:
    """A voice at the position of the listener has equal gains and the full volume."""
    left, right = stereo_gains((0, 0, 0), HERE)

    assert left == pytest.approx(right)
    assert power((left, right)) == pytest.approx(1.0)


def test_a_voice_near_the_listener_moves_to_the_middle() -> None:
    """A voice on the right that is nearer than min_distance is also heard on the left."""
    near, far = stereo_gains((0.5, 0, 0), HERE), stereo_gains((1, 0, 0), HERE)

    assert far[0] == pytest.approx(0, abs=1e-9)
    assert 0.2 < near[0] < near[1]


@pytest.mark.parametrize(
    ("model", "gains"),
    [
        ("inverse", {0.5: 1.0, 1: 1.0, 2: 0.5, 10: 0.1, 50: 0.1}),
        ("linear", {1: 1.0, 5.5: 0.5, 10: 0.0, 99: 0.0}),
        ("exponential", {1: 1.0, 2: 0.5, 4: 0.25, 99: 0.1}),
        ("none", {1: 1.0, 99: 1.0}),
    ],
)
def test_rolloff(model: Any, gains: dict[float, float]) -> None:
    """
    The gain at a distance depends on the model.
    Nearer than min_distance and farther than max_distance, the gain is constant.
    """
    rolloff = Rolloff(model, min_distance=1, max_distance=10)

    assert {at: rolloff.gain(at) for at in gains} == pytest.approx(gains)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rolloff("quadratic"), "model must be one of inverse, linear"),  # type: ignore[arg-type]
        (lambda: Rolloff(min_distance=0), "0 < min_distance < max_distance"),
        (lambda: Rolloff(max_distance=math.nan), "max_distance must be a finite number"),
        (lambda: stereo_gains((1e200, 0, 0), Listener()), "position must be three numbers"),
        (lambda: Rolloff(factor=-1), "factor must be 0 or more"),
        (lambda: Listener(position=(0, 0)), "must be three numbers"),  # type: ignore[arg-type]
        (lambda: Listener(up=(0, math.inf, 0)), "must be three numbers from -1e\\+30 to 1e\\+30"),
        (lambda: Listener(position=(0, math.nan, 0)), "must be three numbers from -1e"),
        # The squares of such numbers are infinite, and so the gains would not be numbers.
        (lambda: Listener(forward=(1e200, 0, 0)), "must be three numbers from -1e"),
        (lambda: Listener(position=(10**400, 0, 0)), "must be three numbers from -1e"),
        (lambda: Rolloff(min_distance="near"), "min_distance must be a"),  # type: ignore[arg-type]
    ],
)
def test_wrong_values(make: Any, message: str) -> None:
    """A wrong value raises an error that says which values are accepted."""
    with pytest.raises(ConfigError, match=message):
        make()
