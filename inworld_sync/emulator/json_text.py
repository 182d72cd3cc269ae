"""Reads JSON from the network, with a limit for its depth."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["read_json"]

# This depth is far below Python's recursion limit. So code that recurses over a value cannot reach
# the recursion limit.
_MAX_DEPTH = 100


def read_json(text: str | bytes | bytearray) -> Any:
    """
    Read a JSON text.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        if not level:
            return value
        level = [inner for outer in level for inner in _parts(outer)]
    raise ValueError("the JSON is nested too deeply")


def _parts(value: object) -> list[Any]:
    """Return the containers directly inside a value."""
    if isinstance(value, dict):
        values = list(value.values())
    elif isinstance(value, list):
        values = value
    else:
        return []
    return [inner for inner in values if isinstance(inner, (dict, list))]


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
