"""The request for the upgrade, its accepted and refused responses, and the secrecy of keys."""

from __future__ import annotations

import io
import logging
import sys
import types
from collections.abc import Callable, Iterator

import pytest
import websocket

from inworld_sync.errors import (
    AuthError,
    ConfigError,
    ConnectError,
    InworldError,
    NotFoundError,
    QuotaError,
    ServiceError,
)
from inworld_sync.models.options import Options
from inworld_sync.transport.websocket import Link

from support.peers import Peer, Script, serve

SECRET = "cGVyc29uYWw6c2VjcmV0"


def open_link(url: str, **headers: str) -> Link:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Link.open(url, headers=named, options=Options(proxy=False), name="test-1")


def answering(answer: bytes) -> Script:
    """Return a server that reads the request, sends *answer* and keeps the connection open."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(answer)
        peer.read_until_end()

    return script


def test_request() -> None:
    """
    The request has the given headers and the headers of the upgrade.

    The request has no Origin header and no cookie.
    """
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        requests.append(peer.request)

    with serve(script) as server:
        url = f"ws://localhost:{server.port}/tts/v1/voice:streamBidirectional?key=1&x=%20"
        open_link(url, Authorization=f"Basic {SECRET}", X_Request_Id="42").release()

    lines = requests[0].decode().split("\r\n")
    names = sorted(line.partition(":")[0].lower() for line in lines[1:] if line)
    assert "GET /tts/v1/voice:streamBidirectional?key=1&x=%20 HTTP/1.1" == lines[0]
    assert f"Authorization: Basic {SECRET}" in lines
    assert f"Host: localhost:{server.port}" in lines
    assert names == [
        "authorization",
        "connection",
        "host",
        "sec-websocket-key",
        "sec-websocket-version",
        "upgrade",
        "x-request-id",
    ]


@pytest.mark.parametrize("name", ["Host", "upgrade", "Sec-WebSocket-Key"])
def test_headers_of_the_upgrade(name: str) -> None:
    """If the caller passes a header that the upgrade itself sends, a ConfigError is raised."""
    with serve(Peer.hold) as server, pytest.raises(ConfigError, match="every WebSocket upgrade"):
        Link.open(server.url, headers={name: "x"}, options=Options(), name="test-1")


def test_headers_of_the_options() -> None:
    """Headers of the options are sent, unless the call passes a header with the same name."""
    seen: list[str] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        seen.extend([peer.header("x-one"), peer.header("x-two")])
        assert 1 == peer.request.lower().count(b"x-two:")

    with serve(script) as server:
        options = Options(headers={"X-One": "options", "x-two": "options"})
        Link.open(server.url, headers={"X-Two": "call"}, options=options, name="test-1").release()

    assert ["options", "call"] == seen


def test_answer() -> None:
    """The names of response headers are in lower case. The request id is read from a header."""
    with serve(
        lambda peer: peer.upgrade("X-Inworld-Request-Id: f00", "X-Two: 1", "X-Two: 2")
    ) as server:
        link = open_link(server.url)
        link.release()

    assert "f00" == link.request_id
    assert "1, 2" == link.response_headers["x-two"]


BODY = b'{"code": 7, "message": "no access", "details": [{"errorType": "X"}]}'


def refusal(status: str, body: bytes = BODY, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(status: str, *chunks: bytes) -> bytes:
    data = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in (*chunks, b""))
    return f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + data


# (HTTP status, class of the error, whether a retry may succeed)
REFUSALS = [
    ("400 Bad Request", ServiceError, False),
    ("401 Unauthorized", AuthError, False),
    ("402 Payment Required", QuotaError, False),
    ("403 Forbidden", AuthError, False),
    ("404 Not Found", NotFoundError, False),
    ("429 Too Many Requests", QuotaError, True),
    ("500 Internal Server Error", ServiceError, True),
    ("503 Service Unavailable", ServiceError, True),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), REFUSALS)
@pytest.mark.parametrize(
    "write",
    [
        lambda status: refusal(status, BODY, "X-Request-Id: f00"),
        lambda status: chunked(status, BODY[:10], BODY[10:]).replace(
            b"\r\n\r\n", b"\r\nX-Inworld-Request-Id: f00\r\n\r\n", 1
        ),
    ],
    ids=["length", "chunked"],
)
def test_refusals(
    write: Callable[[str], bytes], status: str, kind: type[ServiceError], retryable: bool
) -> None:
    """An error response raises an error with the status, the message and the request id."""
    script = answering(write(status))

    with serve(script) as server, pytest.raises(kind, match="no access") as caught:
        open_link(server.url)

    error = caught.value
    assert (int(status[:3]), 7, "f00") == (error.status, error.code, error.request_id)
    assert error.retryable is retryable
    assert ({"errorType": "X"},) == error.details


# These bodies do not end as announced. They have no length, are too short, or lack their last
# chunk.
UNFINISHED_BODIES = [
    b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n" + BODY,
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9999\r\n\r\n" + BODY,
    chunked("401 Unauthorized", BODY)[:-5],
    b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + BODY,
]


@pytest.mark.parametrize("answer", UNFINISHED_BODIES)
def test_refusals_with_an_unfinished_body(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading an unfinished body takes a limited time. The error has the part that was read."""
    monkeypatch.setattr("inworld_sync.transport.upgrade._BODY_TIMEOUT", 0.2)
    script = answering(answer)

    with serve(script) as server, pytest.raises(AuthError, match="no access"):
        open_link(server.url)


def test_large_body_of_a_refusal() -> None:
    """Only the start of a very long page is read. The error shows a part of this start."""
    script = answering(refusal("500 Oops", b"<html>" + b"x" * 1_000_000))

    with serve(script) as server, pytest.raises(ServiceError) as caught:
        open_link(server.url)

    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirects_are_refusals(status: str) -> None:
    """A redirect raises an error with the new address. No credential is sent to this address."""
    with serve(Peer.hold) as other:
        answer = refusal(status, b"", f"Location: ws://127.0.0.1:{other.port}/x?token=secret")
        script = answering(answer)
        with serve(script) as server, pytest.raises(ServiceError, match="redirect") as caught:
            open_link(server.url, Authorization=f"Basic {SECRET}")

        assert 0 == other.accepted
    assert f"ws://127.0.0.1:{other.port}/x" in str(caught.value)
    assert "secret" not in str(caught.value)


UPGRADE_HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

# (response that does not accept the upgrade, words of the error)
NOT_ACCEPTED = [
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "without the headers of a WebSocket"),
    (UPGRADE_HEAD + b"\r\n", "without the headers of a WebSocket"),
    (UPGRADE_HEAD + b"Sec-WebSocket-Accept: bm90IGl0\r\n\r\n", "without the headers"),
    (
        b"",
        "the server closed the connection; if the server uses TLS, base_url must",
    ),
    (UPGRADE_HEAD + b"X: y\r\n" * 150 + b"\r\n", "not valid HTTP: got more than 100 headers"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
    (b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "not HTTP"),
]


@pytest.mark.parametrize(("answer", "words"), NOT_ACCEPTED)
def test_no_agreement(answer: bytes, words: str) -> None:
    """A response that does not accept the upgrade raises a ConnectError with the reason."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(answer)

    with serve(script) as server, pytest.raises(ConnectError, match=words):
        open_link(server.url)


@pytest.mark.parametrize(
    "header", ["Sec-WebSocket-Protocol: surprise", "Sec-WebSocket-Extensions: permessage-deflate"]
)
def test_a_response_with_something_not_offered(header: str) -> None:
    """A response with a feature that the client has not offered raises an error (RFC 6455, 4.1)."""
    with (
        serve(lambda peer: peer.upgrade(header)) as server,
        pytest.raises(ConnectError, match="did not offer"),
    ):
        open_link(server.url)


def test_a_plain_answer_is_a_refusal() -> None:
    """If the server sends a web page instead of the upgrade, the error has the HTTP status."""
    script = answering(refusal("200 OK", b"<html><title>hello</title></html>"))

    with serve(script) as server, pytest.raises(ServiceError, match="hello") as caught:
        open_link(server.url)

    assert 200 == caught.value.status


def test_cookies_pass_in_neither_direction() -> None:
    """Connections share no cookies, although websocket-client has one cookie jar per process."""
    cookies: list[str] = []

    def script(peer: Peer) -> None:
        peer.upgrade("Set-Cookie: session=1; Domain=localhost")
        cookies.append(peer.header("cookie"))

    jar = websocket._handshake.CookieJar
    with serve(script) as server:
        open_link(server.url).release()
        assert "" == jar.get("localhost")
        jar.add("foreign=1; Domain=localhost")
        try:
            assert "foreign=1" == jar.get("localhost")
            open_link(server.url).release()
        finally:
            jar.jar.clear()

    assert ["", ""] == cookies


# HTTP forbids these headers. The error must not show the values of these headers.
BAD_HEADERS = [
    {"Authorization": f"Basic {SECRET}\n"},
    {"Authorization": f"Basic {SECRET}\r\nX-Evil: 1"},
    {"Authorization": f"Basic {SECRET}\0"},
    {"Authorization": f"Basic {SECRET}\N{EM DASH}"},
    {"Bad Name": SECRET},
]


@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_headers_that_cannot_be_sent(headers: dict[str, str]) -> None:
    """If a header has a character that is not allowed, the error shows only the header's name."""
    with serve(Peer.hold) as server, pytest.raises(ConfigError) as caught:
        Link.open(server.url, headers=headers, options=Options(), name="test-1")

    assert next(iter(headers)) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.fixture
def trace() -> Iterator[io.StringIO]:
    """Turn on the trace of websocket-client during a test, as a user may do."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    websocket.enableTrace(True, handler=handler, level="DEBUG")
    yield shown
    websocket.enableTrace(False)
    logging.getLogger("websocket").removeHandler(handler)


def test_no_secret_is_shown(trace: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    """No log, repr, statistic or error shows a credential, wherever the credential was passed."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def refusing(peer: Peer) -> None:
        peer.read_head()
        peer.send(refusal("401 No", f'{{"message": "bad key \\"{SECRET[:4]}***\\""}}'.encode()))

    for script in (refusing, Peer.upgrade):
        with serve(script) as server:
            url = f"ws://user:{SECRET}@localhost:{server.port}/?authorization=Basic%20{SECRET}&a=1"
            try:
                link = Link.open(
                    url,
                    headers={"Authorization": f"Basic {SECRET}"},
                    options=Options(headers={"X-Key": SECRET}),
                    name="test-1",
                )
            except InworldError as error:
                shown.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
            else:
                link.release()
                shown += [repr(link), link.url, str(link.end), str(link.stats())]

    assert 5 == len(shown)
    everything = "\n".join([*shown, trace.getvalue(), caplog.text])
    assert websocket.isEnabledForDebug(), "the trace was on"
    assert SECRET[:4] not in everything


def test_another_package_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another package named ``websocket`` is installed, the error says what to do."""
    other = types.ModuleType("websocket")
    other.__file__ = "/site-packages/websocket/__init__.py"
    monkeypatch.setitem(sys.modules, "websocket", other)

    with serve(Peer.hold) as server, pytest.raises(ConfigError, match="pip uninstall websocket"):
        open_link(server.url)


def test_no_websocket_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """If websocket-client is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "websocket", None)

    with serve(Peer.hold) as server, pytest.raises(ConfigError, match="pip install websocket-cl"):
        open_link(server.url)
