"""
Converts the messages of the service to events.

This module also decodes the audio of a message, unless the caller has decoded the audio already.

Services send some forms that the reference does not describe. The client accepts these forms:

- null for an optional field
- ``usage`` in the message instead of in its ``response`` object
- metadata that is not a mapping of strings
- an error that is a string
- older names of messages

The specification also has ``response.content_part.delta``. The client converts this message to the
delta event for the content in the message: text, transcript or audio.

Sources: Inworld Realtime reference, server events. The other forms are known from clients that log
these forms.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.realtime import (
    AudioDelta,
    FunctionCall,
    OutputItemDone,
    RealtimeEvent,
    SessionCreated,
    SessionUpdated,
    TextDelta,
    TranscriptDelta,
    events,
    response_events,
)
from inworld_sync.wire.codec import Json, JsonObject, object_in
from inworld_sync.wire.realtime.codec import CODEC
from inworld_sync.wire.realtime.faults import SessionFault, untyped_fault
from inworld_sync.wire.realtime.session import session_info
from inworld_sync.wire.realtime.timestamps import with_times

__all__ = [
    "ALIASES",
    "EVENT_CLASSES",
    "ITEM_EVENTS",
    "RealtimeMessage",
    "carries_output",
    "read_object",
]

# Maps older names of messages, and names that other services with the same protocol use, to the
# names that this package uses.
ALIASES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "conversation.item.created": "conversation.item.added",
    "input_audio_transcription.delta": "conversation.item.input_audio_transcription.delta",
    "input_audio_buffer.transcription.delta": "conversation.item.input_audio_transcription.delta",
}


_PART_DELTA = "response.content_part.delta"


RealtimeMessage: TypeAlias = RealtimeEvent | SessionFault | UnknownEvent

_KINDS: dict[str, type[RealtimeEvent]] = {
    kind.type: kind
    for module in (events, response_events)
    for kind in (getattr(module, name) for name in module.__all__)
    if isinstance(kind, type) and issubclass(kind, RealtimeEvent) and kind is not RealtimeEvent
}

# The classes of all messages that this version knows.
EVENT_CLASSES = tuple(_KINDS.values())

# The classes of messages that have an item.
ITEM_EVENTS = tuple(kind for kind in EVENT_CLASSES if hasattr(kind, "item"))

# The types of the messages without which the output of a response is incomplete. Other messages
# have no output, or another message repeats their content.
_OUTPUT_TYPES = frozenset(
    kind.type for kind in (AudioDelta, TextDelta, TranscriptDelta, OutputItemDone)
)

_AUDIO_FIELDS = frozenset(
    ("type", "event_id", "response_id", "item_id", "output_index", "content_index", "delta")
)


def carries_output(name: str) -> bool:
    """Return True if a response is incomplete without a message of the type *name*."""
    return name == _PART_DELTA or ALIASES.get(name, name) in _OUTPUT_TYPES


def read_object(
    body: JsonObject, audio: bytes | None = None, warnings: list[str] | None = None
) -> RealtimeMessage:
    """
    Read one message of the service.

    An optional field of the wrong type is ignored, and its value is kept in ``extra``.

    Args:
        body: The message.
        audio: The decoded audio, if the caller has replaced the audio in *body* with an empty
            string. None if *body* has base64 audio or no audio.
        warnings: A list to which the name of each ignored field is appended.

    Raises:
        RemoteProtocolError: A required field is missing or has the wrong type.
    """
    name = body.get("type")
    if not isinstance(name, str):
        return untyped_fault(body) or UnknownEvent("", body)
    warnings = [] if warnings is None else warnings
    name = ALIASES.get(name, name)
    if name == _PART_DELTA:
        name, body = _part_delta(body)
    if audio is not None and name == AudioDelta.type and (event := _audio_delta(body, audio)):
        return with_times(event, warnings) if event.extra else event
    kind = _KINDS.get(name)
    if kind is None:
        return UnknownEvent(name, body)
    if kind is SessionCreated or kind is SessionUpdated:
        return _session_event(kind, body, warnings)
    fields: dict[str, Any] = {key: value for key, value in body.items() if key != "type"}
    if isinstance(arguments := fields.get("arguments"), dict):
        # Some services send the arguments of a call as an object.
        fields["arguments"] = json.dumps(arguments)
    if audio is not None:
        fields["delta"] = audio
    repair = _REPAIRS.get(name)
    if repair is not None:
        repair(fields)
    result = CODEC.load(fields, kind, name, warnings)
    if isinstance(result, AudioDelta) and result.extra:
        return with_times(result, warnings)
    return result


def _session_event(
    kind: type[SessionCreated | SessionUpdated], body: JsonObject, warnings: list[str]
) -> SessionCreated | SessionUpdated:
    """
    Read a message with a session object.

    The codec is not used, because the codec drops null, and null in a session object means "off".
    """
    session, event_id = body.get("session"), body.get("event_id")
    if not isinstance(session, dict):
        warnings.append(f"{kind.type}.session")
        session = {}
    if not isinstance(event_id, str | None):
        warnings.append(f"{kind.type}.event_id")
        event_id = None
    unread: list[str] = []
    info = session_info(session, unread)
    warnings += [f"{kind.type}.{name}" for name in unread]
    return kind(info, event_id=event_id)


def _part_delta(body: JsonObject) -> tuple[str, JsonObject]:
    """
    Convert ``response.content_part.delta`` to the type and fields of a more specific delta.

    The content is in the field ``delta`` or ``part``. A string is text. An object has the content
    in its field ``text``, ``transcript`` or ``audio``.
    """
    fields = {name: value for name, value in body.items() if name != "part"}
    part = body["delta"] if body.get("delta") is not None else body.get("part")
    if not isinstance(part, dict):
        return TextDelta.type, {**fields, "delta": part}
    for name, kind in (
        ("text", TextDelta),
        ("transcript", TranscriptDelta),
        ("audio", AudioDelta),
    ):
        if isinstance(part.get(name), str):
            return kind.type, {**fields, "delta": part[name]}
    return TextDelta.type, fields


def _audio_delta(body: JsonObject, audio: bytes) -> AudioDelta | None:
    """Read an audio delta without the codec, or return None if the message needs the codec."""
    response_id, item_id, event_id = (
        body.get("response_id"),
        body.get("item_id"),
        body.get("event_id"),
    )
    output_index, content_index = body.get("output_index", 0), body.get("content_index", 0)
    if (
        type(response_id) is not str
        or type(item_id) is not str
        or type(output_index) is not int
        or type(content_index) is not int
        or not (event_id is None or type(event_id) is str)
    ):
        return None
    further = body.keys() - _AUDIO_FIELDS
    return AudioDelta(
        response_id,
        item_id,
        audio,
        output_index=output_index,
        content_index=content_index,
        event_id=event_id,
        extra={name: body[name] for name in further} if further else {},
    )


def _repair_response(fields: JsonObject) -> None:
    response = dict(object_in(fields.get("response"), "response"))
    usage = fields.pop("usage", None)
    if response.get("usage") is None and usage is not None:
        response["usage"] = usage
    if not isinstance(response.get("metadata"), dict):
        metadata = response.pop("metadata", None)
        if metadata is not None:
            response["metadata"] = {"metadata": metadata}
    if response.get("id") is None and fields.get("response_id") is not None:
        response["id"] = fields["response_id"]
    response.pop("object", None)
    fields["response"] = response


def _repair_item(fields: JsonObject) -> None:
    item = object_in(fields.get("item"), "item")
    if not isinstance(item.get("id"), str):
        raise RemoteProtocolError(f"expected a string as item.id, got {item.get('id')!r}")
    if item.get("type") == FunctionCall.type and not isinstance(item.get("call_id"), str):
        # Without a call id, the call cannot be answered. So the item must not become an
        # UnknownItem.
        raise RemoteProtocolError(f"expected a string as item.call_id, got {item.get('call_id')!r}")


def _repair_transcript(fields: JsonObject) -> None:
    provider_data = fields.get("providerData")
    profile = provider_data.get("voiceProfile") if isinstance(provider_data, dict) else None
    if isinstance(profile, dict):
        fields["voice_profile"] = {
            about: [row for row in rows if _is_label(row)]
            for about, rows in profile.items()
            if isinstance(rows, list)
        }


def _is_label(row: Json) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("label"), str)
        and isinstance(row.get("confidence"), (int, float))
    )


def _repair_error(fields: JsonObject) -> None:
    message = fields.pop("message", None)
    if fields.get("error") is None:
        fields["error"] = message if message is not None else {}


def _repair_audio(fields: JsonObject) -> None:
    if fields.get("delta") is None and ("timestamp_info" in fields or "timestampInfo" in fields):
        # The message has timestamps but no audio.
        fields["delta"] = ""


_REPAIRS: dict[str, Callable[[JsonObject], None]] = {
    **{kind.type: _repair_response for kind in EVENT_CLASSES if hasattr(kind, "response")},
    **{kind.type: _repair_item for kind in ITEM_EVENTS},
    "conversation.item.input_audio_transcription.completed": _repair_transcript,
    "error": _repair_error,
    AudioDelta.type: _repair_audio,
}
