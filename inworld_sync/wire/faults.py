"""
Reads errors of the TTS and STT services, and fields whose JSON type varies.

The status of a result has a gRPC code; 0 means success.
Source: captures of September 2026.
"""

from __future__ import annotations

import attrs

from inworld_sync.errors import RemoteProtocolError, redact
from inworld_sync.wire.codec import Json, JsonObject

__all__ = ["ConnectionFault", "connection_fault", "integer_in", "text_in"]

# The gRPC code for a fault whose code cannot be read.
_UNKNOWN_CODE = 2

# A 64-bit integer has at most 20 digits.
_MAX_DIGITS = 20


@attrs.frozen
class ConnectionFault:
    """An error of a connection. The error is fatal only if the service closes the connection."""

    code: int
    message: str
    details: tuple[object, ...] = ()


def connection_fault(status: Json) -> ConnectionFault:
    """
    Read an error or a status, and remove credentials that the service repeats in the message.

    The code is 0 (success) if the field is missing, and 2 (unknown) if the field is not a number,
    or if the error is not an object.
    """
    if not isinstance(status, dict):
        return ConnectionFault(_UNKNOWN_CODE, redact(status) if isinstance(status, str) else "")
    try:
        code = integer_in(status, "code")
    except RemoteProtocolError:
        code = _UNKNOWN_CODE
    details = status.get("details")
    rows = tuple(details) if isinstance(details, list) else ()
    return ConnectionFault(code, redact(text_in(status, "message")), rows)


def text_in(body: JsonObject, *names: str) -> str:
    """Return the first string among the fields *names*, or an empty string."""
    for name in names:
        value = body.get(name)
        if isinstance(value, str):
            return value
    return ""


def integer_in(body: JsonObject, name: str) -> int:
    """
    Return the integer in a field; 0 if the field is missing, since proto-JSON leaves out zeros.

    Raises:
        RemoteProtocolError: The value is not an integer.
    """
    value = body.get(name)
    if value is None:
        return 0
    # Proto-JSON writes 64-bit integers as strings. JSON has one type of number, so 8.0 is 8.
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value) if len(value) <= _MAX_DIGITS else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise RemoteProtocolError(f"expected an integer as {name}, got {value!r:.40}")
    return int(value)
