"""
Converts settings to the session object of the service, and a session object to a SessionInfo.

One table has the place of every setting in the session object. Both conversions use this table.
Source: Inworld Realtime reference, ``session.update``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from inworld_sync.errors import ConfigError
from inworld_sync.models.realtime import ManualTurns, MemoryState, Session, SessionInfo
from inworld_sync.models.realtime.formats import AudioFormat, audio_format
from inworld_sync.wire.codec import JsonObject
from inworld_sync.wire.realtime.codec import CODEC, plain

__all__ = ["merge", "session_info", "session_object", "value_at"]

# The place of each field of Session in the service's object.
_PLACES: dict[str, tuple[str, ...]] = {
    "instructions": ("instructions",),
    "voice": ("audio", "output", "voice"),
    "model": ("model",),
    "tools": ("tools",),
    "tool_choice": ("tool_choice",),
    "turn_detection": ("audio", "input", "turn_detection"),
    "transcription": ("audio", "input", "transcription"),
    "noise_reduction": ("audio", "input", "noise_reduction"),
    "input_format": ("audio", "input", "format"),
    "output_format": ("audio", "output", "format"),
    "output_modalities": ("output_modalities",),
    "tts_model": ("audio", "output", "model"),
    "speed": ("audio", "output", "speed"),
    "temperature": ("temperature",),
    "max_output_tokens": ("max_output_tokens",),
    "truncation": ("truncation",),
    "provider_data": ("providerData",),
    "prompt": ("prompt",),
    "include": ("include",),
    "tracing": ("tracing",),
}

# A session object has about five levels. This maximum limits the recursion of :func:`merge`.
_MAX_LEVELS = 50

_MEMORY_STATE = ("providerData", "memory", "state")


def session_object(session: Session) -> JsonObject:
    """Return the settings that are not None as the service's session object."""
    body: JsonObject = {"type": "realtime"}
    for name, place in _PLACES.items():
        value = getattr(session, name)
        if value is None:
            continue
        if value == "off" or isinstance(value, ManualTurns):
            # The service turns a function off if the setting of this function is null.
            value = None
        elif name == "noise_reduction":
            value = {"type": value}
        *parents, last = place
        branch = body
        for parent in parents:
            branch = branch.setdefault(parent, {})  # type: ignore[assignment]
        branch[last] = plain(value)  # type: ignore[assignment]
    return merge(body, session.extra)


def value_at(body: object, place: tuple[str, ...]) -> object:
    """Return the value at a place of a JSON object, or None if there is no value."""
    for name in place:
        if not isinstance(body, Mapping):
            return None
        body = body.get(name)
    return body


def merge(
    old: Mapping[str, object], new: Mapping[str, object], levels: int = _MAX_LEVELS
) -> JsonObject:
    """
    Merge *new* into a copy of *old*. Objects are merged field by field at all levels; other values
    of *new* replace the values of *old*.

    A new object replaces the old object as a whole if it has another ``type`` or is more than
    *levels* levels deep.
    """
    merged: dict[str, object] = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            is_same_kind = "type" not in value or before.get("type") == value["type"]
            is_merged = is_same_kind and levels > 1
            merged[name] = merge(before, value, levels - 1) if is_merged else value
        else:
            merged[name] = value
    return merged  # type: ignore[return-value]


def session_info(raw: JsonObject, warnings: list[str] | None = None) -> SessionInfo:
    """
    Read a session object. A setting of unknown form is None in the result. The attribute ``raw``
    still has this setting.

    Args:
        raw: The session object of the service.
        warnings: The names of the settings that could not be read are added to this list.
    """
    warnings = [] if warnings is None else warnings
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        value = value_at(raw, _PLACES.get(name, (name,)))
        values[name] = read(value)
        if value and not values[name]:
            warnings.append(name)
    return SessionInfo(**values, memory=_memory(value_at(raw, _MEMORY_STATE), warnings), raw=raw)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _object(value: object) -> JsonObject | None:
    return value if isinstance(value, dict) else None


def _number(value: object) -> float | None:
    try:
        number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _format(value: object) -> AudioFormat | None:
    try:
        return audio_format(value) if isinstance(value, (str, dict)) else None
    except ConfigError:
        return None


def _memory(value: object, warnings: list[str]) -> MemoryState | None:
    if isinstance(value, dict):
        return CODEC.load(value, MemoryState, "memory", warnings)
    if value is not None:
        warnings.append("memory")
    return None


# The function that reads each field of SessionInfo. A field without a place in _PLACES is a
# top-level field of the session object.
_READERS: dict[str, Callable[[object], Any]] = {
    "id": _text,
    "expires_at": _whole,
    "model": _text,
    "instructions": _text,
    "output_modalities": _texts,
    "voice": _text,
    "tts_model": _text,
    "speed": _number,
    "input_format": _format,
    "output_format": _format,
    "turn_detection": _object,
}
