"""An HTTP error response is converted to an exception with class, message and attributes."""

from __future__ import annotations

import email.utils
import json
import time

import pytest

from inworld_sync.errors import (
    AuthError,
    InvalidRequestError,
    NotFoundError,
    QuotaError,
    ServiceError,
)
from inworld_sync.transport.rejection import error_from_response

URL = "https://api.example/voices"

# (HTTP status, class of the error, whether a retry may succeed)
STATUSES = [
    (400, InvalidRequestError, False),
    (401, AuthError, False),
    (402, QuotaError, False),
    (403, AuthError, False),
    (404, NotFoundError, False),
    (405, ServiceError, False),
    (408, ServiceError, True),
    (422, InvalidRequestError, False),
    (429, QuotaError, True),
    (500, ServiceError, True),
    (501, ServiceError, False),
    (502, ServiceError, True),
    (504, ServiceError, True),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
def test_statuses(status: int, kind: type[ServiceError], retryable: bool) -> None:
    """The HTTP status decides the class of the error, and whether the error is retryable."""
    error = error_from_response(status, {}, b"", url=URL)

    assert kind is type(error)
    assert (status, retryable) == (error.status, error.retryable)
    assert f"{URL} refused: no reason given (HTTP status {status})" == str(error)


DETAILS = [{"errorType": "SESSION_TOKEN_INVALID"}]
FACTS = {"code": 16, "message": "no token", "details": DETAILS}

# (body, (code, message, details)): bodies in each known form.
BODIES = [
    (json.dumps(FACTS), (16, "no token", tuple(DETAILS))),
    (json.dumps({"error": FACTS}), (16, "no token", tuple(DETAILS))),
    ('{"error": {"code": "billing", "message": "pay"}}', ("billing", "pay", ())),
    ('{"error": "just words"}', (None, "just words", ())),
    ('"just words"', (None, "just words", ())),
    ('{"error": null, "message": "m"}', (None, "m", ())),
    ('{"detail": "unknown shape"}', (None, '{"detail": "unknown shape"}', ())),
    ('{"code": {}, "message": 5, "details": "x"}', (None, '{"code": {}, "mes', ())),
    ("[1, 2]", (None, "[1, 2]", ())),
    ("  upstream connect error\n or disconnect ", (None, "upstream connect error or", ())),
    (b"\xff\xfe broken", (None, "broken", ())),
    ("x" * 10_000, (None, "refused: xxx", ())),
    ("[" * 100_000, (None, "refused: [[[", ())),
]


@pytest.mark.parametrize(("body", "expected"), BODIES)
def test_bodies(body: str | bytes, expected: tuple[object, str, tuple[object, ...]]) -> None:
    """The code, the message and the details are read from every form of the body."""
    code, words, details = expected
    data = body.encode() if isinstance(body, str) else body

    error = error_from_response(401, {}, data, url=URL)

    assert (code, details) == (error.code, error.details)
    assert words in error.message
    assert len(error.message) < 600


NGINX = """<html>
<head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx/1.25</center></body>
</html>"""
CLOUD = (
    '<!DOCTYPE html>\n<html lang="en"><head><title>\n a.b | 504: Gateway &amp; time-out\n</title>'
)

# (page of a gateway, words of the error)
PAGES = [
    (NGINX, "502 Bad Gateway"),
    (CLOUD, "a.b | 504: Gateway & time-out"),
    ("<?xml version='1.0'?><html><body>Oops</body></html>", "no reason given"),
    (json.dumps({"message": NGINX}), "502 Bad Gateway"),
]


@pytest.mark.parametrize(("page", "words"), PAGES)
def test_page_of_a_gateway(page: str, words: str) -> None:
    """The error has the title of an HTML page, and no markup."""
    error = error_from_response(502, {}, page.encode(), url=URL)

    assert f"{URL} refused: {words}" == error.message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Inworld-Request-Id": "a", "x-request-id": "b"}, "a"),
        ({"x-request-id": "b"}, "b"),
        ({"server": "envoy"}, None),
    ],
)
def test_request_ids(headers: dict[str, str], expected: str | None) -> None:
    """If a response has several request ids, the request id of the service is used."""
    assert expected == error_from_response(500, headers, b"", url=URL).request_id


@pytest.mark.parametrize("spelling", ["reconnectType", "retryType"])
def test_no_retry(spelling: str) -> None:
    """An error with NO_RETRY is not retryable, for every status."""
    body = json.dumps({"code": 8, "message": "m", "details": [{spelling: "NO_RETRY"}]})

    assert not error_from_response(429, {}, body.encode(), url=URL).retryable


def test_echoed_key() -> None:
    """If the body contains a part of the key, the error does not show this part."""
    body = b'{"code": 7, "message": "Invalid credentials provided for API key \\"abcd***\\""}'

    assert "abcd" not in str(error_from_response(403, {}, body, url=URL))


def test_redirect() -> None:
    """A redirect is not followed. The error has the new address without its query."""
    error = error_from_response(302, {"Location": "https://x/login?token=t"}, b"", url=URL)

    assert "a redirect to https://x/login, which is not followed; check base_url" in str(error)
    assert not error.retryable


# (value of Retry-After, (least, most) accepted seconds, or None if the value is invalid)
TIMES: list[tuple[str, tuple[float, float] | None]] = [
    ("7", (7, 7)),
    ("0", (0, 0)),
    ("1.5", (1.5, 1.5)),
    ("-3", (0, 0)),
    ("1e12", (86_400, 86_400)),
    ("inf", (86_400, 86_400)),
    ("nan", None),
    ("soon", None),
    ("", None),
    ("Wed, 21 Oct 2015 07:28:00 GMT", (0, 0)),
    ("Fri, 31 Dec 9999 23:59:59 GMT", (86_400, 86_400)),
    ("Fri, 99 Dec 9999 23:59:59 GMT", None),
]


@pytest.mark.parametrize(("value", "expected"), TIMES)
def test_retry_after(value: str, expected: tuple[float, float] | None) -> None:
    """``Retry-After`` is read as seconds or as a date, and is limited to a day."""
    found = error_from_response(503, {"Retry-After": value}, b"", url=URL).retry_after

    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert expected[0] <= found <= expected[1]


def test_retry_after_a_date() -> None:
    """A date in ``Retry-After`` is compared with the clock of this machine."""
    before = time.time()
    value = email.utils.formatdate(before + 1000, usegmt=True)
    found = error_from_response(503, {"Retry-After": value}, b"", url=URL).retry_after

    assert found is not None
    assert 999 - (time.time() - before) <= found <= 1000


def test_shown_retry_after() -> None:
    """The message of the error has the time of ``Retry-After``."""
    error = error_from_response(429, {"retry-after": "7"}, b"slow down", url=URL)

    assert str(error).endswith("slow down (HTTP status 429); retry after 7 s")
    assert error_from_response(429, {}, b"", url=URL).retry_after is None
