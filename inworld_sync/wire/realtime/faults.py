"""
Converts the errors of the service to exceptions.

Most errors of a session are about one command, and the session continues. Errors about the account
end the session. Some errors come as an object without ``type``, as in the service's other
protocols.
Sources: Inworld Realtime reference, ``error``; Inworld TTS reference for the details of errors.
"""

from __future__ import annotations

from collections.abc import Iterable

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

__all__ = [
    "BUSY_CODE",
    "HARMLESS_CODES",
    "NOT_ACTIVE_CODE",
    "SessionFault",
    "is_expired",
    "is_fatal",
    "refused_command",
    "service_error",
    "untyped_fault",
]

# A request for a response came while another response was in progress.
BUSY_CODE = "conversation_already_has_active_response"
# A cancel came while no response was in progress.
NOT_ACTIVE_CODE = "response_cancel_not_active"

# These codes mean that the session was already in the requested state when the command arrived.
HARMLESS_CODES = frozenset({NOT_ACTIVE_CODE, BUSY_CODE})

# The command that an error is about, by the beginning of the error's code. If no row matches, the
# error's parameter shows the command.
_COMMANDS_BY_CODE = {
    "conversation_already_has_active": "response.create",
    "response_cancel": "response.cancel",
    "item_create": "conversation.item.create",
    "item_retrieve": "conversation.item.retrieve",
    "item_truncate": "conversation.item.truncate",
    "item_delete": "conversation.item.delete",
    "input_audio_buffer": "input_audio_buffer.commit",
    "cannot_update": "session.update",
}
_COMMANDS_BY_PARAMETER = {
    "session": "session.update",
    "response": "response.create",
    "item.": "conversation.item.create",
    "previous_item_id": "conversation.item.create",
    "audio_end_ms": "conversation.item.truncate",
    "content_index": "conversation.item.truncate",
}

_QUOTA_CODES = frozenset(
    {"SESSION_RESOURCES_EXHAUSTED", "BILLING_TOKENS_EXHAUSTED", "RESOURCE_EXHAUSTED"}
)
_AUTH_CODES = frozenset(
    {"SESSION_TOKEN_EXPIRED", "SESSION_TOKEN_INVALID", "ACCOUNT_DISABLED", "UNAUTHENTICATED"}
)
_EXPIRED_CODES = frozenset({"SESSION_EXPIRED", "AUDIO_SESSION_EXPIRED", "session_expired"})

# gRPC status numbers: 7 is permission denied, 16 unauthenticated, and 8 resource exhausted.
_AUTH_STATUS = frozenset({7, 16})
_QUOTA_STATUS = 8

_FATAL_CODES = _QUOTA_CODES | _AUTH_CODES | _AUTH_STATUS | {_QUOTA_STATUS, "SESSION_INVALID"}


@attrs.frozen
class SessionFault:
    """
    An error of the service in a message without a type.

    Attributes:
        code: The code, such as ``SESSION_RESOURCES_EXHAUSTED``, or a gRPC status number.
        message: The service's text about the error.
        details: The error's details, unchanged.
    """

    code: str | int
    message: str
    details: tuple[object, ...] = ()


def untyped_fault(body: JsonObject) -> SessionFault | None:
    """Return the fault in a message without a type, or None if the message is not a fault."""
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
    """Return True if the session ends with this error."""
    details = error.details if isinstance(error, SessionFault) else ()
    return error.code in _FATAL_CODES or is_expired(error.code, details)


def is_expired(code: int | str | None, details: Iterable[object]) -> bool:
    """Return True if the conversation may continue in a new session after this error."""
    rows = [each for each in details if isinstance(each, dict)]
    return code in _EXPIRED_CODES or any(
        "IMMEDIATE" in (row.get("reconnectType"), row.get("retryType")) for row in rows
    )


def refused_command(error: ErrorInfo) -> str | None:
    """Return the type of the refused command, or None if the error does not show the type."""
    for text, commands in (
        (error.code, _COMMANDS_BY_CODE),
        (error.param, _COMMANDS_BY_PARAMETER),
    ):
        for start, command in commands.items():
            if (text or "").startswith(start):
                return command
    return None


def service_error(fault: ErrorInfo | SessionFault) -> ServiceError:
    """Return the exception for an error of the service."""
    details = fault.details if isinstance(fault, SessionFault) else ()
    kind = _kind(fault)
    return kind(
        fault.message or f"the service reports {fault.code or 'an error'}",
        code=fault.code or None,
        retryable=(isinstance(fault, ErrorInfo) and fault.type == "server_error")
        or is_expired(fault.code, details),
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
