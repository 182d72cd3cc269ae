"""
Values that a faulty or hostile service may send in place of any value of a message.

Each value is JSON text, since ``json.dumps`` cannot write some values, such as ``1e999``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["CONTROL", "ESCAPES", "HOSTILE", "variants"]

# The first characters are control sequences that change the title of a terminal, clear the screen
# and reverse the text. Then follow HTML, the times of a WebVTT cue, and markup of the library rich.
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e</c><script>alert(1)</script>\n00:01 --> 00:02[/b]\r"

# No output for a terminal may have these characters.
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_ATTRIBUTES = (
    '"__class__":{"__init__":{"__globals__":{}}},"__dict__":{},"self":1,"extra":{"extra":1}'
)

HOSTILE: dict[str, str] = {
    "escapes": json.dumps(ESCAPES),
    "path": '"../../../../tmp/x\\u0000.wav"',
    "surrogate": '"\\ud800"',
    "digits": f'"{"9" * 5000}"',
    "infinite": "1e999",
    "float": "1.7e308",
    "huge": "1" + "0" * 400,
    "64 bits": "9223372036854775808",
    "negative": "-1",
    "null": "null",
    "array": "[]",
    "object": "{}",
    "attributes": f"{{{_ATTRIBUTES}}}",
    "deep": "[" * 90 + "]" * 90,
    "deep object": '{"a":' * 90 + "1" + "}" * 90,
    "too deep": "[" * 900 + "]" * 900,
    "far too deep": "[" * 20_000 + "]" * 20_000,
}

_MARK = "\N{REPLACEMENT CHARACTER}mark"


def variants(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """
    Yield a name and the JSON text of each variant of a message.

    In one group of variants, one value of the message is replaced by a hostile value. In the other
    group, an object of the message gets keys that are attributes of Python objects.
    """
    for path in _paths(message):
        text = json.dumps(_replaced(message, path))
        for name, value in HOSTILE.items():
            yield f"{name} at {path}", text.replace(json.dumps(_MARK), value)
    text = json.dumps(message)
    for position in [match.end() for match in re.finditer(r"\{(?!\})", text)]:
        yield f"keys at {position}", f"{text[:position]}{_ATTRIBUTES},{text[position:]}"


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _paths(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _paths(each, (*path, index))


def _replaced(value: Any, path: tuple[str | int, ...]) -> Any:
    if not path:
        return _MARK
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:])  # type: ignore[index]
    return copy
