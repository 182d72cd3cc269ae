r"""
Defines every exception that the package raises, in one tree.

::

    InworldError
    +-- ConfigError                     an argument or setting is wrong; nothing was sent
    +-- TransportError                  the network or the service's transport failed
    |   +-- ConnectError                could not connect
    |   +-- ConnectionLost              an open connection ended early
    |   +-- DeadlineExceeded            a timeout passed; also a TimeoutError
    +-- ProtocolError                   one side broke the protocol
    |   +-- LocalProtocolError          the present state does not allow the call
    |   +-- RemoteProtocolError         the service sent an invalid message
    +-- ServiceError                    the service answered with an error
    |   +-- AuthError                   the service does not accept the credential
    |   +-- QuotaError                  a limit of the account or the plan
    |   |   +-- ContextLimitError       too many contexts on one connection
    |   +-- InvalidRequestError         the service refuses the request; also a ValueError
    |   +-- NotFoundError               unknown voice, context or model; also a LookupError
    +-- AudioError                      invalid audio; also a ValueError
    +-- DeviceError                     a microphone or speaker failed
    +-- ClosedError                     an object was used after it was closed

A message says what was expected, what was received, and what to do. No message contains a
credential, audio, or a whole frame.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import TypeVar

from inworld_sync.secret import mask_known

__all__ = [
    "AudioError",
    "AuthError",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "ContextLimitError",
    "DeadlineExceeded",
    "DeviceError",
    "InvalidRequestError",
    "InworldError",
    "LocalProtocolError",
    "NotFoundError",
    "ProtocolError",
    "QuotaError",
    "RemoteProtocolError",
    "ServiceError",
    "TransportError",
]

_E = TypeVar("_E", bound=Exception)

# The service echoes the first four characters of a refused key: "abcd***".
_ECHOED_KEY = re.compile(r"[\"']?[^\s\"'*]{1,8}\*{3,}[\"']?")
_CREDENTIAL = re.compile(
    r"(?i)\b((?:basic|bearer)[\s_]+|authorization=(?:basic|bearer)?(?:%20|\+)?)[\w+/=.~%-]+"
)
# A JSON Web Token is two JSON objects in base64url and a signature.
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")


# Characters that control a terminal or change the order of the text: C0 and C1 without tab and
# newline, bidirectional controls, and surrogates, which cannot be encoded.
CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Replace the control characters of a text with escapes, so that a terminal shows them."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def redact(text: str) -> str:
    """
    Make a text of the service safe for messages and logs.

    Remove credentials, also the parts of credentials that the service echoes. Replace control
    characters with escapes, and write the text as one line.
    """
    text = _TOKEN.sub("***", _CREDENTIAL.sub(r"\1***", _ECHOED_KEY.sub("***", text)))
    return printable(mask_known(" ".join(text.splitlines())))


def _redact_all(value: object) -> object:
    """Remove credentials from every text in a value that was parsed from JSON."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redact_all(each) for each in value]
    if isinstance(value, dict):
        return {_redact_all(key): _redact_all(each) for key, each in value.items()}
    return value


def fresh(error: _E) -> _E:
    """
    Copy an error so that the copy can be raised.

    One error may end several streams, and several threads may raise the error. Each thread needs
    its own object, since raising adds to the traceback and ``partial`` belongs to one caller.
    """
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    twin.__suppress_context__ = error.__suppress_context__
    return twin


def extended(error: _E, *, prefix: str = "", suffix: str = "") -> _E:
    """Copy an error, and add a text before or after the message."""
    twin = fresh(error)
    text = f"{prefix}{error.args[0] if error.args else type(error).__name__}{suffix}"
    if isinstance(twin, ServiceError):
        text = twin.message = f"{prefix}{twin.message}{suffix}"
    twin.args = (text,)
    return twin


class InworldError(Exception):
    """
    The base class of all errors of this package.

    Attributes:
        partial: The part of the result that was received before the error, for example a
            :class:`~inworld_sync.Speech` that ends early; None if nothing was kept.
    """

    partial: object | None = None

    def __init__(self, *args: object) -> None:
        # The message may have a text of the service.
        super().__init__(*(printable(each) if isinstance(each, str) else each for each in args))


class ConfigError(InworldError, ValueError):
    """An argument, setting or environment variable is wrong or missing; nothing was sent."""


class TransportError(InworldError):
    """The network, TLS, a proxy or the transport of the service failed."""


class ConnectError(TransportError):
    """Could not connect, because the name lookup, TCP, the proxy, TLS or the upgrade failed."""


class ConnectionLost(TransportError):
    """
    An open connection ended before its work was done.

    Attributes:
        code: The WebSocket close code; 1006 if the service sent no CLOSE frame.
        reason: The reason that the service sent, or that the client found.
    """

    def __init__(self, message: str, *, code: int = 1006, reason: str = "") -> None:
        super().__init__(redact(message))
        self.code = code
        self.reason = redact(reason)


class DeadlineExceeded(TransportError, TimeoutError):
    """A timeout passed before the operation was done."""


class ProtocolError(InworldError):
    """One side broke the protocol."""


class LocalProtocolError(ProtocolError):
    """The present state does not allow the call; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The service sent a message that is invalid, or not allowed in the present state."""


class ServiceError(InworldError):
    """
    The service answered with an error.

    Attributes:
        code: The gRPC status number (3 invalid, 5 not found, 7 permission, 8 exhausted,
            13 internal, 14 unavailable, 16 unauthenticated), or the code string of the
            Realtime service, or None.
        status: The HTTP status of the response or of the refused upgrade; None if there was no HTTP
            response.
        request_id: The service's id of the request, for questions to the support, or None.
        retryable: Whether the same request may succeed later.
        retry_after: Seconds to wait before the next attempt, from the ``Retry-After`` header of
            an HTTP response; None if the service named no time.
        details: The error's details as the service sent them.
        server_time: The time at which the service sent an HTTP response, by the service's clock, in
            seconds of Unix time; None if the service sent no time.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        details: Sequence[object] = (),
        server_time: float | None = None,
    ) -> None:
        self.message = redact(message)
        self.code = redact(code) if isinstance(code, str) else code
        self.status = status
        self.request_id = None if request_id is None else redact(request_id)
        self.retryable = retryable
        self.retry_after = retry_after
        self.details = tuple(_redact_all(each) for each in details)
        self.server_time = server_time
        super().__init__(self.message)

    def __str__(self) -> str:
        ids = {"code": self.code, "HTTP status": self.status, "request id": self.request_id}
        facts = ", ".join(f"{name} {value}" for name, value in ids.items() if value is not None)
        shown = f"{self.message} ({facts})" if facts else self.message
        return shown if self.retry_after is None else f"{shown}; retry after {self.retry_after:g} s"


class AuthError(ServiceError):
    """The service does not accept the credential."""


class QuotaError(ServiceError):
    """A limit of the account, the plan or the connection is reached."""


class ContextLimitError(QuotaError):
    """A connection has as many contexts as the service allows."""


class InvalidRequestError(ServiceError, ValueError):
    """The service refuses a field, a model or a text of the request."""


class NotFoundError(ServiceError, LookupError):
    """The service does not know the requested voice, context or item."""


class AudioError(InworldError, ValueError):
    """
    Audio is invalid, such as cut samples, bad base64, an unknown format or a wrong sample rate.

    Attributes:
        offset_bytes: The position of the fault in the input; None if the fault has no position.
    """

    def __init__(self, message: str, *, offset_bytes: int | None = None) -> None:
        super().__init__(message)
        self.offset_bytes = offset_bytes


class DeviceError(InworldError):
    """A microphone or speaker is missing or failed."""


class ClosedError(InworldError):
    """A session, connection or object was used after it was closed."""


# The class of the error for a gRPC code. The error of any other code is a ServiceError.
_KINDS: dict[int, type[ServiceError]] = {
    3: InvalidRequestError,
    5: NotFoundError,
    7: AuthError,
    8: QuotaError,
    16: AuthError,
}
# With these codes (deadline, exhausted, internal, unavailable), the same request may succeed later.
_RETRYABLE_CODES = frozenset({4, 8, 13, 14})


def error_from_status(
    code: int,
    message: str,
    details: Sequence[object] = (),
    *,
    status: int | None = None,
    request_id: str | None = None,
) -> ServiceError:
    """
    Make the error for a gRPC status of the service.

    Args:
        code: The gRPC status number.
        message: The message of the service.
        details: The details as the service sent them. With ``NO_RETRY`` the error is not retryable.
        status: The HTTP status of the response, or None.
        request_id: The service's id of the request, or None.
    """
    kind = _KINDS.get(code, ServiceError)
    if kind is QuotaError and "contexts" in message:
        kind = ContextLimitError
    return kind(
        message or f"the service answered with status {code} and no message",
        code=code,
        status=status,
        request_id=request_id,
        retryable=(code in _RETRYABLE_CODES or asks_reconnect(details))
        and not forbids_retry(details),
        details=details,
    )


def asks_reconnect(details: Sequence[object]) -> bool:
    """Return whether the details of an error request a new connection for an expired session."""
    return any(
        isinstance(detail, dict)
        and (
            detail.get("errorType") in ("SESSION_EXPIRED", "AUDIO_SESSION_EXPIRED")
            or detail.get("reconnectType") == "IMMEDIATE"
        )
        for detail in details
    )


def forbids_retry(details: Sequence[object]) -> bool:
    """Return whether the details of an error have ``NO_RETRY``."""
    # The field has one name in captured messages, and the other name in a published sample.
    return any(
        isinstance(detail, dict)
        and "NO_RETRY" in (detail.get("reconnectType"), detail.get("retryType"))
        for detail in details
    )
