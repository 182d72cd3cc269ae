"""
How the TTS and STT sockets report errors, and how their loose fields are read.

Source: captures of September 2026. A status of a result has a gRPC code, 0 for success.
"""

from __future__ import annotations

import attrs

from inworld_sync.errors import RemoteProtocolError, redact
from inworld_sync.wire.codec import JsonObject

__all__ = ["ConnectionFault", "connection_fault", "integer_in", "text_in"]

# The gRPC code of a fault whose own code cannot be read.
_UNKNOWN_CODE = 2

# A 64-bit integer has no more digits.
_MAX_DIGITS = 20


@attrs.frozen
class ConnectionFault:
    """An error of the whole connection; fatal only if the service closes after it."""

    code: int
    message: str
    details: tuple[object, ...] = ()


def connection_fault(status: JsonObject) -> ConnectionFault:
    """
    Read an error or a status; the message is without what the service echoes of a credential.

    The code is 0 where there is none, so that a status is no fault, and 2 (unknown) where it is no
    number.
    """
    try:
        code = integer_in(status, "code")
    except RemoteProtocolError:
        code = _UNKNOWN_CODE
    details = status.get("details")
    rows = tuple(details) if isinstance(details, list) else ()
    return ConnectionFault(code, redact(text_in(status, "message")), rows)


def text_in(body: JsonObject, *names: str) -> str:
    """The first of *names* that is a text in *body*; empty where none is."""
    for name in names:
        value = body.get(name)
        if isinstance(value, str):
            return value
    return ""


def integer_in(body: JsonObject, name: str) -> int:
    """
    A whole number; 0 where it is left out, as proto-JSON does with zeros.

    Raises:
        RemoteProtocolError: It is no whole number.
    """
    value = body.get(name)
    if value is None:
        return 0
    # Proto-JSON writes 64-bit integers as strings, and 8.0 is as good as 8.
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value) if len(value) <= _MAX_DIGITS else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise RemoteProtocolError(f"expected a whole number as {name}, got {value!r:.40}")
    return int(value)
