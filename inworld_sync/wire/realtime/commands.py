"""
Commands to JSON text.

Source: Inworld Realtime reference, client events.
"""

from __future__ import annotations

from urllib.parse import quote

import attrs

from inworld_sync.models.realtime import (
    AppendInputAudio,
    Command,
    CreateResponse,
    ResponseConfig,
    UpdateSession,
)
from inworld_sync.wire.codec import JsonObject, dump_text
from inworld_sync.wire.realtime.codec import plain
from inworld_sync.wire.realtime.session import session_object

__all__ = ["APPEND_HEAD", "APPEND_TAIL", "PATH", "target", "write", "write_object"]

PATH = "/api/v1/realtime/session"

# The text before and after the base64 of an audio message.
APPEND_HEAD = f'{{"type":"{AppendInputAudio.type}","audio":"'
APPEND_TAIL = '"}'


def target(key: str) -> str:
    """Return path and query of a session named *key*, a text that no other session has."""
    return f"{PATH}?key={quote(key, safe='')}&protocol=realtime"


def write(command: Command) -> str:
    """
    Write a command as the text of one message.

    Raises:
        ConfigError: It holds what JSON or UTF-8 cannot carry.
    """
    return dump_text(write_object(command))


def write_object(command: Command) -> JsonObject:
    """Write a command as a JSON object."""
    body: JsonObject = {"type": command.type}
    if command.event_id is not None:
        body["event_id"] = command.event_id
    if isinstance(command, UpdateSession):
        return {**body, "session": session_object(command.session)}
    if isinstance(command, CreateResponse):
        if command.response is not None:
            body["response"] = _response_object(command.response)
        return body
    fields = {
        field.name: plain(value)
        for field in attrs.fields(type(command))
        if field.name != "event_id" and (value := getattr(command, field.name)) is not None
    }
    return {**body, **fields}  # type: ignore[dict-item]


def _response_object(config: ResponseConfig) -> JsonObject:
    fields = {
        field.name: plain(value)
        for field in attrs.fields(ResponseConfig)
        if field.name != "extra" and (value := getattr(config, field.name)) is not None
    }
    return {**fields, **config.extra}  # type: ignore[dict-item]
