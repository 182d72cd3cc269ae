"""Makes errors from HTTP responses."""

from __future__ import annotations

import datetime
import math
import re
import time
from collections.abc import Mapping, Sequence

from inworld_sync.errors import (
    AuthError,
    InvalidRequestError,
    NotFoundError,
    QuotaError,
    ServiceError,
    forbids_retry,
)
from inworld_sync.wire.codec import parse_json

__all__ = ["error_from_response", "http_time", "reason_of", "request_id_of"]

# An error message has at most this many characters of a response, because proxies send whole pages.
_MAX_TEXT_CHARACTERS = 500

_PAGE = re.compile(r"\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)

# The limit for the time in a ``Retry-After`` header.
_MAX_RETRY_AFTER_SECONDS = 24 * 3600.0

_BY_HTTP_STATUS: dict[int, type[ServiceError]] = {
    400: InvalidRequestError,
    401: AuthError,
    402: QuotaError,
    403: AuthError,
    404: NotFoundError,
    422: InvalidRequestError,
    429: QuotaError,
}

_RETRYABLE_STATUSES = frozenset({408, 425, 429})


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the service's id for a request. This id is in the headers of the response."""
    known = {name.lower(): value for name, value in headers.items()}
    return known.get("x-inworld-request-id") or known.get("x-request-id")


def error_from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, url: str
) -> ServiceError:
    """
    Return the error for an HTTP response that reports an error.

    The body may be ``{"code", "message", "details"}``, the same object inside ``{"error": ...}``,
    or any text. If the body repeats parts of credentials, these parts are removed.

    Args:
        status: The HTTP status. The status is below 300 only if the response should have been an
            upgrade.
        headers: Headers of the response.
        body: The body of the response, or the beginning of the body.
        url: The URL without secrets.

    Returns:
        An error. The status decides its class:

        - 401, 403: :class:`AuthError`
        - 402, 429: :class:`QuotaError`
        - 404: :class:`NotFoundError`
        - 400, 422: :class:`InvalidRequestError`
        - others: :class:`ServiceError`

        The errors for 408, 425, 429 and all statuses from 500 except 501 are retryable, unless the
        details have ``NO_RETRY``.
    """
    code, message, details = _parse_body(body)
    known = {name.lower(): value for name, value in headers.items()}
    if 300 <= status < 400:
        place = known.get("location", "nowhere").partition("?")[0]
        message = f"a redirect to {place}, which is not followed; check base_url"
    is_retryable = (status >= 500 and status != 501) or status in _RETRYABLE_STATUSES
    return _BY_HTTP_STATUS.get(status, ServiceError)(
        f"{url} refused: {message or 'no reason given'}",
        code=code,
        status=status,
        request_id=request_id_of(headers),
        retryable=is_retryable and not forbids_retry(details),
        retry_after=_retry_after(known.get("retry-after")),
        details=details,
        server_time=http_time(known.get("date")),
    )


def http_time(value: str | None) -> float | None:
    """Return an HTTP date in seconds of Unix time, or None if the date is missing or invalid."""
    import email.utils  # imported here, because only responses have dates

    try:
        moment = email.utils.parsedate_to_datetime(value or "")
        if moment.tzinfo is None:
            # The zone -0000 is UTC (RFC 5322, section 3.3).
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` number or date; None if the value is invalid."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        moment = http_time(value)
        if moment is None:
            return None
        seconds = moment - time.time()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _parse_body(body: bytes) -> tuple[int | str | None, str, Sequence[object]]:
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed: object = parse_json(text)
    except ValueError:
        return None, _shortened(text), ()
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), (dict, str)):
        parsed = parsed["error"]
    if isinstance(parsed, str):
        return None, _shortened(parsed), ()
    if not isinstance(parsed, dict):
        return None, _shortened(text), ()
    code, message, details = (parsed.get(name) for name in ("code", "message", "details"))
    return (
        code if isinstance(code, (int, str)) else None,
        _shortened(message if isinstance(message, str) else text),
        details if isinstance(details, list) else (),
    )


def _shortened(text: str) -> str:
    """Return the first 500 characters of a text, or of the title if the text is an HTML page."""
    if _PAGE.match(text):
        import html  # for pages of proxies

        title = _TITLE.search(text)
        text = html.unescape(title[1]) if title else ""
    text = " ".join(text.split())
    if len(text) <= _MAX_TEXT_CHARACTERS:
        return text
    return text[:_MAX_TEXT_CHARACTERS] + "..."


def reason_of(error: BaseException) -> str:
    """Describe why a response could not be read."""
    import http.client

    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection"
    if isinstance(error, http.client.IncompleteRead):
        return "the response is incomplete"
    if type(error) is http.client.HTTPException:
        return f"the response is not valid HTTP: {error}"  # too many headers
    if isinstance(error, http.client.HTTPException):
        return f"the response is not HTTP ({type(error).__name__})"
    return getattr(error, "strerror", None) or str(error)
