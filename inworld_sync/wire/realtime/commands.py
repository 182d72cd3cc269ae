"""
Converts commands to JSON objects.

Source: Inworld Realtime reference, client events.
"""

from __future__ import annotations

import attrs

from inworld_sync.models.realtime import (
    AppendInputAudio,
    Command,
    CreateResponse,
    ResponseConfig,
    UpdateSession,
)
from inworld_sync.wire.codec import JsonObject
from inworld_sync.wire.realtime.codec import plain
from inworld_sync.wire.realtime.session import session_object

__all__ = ["APPEND_HEAD", "APPEND_TAIL", "CALLS_PATH", "PATH", "write_object"]

PATH = "/api/v1/realtime/session"
CALLS_PATH = "/v1/realtime/calls"

# The text before and after the base64 of an audio message.
APPEND_HEAD = f'{{"type":"{AppendInputAudio.type}","audio":"'
APPEND_TAIL = '"}'


def write_object(command: Command) -> JsonObject:
    """Write a command as a JSON object."""
    body: JsonObject = {"type": command.type}
    if command.event_id is not None:
        body["event_id"] = command.event_id
    if isinstance(command, UpdateSession):
        return {**body, "session": session_object(command.session)}
    if isinstance(command, CreateResponse):
        if command.response is not None:
            config = command.response
            body["response"] = {**_fields(config, without="extra"), **config.extra}  # type: ignore[dict-item]
        return body
    return {**body, **_fields(command, without="event_id")}


def _fields(value: Command | ResponseConfig, *, without: str) -> JsonObject:
    return {
        field.name: plain(each)  # type: ignore[misc]
        for field in attrs.fields(type(value))
        if field.name != without and (each := getattr(value, field.name)) is not None
    }
