"""Checks and converters of the fields of models; each refusal is a ConfigError with the name."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from inworld_sync.errors import ConfigError

__all__ = ["are_texts", "between", "is_a", "is_flag", "is_text", "member"]

_E = TypeVar("_E", bound=enum.Enum)


def member(kind: type[_E], value: object, name: str) -> _E:
    """Turn *value* into a member of *kind*; *name* is the field's."""
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(one.value) for one in kind)
        raise ConfigError(f"{name} must be one of {choices}, got {value!r}") from None


def between(low: float, high: float, unit: str = "") -> Callable[..., None]:
    """Make a validator of a number in [*low*, *high*], whole where the field is; None passes."""

    def check(_: object, field: attrs.Attribute[object], value: object) -> None:
        if value is None:
            return
        kinds = (int, float) if "float" in str(field.type) else int
        if isinstance(value, bool) or not isinstance(value, kinds):
            wanted = "a whole number" if kinds is int else "a number"
            raise ConfigError(f"{field.name} must be {wanted}, got {value!r}")
        if not low <= value <= high:
            raise ConfigError(f"{field.name} must be {low:g} to {high:g}{unit}, got {value!r}")

    return check


def is_a(kind: type) -> Callable[..., None]:
    """Make a validator of an instance of *kind*; None passes."""

    def check(_: object, field: attrs.Attribute[object], value: object) -> None:
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{field.name} must be a {kind.__name__}, got {value!r}")

    return check


def is_flag(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is neither True nor False; None passes where it is the default."""
    if not isinstance(value, bool) and (value is not None or field.default is not None):
        raise ConfigError(f"{field.name} must be True or False, got {value!r}")


def is_text(_: object, field: attrs.Attribute[str], value: object) -> None:
    """Refuse what is no text or a blank one."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{field.name} must be a text, got {value!r}")


def are_texts(_: object, field: attrs.Attribute[tuple[str, ...] | None], value: object) -> None:
    """Refuse a tuple that holds anything but texts; None passes."""
    if value is not None and not (
        isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    ):
        raise ConfigError(f"{field.name} must be texts, got {value!r}")
