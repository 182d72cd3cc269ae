"""
How the TTS and STT sockets report errors, and how their loose fields are read.

Source: captures of September 2026. A status of a result has a gRPC code, 0 for success.
"""

from __future__ import annotations

import attrs

from inworld_sync.wire.codec import JsonObject

__all__ = ["ConnectionFault", "code_in", "connection_fault", "details_in", "text_in"]


@attrs.frozen
class ConnectionFault:
    """An error of the whole connection; fatal only if the service closes after it."""

    code: int
    message: str
    details: tuple[object, ...] = ()


def connection_fault(status: JsonObject) -> ConnectionFault:
    """Read an error, or a status that is one."""
    return ConnectionFault(code_in(status), text_in(status, "message"), details_in(status))


def code_in(status: JsonObject) -> int:
    """The gRPC code; 0 where there is none."""
    code = status.get("code")
    return code if isinstance(code, int) else 0


def details_in(status: JsonObject) -> tuple[object, ...]:
    """The details, whatever they are."""
    details = status.get("details")
    return tuple(details) if isinstance(details, list) else ()


def text_in(body: JsonObject, *names: str) -> str:
    """The first of *names* that is a text in *body*; empty where none is."""
    for name in names:
        value = body.get(name)
        if isinstance(value, str):
            return value
    return ""
