"""
Reads fields of a request in the JSON of gRPC, where null and a missing field are the same.

A value of the wrong JSON type makes the whole message unreadable (``Malformed``). A value that is
out of range or unknown is refused with code 3 (``Refused``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused

__all__ = ["choice", "flag", "in_range", "inner", "number", "text", "whole"]

_CAPITAL = re.compile("[A-Z]")


_T = TypeVar("_T")


def _typed(fields: Mapping[str, object], name: str, kind: type[_T], missing: _T) -> _T:
    value = fields.get(name)
    if value is None:
        return missing
    if not isinstance(value, kind):
        raise Malformed(name)
    return value


def text(fields: Mapping[str, object], name: str) -> str:
    """Read a string. A missing string is read as empty."""
    return _typed(fields, name, str, "")


def flag(fields: Mapping[str, object], name: str) -> bool:
    """Read a boolean. A missing boolean is read as False."""
    return _typed(fields, name, bool, missing=False)


def inner(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Read an object. A missing object is read as empty."""
    return _typed(fields, name, dict, {})


def choice(fields: Mapping[str, object], name: str, allowed: tuple[str, ...]) -> str | None:
    """Read a name of an enum. Return None if the field is missing or unset (``X_UNSPECIFIED``)."""
    value = text(fields, name)
    if not value or value == _CAPITAL.sub(r"_\g<0>", name).upper() + "_UNSPECIFIED":
        return None
    if value not in allowed:
        raise Refused(INVALID_ARGUMENT, f'invalid value "{value}" for {name}')
    return value


def number(fields: Mapping[str, object], name: str) -> float | None:
    """Read a number. In the JSON of gRPC, a number may also be a string."""
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
    """Read a whole number. A missing number is read as *default*."""
    value = number(fields, name)
    if value is None:
        return default
    if not value.is_integer():
        raise Malformed(name)
    return int(value)


def in_range(fields: Mapping[str, object], name: str, low: float, high: float) -> float | None:
    """Read a number between two bounds. Return None if the number is missing or zero."""
    value = number(fields, name) or None  # in gRPC, zero and a missing field are the same
    if value is not None and not low <= value <= high:
        raise Refused(INVALID_ARGUMENT, f"{name} must be between {low:g} and {high:g}")
    return value
