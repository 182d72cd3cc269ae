"""
Checks of what users give, before anything is sent.

Each is an attrs validator or converter that raises a
:class:`~inworld_sync.errors.ConfigError` naming the field; None, which leaves a choice to the
service, passes where it is the field's default.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import attrs

from inworld_sync.errors import ConfigError

__all__ = [
    "flag",
    "instance",
    "mapping",
    "member",
    "number",
    "one_of",
    "string",
    "string_map",
    "text",
    "texts",
    "whole",
]

_E = TypeVar("_E", bound=enum.Enum)
_T = TypeVar("_T")


def _is_left(field: attrs.Attribute[_T], value: _T) -> bool:
    return value is None and field.default is None


def text(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{field.name} must be a text, got {value!r}")


def string(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a text, which may be empty."""
    if not _is_left(field, value) and not isinstance(value, str):
        raise ConfigError(f"{field.name} must be a text, got {type(value).__name__}")


def flag(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require True or False."""
    if not _is_left(field, value) and not isinstance(value, bool):
        raise ConfigError(f"{field.name} must be True or False, got {value!r}")


def number(low: float, high: float | None = None, unit: str = "") -> Callable[..., None]:
    """Require a number from *low* to *high*; *unit* is for the error."""

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if _is_left(field, value):
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{field.name} must be a number, got {value!r}")
        _check_range(field.name, value, low, high, unit)

    return check


def whole(low: int, high: int | None = None, unit: str = "") -> Callable[..., None]:
    """Require an integer from *low* to *high*; *unit* is for the error."""

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if _is_left(field, value):
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{field.name} must be an integer, got {value!r}")
        _check_range(field.name, value, low, high, unit)

    return check


def _check_range(name: str, value: float, low: float, high: float | None, unit: str) -> None:
    # Written so that NaN fails.
    if value >= low and (high is None or value <= high):
        return
    allowed = f"{low:g} or more{unit}" if high is None else f"{low:g} to {high:g}{unit}"
    raise ConfigError(f"{name} must be {allowed}, got {value!r}")


def one_of(choices: Iterable[str]) -> Callable[..., None]:
    """Require one of some texts."""
    allowed = tuple(choices)

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _is_left(field, value) and value not in allowed:
            raise ConfigError(f"{field.name} must be one of {', '.join(allowed)}, got {value!r}")

    return check


def instance(*kinds: type) -> Callable[..., None]:
    """Require an object of one of some classes."""
    names = " or ".join(kind.__name__ for kind in kinds)

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _is_left(field, value) and not isinstance(value, kinds):
            raise ConfigError(f"{field.name} must be {names}, got {type(value).__name__}")

    return check


def mapping(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a mapping whose keys are texts."""
    if _is_left(field, value):
        return
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{field.name} must be a mapping with texts as keys, got {value!r}")


def string_map(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a mapping from texts to texts."""
    mapping(_, field, value)
    if isinstance(value, Mapping) and not all(isinstance(each, str) for each in value.values()):
        raise ConfigError(f"{field.name} must hold texts alone, got {value!r}")


def texts(value: Iterable[str] | None) -> tuple[str, ...] | None:
    """Turn texts into a tuple; one bare text is refused, for it would become its letters."""
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ConfigError(f"expected a list of texts, got {value!r}")
    found = tuple(value)
    for each in found:
        if not isinstance(each, str):
            raise ConfigError(f"expected a list of texts, got {each!r} in it")
    return found


def member(kind: type[_E], value: _E | str | None, name: str) -> _E | None:
    """Turn a member of *kind* or its value into the member; *name* is for the error."""
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(each.value) for each in kind)
        raise ConfigError(f"{name} must be one of {choices}, got {value!r}") from None
