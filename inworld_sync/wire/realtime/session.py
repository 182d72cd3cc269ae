"""
The session object: settings to the nested JSON of the service, and back to what it says.

One table places every setting; both directions read it.
Source: Inworld Realtime reference, ``session.update``.
"""

from __future__ import annotations

from collections.abc import Mapping

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.realtime import (
    ManualTurns,
    MemoryState,
    Session,
    SessionCreated,
    SessionInfo,
    SessionUpdated,
)
from inworld_sync.models.realtime.formats import AudioFormat, audio_format
from inworld_sync.wire.codec import JsonObject
from inworld_sync.wire.realtime.codec import CODEC, plain

__all__ = ["SessionMirror", "merge", "session_info", "session_object"]

# Where each field of Session stands in the service's object.
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

_MEMORY_STATE = ("providerData", "memory", "state")


def session_object(session: Session) -> JsonObject:
    """Write the settings that are given, and no others, as the service's session object."""
    body: JsonObject = {"type": "realtime"}
    for name, place in _PLACES.items():
        value = getattr(session, name)
        if value is None:
            continue
        if value == "off" or isinstance(value, ManualTurns):
            # The service turns a part off by null.
            value = None
        elif name == "noise_reduction":
            value = {"type": value}
        _put(body, place, plain(value))
    return merge(body, session.extra)


def _put(body: JsonObject, place: tuple[str, ...], value: object) -> None:
    *parents, name = place
    for parent in parents:
        body = body.setdefault(parent, {})  # type: ignore[assignment]
    body[name] = value  # type: ignore[assignment]


def _get(body: object, place: tuple[str, ...]) -> object:
    for name in place:
        if not isinstance(body, Mapping):
            return None
        body = body.get(name)
    return body


def merge(old: Mapping[str, object], new: Mapping[str, object]) -> JsonObject:
    """
    Merge *new* deeply into a copy of *old*: objects by their fields, all else replaced.

    An object whose ``type`` differs is another thing and replaces the old one whole.
    """
    merged: dict[str, object] = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and _same_kind(before, value):
            merged[name] = merge(before, value)
        else:
            merged[name] = value
    return merged  # type: ignore[return-value]


def _same_kind(before: Mapping[str, object], value: Mapping[str, object]) -> bool:
    return "type" not in value or before.get("type") == value["type"]


def session_info(raw: JsonObject) -> SessionInfo:
    """Read what a session is; what cannot be understood is None, and is in ``raw`` all the same."""
    turn_detection = _get(raw, _PLACES["turn_detection"])
    modalities = raw.get("output_modalities")
    return SessionInfo(
        id=_text(raw.get("id")),
        expires_at=_whole(raw.get("expires_at")),
        model=_text(raw.get("model")),
        instructions=_text(raw.get("instructions")),
        output_modalities=tuple(each for each in modalities if isinstance(each, str))
        if isinstance(modalities, list)
        else (),
        voice=_text(_get(raw, _PLACES["voice"])),
        tts_model=_text(_get(raw, _PLACES["tts_model"])),
        speed=_number(_get(raw, _PLACES["speed"])),
        input_format=_format(_get(raw, _PLACES["input_format"])),
        output_format=_format(_get(raw, _PLACES["output_format"])),
        turn_detection=turn_detection if isinstance(turn_detection, dict) else None,
        memory=_memory(_get(raw, _MEMORY_STATE)),
        raw=raw,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _format(value: object) -> AudioFormat | None:
    if not isinstance(value, (str, dict)):
        return None
    try:
        return audio_format(value)
    except ConfigError:
        return None


def _memory(value: object) -> MemoryState | None:
    if not isinstance(value, dict):
        return None
    try:
        return CODEC.load(value, MemoryState, "session.providerData.memory.state")
    except RemoteProtocolError:
        return None


class SessionMirror:
    """
    The session as the service's messages describe it.

    Pure: no clock, no lock; the owner serializes calls.
    """

    def __init__(self) -> None:
        self._info = SessionInfo()

    @property
    def info(self) -> SessionInfo:
        """What the session is now; an empty one before the service has spoken."""
        return self._info

    def handle(self, event: SessionCreated | SessionUpdated) -> None:
        """Follow a message: the first describes a whole session, the others change it."""
        if isinstance(event, SessionCreated):
            self._info = event.session
        else:
            self._info = session_info(merge(self._info.raw, event.session.raw))
