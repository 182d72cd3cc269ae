"""The size of a sample, and the check of a number setting, for sources and sinks."""

from __future__ import annotations

from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.errors import ConfigError

__all__ = ["SAMPLE_BYTES", "require_between"]


def require_between(name: str, value: float, low: float, high: float, unit: str) -> None:
    """Raise `ConfigError` if a setting is not a number within its range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g} {unit}, got {value!r}")
