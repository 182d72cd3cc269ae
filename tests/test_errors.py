"""The exception classes: their bases, their attributes, and their secrecy."""

from __future__ import annotations

import copy
import pickle

import pytest

import inworld_sync
from inworld_sync import errors
from inworld_sync.errors import InworldError, error_from_status, fresh, redact

# (class of an error, class of the standard library that also catches the error)
STANDARD = [
    (errors.ConfigError, ValueError),
    (errors.DeadlineExceeded, TimeoutError),
    (errors.InvalidRequestError, ValueError),
    (errors.NotFoundError, LookupError),
    (errors.AudioError, ValueError),
]


@pytest.mark.parametrize(("kind", "standard"), STANDARD)
def test_standard_classes(kind: type[Exception], standard: type[Exception]) -> None:
    """An error is also caught by the class of the standard library for the same failure."""
    assert issubclass(kind, standard)


def every_class() -> list[type[InworldError]]:
    return [
        kind
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type) and issubclass(kind, InworldError)
    ]


@pytest.mark.parametrize("kind", every_class())
def test_base_class(kind: type[InworldError]) -> None:
    """Every error class is public and is a subclass of InworldError."""
    assert getattr(inworld_sync, kind.__name__) is kind


# (gRPC code, message of the service, class, whether a retry may succeed). The entries have all
# classes of errors, the two messages about too many contexts, and an unknown code.
STATUSES = [
    (3, "Unsupported model", errors.InvalidRequestError, False),
    (4, "deadline", errors.ServiceError, True),
    (5, "Unknown voice: X not found!", errors.NotFoundError, False),
    (7, "Invalid credentials", errors.AuthError, False),
    (8, "You have reached the limit of 5 TTS contexts", errors.ContextLimitError, True),
    (8, "max contexts limit reached", errors.ContextLimitError, True),
    (8, "rate limit", errors.QuotaError, True),
    (13, "internal", errors.ServiceError, True),
    (14, "unavailable", errors.ServiceError, True),
    (16, "authentication is required", errors.AuthError, False),
    (99, "strange", errors.ServiceError, False),
]


@pytest.mark.parametrize(("code", "words", "kind", "retryable"), STATUSES)
def test_error_from_status(
    code: int, words: str, kind: type[errors.ServiceError], retryable: bool
) -> None:
    """A status is converted to the exception class for its code and message."""
    error = error_from_status(code, words, request_id="r1")

    assert kind is type(error)
    assert (code, retryable, "r1") == (error.code, error.retryable, error.request_id)
    assert f"{words} (code {code}, request id r1)" == str(error)


EXPIRED = {"errorType": "SESSION_EXPIRED"}

# (details of an error whose code is not retryable, whether the error is retryable)
RECONNECTS: list[tuple[list[object], bool]] = [
    ([EXPIRED], True),
    ([{"errorType": "AUDIO_SESSION_EXPIRED"}], True),
    (["x", {"reconnectType": "IMMEDIATE"}], True),
    ([{"errorType": "SESSION_INVALID", "reconnectType": "TIMEOUT"}], False),
    ([{**EXPIRED, "reconnectType": "NO_RETRY"}], False),
    ([EXPIRED, {"retryType": "NO_RETRY"}], False),
    ([], False),
]


@pytest.mark.parametrize(("details", "expected"), RECONNECTS)
def test_expired_session(details: list[object], expected: bool) -> None:
    """The error of an expired session is retryable, unless its details have NO_RETRY."""
    assert expected is error_from_status(16, "over", details).retryable


@pytest.mark.parametrize("name", ["reconnectType", "retryType"])
def test_no_retry(name: str) -> None:
    """If the details have NO_RETRY, the error is not retryable, for every code."""
    assert not error_from_status(14, "down", [{name: "NO_RETRY"}]).retryable


def test_status_without_message() -> None:
    """The error of a status without a message has a text."""
    assert "the service answered with status 13 and no message (code 13)" == str(
        error_from_status(13, "")
    )


# One error for each form of constructor.
SHAPES = [
    errors.ConfigError("wrong"),
    errors.DeadlineExceeded("late"),
    errors.ConnectionLost("gone", code=1011, reason="restart"),
    errors.ServiceError(
        "no", code=3, status=400, request_id="r", retryable=True, details=[{"a": 1}]
    ),
    errors.AudioError("odd", offset_bytes=7),
]


@pytest.mark.parametrize("error", SHAPES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("twin_of", [fresh, copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies(error: InworldError, twin_of: object) -> None:
    """A copied or pickled error has the same attributes."""
    twin = twin_of(error)  # type: ignore[operator]

    assert twin is not error
    assert (type(error), str(error), vars(error)) == (type(twin), str(twin), vars(twin))


def test_fresh_keeps_the_cause_but_not_the_traceback() -> None:
    """
    An error that is raised again has its cause, but a new traceback.

    Otherwise, the contexts of a lost connection would share one error object. Each context would
    then replace the audio that another context has attached to the error.
    """
    cause = OSError("reset")
    original = errors.ConnectionLost("gone")
    original.__cause__ = cause
    with pytest.raises(errors.ConnectionLost):
        raise original
    twin = fresh(original)
    twin.partial = "mine"

    assert cause is twin.__cause__
    assert twin.__traceback__ is None
    assert original.partial is None


KEY = "aW53b3JsZDpzZWNyZXQ="
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

# Texts that contain a credential in each possible form.
SECRETS = [
    f"Authorization: Basic {KEY}",
    f"authorization: bearer {TOKEN}",
    f"wss://host/path?authorization=Basic%20{KEY}&x=1",
    f"wss://host/path?Authorization=Bearer+{TOKEN}",
    f"offered basic_{KEY.rstrip('=')}",
    f"the token {TOKEN} has expired",
    'Invalid credentials provided for API key "aW53***"',
]


@pytest.mark.parametrize("text", SECRETS)
def test_redact(text: str) -> None:
    """redact() removes each form of a credential, and the part of a key in a service's error."""
    shown = redact(text)

    assert "aW53" not in shown
    assert "eyJ" not in shown
    assert "***" in shown


@pytest.mark.parametrize("text", SECRETS)
def test_errors_show_no_credential(text: str) -> None:
    """If a text of the service or the network has a credential, the error does not show it."""
    errors_of_it = [
        errors.ConnectionLost(text, reason=text),
        errors.ServiceError(text),
        error_from_status(7, text),
    ]
    shown = "".join(f"{error} {error!r} {vars(error)}" for error in errors_of_it)

    assert "aW53" not in shown
    assert "eyJ" not in shown


@pytest.mark.parametrize(
    "text", ["a plain sentence", "HTTP status 401 from wss://host/path", "code 7: not allowed"]
)
def test_redact_keeps_other_text(text: str) -> None:
    """redact() does not change a text that has no credential."""
    assert text == redact(text)
