"""The errors of the service are converted to exceptions."""

import pytest

from inworld_sync.errors import (
    AuthError,
    InvalidRequestError,
    NotFoundError,
    QuotaError,
    ServiceError,
)
from inworld_sync.models.realtime import ErrorInfo
from inworld_sync.wire.realtime.faults import (
    HARMLESS_CODES,
    SessionFault,
    is_fatal,
    service_error,
)

# (fault, class of the exception, whether the exception is retryable)
FAULTS = [
    (SessionFault("SESSION_RESOURCES_EXHAUSTED", ""), QuotaError, False),
    (SessionFault("BILLING_TOKENS_EXHAUSTED", ""), QuotaError, False),
    (SessionFault(8, ""), QuotaError, False),
    (SessionFault(7, "no"), AuthError, False),
    (SessionFault(16, "no"), AuthError, False),
    (SessionFault("SESSION_TOKEN_EXPIRED", "no"), AuthError, False),
    (SessionFault("ACCOUNT_DISABLED", "no"), AuthError, False),
    (SessionFault("", ""), ServiceError, False),
    (SessionFault("SESSION_EXPIRED", "old"), ServiceError, True),
    (SessionFault(13, "old", ({"reconnectType": "IMMEDIATE"},)), ServiceError, True),
    (SessionFault(13, "old", ({"retryType": "IMMEDIATE"},)), ServiceError, True),
    (SessionFault(13, "old", ("text", {"reconnectType": "NO_RETRY"})), ServiceError, False),
    (ErrorInfo(type="invalid_request_error", code="session_expired"), InvalidRequestError, True),
    (ErrorInfo(type="server_error", message="no"), ServiceError, True),
    (ErrorInfo(type="invalid_request_error", code="invalid_value"), InvalidRequestError, False),
    (ErrorInfo(type="invalid_request_error", code="item_not_found"), NotFoundError, False),
    (ErrorInfo(), ServiceError, False),
]


@pytest.mark.parametrize(("fault", "kind", "retryable"), FAULTS)
def test_exceptions(fault, kind, retryable):
    """Each fault is converted to the right class of exception."""
    error = service_error(fault)

    assert (kind, retryable, fault.code or None) == (type(error), error.retryable, error.code)
    assert str(error)


# (code of the error, whether the error ends the session)
FATAL = [
    ("SESSION_RESOURCES_EXHAUSTED", True),
    ("SESSION_EXPIRED", True),
    ("AUDIO_SESSION_EXPIRED", True),
    ("session_expired", True),
    ("SESSION_INVALID", True),
    ("SESSION_TOKEN_INVALID", True),
    ("invalid_value", False),
    (None, False),
    *((code, False) for code in sorted(HARMLESS_CODES)),
]


@pytest.mark.parametrize(("code", "fatal"), FATAL)
def test_fatal_errors(code, fatal):
    """Only an error about the account or about the session itself ends the session."""
    assert fatal is is_fatal(ErrorInfo(code=code))


def test_echoed_key():
    """If an error of the service contains a part of the key, the exception omits this part."""
    assert "Zm9v" not in str(service_error(SessionFault(7, 'no such key: "Zm9v***"')))
