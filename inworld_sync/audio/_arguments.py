"""Checks numbers that are passed to C code or used in calculations of time."""

from __future__ import annotations

import contextlib
import math

from inworld_sync.errors import ConfigError

__all__ = ["require_number", "require_time_ns"]

_MOST_NS = 2**63 - 1


def require_number(
    name: str, value: float, low: float = -math.inf, high: float = math.inf, unit: str = ""
) -> None:
    """Raise `ConfigError` if an argument is not a finite number from *low* to *high*."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # an integer may be too large for a float
            if low <= value <= high and math.isfinite(value):
                return
    if low == -math.inf:
        raise ConfigError(f"{name} must be a finite number, got {value!r}")
    raise ConfigError(f"{name} must be {low:g} to {high:g}{unit}, got {value!r}")


def require_time_ns(now_ns: int | None) -> None:
    """Raise `ConfigError` if an argument is neither None nor a time in nanoseconds."""
    if now_ns is None or (type(now_ns) is int and 0 <= now_ns <= _MOST_NS):
        return
    raise ConfigError(f"now_ns must be None or 0 to {_MOST_NS}, got {now_ns!r}")
