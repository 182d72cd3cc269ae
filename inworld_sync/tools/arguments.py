"""
Turns the arguments of a model's call from JSON into values, and the result into JSON.

An argument of the wrong type is refused: ``"5"`` is not an int, and a string is not a list of
characters. Results are converted, because the function has already run, and the model needs the
result.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import math
import os
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from functools import partial
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.gen import make_dict_structure_fn

from inworld_sync.tools.schema import has_fields
from inworld_sync.wire.codec import register_exact

__all__ = ["plain", "plain_result", "read_argument"]

# The JSON type of each container, so that a string is not read as a list of its characters.
_JSON_KINDS: dict[object, type] = {
    list: list,
    tuple: list,
    set: list,
    frozenset: list,
    Sequence: list,
    AbstractSet: list,
    dict: dict,
    Mapping: dict,
}

_JSON_NAMES = {list: "an array", dict: "an object"}


def _json_kind(kind: object) -> type | None:
    return _JSON_KINDS.get(get_origin(kind))


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    register_exact(converter)
    for kind in (str, int, float, enum.Enum):
        # The converter also uses the hook of a type for subclasses of the type, such as enums.
        converter.register_structure_hook(
            kind, partial(_read_simple, converter.get_structure_hook(kind))
        )

    @converter.register_structure_hook_factory(lambda kind: _json_kind(kind) is not None)
    def container(kind: type) -> Callable[[object, object], object]:
        json_kind = _json_kind(kind)
        return lambda value, _: _read_container(converter, _of(json_kind, value), kind)

    @converter.register_structure_hook_factory(has_fields)
    def fields(kind: type) -> Callable[[object, object], object]:
        read: Any = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
        return lambda value, _: read(_of(dict, value), kind)

    @converter.register_structure_hook_factory(_is_literal)
    def literal(kind: type) -> Callable[[object, object], object]:
        return lambda value, _: _choose(value, {each: each for each in get_args(kind)})

    return converter


def _is_literal(kind: object) -> bool:
    origin: object = get_origin(kind)
    return origin is Literal


def _of(kind: Any, value: object) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {_JSON_NAMES[kind]}, got {type(value).__name__}")
    return value


def _read_simple(exact: Callable[[object, type], object], value: object, kind: type) -> object:
    if issubclass(kind, enum.Enum):
        return _choose(value, {each.value: each for each in kind})
    return exact(value, kind)


def _choose(value: object, choices: Mapping[object, object]) -> object:
    # The types must be equal too, since 1 == 1.0 == True in Python.
    for name, choice in choices.items():
        if type(name) is type(value) and name == value:
            return choice
    raise ValueError(f"expected one of {', '.join(map(repr, choices))}, got {value!r}")


def _read_container(converter: Converter, value: Any, kind: type) -> object:
    inner = get_args(kind)[-1] if isinstance(value, dict) else get_args(kind)[0]
    if isinstance(value, dict):
        return {key: converter.structure(each, inner) for key, each in value.items()}
    found = [converter.structure(each, inner) for each in value]
    make = get_origin(kind)
    if make in (list, Sequence):
        return found
    return tuple(found) if make is tuple else set(found) if make is set else frozenset(found)


_CONVERTER = _make_converter()


def read_argument(value: object, kind: object, name: str) -> object:
    """
    Read one argument from JSON as a value of the annotated type.

    Raises:
        ValueError: The argument has another type. The message names each wrong part.
    """
    target: Any = kind
    try:
        return _CONVERTER.structure(value, target)
    except (BaseValidationError, TypeError, ValueError) as error:
        reasons = transform_error(error, path=name, format_exception=_reason)
        raise ValueError("; ".join(reasons)) from error


def plain(value: object) -> object:
    """Turn a value into types that JSON has, as far as possible."""
    result: object = _CONVERTER.unstructure(value)
    return result


# The depth limit. A list can contain itself; without a limit, such a list would have no end.
_MAX_DEPTH = 100


def plain_result(value: object, depth: int = 0) -> object:
    """
    Turn the result of a function into types that JSON has.

    Decimals, dates, times, UUIDs and paths become text, bytes become base64, durations become
    seconds, sets and arrays become lists, and NaN and infinity become None. Objects of dataclasses,
    attrs and pydantic become dictionaries.

    Raises:
        TypeError: The result has a value of another type.
        ValueError: The result is nested too deep.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    inner = partial(plain_result, depth=depth + 1)
    if isinstance(value, enum.Enum):
        return inner(value.value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    simple = _plain_simple(value)
    if simple is not None:
        return simple
    if isinstance(value, Mapping):
        return {_key(each): inner(item) for each, item in value.items()}
    if isinstance(value, (Sequence, AbstractSet, deque)):
        return [inner(each) for each in value]
    # Objects of pydantic and numpy, which need not be installed.
    if hasattr(type(value), "model_dump"):
        return inner(_call(value, "model_dump"))
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return inner(_call(value, "tolist"))
    kind: type[Any] = type(value)
    if attrs.has(kind):
        names = [field.name for field in attrs.fields(kind)]
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return {name: inner(getattr(value, name)) for name in names}


def _plain_simple(value: object) -> object:
    """Return the text or number for a value without parts; None for other values."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return os.fspath(value) if isinstance(value, os.PathLike) else None


def _key(key: object) -> object:
    """Return a key for JSON: a text, or a number, which JSON writes as a text."""
    found = plain_result(key, _MAX_DEPTH - 1)
    if isinstance(found, (list, dict)):
        raise TypeError(f"a key of type {type(key).__name__} has no form in JSON")
    return found


def _call(value: object, name: str) -> object:
    method: Callable[[], object] = getattr(value, name)
    return method()


def _reason(error: BaseException, _: type | None) -> str:
    """Return the message for a converter's error. The model corrects its call with the message."""
    if isinstance(error, KeyError):
        return "missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown fields {', '.join(sorted(error.extra_fields))}"
    return str(error)
