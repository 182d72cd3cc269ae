"""Checks the settings of a playout and a mixer, and converts them to the numbers of the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, TypeVar

from inworld_sync._native import lib
from inworld_sync.errors import ConfigError

__all__ = [
    "FORMATS",
    "GAP_COSTS",
    "MODES",
    "SAMPLE_BYTES",
    "PlayoutMode",
    "PlayoutProfile",
    "SampleFormat",
    "check_range",
    "choose",
]

PlayoutMode: TypeAlias = Literal["burst", "live"]
PlayoutProfile: TypeAlias = Literal["interactive", "balanced", "smooth"]
SampleFormat: TypeAlias = Literal["s16", "f32"]

SAMPLE_BYTES: Final = {"s16": 2, "f32": 4}

MODES: Final = {"burst": lib.IW_PLAYOUT_BURST, "live": lib.IW_PLAYOUT_LIVE}
FORMATS: Final = {"s16": lib.IW_PLAYOUT_S16, "f32": lib.IW_PLAYOUT_F32}
# The cost of a gap, by profile. It is the only parameter of live mode. One gap per minute costs as
# much as 6, 18 or 42 ms of delay.
GAP_COSTS: Final = {"interactive": 3.7e5, "balanced": 1.1e6, "smooth": 2.5e6}

_Value = TypeVar("_Value")


def check_range(name: str, value: int, least: int, most: int) -> int:
    """Return *value*; raise `ConfigError` if it is not an integer in the range."""
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} must be {least} to {most}, got {value!r}")
    return value


def choose(name: str, value: str, choices: Mapping[str, _Value]) -> _Value:
    """Return the core's number of a choice; raise `ConfigError` for an unknown choice."""
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return choices[value]
