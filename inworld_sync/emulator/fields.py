"""
Fields of a request, read as gRPC's JSON has them: null and a missing field are the same.

A value of the wrong JSON type makes the whole message unreadable (``Malformed``); one that has no
meaning is refused with code 3 (``Refused``).
"""

from __future__ import annotations

from collections.abc import Mapping

from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused

__all__ = ["choice", "flag", "in_range", "number", "text", "whole"]


def text(fields: Mapping[str, object], name: str) -> str:
    """Read a text; empty when it is missing."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(name)
    return value


def flag(fields: Mapping[str, object], name: str) -> bool:
    """Read a flag; False when it is missing."""
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise Malformed(name)
    return value


def choice(
    fields: Mapping[str, object], name: str, allowed: tuple[str, ...], unspecified: str
) -> str | None:
    """Return the enum's name, or None when it is missing or unspecified."""
    value = text(fields, name)
    if not value or value == unspecified:
        return None
    if value not in allowed:
        raise Refused(INVALID_ARGUMENT, f'invalid value "{value}" for {name}')
    return value


def number(fields: Mapping[str, object], name: str) -> float | None:
    """Read a number; JSON of gRPC may write it as a string too."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Malformed(name)
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise Malformed(name) from None


def whole(fields: Mapping[str, object], name: str, default: int) -> int:
    """Read a whole number."""
    value = number(fields, name)
    if value is None:
        return default
    if not value.is_integer():
        raise Malformed(name)
    return int(value)


def in_range(fields: Mapping[str, object], name: str, low: float, high: float) -> float | None:
    """Read a number between two bounds; None when it is missing or zero."""
    value = number(fields, name) or None  # in gRPC, zero and a missing field are the same
    if value is not None and not low <= value <= high:
        raise Refused(INVALID_ARGUMENT, f"{name} must be between {low:g} and {high:g}")
    return value
