"""
Converts JSON text to attrs classes and back, by the same rules for every service.

Rules for reading:

- unknown fields are kept in the attribute ``extra`` of a class;
- a field with the value null has the same meaning as a missing field;
- a missing required field or a wrong type raises
  :class:`~inworld_sync.errors.RemoteProtocolError`, which names the field;
- if the caller passes a list for warnings, an optional field of the wrong type is ignored instead.
  The name of the field is added to the list, and its value is kept in ``extra``.

Writing leaves out the attributes that are None and adds the fields of ``extra``.
"""

from __future__ import annotations

import contextvars
import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.locks import imports

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "Codec",
    "Json",
    "JsonObject",
    "NotUtf8Error",
    "camel",
    "dump_text",
    "ignore_field",
    "load_object",
    "object_in",
    "parse_json",
    "register_exact",
]

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

_T = TypeVar("_T")


class NotUtf8Error(RemoteProtocolError):
    """A message is not UTF-8."""


# A value may have at most this many levels, because the functions that read or write a value call
# themselves for each level.
_MAX_LEVELS = 100

# The names of the fields that the present call of :meth:`Codec.load` ignores. None if the call
# raises an error for such fields.
_ignored: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar(
    "inworld_sync_ignored_fields", default=None
)


def ignore_field(name: str) -> None:
    """Record that the present call of :meth:`Codec.load` ignores a field or a part of a field."""
    ignored = _ignored.get()
    if ignored is not None:
        ignored.append(name)


def camel(name: str) -> str:
    """Turn ``voice_id`` into ``voiceId``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def dump_text(message: Mapping[str, object]) -> str:
    """
    Write one message as compact JSON text.

    Raises:
        ConfigError: A text has half of a surrogate pair, which UTF-8 cannot represent, or a
            number is not finite, which JSON cannot represent.
    """
    try:
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"text must be valid Unicode, got the lone surrogate {error.object[error.start]!a} "
            f"at character {error.start} of the message"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"the message cannot be written as JSON: {error}") from error
    return text


def load_object(message: bytes | bytearray | memoryview | str) -> JsonObject:
    """
    Read one message as a JSON object.

    Raises:
        NotUtf8Error: *message* is not UTF-8.
        RemoteProtocolError: *message* is not JSON, or not an object.
    """
    try:
        text = message if isinstance(message, str) else str(message, "utf-8")
        value = parse_json(text)
    except UnicodeDecodeError as error:
        raise NotUtf8Error(
            f"expected a message in UTF-8, got the byte 0x{error.object[error.start]:02x} "
            f"at {error.start}"
        ) from None
    except ValueError as error:
        raise RemoteProtocolError(
            f"expected a JSON message, got {len(message)} characters that are not JSON ({error})"
        ) from None
    return object_in(value, "the message")


def parse_json(text: str) -> Json:
    """
    Parse a JSON text of the service.

    Raises:
        ValueError: *text* is not JSON, or has more levels of nested arrays and objects than any
            message of the service.
    """
    try:
        value: Json = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    # Only a text with many brackets can have many levels, and few messages have many brackets.
    if text.count("[") + text.count("{") > _MAX_LEVELS:
        _check_levels(value)
    return value


def _check_levels(value: Json) -> None:
    level = [value]
    for _ in range(_MAX_LEVELS):
        inner: list[Json] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return
        level = inner
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"more than {_MAX_LEVELS} levels of arrays and objects")


def _refuse_constant(name: str) -> None:
    # The json module of Python accepts NaN and Infinity, which JSON does not have.
    raise ValueError(f"{name} is not a JSON value")


def object_in(value: object, where: str) -> JsonObject:
    """
    Return *value* if it is a JSON object.

    Raises:
        RemoteProtocolError: *value* is not an object. The text of the error has *where*, the place
            of *value* in the message.
    """
    if not isinstance(value, dict):
        # The error shows only the type, since it must not show audio or text of the user.
        raise RemoteProtocolError(f"expected an object as {where}, got {type(value).__name__}")
    return value


def _exactly(kind: type[_T], value: object) -> _T:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _string(value: object, kind: type[str]) -> str:
    text = _exactly(str, value)
    # cattrs calls the hook for str also for subclasses of str, which are enums.
    return text if kind is str else kind(text)


def _integer(value: object, _: object) -> int:
    # JSON has one type of number, so 16000.0 is the integer 16000.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _exactly(int, value)


def _number(value: object, _: object) -> float:
    number = float(value) if type(value) is int else _exactly(float, value)
    # A number such as 1e999 is infinite as a float.
    if not math.isfinite(number):
        raise ValueError("expected a number below 1.8e308")
    return number


def register_exact(converter: Converter) -> None:
    """Make a converter refuse values of another type instead of converting them."""
    converter.register_structure_hook(str, _string)
    converter.register_structure_hook(bool, lambda value, _: _exactly(bool, value))
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)


def _can_read(read: Callable[[JsonObject, type], object], value: JsonObject, kind: type) -> bool:
    try:
        read(value, kind)
    except Exception:  # noqa: BLE001 - hooks and validators raise errors of any class
        return False
    return True


class Codec:
    """
    Writes and reads attrs classes. One rule gives the names of their fields on the wire.

    Args:
        names: Turns an attribute's name into the name on the wire.
        renames: For each class, the names on the wire that do not follow the rule, by the
            attribute's name. The value is None for attributes that are not on the wire.

    A class may have an attribute ``extra``, which is a mapping. Unknown fields of a message that is
    read are stored in ``extra``. The fields of ``extra`` are added to a message that is written.

    Thread safety: several threads may use an instance at once.
    """

    def __init__(
        self,
        names: Callable[[str], str],
        renames: Mapping[type, Mapping[str, str | None]] | None = None,
    ) -> None:
        self._names = names
        self._renames = renames or {}
        self._converter: Converter | None = None

    @property
    def converter(self) -> Converter:
        """The cattrs converter."""
        # Unlike functools.cached_property of Python 3.11, this method uses no lock, because another
        # thread could hold the lock while the process forks. So at the first message, two threads
        # may each make a converter.
        converter = self._converter
        if converter is None:
            converter = self._converter = self._new_converter()
        return converter

    def _new_converter(self) -> Converter:
        """Make the converter. The codec of a service adds hooks, for example for unions."""
        # cattrs is imported with the first message, since the import takes 8 ms.
        with imports:
            from cattrs import Converter

        converter = Converter()
        register_exact(converter)
        converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
        converter.register_structure_hook_factory(
            attrs.has, functools.partial(self._reader, converter)
        )
        converter.register_unstructure_hook_factory(
            attrs.has, functools.partial(self._writer, converter)
        )
        return converter

    def dump(self, value: object) -> JsonObject:
        """Write an attrs object as a JSON object."""
        result: JsonObject = self.converter.unstructure(value)
        return result

    def load(
        self, value: object, kind: type[_T], where: str, warnings: list[str] | None = None
    ) -> _T:
        """
        Read a JSON value as an object of *kind*.

        Args:
            value: The JSON value.
            kind: An attrs class.
            where: The name of the value, for errors and warnings.
            warnings: Gets the name of each optional field that is ignored because it has the wrong
                type. With None, such a field raises an error.

        Raises:
            RemoteProtocolError: A required field is missing or a field has the wrong type; the
                text names *where* and the field.
        """
        ignored: list[str] | None = None if warnings is None else []
        token = _ignored.set(ignored)
        try:
            result = self.converter.structure(value, kind)
        except Exception as error:
            from cattrs import transform_error

            causes = "; ".join(transform_error(error, path=where))
            raise RemoteProtocolError(f"cannot read {where}: {causes}") from error
        finally:
            _ignored.reset(token)
        if warnings is not None and ignored:
            warnings += [f"{where}.{name}" for name in ignored]
        return result

    def _wire_names(self, kind: type) -> dict[str, str]:
        special = self._renames.get(kind, {})
        names = {
            field.name: special.get(field.name, self._names(field.name))
            for field in attrs.fields(kind)
            if field.name != "extra"
        }
        return {name: wire for name, wire in names.items() if wire is not None}

    def _omitted(self, kind: type) -> dict[str, Any]:
        """Return the overrides of the attributes that have no field on the wire."""
        from cattrs.gen import override

        off = [name for name, wire in self._renames.get(kind, {}).items() if wire is None]
        return dict.fromkeys(["extra", *off], override(omit=True))

    def _writer(self, converter: Converter, kind: type) -> Callable[[object], JsonObject]:
        from cattrs.gen import make_dict_unstructure_fn, override

        names = self._wire_names(kind)
        optional = {field.name for field in attrs.fields(kind) if field.default is None}
        overrides: dict[str, Any] = {
            name: override(rename=wire, omit_if_default=name in optional)
            for name, wire in names.items()
        }
        overrides |= self._omitted(kind)
        write: Callable[[object], JsonObject] = make_dict_unstructure_fn(
            kind, converter, **overrides
        )
        if "extra" not in attrs.fields_dict(kind):
            return write

        def write_with_extra(value: object) -> JsonObject:
            return {**write(value), **value.extra}  # type: ignore[attr-defined]

        return write_with_extra

    def _reader(self, converter: Converter, kind: type) -> Callable[[object, object], object]:
        from cattrs.gen import make_dict_structure_fn, override

        names = self._wire_names(kind)
        overrides: dict[str, Any] = {name: override(rename=wire) for name, wire in names.items()}
        overrides |= self._omitted(kind)
        read: Any = make_dict_structure_fn(kind, converter, **overrides)
        known = frozenset(names.values())
        keeps_extra = "extra" in attrs.fields_dict(kind)
        optional = frozenset(
            names[field.name]
            for field in attrs.fields(kind)
            if field.name in names and field.default is not attrs.NOTHING
        )

        def without_wrong_fields(value: JsonObject, ignored: list[str]) -> JsonObject:
            """Return an object without the optional fields that cannot be read."""
            required = {name: each for name, each in value.items() if name in known - optional}
            start = len(ignored)
            read(required, kind)
            wrong = [
                name
                for name in sorted(value.keys() & optional)
                if not _can_read(read, {**required, name: value[name]}, kind)
            ]
            # Only the fields of this object are recorded here. The fields of inner objects are
            # recorded when the rest is read.
            ignored[start:] = wrong
            return {name: each for name, each in value.items() if name not in wrong}

        def read_object(value: object, _: object) -> object:
            if not isinstance(value, dict):
                raise TypeError(f"expected an object, got {type(value).__name__}")
            if None in value.values():
                value = {k: v for k, v in value.items() if v is not None or k not in known}
            readable, ignored = value, _ignored.get()
            start = 0 if ignored is None else len(ignored)
            try:
                result = read(value, kind)
            except Exception:
                if ignored is None:
                    raise
                del ignored[start:]
                readable = without_wrong_fields(value, ignored)
                result = read(readable, kind)
            if keeps_extra and (unread := value.keys() - (known & readable.keys())):
                result = attrs.evolve(result, extra={name: value[name] for name in unread})
            return result

        return read_object
