"""
The codec of the realtime service: snake_case names, and unions distinguished by ``type``.

An item or a part of an unknown kind, and a part without a required field, becomes an
:class:`~inworld_sync.models.realtime.UnknownItem` or an ``UnknownPart`` with the JSON object.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, get_args

import attrs

from inworld_sync.models import realtime as rt
from inworld_sync.wire.codec import Codec, JsonObject, camel

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

# The writer adds the ``type``. A tool choice can also be a plain string, which has none.
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

# The OpenAI Realtime protocol names the assistant's parts so; the service has shorter names.
_PART_ALIASES = {"output_text": rt.OutputText.type, "output_audio": rt.OutputAudio.type}

# Fields that only name the kind of an object.
_TAGS = frozenset({"type", "object"})

CODEC = Codec(lambda name: name, _RENAMES)

# ``text_generation_config`` is the only extension with camelCase names.
_CAMEL = Codec(camel)


def plain(value: object) -> object:
    """Turn a setting, an item, a tool or a tuple of them into JSON values."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, rt.HasDefinition):
        value = value.definition
    result: object = CODEC.converter.unstructure(value)
    return result


def _structure(body: JsonObject, kind: type) -> object:
    fields = {name: each for name, each in body.items() if name not in _TAGS}
    return CODEC.converter.structure(fields, kind)


def _tagged_object(value: object) -> tuple[str, JsonObject]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    name = value.get("type")
    return (name if isinstance(name, str) else ""), value


def _read_part(value: object, _: object) -> object:
    name, body = _tagged_object(value)
    kind = _PARTS.get(_PART_ALIASES.get(name, name))
    if kind is None or any(
        field.default is attrs.NOTHING and body.get(field.name) is None
        for field in attrs.fields(kind)
    ):
        return rt.UnknownPart(name, body)
    return _structure(body, kind)


def _read_item(value: object, _: object) -> object:
    name, body = _tagged_object(value)
    kind = _ITEMS.get(name)
    if kind is None or (kind is rt.Message and body.get("role") not in get_args(rt.Role)):
        item_id = body.get("id")
        return rt.UnknownItem(name, body, item_id if isinstance(item_id, str) else None)
    return _structure(body, kind)


def _names(kind: type) -> set[str]:
    return {field.name for field in attrs.fields(kind)} - {"extra"}


def _usage_reader() -> Callable[[object, object], rt.Usage]:
    read: Callable[..., rt.Usage] = CODEC.converter.get_structure_hook(rt.Usage)
    names = _names(rt.Usage)

    def read_usage(value: object, _: object) -> rt.Usage:
        # A count of the wrong type goes to extra, so that the end of the response is not lost.
        body = value if isinstance(value, dict) else {"usage": value}
        counts = {
            name: each
            for name, each in body.items()
            if name in names
            and (isinstance(each, dict) if name.endswith("details") else type(each) is int)
        }
        rest = {name: each for name, each in body.items() if name not in counts}
        return attrs.evolve(read(counts, rt.Usage), extra=rest)

    return read_usage


def _read_error(value: object, _: object) -> rt.ErrorInfo:
    if isinstance(value, str):
        return rt.ErrorInfo(message=value)
    if not isinstance(value, dict):
        return rt.ErrorInfo(extra={"error": value})
    names = _names(rt.ErrorInfo)
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
    # b64decode also accepts text that no encoder writes, such as one with unused bits set.
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
    for kind in _TAGGED:
        converter.register_unstructure_hook(kind, _tagged_writer(kind))
    for unknown in (rt.UnknownItem, rt.UnknownPart):
        converter.register_unstructure_hook(unknown, lambda value: dict(value.raw))
    converter.register_unstructure_hook(rt.TextGeneration, _CAMEL.dump)
    converter.register_unstructure_hook(rt.WebSearchTool, _write_web_search)
    converter.register_structure_hook_func(lambda kind: kind == rt.ContentPart, _read_part)
    converter.register_structure_hook_func(lambda kind: kind == rt.Item, _read_item)
    converter.register_structure_hook(bytes, _read_audio)
    converter.register_structure_hook(rt.Usage, _usage_reader())
    converter.register_structure_hook(rt.ErrorInfo, _read_error)


_register()
