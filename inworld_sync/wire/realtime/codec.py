"""
Implements the codec of the realtime service. Names are in snake_case, and the field ``type``
selects the class of an object.

An item or a part that has an unknown kind, or lacks a required field, becomes an
:class:`~inworld_sync.models.realtime.UnknownItem` or an ``UnknownPart`` with the JSON object.
"""

from __future__ import annotations

import base64
import functools
import json
import operator
from collections.abc import Callable
from typing import Any, get_args

import attrs

from inworld_sync.models import realtime as rt
from inworld_sync.wire.codec import Codec, Json, JsonObject, camel, ignore_field

__all__ = ["CODEC", "plain"]

_RENAMES = {
    rt.PcmFormat: {"sample_rate_hz": "rate"},
    rt.Float32Format: {"sample_rate_hz": "rate"},
    rt.ProviderData: {"text_generation": "text_generation_config"},
    rt.SttTuning: {
        "min_end_of_turn_silence_ms": "min_end_of_turn_silence",
        "max_turn_silence_ms": "max_turn_silence",
    },
    rt.TtsTuning: {"timestamp_transport": "timestamp_transport_strategy"},
    rt.UserTranscriptUpdated: {"transcript": "delta"},
    rt.AudioDelta: {"audio": "delta"},
    rt.BackchannelDelta: {"audio": "delta"},
}

# The reader finds the class by the ``type`` of the object.
_PARTS = {kind.type: kind for kind in get_args(rt.ContentPart) if kind is not rt.UnknownPart}
_ITEMS = {kind.type: kind for kind in get_args(rt.Item) if kind is not rt.UnknownItem}
_ROLES = get_args(rt.Role)

# The writer adds the ``type``. A tool choice can also be a plain string, which has no ``type``.
_TAGGED = (
    *_PARTS.values(),
    *_ITEMS.values(),
    *get_args(rt.AudioFormat),
    *(kind for kind in get_args(rt.ToolChoice) if attrs.has(kind)),
    *(
        rt.FunctionTool,
        rt.ItemReference,
        rt.McpTool,
        rt.RetentionRatio,
        rt.SemanticVad,
        rt.ServerVad,
    ),
)

# The OpenAI Realtime protocol has these names for the assistant's parts; the service has shorter
# names.
_PART_ALIASES = {"output_text": rt.OutputText.type, "output_audio": rt.OutputAudio.type}

# Fields that only name the kind of an object.
_TAGS = frozenset({"type", "object"})

CODEC = Codec(lambda name: name, _RENAMES)

# ``text_generation_config`` is the only extension with camelCase names.
_CAMEL = Codec(camel)


def plain(value: object) -> object:
    """Turn a setting, an item, a tool, or a tuple of such objects into JSON values."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, rt.HasDefinition):
        value = value.definition
    result: object = CODEC.converter.unstructure(value)
    return result


def _structure_or_none(body: JsonObject, kind: Any) -> object:
    """Read an object as *kind*; return None if a required field is missing or wrong."""
    fields = {name: each for name, each in body.items() if name not in _TAGS}
    try:
        return CODEC.converter.structure(fields, kind)
    except Exception:  # noqa: BLE001 - hooks and validators raise errors of any class
        ignore_field(kind.type)
        return None


def _tagged_object(value: object) -> tuple[str, JsonObject]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    name = value.get("type")
    return (name if isinstance(name, str) else ""), value


def _read_part(value: object, _: object) -> object:
    name, body = _tagged_object(value)
    kind = _PARTS.get(_PART_ALIASES.get(name, name))
    part = None if kind is None else _structure_or_none(body, kind)
    return rt.UnknownPart(name, body) if part is None else part


def _read_item(value: object, _: object) -> object:
    name, body = _tagged_object(value)
    if isinstance(body.get("arguments"), dict):
        body = {**body, "arguments": json.dumps(body["arguments"])}
    kind = _ITEMS.get(name)
    item = None
    if kind is rt.Message:
        if body.get("role") in _ROLES:
            item = _structure_or_none(_with_parts(body), kind)
    elif kind is not None:
        item = _structure_or_none(body, kind)
    if item is None:
        item_id = body.get("id")
        return rt.UnknownItem(name, body, item_id if isinstance(item_id, str) else None)
    return item


def _with_parts(body: JsonObject) -> JsonObject:
    """Return a message in which each string of the content is replaced by a text part."""
    content = body.get("content")
    if isinstance(content, str):
        content = [content]
    if not isinstance(content, list):
        return body
    text_type = rt.OutputText.type if body.get("role") == "assistant" else rt.InputText.type
    parts: list[Json] = [
        {"type": text_type, "text": part} if isinstance(part, str) else part for part in content
    ]
    return {**body, "content": parts}


def _read_objects(
    name: str, read: Callable[[object, object], object]
) -> Callable[[object, object], tuple[object, ...]]:
    """Return a function that reads an array and ignores values that are not objects."""

    def read_array(value: object, _: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise TypeError(f"expected an array, got {type(value).__name__}")
        objects = [each for each in value if isinstance(each, dict)]
        if len(objects) < len(value):
            ignore_field(name)
        return tuple(read(each, None) for each in objects)

    return read_array


def _read_error(value: object, _: object) -> rt.ErrorInfo:
    if isinstance(value, str):
        return rt.ErrorInfo(message=value)
    if not isinstance(value, dict):
        return rt.ErrorInfo(extra={"error": value})
    names = {field.name for field in attrs.fields(rt.ErrorInfo)} - {"extra"}
    known = {name: str(each) for name, each in value.items() if name in names and each is not None}
    return rt.ErrorInfo(
        **known, extra={name: each for name, each in value.items() if name not in names}
    )


def _read_audio(value: object, _: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"expected base64 text, got {type(value).__name__}")
    audio = base64.b64decode(value, validate=True)
    # b64decode also accepts text that no encoder writes, such as text with unused bits set.
    if base64.b64encode(audio) != value.encode():
        raise ValueError(f"expected base64 text, got {len(value)} characters of another form")
    return audio


def _write_web_search(tool: rt.WebSearchTool) -> dict[str, object]:
    names = ("engine", "max_results", "max_steps")
    options = {name: getattr(tool, name) for name in names if getattr(tool, name) is not None}
    body: dict[str, object] = {"type": tool.type}
    if options:
        body["providerData"] = options
    return {**body, **tool.extra}


def _tagged_writer(kind: Any) -> Callable[[object], JsonObject]:
    write = CODEC.converter.get_unstructure_hook(kind)
    return lambda value: {"type": kind.type, **write(value)}


def _register() -> None:
    converter = CODEC.converter
    writers: dict[object, Callable[[Any], dict[str, Any]]] = {
        **{kind: _tagged_writer(kind) for kind in _TAGGED},
        rt.UnknownItem: lambda value: dict(value.raw),
        rt.UnknownPart: lambda value: dict(value.raw),
        rt.TextGeneration: _CAMEL.dump,
        rt.WebSearchTool: _write_web_search,
    }
    for kind, write in writers.items():
        converter.register_unstructure_hook(kind, write)
    # cattrs ignores an exception of a signal handler during the lookup of a hook, and takes the
    # next hook that fits. So the same hooks are registered again, by a factory.
    converter.register_unstructure_hook_factory(writers.__contains__, lambda kind: writers[kind])
    converter.register_structure_hook_func(lambda kind: kind == rt.ContentPart, _read_part)
    converter.register_structure_hook_func(lambda kind: kind == rt.Item, _read_item)
    for name, kind, read in (
        ("content", tuple[rt.ContentPart, ...], _read_part),
        ("output", tuple[rt.Item, ...], _read_item),
    ):
        converter.register_structure_hook_func(
            functools.partial(operator.eq, kind), _read_objects(name, read)
        )
    converter.register_structure_hook(bytes, _read_audio)
    converter.register_structure_hook(rt.ErrorInfo, _read_error)


_register()
