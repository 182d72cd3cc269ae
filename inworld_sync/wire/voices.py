"""
Reads voices from the JSON of the service.

Source: Inworld voices reference, and the requests of ``@inworld/tts`` and ``inworld-tts``.
"""

from __future__ import annotations

import json

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.voices import SampleReport, Voice
from inworld_sync.wire.codec import Json, JsonObject, object_in
from inworld_sync.wire.faults import text_in

__all__ = ["has_voice_id", "items_in", "objects_in", "read_report", "read_voice"]


def items_in(body: JsonObject, name: str) -> list[Json]:
    """Return the array of a field, or an empty array if the field is missing or null."""
    value = body.get(name) or []
    if not isinstance(value, list):
        raise RemoteProtocolError(f"expected an array as {name}, got {type(value).__name__}")
    return value


def objects_in(body: JsonObject, name: str) -> list[JsonObject]:
    """Return the array of a field. All items must be objects."""
    return [object_in(each, f"an item of {name}") for each in items_in(body, name)]


def has_voice_id(value: object) -> bool:
    """Return whether a value is an object with the id of a voice."""
    return isinstance(value, dict) and isinstance(value.get("voiceId"), str)


def read_voice(value: object) -> Voice:
    """Read a voice. Raise RemoteProtocolError if the voice has no id."""
    if not isinstance(value, dict) or not has_voice_id(value):
        raise RemoteProtocolError("expected a voice with a voiceId")
    languages = value.get("languages") or value.get("langCode") or value.get("languageCode")
    return Voice(
        id=value["voiceId"],
        name=str(value.get("displayName") or value["voiceId"]),
        description=str(value.get("description") or ""),
        languages=_texts([languages] if isinstance(languages, str) else languages),
        gender=str(value.get("gender") or ""),
        tags=_texts(value.get("tags")),
        source=str(value.get("source") or ""),
    )


def read_report(value: JsonObject) -> SampleReport:
    """Read the service's report about a recording."""
    return SampleReport(
        text_in(value, "transcription"),
        text_in(value, "langCode"),
        _texts(value.get("warnings")),
        _texts(value.get("errors")),
    )


def _texts(value: object) -> tuple[str, ...]:
    """
    Return the items of an array as strings.

    An object, such as a warning, becomes its text or JSON.
    """
    if not isinstance(value, list):
        return ()
    return tuple(
        str(each.get("text") or each.get("message") or json.dumps(each))
        if isinstance(each, dict)
        else str(each)
        for each in value
    )
