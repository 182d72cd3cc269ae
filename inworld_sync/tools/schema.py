"""
Converts Python types to JSON schema, and reads descriptions from docstrings.

A type that has no JSON schema is refused when the function is decorated, not when the function is
called. Sources: JSON Schema 2020-12, and the Google style for docstrings. This file uses only those
keywords of JSON Schema that language models follow.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

import attrs

from inworld_sync.errors import ConfigError

__all__ = ["Docs", "has_fields", "object_schema", "read_docs", "schema_of"]

_SIMPLE: Mapping[object, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_LISTS = (list, tuple, collections.abc.Sequence)
_SETS = (set, frozenset, collections.abc.Set)
_MAPPINGS = (dict, collections.abc.Mapping)

_SECTION = re.compile(
    r"(Args|Arguments|Attributes|Parameters|Returns|Yields|Raises|Notes?|Examples?|Thread safety):"
)
_DESCRIBED_SECTIONS = frozenset({"Args", "Arguments", "Attributes", "Parameters"})
_ENTRY = re.compile(r"(\w+)(?: \([^)]*\))?:\s*(.*)")


@attrs.frozen
class Docs:
    """The descriptions in a docstring: of the function or class, and of each argument."""

    text: str
    entries: Mapping[str, str]


def read_docs(thing: object) -> Docs:
    """Read a docstring in Google style. Without a docstring, the result is empty."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    text: list[str] = []
    entries: dict[str, list[str]] = {}
    section: str | None = None
    entry: list[str] = []
    indent: int | None = None
    for line in lines:
        heading = _SECTION.fullmatch(line)
        if heading is not None:
            section, indent = heading[1], None
        elif section is None:
            text.append(line)
        elif section in _DESCRIBED_SECTIONS and line.strip():
            depth = len(line) - len(line.lstrip())
            indent = depth if indent is None else indent
            match = _ENTRY.fullmatch(line.strip()) if depth == indent else None
            if match is not None:
                entry = entries.setdefault(match[1], [])
                line = match[2]
            entry.append(line.strip())
    return Docs(
        "\n".join(text).strip(),
        {name: " ".join(filter(None, parts)) for name, parts in entries.items()},
    )


def has_fields(kind: object) -> TypeGuard[type]:
    """Return whether a type is an attrs class or a dataclass."""
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def object_schema(properties: Mapping[str, object], required: Sequence[str]) -> dict[str, object]:
    """Return the schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def schema_of(kind: object, where: str, _above: tuple[object, ...] = ()) -> dict[str, object]:
    """
    Return the schema of a type.

    Args:
        kind: A type as ``get_type_hints`` resolves it, with ``Annotated`` kept.
        where: The argument or field that has the type, for the error message.

    Raises:
        ConfigError: The type has no schema.
    """
    if kind in _above:
        raise ConfigError(
            f"{where} must not contain its own type: the schema of a tool cannot be recursive"
        )
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        schema = schema_of(arguments[0], where, _above)
        described = next((each for each in arguments[1:] if isinstance(each, str)), None)
        return schema if described is None else {**schema, "description": described}
    if origin is Literal:
        return _choices(arguments, where)
    if origin in (Union, types.UnionType):
        return _optional(arguments, where, _above)
    container = origin or kind
    if container in (*_LISTS, *_SETS):
        return _array(container, arguments, where, _above)
    if container in _MAPPINGS:
        if len(arguments) != 2 or arguments[0] is not str:
            raise ConfigError(f"{where} must have str keys, such as dict[str, int]")
        items = schema_of(arguments[1], where, _above)
        return {"type": "object", "additionalProperties": items}
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _choices(tuple(member.value for member in kind), where)
    if has_fields(kind):
        return _object(kind, where, (*_above, kind))
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    raise ConfigError(
        f"{where} must have a type that JSON can represent: str, int, float, bool, Literal, an"
        f" Enum, list, tuple[X, ...], set, dict[str, X], an attrs class or a dataclass,"
        f" each optionally with | None, got {name}"
    )


def _choices(values: tuple[object, ...], where: str) -> dict[str, object]:
    kinds = {_SIMPLE.get(type(value)) for value in values}
    if None in kinds or not values:
        raise ConfigError(
            f"{where} must have choices of type str, int, float or bool, got {values!r}"
        )
    schema: dict[str, object] = {"enum": list(values)}
    return {"type": kinds.pop(), **schema} if len(kinds) == 1 else schema


def _optional(
    arguments: tuple[object, ...], where: str, above: tuple[object, ...]
) -> dict[str, object]:
    kinds = [each for each in arguments if each is not type(None)]
    if len(kinds) != 1 or len(kinds) == len(arguments):
        raise ConfigError(
            f"{where} must have one type, or one type and None: models do not follow the schema"
            " of a union"
        )
    schema = schema_of(kinds[0], where, above)
    # If the default of an argument is None, Python 3.10 makes an annotated type optional once more.
    return schema if "anyOf" in schema else {"anyOf": [schema, {"type": "null"}]}


def _array(
    container: object, arguments: tuple[object, ...], where: str, above: tuple[object, ...]
) -> dict[str, object]:
    kinds = [each for each in arguments if each is not Ellipsis]
    is_open_tuple = container is tuple and Ellipsis in arguments
    if len(kinds) != 1 or (container is tuple and not is_open_tuple):
        raise ConfigError(f"{where} must name the type of its elements, such as list[str]")
    schema: dict[str, object] = {"type": "array", "items": schema_of(kinds[0], where, above)}
    return {**schema, "uniqueItems": True} if container in _SETS else schema


def _object(kind: type, where: str, above: tuple[object, ...]) -> dict[str, object]:
    hints = get_type_hints(kind, include_extras=True)
    docs = read_docs(kind)
    properties: dict[str, object] = {}
    required = []
    for name, has_default in _fields(kind):
        schema = schema_of(hints[name], f"{where}.{name}", above)
        if name in docs.entries:
            schema = {"description": docs.entries[name], **schema}
        properties[name] = schema
        if not has_default:
            required.append(name)
    return object_schema(properties, required)


def _fields(kind: type) -> Iterable[tuple[str, bool]]:
    """Return the fields that the constructor accepts, and whether each has a default."""
    if attrs.has(kind):
        return [(x.name, x.default is not attrs.NOTHING) for x in attrs.fields(kind) if x.init]
    missing = dataclasses.MISSING
    return [
        (x.name, x.default is not missing or x.default_factory is not missing)
        for x in dataclasses.fields(kind)
        if x.init
    ]
