"""
Turns errors into responses with a status and a short JSON body.

For a status below 500, the response has the message of the error, so that the author of the request
can correct the request. From status 500 on, the response has a fixed text, and the error is logged.
"""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING, overload

import attrs

from inworld_sync.errors import (
    AuthError,
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InvalidRequestError,
    InworldError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    ServiceError,
    TransportError,
)
from inworld_sync.web.frameworks import WebRequest, web_request

if TYPE_CHECKING:
    import flask
    from django.http import HttpRequest, HttpResponseBase

__all__ = ["Failure", "error_response", "failure_of", "log", "respond_error", "respond_failure"]

_logger = logging.getLogger("inworld_sync.web")

_MAX_MESSAGE_CHARACTERS = 300
# If the service names no time, browsers may try again after this time.
_RETRY_AFTER_SECONDS = 5
_MAX_RETRY_AFTER_SECONDS = 86_400
_UNAVAILABLE_CODE = 14


@attrs.frozen
class Failure:
    """
    The content of the response to an error.

    Attributes:
        status: The HTTP status.
        code: A name for programs, such as ``bad_request``.
        message: The text that people read.
        retry_after: The number of seconds until the request may succeed; None if this is unknown.
    """

    status: int
    code: str
    message: str
    retry_after: int | None = None

    def body(self) -> bytes:
        """Return the JSON body of the response."""
        return json.dumps({"error": self.code, "message": self.message}).encode()


def failure_of(error: InworldError) -> Failure:
    """Return the content of the response to an error."""
    if isinstance(error, (ConfigError, InvalidRequestError, NotFoundError)):
        text = error.message if isinstance(error, ServiceError) else str(error)
        return Failure(400, "bad_request", text[:_MAX_MESSAGE_CHARACTERS])
    if isinstance(error, AuthError):
        return Failure(500, "server_error", "the server has no access to the speech service")
    if isinstance(error, DeadlineExceeded):
        return Failure(504, "timeout", "the speech service did not answer in time")
    retry_after = _retry_after(error)
    if isinstance(error, QuotaError):
        message = "all places are in use, try again later"
        return Failure(503, "busy", message, retry_after or _RETRY_AFTER_SECONDS)
    is_unavailable = isinstance(error, ServiceError) and (
        error.status == 503 or error.code == _UNAVAILABLE_CODE
    )
    if is_unavailable or isinstance(error, ClosedError):
        message = "speech is not available now, try again later"
        return Failure(503, "unavailable", message, retry_after or _RETRY_AFTER_SECONDS)
    if isinstance(error, (ServiceError, TransportError, ProtocolError)):
        return Failure(502, "service_failed", "the speech service failed", retry_after)
    return Failure(500, "server_error", "the server could not make the speech")


def _retry_after(error: InworldError) -> int | None:
    seconds = error.retry_after if isinstance(error, ServiceError) else None
    if seconds is None or math.isnan(seconds):
        return None
    return max(1, math.ceil(min(seconds, _MAX_RETRY_AFTER_SECONDS)))


def log(error: InworldError) -> Failure:
    """Return the content of the response to an error. Log the error if its status is over 499."""
    failure = failure_of(error)
    if failure.status >= 500:
        _logger.warning("%d %s: %s: %s", failure.status, failure.code, type(error).__name__, error)
    return failure


def respond_error(request: WebRequest, error: InworldError) -> object:
    """Make the response to an error. Log the error if its status is 500 or more."""
    return respond_failure(request, log(error))


def respond_failure(request: WebRequest, failure: Failure) -> object:
    """Make the response with the status and the JSON body of a failure."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    return request.respond(failure.status, headers, failure.body())


@overload
def error_response(request: flask.Request, error: InworldError) -> flask.Response: ...
@overload
def error_response(request: HttpRequest, error: InworldError) -> HttpResponseBase: ...
def error_response(request: object, error: InworldError) -> object:
    """
    Make the response to an error of the client, for a view that catches the error itself.

    The body is JSON with ``error`` and ``message``. The body has no credential, and no details of
    the server. The error is logged if its status is 500 or more.

    Args:
        request: ``flask.request``, or the ``HttpRequest`` that Django passes to the view.
        error: The error.

    Returns:
        A ``Response`` of Flask or an ``HttpResponse`` of Django.

    Raises:
        ConfigError: *request* is not the request of Flask or Django.
    """
    return respond_error(web_request(request), error)
