"""
Converts the ``sessionConfig`` of the OpenAPI text, with names in camelCase, to a session object.

Source: the OpenAPI text of ``/v1/realtime/webrtc``.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from inworld_sync.emulator.status import INVALID_ARGUMENT, Refused

__all__ = ["session_of"]

_SAME_VALUE = {
    "model": ("model",),
    "instructions": ("instructions",),
    "temperature": ("temperature",),
    "maxTokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "toolChoice": ("tool_choice",),
}
_FORMATS = {"pcm16": "audio/pcm", "pcmu": "audio/pcmu", "pcma": "audio/pcma"}
_FORMAT_NAMES = {"inputAudioFormat": "input", "outputAudioFormat": "output"}


def session_of(value: object) -> dict[str, object]:
    """
    Return the session object of a ``sessionConfig``. Unknown fields are ignored.

    Raises:
        Refused: A value has the wrong type.
    """
    fields = _an_object(value, "sessionConfig")
    session: dict[str, object] = {}
    for name, path in _SAME_VALUE.items():
        if fields.get(name) is not None:
            _put(session, path, fields[name])
    for name, side in _FORMAT_NAMES.items():
        if (wanted := fields.get(name)) is not None:
            if not isinstance(wanted, str) or wanted not in _FORMATS:
                known = ", ".join(_FORMATS)
                raise _bad(f"sessionConfig.{name} must be one of {known}, got {wanted!r}")
            _put(session, ("audio", side, "format"), {"type": _FORMATS[wanted]})
    if (detection := fields.get("turnDetection")) is not None:
        _put(session, ("audio", "input", "turn_detection"), _turn_detection(detection))
    tools = [*_a_list(fields, "tools"), *map(_mcp_tool, _a_list(fields, "mcpServers"))]
    if tools:
        session["tools"] = tools
    return session


def _turn_detection(value: object) -> dict[str, object] | None:
    detection = _an_object(value, "sessionConfig.turnDetection")
    if detection.get("type") == "none":
        return None
    names = {"type": "type", "threshold": "threshold", "silenceDurationMs": "silence_duration_ms"}
    return {new: detection[old] for old, new in names.items() if detection.get(old) is not None}


def _mcp_tool(value: object) -> dict[str, object]:
    server = _an_object(value, "sessionConfig.mcpServers[]")
    url = server.get("url")
    if not isinstance(url, str):
        raise _bad("sessionConfig.mcpServers[].url must be a string")
    try:
        label = urlsplit(url).hostname
    except ValueError:
        label = None
    return {"type": "mcp", "server_url": url, "server_label": label or url}


def _put(session: dict[str, object], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        inner = session.setdefault(name, {})
        assert isinstance(inner, dict)
        session = inner
    session[path[-1]] = value


def _a_list(fields: Mapping[str, object], name: str) -> list[object]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _bad(f"sessionConfig.{name} must be a list")
    return value


def _an_object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _bad(f"{name} must be an object")
    return value


def _bad(message: str) -> Refused:
    return Refused(INVALID_ARGUMENT, message)
