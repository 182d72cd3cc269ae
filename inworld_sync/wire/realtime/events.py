"""
Messages of the service to events.

Audio stays base64 text here; whoever has the samples makes the event that users see.

What is forgiven, because services and their versions were seen to do it: null for anything that
may be left out; ``usage`` beside the response instead of in it; metadata that is no mapping of
texts; an error that is a bare text; older names of messages.
Source: Inworld Realtime reference, server events; the forgiven forms from clients that log them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models import realtime as models
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.realtime import (
    AudioDelta,
    BackchannelDelta,
    RealtimeEvent,
    SessionCreated,
    SessionUpdated,
)
from inworld_sync.wire.codec import Json, JsonObject, load_object, object_in
from inworld_sync.wire.realtime.codec import CODEC
from inworld_sync.wire.realtime.faults import SessionFault, untyped_fault
from inworld_sync.wire.realtime.session import session_info

__all__ = [
    "ALIASES",
    "AudioReceived",
    "BackchannelReceived",
    "RealtimeMessage",
    "read",
    "read_object",
]

# Older names, and those of other services of the same protocol, to the name that is used here.
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


@attrs.frozen
class AudioReceived(RealtimeEvent):
    """One piece of a response's speech, its audio still in base64."""

    type = AudioDelta.type

    response_id: str
    item_id: str
    delta: str = attrs.field(repr=False)
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class BackchannelReceived(RealtimeEvent):
    """One piece of a sound of listening, its audio still in base64."""

    type = BackchannelDelta.type

    backchannel_id: str
    delta: str = attrs.field(repr=False)


RealtimeMessage: TypeAlias = RealtimeEvent | SessionFault | UnknownEvent

_KINDS: dict[str, type[RealtimeEvent]] = {
    **{
        kind.type: kind
        for kind in (getattr(models, name) for name in models.__all__)
        if isinstance(kind, type) and issubclass(kind, RealtimeEvent) and kind is not RealtimeEvent
    },
    AudioReceived.type: AudioReceived,
    BackchannelReceived.type: BackchannelReceived,
}


def read(message: bytes | bytearray | memoryview | str) -> RealtimeMessage:
    """
    Read one message of the service.

    Raises:
        RemoteProtocolError: It is not JSON, or lacks what its kind must have.
    """
    return read_object(load_object(message))


def read_object(body: JsonObject) -> RealtimeMessage:
    """Read one message that is already JSON, as :func:`read` does."""
    name = body.get("type")
    if not isinstance(name, str):
        return untyped_fault(body) or UnknownEvent("", body)
    name = ALIASES.get(name, name)
    kind = _KINDS.get(name)
    if kind is None:
        return UnknownEvent(name, body)
    if kind is SessionCreated or kind is SessionUpdated:
        return _session_event(name, kind, body)
    fields = {key: value for key, value in body.items() if key != "type"}
    repair = _REPAIRS.get(name)
    if repair is not None:
        repair(fields)
    return CODEC.load(fields, kind, name)


def _session_event(
    name: str, kind: type[SessionCreated | SessionUpdated], body: JsonObject
) -> RealtimeEvent:
    # By hand, for here null has a meaning that the codec would lose.
    session = session_info(object_in(body.get("session"), f"{name}.session"))
    event_id = body.get("event_id")
    return kind(session, event_id=event_id if isinstance(event_id, str) else None)


def _repair_response(fields: JsonObject) -> None:
    response = dict(object_in(fields.get("response"), "response"))
    usage = fields.pop("usage", None)
    if response.get("usage") is None and usage is not None:
        response["usage"] = usage
    if not isinstance(response.get("metadata"), dict):
        metadata = response.pop("metadata", None)
        if metadata is not None:
            response["metadata"] = {"metadata": metadata}
    if not isinstance(response.get("status_details"), dict):
        response.pop("status_details", None)
    response.pop("object", None)
    fields["response"] = response


def _repair_item(fields: JsonObject) -> None:
    item = object_in(fields.get("item"), "item")
    if not isinstance(item.get("id"), str):
        raise RemoteProtocolError(f"expected text as item.id, got {item.get('id')!r}")


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


_REPAIRS: dict[str, Callable[[JsonObject], None]] = {
    "response.created": _repair_response,
    "response.done": _repair_response,
    "conversation.item.added": _repair_item,
    "conversation.item.done": _repair_item,
    "conversation.item.retrieved": _repair_item,
    "response.output_item.added": _repair_item,
    "response.output_item.done": _repair_item,
    "conversation.item.input_audio_transcription.completed": _repair_transcript,
    "error": _repair_error,
}
