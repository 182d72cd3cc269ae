"""
Checks arguments and settings, before anything is sent or opened.

Each check is an attrs validator or converter. A failed check raises a
:class:`~inworld_sync.errors.ConfigError` that names the field, the accepted values and the given
value. If None is the default of the field, None is accepted and leaves the choice to the service. A
function whose name begins with ``require`` checks an argument of a call.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TypeGuard, TypeVar, cast

import attrs

from inworld_sync.errors import ConfigError

__all__ = [
    "all_of",
    "flag",
    "having",
    "instance",
    "mapping",
    "member",
    "member_or_none",
    "number",
    "one_of",
    "optional",
    "positive",
    "require_finite",
    "require_seconds",
    "require_timeout",
    "require_whole",
    "seconds",
    "string",
    "string_map",
    "text",
    "texts",
    "to_tuple",
    "whole",
]

# The system calls of some platforms refuse longer times.
MAX_TIMEOUT_SECONDS = 1_000_000

_E = TypeVar("_E", bound=enum.Enum)
_T = TypeVar("_T")


def optional(
    check: Callable[[object, attrs.Attribute[_T | None], _T | None], object],
    *,
    repr: bool = True,  # noqa: A002
    kw_only: bool = False,
) -> _T | None:
    """Return a field with a check. Its default, None, leaves the choice to the service."""
    field: _T | None = attrs.field(default=None, validator=check, repr=repr, kw_only=kw_only)
    return field


def _is_left(field: attrs.Attribute[_T], value: _T) -> bool:
    return value is None and field.default is None


def text(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{field.name} must be a string that is not blank, got {value!r}")


def string(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a string, which may be empty."""
    if not _is_left(field, value) and not isinstance(value, str):
        raise ConfigError(f"{field.name} must be a string, got {type(value).__name__}")


def flag(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require True or False."""
    if not _is_left(field, value) and not isinstance(value, bool):
        raise ConfigError(f"{field.name} must be True or False, got {value!r}")


def number(low: float, high: float | None = None, unit: str = "") -> Callable[..., None]:
    """Require a number from *low* to *high*; *unit* is for the message."""

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _is_left(field, value):
            _check_range(field.name, _number(field.name, value), low, high, unit)

    return check


def whole(low: int, high: int | None = None, unit: str = "") -> Callable[..., None]:
    """Require an integer from *low* to *high*; *unit* is for the message."""

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _is_left(field, value):
            require_whole(field.name, value, low, high, unit)

    return check


def require_whole(
    name: str, value: object, low: int, high: int | None = None, unit: str = ""
) -> None:
    """Require an integer from *low* to *high* for the argument *name*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be an integer, got {value!r}")
    _check_range(name, value, low, high, unit)


def seconds(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a number of seconds above 0, at most MAX_TIMEOUT_SECONDS."""
    require_seconds(field.name, value)
    _check_range(field.name, _number(field.name, value), 0, MAX_TIMEOUT_SECONDS, " s")


def positive(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a number above 0."""
    if not _number(field.name, value) > 0:
        raise ConfigError(f"{field.name} must be above 0, got {value!r}")


def require_finite(name: str, value: object) -> None:
    """Require a number that is neither infinite nor NaN for the argument *name*."""
    if not math.isfinite(_number(name, value)):
        raise ConfigError(f"{name} must be a finite number, got {value!r}")


def require_timeout(value: object, name: str = "timeout") -> None:
    """
    Require the timeout of a call: seconds, 0 or more, or None for no limit.

    Infinity means no limit too. :func:`require_seconds` is for times that cannot be left out.
    """
    # NaN fails the comparison.
    if value is None or (_is_number(value) and value >= 0):
        return
    raise ConfigError(
        f"{name} must be a number of seconds, 0 or more, or None for no limit, got {value!r:.100}"
    )


def require_seconds(name: str, value: object, *, is_zero_allowed: bool = False) -> None:
    """Require seconds above 0, or 0 if *is_zero_allowed*, for the argument *name*. Refuse None."""
    number = _number(name, value)
    if not (number > 0 or (is_zero_allowed and number == 0)):
        allowed = "0 or more" if is_zero_allowed else "above 0"
        raise ConfigError(f"{name} must be {allowed}, in seconds, got {value!r}")


def _number(name: str, value: object) -> float:
    if not _is_number(value):
        raise ConfigError(f"{name} must be a number, got {value!r:.100}")
    return value


def _is_number(value: object) -> TypeGuard[float]:
    # Callers may convert the value to a float, which fails for an integer above the largest float.
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return False
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_range(name: str, value: float, low: float, high: float | None, unit: str) -> None:
    # NaN fails both comparisons.
    if value >= low and (high is None or value <= high):
        return
    allowed = f"{low:.9g} or more{unit}" if high is None else f"{low:.9g} to {high:.9g}{unit}"
    raise ConfigError(f"{name} must be {allowed}, got {value!r}")


def one_of(choices: Iterable[str]) -> Callable[..., None]:
    """Require one of *choices*."""
    allowed = tuple(choices)

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _is_left(field, value) and value not in allowed:
            raise ConfigError(f"{field.name} must be one of {', '.join(allowed)}, got {value!r}")

    return check


def instance(*kinds: type) -> Callable[..., None]:
    """Require an object of one of *kinds*."""
    names = " or ".join(kind.__name__ for kind in kinds)

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _is_left(field, value) and not isinstance(value, kinds):
            raise ConfigError(f"{field.name} must be {names}, got {type(value).__name__}")

    return check


def having(*methods: str) -> Callable[..., None]:
    """Require an object of any class that has *methods*."""

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        missing = [name for name in methods if not callable(getattr(value, name, None))]
        if missing and not _is_left(field, value):
            wanted = "be callable" if missing == ["__call__"] else f"have the method {missing[0]}()"
            raise ConfigError(f"{field.name} must {wanted}, got {value!r}")

    return check


def mapping(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a mapping whose keys are strings."""
    if _is_left(field, value):
        return
    # The values may be secret, so no message shows them.
    if not isinstance(value, Mapping):
        raise ConfigError(f"{field.name} must be a mapping, got {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{field.name} must be a mapping with strings as keys, got {key!r}")


def string_map(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a mapping from strings to strings."""
    mapping(_, field, value)
    for key, each in value.items() if isinstance(value, Mapping) else ():
        if not isinstance(each, str):
            kind = type(each).__name__
            raise ConfigError(f"{field.name} must have strings as values, got {kind} for {key!r}")


def to_tuple(value: Iterable[str] | None) -> tuple[str, ...] | None:
    """Convert a list to a tuple. Return other values unchanged; :func:`texts` refuses them."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return tuple(value)
    return cast("tuple[str, ...] | None", value)


def all_of(kind: type[_T], value: object, name: str) -> tuple[_T, ...]:
    """Return an iterable as a tuple. Require values of *kind*; *name* is for the message."""
    found = tuple(value) if isinstance(value, Iterable) else None
    if found is None or not all(isinstance(each, kind) for each in found):
        raise ConfigError(f"{name} must be a list of {kind.__name__} objects, got {value!r:.100}")
    return found


def texts(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a tuple of strings. A single string is refused, although a string is iterable."""
    if _is_left(field, value):
        return
    if isinstance(value, str):
        raise ConfigError(
            f"{field.name} must be a list of strings, got {value!r}: put it in a list"
        )
    if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"{field.name} must be a list of strings, got {value!r}")


def member(kind: type[_E], value: object, name: str) -> _E:
    """
    Return the member of *kind* with the given *value*; *name* is for the message.

    A *value* that is already a member is returned unchanged.
    """
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(each.value) for each in kind)
        raise ConfigError(f"{name} must be one of {choices}, got {value!r}") from None


def member_or_none(kind: type[_E], value: object, name: str) -> _E | None:
    """Return the member as :func:`member` does; None stays None."""
    return None if value is None else member(kind, value, name)
