"""
The errors of the service, and the exceptions for them.

Most errors of a session are about one command, and the session goes on. Errors about the account
end the session. Some errors come as an object without ``type``, as in the service's other
protocols.
Source: Inworld Realtime reference, ``error``; details as in its TTS reference.
"""

from __future__ import annotations

import attrs

from inworld_sync.errors import (
    AuthError,
    InvalidRequestError,
    NotFoundError,
    QuotaError,
    ServiceError,
)
from inworld_sync.models.realtime import ErrorInfo
from inworld_sync.wire.codec import JsonObject
from inworld_sync.wire.faults import text_in

__all__ = ["HARMLESS_CODES", "SessionFault", "is_fatal", "service_error", "untyped_fault"]

# The command arrived too late, and the session already is in the state that it asks for.
HARMLESS_CODES = frozenset(
    {"response_cancel_not_active", "conversation_already_has_active_response"}
)

_QUOTA_CODES = frozenset(
    {"SESSION_RESOURCES_EXHAUSTED", "BILLING_TOKENS_EXHAUSTED", "RESOURCE_EXHAUSTED"}
)
_AUTH_CODES = frozenset(
    {"SESSION_TOKEN_EXPIRED", "SESSION_TOKEN_INVALID", "ACCOUNT_DISABLED", "UNAUTHENTICATED"}
)
_ENDED_CODES = frozenset({"SESSION_INVALID", "SESSION_EXPIRED", "AUDIO_SESSION_EXPIRED"})

# gRPC status numbers: permission denied, unauthenticated; resource exhausted.
_AUTH_STATUS = frozenset({7, 16})
_QUOTA_STATUS = 8

_FATAL_CODES = _QUOTA_CODES | _AUTH_CODES | _ENDED_CODES | _AUTH_STATUS | {_QUOTA_STATUS}


@attrs.frozen
class SessionFault:
    """
    An error of the service in a message without a type.

    Attributes:
        code: Such as ``SESSION_RESOURCES_EXHAUSTED``, or a gRPC status number.
        message: The service's text.
        details: The error's details, unchanged.
    """

    code: str | int
    message: str
    details: tuple[object, ...] = ()


def untyped_fault(body: JsonObject) -> SessionFault | None:
    """Return the fault in a message without a type; None if the message is not a fault."""
    if isinstance(body.get("errorType"), str):
        return SessionFault(str(body["errorType"]), text_in(body, "message"), (body,))
    error = body.get("error")
    if not isinstance(error, dict):
        return None
    details = error.get("details")
    rows = tuple(details) if isinstance(details, list) else ()
    named = (row["errorType"] for row in rows if isinstance(row, dict) and "errorType" in row)
    code = next((name for name in named if isinstance(name, str)), error.get("code"))
    return SessionFault(
        code if isinstance(code, (int, str)) else "", text_in(error, "message"), rows
    )


def is_fatal(error: ErrorInfo | SessionFault) -> bool:
    """Whether the session cannot go on after this error."""
    return error.code in _FATAL_CODES


def service_error(fault: ErrorInfo | SessionFault) -> ServiceError:
    """Return the exception for an error of the service."""
    details = fault.details if isinstance(fault, SessionFault) else ()
    kind = _kind(fault)
    return kind(
        fault.message or f"the service reports {fault.code or 'an error'}",
        code=fault.code or None,
        retryable=isinstance(fault, ErrorInfo) and fault.type == "server_error",
        details=details,
    )


def _kind(fault: ErrorInfo | SessionFault) -> type[ServiceError]:
    code = fault.code
    if code in _QUOTA_CODES or code == _QUOTA_STATUS:
        return QuotaError
    if code in _AUTH_CODES or code in _AUTH_STATUS:
        return AuthError
    if isinstance(code, str) and code.endswith("not_found"):
        return NotFoundError
    if isinstance(fault, ErrorInfo) and fault.type == "invalid_request_error":
        return InvalidRequestError
    return ServiceError
