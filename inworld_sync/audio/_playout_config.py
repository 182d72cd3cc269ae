"""The settings of a playout: checked here, then handed to the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from inworld_sync._native import ffi, lib
from inworld_sync.errors import ConfigError

if TYPE_CHECKING:
    from inworld_sync._native._core import CData

__all__ = [
    "FORMATS",
    "SAMPLE_BYTES",
    "PlayoutMode",
    "PlayoutProfile",
    "SampleFormat",
    "check_range",
    "choose",
    "new_config",
]

PlayoutMode: TypeAlias = Literal["burst", "live"]
PlayoutProfile: TypeAlias = Literal["interactive", "balanced", "smooth"]
SampleFormat: TypeAlias = Literal["s16", "f32"]

SAMPLE_BYTES: Final = {"s16": 2, "f32": 4}

_MODES: Final = {"burst": lib.IW_PLAYOUT_BURST, "live": lib.IW_PLAYOUT_LIVE}
FORMATS: Final = {"s16": lib.IW_PLAYOUT_S16, "f32": lib.IW_PLAYOUT_F32}
# The price of a gap, the only knob of live mode: one a minute is worth 5, 15 or 33 ms of delay.
_GAP_COSTS: Final = {"interactive": 3e5, "balanced": 9e5, "smooth": 2e6}

_Value = TypeVar("_Value")


def check_range(name: str, value: int, least: int, most: int) -> int:
    """Refuse a setting that is out of its range."""
    if not least <= value <= most:
        raise ConfigError(f"{name} must be {least} to {most}, got {value!r}")
    return value


def choose(name: str, value: str, choices: Mapping[str, _Value]) -> _Value:
    """What a setting stands for; refuse one that is not known."""
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return choices[value]


def new_config(
    sample_rate_hz: int,
    channels: int,
    *,
    mode: PlayoutMode,
    profile: PlayoutProfile,
    input_format: SampleFormat,
    output_format: SampleFormat,
    min_delay_ms: int,
    max_delay_ms: int,
    start_ms: int | None,
    capacity_ms: int,
    fade_ms: int,
    time_scaling: bool,
    conceal: bool,
) -> CData:
    """
    A ``struct iw_playout_config *``.

    Raises:
        ConfigError: A setting is out of its range.
    """
    return ffi.new(
        "struct iw_playout_config *",
        {
            "sample_rate_hz": check_range("sample_rate_hz", sample_rate_hz, 8000, 48000),
            "channels": check_range("channels", channels, 1, 2),
            "input_format": choose("input_format", input_format, FORMATS),
            "output_format": choose("output_format", output_format, FORMATS),
            "mode": choose("mode", mode, _MODES),
            "min_delay_ms": check_range("min_delay_ms", min_delay_ms, 0, 1000),
            "max_delay_ms": check_range("max_delay_ms", max_delay_ms, min_delay_ms, 10_000),
            # The core learns it when it is 0.
            "start_ms": 0 if start_ms is None else check_range("start_ms", start_ms, 1, 10_000),
            "capacity_ms": check_range("capacity_ms", capacity_ms, 10, 3_600_000),
            "fade_ms": check_range("fade_ms", fade_ms, 1, 10),
            "fixed_speed": not time_scaling,
            "fixed_silence": not conceal,
            "gap_cost": choose("profile", profile, _GAP_COSTS),
        },
    )
