"""Computes how loud a voice is in the left and the right channel, from positions in a game."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.checks import require_finite

__all__ = ["Listener", "Position", "Rolloff", "require_position", "stereo_gains"]

Position: TypeAlias = tuple[float, float, float]
RolloffModel: TypeAlias = Literal["inverse", "linear", "exponential", "none"]

# Shorter vectors have no direction.
_SHORTEST = 1e-9
# The squares of larger coordinates may be infinite.
_LARGEST = 1e30


def require_position(name: str, value: Iterable[float]) -> Position:
    """Return three coordinates as a tuple; raise :class:`ConfigError` for anything else."""
    try:
        x, y, z = (float(each) for each in value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} must be three numbers (x, y, z), got {value!r}") from None
    except OverflowError:
        x = y = z = math.inf
    if not all(abs(each) <= _LARGEST for each in (x, y, z)):  # NaN fails the comparison
        raise ConfigError(
            f"{name} must be three numbers from -{_LARGEST:g} to {_LARGEST:g}, got {value!r}"
        )
    return x, y, z


def _to_position(value: Iterable[float]) -> Position:
    return require_position("position, forward and up of a Listener", value)


@attrs.frozen
class Listener:
    """
    The position and the direction of the listener, usually of the camera.

    The coordinates are right-handed, as in OpenGL: x to the right, y up, and the listener looks
    along -z. For other axes, set *forward* and *up*.

    Attributes:
        position: The position in units of the game.
        forward: The direction in which the listener looks. The length does not matter.
        up: The direction of the top of the listener's head.
    """

    position: Position = attrs.field(default=(0.0, 0.0, 0.0), converter=_to_position)
    forward: Position = attrs.field(default=(0.0, 0.0, -1.0), converter=_to_position)
    up: Position = attrs.field(default=(0.0, 1.0, 0.0), converter=_to_position)


@attrs.frozen
class Rolloff:
    """
    How a voice becomes quieter with the distance.

    Attributes:
        model: ``inverse`` halves the amplitude at each doubling of the distance if *factor* is 1.
            ``linear`` reaches 0 at *max_distance* if *factor* is 1. ``exponential`` is
            ``(distance / min_distance) ** -factor``. ``none`` ignores the distance.
        min_distance: The distance, above 0, up to which a voice has its full volume.
        max_distance: Beyond this distance, a voice does not become quieter.
        factor: How fast a voice becomes quieter; 0 or more.

    Raises:
        ConfigError: A value is out of its range.
    """

    model: RolloffModel = "inverse"
    min_distance: float = 1.0
    max_distance: float = 50.0
    factor: float = 1.0

    def __attrs_post_init__(self) -> None:
        if self.model not in get_args(RolloffModel):
            models = ", ".join(get_args(RolloffModel))
            raise ConfigError(f"model must be one of {models}, got {self.model!r}")
        require_finite("min_distance", self.min_distance)
        require_finite("max_distance", self.max_distance)
        require_finite("factor", self.factor)
        if not 0 < self.min_distance < self.max_distance:
            raise ConfigError(
                "0 < min_distance < max_distance is required, got "
                f"{self.min_distance!r} and {self.max_distance!r}"
            )
        if self.factor < 0:
            raise ConfigError(f"factor must be 0 or more, got {self.factor!r}")

    def gain(self, distance: float) -> float:
        """Return the factor of the amplitude at a distance, 0 to 1."""
        near, far = self.min_distance, self.max_distance
        clamped = min(max(distance, near), far)
        if self.model == "inverse":
            return near / (near + self.factor * (clamped - near))
        if self.model == "linear":
            return max(0.0, 1.0 - self.factor * (clamped - near) / (far - near))
        if self.model == "exponential":
            return math.pow(clamped / near, -self.factor)
        return 1.0


def stereo_gains(
    position: Position,
    listener: Listener,
    rolloff: Rolloff = Rolloff(),
    volume: float = 1.0,
) -> tuple[float, float]:
    """
    Return the factors of the amplitude for the left and the right channel.

    The panning has equal power: the sum of the squares of both factors does not depend on the
    direction. A voice in front of the listener gets 0.71 of its level in both channels.

    Args:
        position: The position of the voice.
        listener: The position and direction of the listener.
        rolloff: How the voice becomes quieter with the distance.
        volume: A factor for both channels.

    Raises:
        ConfigError: The position is not three numbers from -1e30 to 1e30.
    """
    position = require_position("position", position)
    x, y, z = (a - b for a, b in zip(position, listener.position, strict=True))
    distance = math.sqrt(x * x + y * y + z * z)
    level = volume * rolloff.gain(distance)
    right = _cross(listener.forward, listener.up)
    length = math.sqrt(sum(each * each for each in right))
    pan = 0.0
    if distance > _SHORTEST and length > _SHORTEST:
        pan = (x * right[0] + y * right[1] + z * right[2]) / (distance * length)
        # Inside min_distance, the direction changes fast, so the voice moves to the middle.
        pan *= min(1.0, distance / rolloff.min_distance)
    angle = (min(max(pan, -1.0), 1.0) + 1.0) * math.pi / 4.0
    return level * math.cos(angle), level * math.sin(angle)


def _cross(a: Position, b: Position) -> Position:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
