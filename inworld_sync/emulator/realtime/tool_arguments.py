"""Finds the arguments of a tool in the user's words, by the tool's JSON schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["find_arguments"]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"\S+")
_QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]")
# A name, or the words from a preposition to the end of the phrase.
_NAMES = re.compile(r"\b[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")
_AFTER_PREPOSITION = re.compile(
    r"\b(?:in|at|for|to|of|from|about|named|called) (?:the )?([\w' -]+?)"
    r"(?= (?:and|please|today|tomorrow|now|right|at|for|in|to|on)\b|[.,;:!?]|$)",
    re.IGNORECASE,
)
_NO = re.compile(r"\b(?:no|not|off|false|disable|without|don't)\b", re.IGNORECASE)
_SMALL_NUMBERS = {
    name: number
    for number, name in enumerate(
        _WORD.findall("zero one two three four five six seven eight nine ten eleven twelve")
    )
}
# Words with a capital letter that are not names.
_STARTERS = frozenset(
    _WORD.findall(
        "a an can could do does give hello hey how i i'd i'm is look make please set show tell the "
        "turn what what's when where which who whose will would you"
    )
)


def find_arguments(said: str, schema: Mapping[str, object]) -> dict[str, object]:
    """
    Return the arguments for a schema.

    Args:
        said: The user's words.
        schema: A JSON schema of an object.

    Returns:
        A value for every property that was found in the words, and a default of the right type for
        every other required property. For strings, texts in quotation marks are used first, then
        names such as ``Oslo``, then the words after a preposition.
    """
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    numbers, texts = _numbers(said), _texts(said)
    found: dict[str, object] = {}
    for name, rule in properties.items():
        rule = rule if isinstance(rule, dict) else {}
        value = _value(said, rule, numbers, texts)
        if value is None and name in needed:
            value = _fallback(said, rule)
        if value is not None:
            found[name] = value
    return found


def _value(
    said: str, rule: Mapping[str, object], numbers: Iterator[float], texts: Iterator[str]
) -> object:
    choices = rule.get("enum")
    if isinstance(choices, list):
        return next((one for one in choices if str(one).lower() in said.lower()), None)
    kind = rule.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    if kind in ("integer", "number"):
        number = next(numbers, None)
        return number if number is None or kind == "number" else int(number)
    if kind == "boolean":
        return not _NO.search(said) if said else None
    if kind == "array":
        return list(texts) or None
    return next(texts, None) if kind in ("string", None) else None


def _fallback(said: str, rule: Mapping[str, object]) -> object:
    choices = rule.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    kinds: dict[str, object] = {
        "integer": 0,
        "number": 0,
        "boolean": True,
        "array": [],
        "object": {},
    }
    return kinds.get(str(rule.get("type")), said.strip())


def _numbers(said: str) -> Iterator[float]:
    for word in re.findall(r"-?\d+(?:\.\d+)?|[a-z]+", said.lower()):
        if _NUMBER.fullmatch(word):
            yield float(word) if "." in word else int(word)
        elif word in _SMALL_NUMBERS:
            yield _SMALL_NUMBERS[word]


def _texts(said: str) -> Iterator[str]:
    """Yield each possible value once: quoted text, names and phrases."""
    candidates = [match[1] for match in _QUOTED.finditer(said)]
    for match in _NAMES.finditer(said):
        words = match[0].split()
        while words and words[0].lower() in _STARTERS:
            del words[0]
        candidates.append(" ".join(words))
    candidates += [match[1] for match in _AFTER_PREPOSITION.finditer(said)]
    seen: set[str] = set()
    for text in candidates:
        text = text.removesuffix("'s").strip()
        if text and text.lower() not in seen:
            seen.add(text.lower())
            yield text
