"""Checks the fields of client events. Each error names the field."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from inworld_sync.emulator.realtime.events import InvalidRequest

__all__ = [
    "a_list",
    "an_object",
    "flag",
    "inner",
    "lenient_number",
    "max_tokens",
    "modalities",
    "number",
    "object_or_null",
    "one_of",
    "required_text",
    "text",
    "tool_choice",
    "tools",
]

_MAX_TOKENS = 4096
_TOOL_TYPES = ("function", "mcp", "web_search")


def inner(fields: Mapping[str, object], name: str) -> dict[str, object]:
    """Return the object in a field, or an empty object if the field is missing or not an object."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def an_object(value: object, param: str, *, name: str | None = None) -> dict[str, object]:
    """Return an object. Refuse any other value."""
    if not isinstance(value, dict):
        raise InvalidRequest.wrong_type(param, "an object", name=name)
    return value


def a_list(value: object, param: str) -> list[object]:
    """Return a list. Refuse any other value."""
    if not isinstance(value, list):
        raise InvalidRequest.wrong_type(param, "a list")
    return value


def required_text(fields: Mapping[str, object], name: str, parent: str = "") -> str:
    """Return a required string."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidRequest.missing(f"{parent}.{name}" if parent else name)
    return value


def lenient_number(value: object, default: float, high: float = math.inf) -> float:
    """Return a number from 0 to *high*, or the default. Wrong ``providerData`` is not refused."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= high:
        return value
    return default


def one_of(value: object, allowed: Collection[str], param: str) -> None:
    """Refuse a value that is not one of *allowed*."""
    if not isinstance(value, str) or value not in allowed:
        known = ", ".join(allowed)
        raise InvalidRequest(
            "invalid_value", f"Invalid value: {value!r}. Supported values are: {known}.", param
        )


def text(fields: Mapping[str, object], name: str, parent: str) -> str:
    """Return a string. A missing string is empty. Refuse any other value."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest.wrong_type(f"{parent}.{name}", "a string", name=name)
    return value


def flag(fields: Mapping[str, object], name: str, parent: str) -> None:
    """Refuse a value that is neither a boolean nor null."""
    if not isinstance(fields.get(name), (bool, type(None))):
        raise InvalidRequest.wrong_type(f"{parent}.{name}", "a boolean", name=name)


def number(
    fields: Mapping[str, object], name: str, low: float, high: float, parent: str
) -> float | None:
    """Return a number in a range, or None for null."""
    value = fields.get(name)
    if value is None:
        return None
    param = f"{parent}.{name}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidRequest.wrong_type(param, "a number")
    if not low <= value <= high:
        message = f"Invalid value: {value!r}. {param} must be between {low:g} and {high:g}."
        raise InvalidRequest("invalid_value", message, param)
    return value


def object_or_null(fields: Mapping[str, object], name: str, parent: str) -> None:
    """Refuse a value that is neither an object nor null."""
    if not isinstance(fields.get(name), (dict, type(None))):
        raise InvalidRequest.wrong_type(f"{parent}.{name}", "an object or null")


def modalities(value: object, param: str) -> tuple[str, ...]:
    """Return the modalities of a reply, which are ``audio``, ``text`` or both."""
    if not isinstance(value, list) or not value:
        raise InvalidRequest.wrong_type(param, "a list that is not empty")
    for one in value:
        one_of(one, ("audio", "text"), param)
    return tuple(value)


def max_tokens(value: object, param: str) -> int | None:
    """Return the maximum number of tokens of a reply; None for no limit."""
    if value is None or value == "inf":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_TOKENS:
        message = f"Invalid value: {value!r}. {param} must be 1 to {_MAX_TOKENS} or 'inf'."
        raise InvalidRequest("invalid_value", message, param)
    return value


def tools(value: object, param: str) -> tuple[Mapping[str, object], ...]:
    """Return the tools of a session or a response."""
    if value is None:
        return ()
    found = []
    for at, one in enumerate(a_list(value, param)):
        where = f"{param}[{at}]"
        tool = an_object(one, where)
        one_of(tool.get("type"), _TOOL_TYPES, f"{where}.type")
        needed = {"function": "name", "mcp": "server_label"}.get(str(tool["type"]))
        if needed:
            required_text(tool, needed, where)
        found.append(tool)
    return tuple(found)


def tool_choice(value: object, param: str) -> None:
    """Refuse a value that is not a tool choice."""
    if isinstance(value, dict):
        one_of(value.get("type"), ("function", "mcp"), f"{param}.type")
    elif value is not None:
        one_of(value, ("auto", "none", "required"), param)
