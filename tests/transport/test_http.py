"""The deadlines, retries and errors of HTTP requests."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from inworld_sync.errors import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    NotFoundError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.options import Options
from inworld_sync.transport import connect
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient, HttpResponse
from inworld_sync.transport.http_body import lines_in, start_body
from inworld_sync.transport.http_socket import HttpSocket, Stopper

from support.forks import in_child
from support.peers import Peer, RawServer, Script, serve
from support.proxies import proxy

SECRET = "cGVyc29uYWw6c2VjcmV0"


def client_of(server: RawServer, **options: object) -> HttpClient:
    """Return a client of *server*."""
    scheme = "https" if server.url.startswith("wss") else "http"
    base_url = f"{scheme}://localhost:{server.port}"
    return HttpClient(Options(base_url=base_url, **{"proxy": False, **options}))  # type: ignore[arg-type]


def whole(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def answering(answer: bytes, requests: list[tuple[bytes, bytes]] | None = None) -> Script:
    """Return a server that sends *answer* to every request."""

    def script(peer: Peer) -> None:
        while True:
            request = peer.read_request()
            if requests is not None:
                requests.append(request)
            peer.send(answer)

    return script


def get(client: HttpClient, path: str = "/voices", timeout: float = 30) -> object:
    deadline = Deadline(timeout, "listing")
    return client.request("GET", path, headers={}, deadline=deadline).json()


@pytest.mark.parametrize("is_secure", [False, True])
def test_request(is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """The request is sent as specified, and the complete response is returned."""
    requests: list[tuple[bytes, bytes]] = []
    answer = whole("201 Created", b'{"ok": true}', "X-Two: 2")

    with serve(answering(answer, requests), tls=server_tls if is_secure else None) as server:
        client = client_of(server, headers={"X-One": "1"}, ssl_context=client_tls)
        response = client.request(
            "POST",
            "/tts/v1/voice:stream",
            headers={"Authorization": f"Basic {SECRET}"},
            json={"text": "größer"},
            query={"a": "x y", "b": "ö"},
            deadline=Deadline(30, "sending"),
        )
        client.close()

    head, body = requests[0]
    assert head.startswith(b"POST /tts/v1/voice:stream?a=x+y&b=%C3%B6 HTTP/1.1\r\n")
    for line in (f"Authorization: Basic {SECRET}", "X-One: 1", "Content-Type: application/json"):
        assert f"\r\n{line}\r\n".encode() in head
    assert {"text": "größer"} == json.loads(body)
    assert (201, {"ok": True}) == (response.status, response.json())
    assert "2" == response.headers["x-two"]


def test_connections_are_kept() -> None:
    """Successive requests use the same connection."""
    with serve(answering(whole("200 OK", b"1"))) as server:
        client = client_of(server)
        assert [1, 1, 1] == [get(client) for _ in range(3)]
        client.close()

        assert 1 == server.accepted


def test_threads_share_a_client() -> None:
    """Several threads can use one client at the same time. No warning is logged."""
    with serve(answering(chunked(b"[1,", b"2]"))) as server, ThreadPoolExecutor(8) as pool:
        client = client_of(server)
        answers = list(pool.map(lambda _: get(client), range(80)))
        client.close()

    assert [[1, 2]] * 80 == answers


# (status, class of the error, whether a GET is retried)
STATUSES = [
    ("401 Unauthorized", AuthError, False),
    ("404 Not Found", NotFoundError, False),
    ("429 Too Many Requests", QuotaError, True),
    ("302 Found", ServiceError, False),
    ("500 Internal Server Error", ServiceError, False),
    ("502 Bad Gateway", ServiceError, True),
    ("503 Service Unavailable", ServiceError, True),
    ("504 Gateway Timeout", ServiceError, True),
]


@pytest.mark.parametrize(("status", "kind", "is_retried"), STATUSES)
def test_statuses(status: str, kind: type[ServiceError], is_retried: bool) -> None:
    """A status from 300 on raises an error. If a retry may help, a GET is sent again."""
    requests: list[tuple[bytes, bytes]] = []
    body = b'{"error": {"code": 9, "message": "said why", "details": []}}'
    answer = whole(status, body, "Location: /elsewhere", "X-Request-Id: f00", "Retry-After: 0")

    with serve(answering(answer, requests)) as server:
        client = client_of(server, max_retries=3)
        with pytest.raises(kind) as caught:
            get(client)
        client.close()

    assert len(requests) == (4 if is_retried else 1)
    assert (int(status[:3]), "f00") == (caught.value.status, caught.value.request_id)
    assert kind is type(caught.value)
    assert caught.value.retry_after == 0.0


def failing_twice(failure: Script) -> tuple[Script, list[bytes]]:
    """Return a script that fails for two requests and answers the third, and the requests."""
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.read_request()[0])
        if len(requests) < 3:
            failure(peer)
        else:
            peer.send(whole("200 OK", b"1"))
            peer.read_until_end()

    return script, requests


def busy(peer: Peer) -> None:
    peer.send(whole("503 Service Unavailable", b"busy"))


# Failures after which a GET is sent again: no response, a part of a response, a busy gateway.
FAILURES: list[Script] = [
    Peer.hang_up,
    Peer.reset,
    lambda peer: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"),
    busy,
]


@pytest.mark.parametrize("failure", FAILURES)
def test_retry(failure: Script) -> None:
    """A GET that failed is sent again, and the result of the retry is returned."""
    script, requests = failing_twice(failure)

    with serve(script) as server:
        client = client_of(server)
        assert get(client) == 1
        client.close()

    assert len(requests) == 3


@pytest.mark.parametrize("failure", FAILURES)
def test_no_retry(failure: Script) -> None:
    """A POST that reached the server is not sent again. With max_retries=0, a GET is sent once."""
    for method, retries in (("POST", 2), ("GET", 0)):
        script, requests = failing_twice(failure)
        with serve(script) as server:
            client = client_of(server, max_retries=retries)
            deadline = Deadline(30, "sending")
            with pytest.raises((ConnectionLost, ServiceError)):
                client.request(method, "/", headers={}, json={}, deadline=deadline)
            client.close()

        assert len(requests) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_retry_of_a_connect(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the connect failed, even a POST is sent again, because the server got no request."""
    failures = 2
    real = connect.connect_tcp

    def refusing(*args: object) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectError("refused")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(connect, "connect_tcp", refusing)
    with serve(answering(whole("200 OK", b"1"))) as server:
        client = client_of(server)
        deadline = Deadline(30, "sending")
        assert client.request(method, "/", headers={}, deadline=deadline).json() == 1
        client.close()


def test_retry_after() -> None:
    """If the service requests a wait beyond the deadline, the service's error is raised at once."""
    requests: list[tuple[bytes, bytes]] = []
    answer = whole("429 Too Many Requests", b"slow down", "Retry-After: 60")

    with serve(answering(answer, requests)) as server:
        client = client_of(server)
        with pytest.raises(QuotaError) as caught:
            get(client)
        client.close()

    assert caught.value.retry_after == 60.0
    assert len(requests) == 1


def test_close_ends_retries() -> None:
    """close() ends a request that waits for its next attempt."""
    requests: list[tuple[bytes, bytes]] = []
    answer = whole("429 Too Many Requests", b"slow down", "Retry-After: 600")

    with serve(answering(answer, requests)) as server, ThreadPoolExecutor(1) as pool:
        client = client_of(server)
        call = pool.submit(get, client, timeout=3600)
        while not requests:
            time.sleep(0.001)
        client.close()
        with pytest.raises(ClosedError):
            call.result(timeout=30)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2"])
def test_hang_up(answer: bytes) -> None:
    """If the server closes the connection without an answer, the error names the request."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    with serve(script) as server:
        client = client_of(server)
        with pytest.raises(ConnectionLost, match=r"GET http://localhost:.*/voices"):
            get(client)
        client.close()


@pytest.mark.parametrize("answer", [whole("200 OK", b"x" * 100)[:-1], chunked(b"x" * 100)[:-5]])
def test_cut_body(answer: bytes) -> None:
    """A body that is shorter than announced raises an error."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    with serve(script) as server:
        client = client_of(server)
        with pytest.raises(
            ConnectionLost, match=r"the connection broke: the response is incomplete$"
        ):
            get(client)
        client.close()


# (bytes instead of an HTTP response, words of the error)
NO_ANSWERS = [
    (b"", "the server closed the connection"),
    (b"SSH-2.0-OpenSSH\r\n", r"the response is not HTTP \(.*\)"),
]


@pytest.mark.parametrize(("answer", "words"), NO_ANSWERS)
def test_no_answer(answer: bytes, words: str) -> None:
    """If the answer of the server is not HTTP, the error describes the answer."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    with serve(script) as server:
        client = client_of(server)
        with pytest.raises(ConnectionLost, match=f"the connection broke: {words}$"):
            get(client)
        client.close()


def test_not_json() -> None:
    """If a response is a page instead of JSON, the error names the content type."""
    answer = whole("200 OK", b"<html>", "Content-Type: text/html")

    with serve(answering(answer)) as server:
        client = client_of(server)
        with pytest.raises(RemoteProtocolError, match="got 6 bytes of 'text/html'"):
            get(client)
        client.close()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"a": "x\ud800y"}', {"a": "x?y"}),
        (rb'{"a": "\udE00\uD83D"}', {"a": "??"}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (rb'{"a": "\\ud800"}', {"a": "\\ud800"}),
    ],
)
def test_half_of_a_surrogate_pair(body: bytes, value: object) -> None:
    """Half of a surrogate pair in a response is replaced by ``?``, so the value can be sent."""
    assert value == HttpResponse(status=200, headers={}, body=body).json()


@pytest.mark.parametrize("body", [b'{"a": "\xed\xa0\x80"}', '{"a": 1}'.encode("utf-16")])
def test_json_in_another_encoding(body: bytes) -> None:
    """JSON must be in UTF-8. A response in another encoding raises an error."""
    with pytest.raises(RemoteProtocolError, match="must be JSON"):
        HttpResponse(status=200, headers={}, body=body).json()


def test_wrong_values() -> None:
    """A value that cannot be sent is refused before a connection is opened."""
    requests: list[tuple[bytes, bytes]] = []
    with serve(answering(whole("200 OK"), requests)) as server:
        client = client_of(server)
        wrong: list[dict[str, object]] = [{"a": "\ud800"}, {"a": math.nan}, {"a": object()}]
        for value in wrong:
            with pytest.raises(ConfigError):
                client.request("POST", "/x", json=value, deadline=Deadline(5, "the test"))
        with pytest.raises(ConfigError, match="query must be valid Unicode"):
            client.request("GET", "/x", query={"a": "\ud800"}, deadline=Deadline(5, "the test"))
        client.close()
    assert not requests


def test_deeply_nested() -> None:
    """JSON that is nested too deeply for Python raises an error of the package."""
    body = b"[" * 100_000 + b"]" * 100_000

    for status, kind in (("200 OK", RemoteProtocolError), ("400 Bad", ServiceError)):
        with serve(answering(whole(status, body))) as server:
            client = client_of(server)
            with pytest.raises(kind):
                get(client)
            client.close()


def test_large_answer() -> None:
    """A response that is larger than ``max_message_bytes`` raises an error."""
    with serve(answering(whole("200 OK", b"1" * 300_000))) as server:
        client = client_of(server, max_message_bytes=200_000)
        with pytest.raises(RemoteProtocolError, match="max_message_bytes"):
            get(client)
        client.close()


# The number of pieces of a slow response. One piece is sent every 20 ms, for 20 s in total.
PIECES = 1000


def drip(peer: Peer, piece: bytes) -> None:
    for _ in range(PIECES):
        if peer.released.wait(0.02):
            return
        peer.send(piece)


def slow_headers(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-Filler: ")
    drip(peer, b"x")
    peer.send(b"\r\nContent-Length: 1\r\n\r\n1")


def slow_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECES)
    drip(peer, b"1")


def slow_chunks(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    drip(peer, b"1\r\n1\r\n")
    peer.send(b"0\r\n\r\n")


def endless_continue(peer: Peer) -> None:
    peer.read_request()
    drip(peer, b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.send(whole("200 OK", b"1"))


SLOW: list[Script] = [Peer.hold, slow_headers, slow_body, slow_chunks, endless_continue]


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("script", SLOW)
def test_deadline(
    script: Script, is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """If a server sends its response slowly or not at all, the request ends at its deadline."""
    with serve(script, tls=server_tls if is_secure else None) as server:
        client = client_of(server, ssl_context=client_tls)
        with pytest.raises(DeadlineExceeded, match=r"^listing took longer than 0\.5 s"):
            get(client, timeout=0.5)
        client.close()


def test_deadline_of_a_kept_connection() -> None:
    """On a kept connection, a request has its own deadline."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(whole("200 OK", b"1"))
        slow_headers(peer)

    with serve(script) as server:
        client = client_of(server)
        assert get(client) == 1
        with pytest.raises(DeadlineExceeded, match=r"took longer than 0\.5 s"):
            get(client, timeout=0.5)
        client.close()
        assert server.accepted == 1


def test_deadline_of_the_request() -> None:
    """If a server does not read a large request, the request ends at its deadline."""
    with serve(Peer.hold, receive_buffer_bytes=4096) as server:
        client = client_of(server)
        with pytest.raises(DeadlineExceeded):
            client.request(
                "POST", "/", headers={}, json="x" * 20_000_000, deadline=Deadline(0.5, "sending")
            )
        client.close()


def test_deadline_of_tls(client_tls: ssl.SSLContext) -> None:
    """If a TLS handshake never ends, the request ends at its deadline."""

    def script(peer: Peer) -> None:
        peer.send(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB
        drip(peer, b"\0")

    with serve(script) as server:
        base_url = f"https://localhost:{server.port}"
        client = HttpClient(Options(base_url=base_url, proxy=False, ssl_context=client_tls))
        with pytest.raises(
            DeadlineExceeded,
            match=r"^listing took longer than 0\.5 s: .*passed in this step: the TLS handshake",
        ):
            get(client, timeout=0.5)
        client.close()


@pytest.mark.parametrize("script", [Peer.hold, slow_headers])
def test_deadline_of_a_proxy(script: Script) -> None:
    """If a proxy answers slowly or not at all, the request ends at its deadline."""
    with serve(script) as gate:
        client = HttpClient(
            Options(base_url="http://service.invalid", proxy=f"http://127.0.0.1:{gate.port}")
        )
        with pytest.raises(DeadlineExceeded, match=r"^listing took longer than 0\.5 s"):
            get(client, timeout=0.5)
        client.close()


def test_deadline_of_the_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the name service does not answer, the request ends at its deadline."""
    go = threading.Event()

    def stuck(*_: object, **kwargs: int) -> object:
        if not kwargs.get("flags"):
            go.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    client = HttpClient(Options(base_url="http://service.invalid", proxy=False))
    with pytest.raises(DeadlineExceeded):
        get(client, timeout=0.2)
    go.set()


def test_refused_port() -> None:
    """If nothing listens on a port, the ConnectError names the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        client = HttpClient(Options(base_url=f"http://localhost:{port}", proxy=False))

        with pytest.raises(ConnectError, match=f"localhost:{port} cannot be reached"):
            get(client)


def test_untrusted_certificate(server_tls: ssl.SSLContext) -> None:
    """An untrusted certificate raises the same error as for a WebSocket."""
    with (
        serve(Peer.hold, tls=server_tls) as server,
        pytest.raises(ConnectError, match="is not trusted") as caught,
    ):
        get(client_of(server))

    assert "ssl_context=" in str(caught.value)


def test_refusing_proxy(client_tls: ssl.SSLContext) -> None:
    """If a proxy refuses the tunnel, the ConnectError has the reason of the proxy."""
    with proxy(refusal=b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (gate, _):
        options = Options(
            base_url="https://service.invalid",
            proxy=f"http://127.0.0.1:{gate.port}",
            ssl_context=client_tls,
        )
        with pytest.raises(ConnectError, match=r"proxy.*403 Forbidden"):
            get(HttpClient(options))


def test_no_cookies() -> None:
    """A cookie that the server has set is not sent back."""
    requests: list[tuple[bytes, bytes]] = []
    answer = whole("200 OK", b"1", "Set-Cookie: session=1")

    with serve(answering(answer, requests)) as server:
        client = client_of(server)
        get(client)
        get(client)
        client.close()

    assert b"cookie" not in requests[1][0].lower()


@pytest.mark.parametrize("path", ["/a b", "/ö", "/x\r\nX: y"])
def test_bad_paths(path: str) -> None:
    """A path that cannot be sent raises a ConfigError before anything is sent."""
    with pytest.raises(ConfigError):
        get(HttpClient(Options(base_url="http://localhost:1", proxy=False)), path)


def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """No error and no log shows a credential, even if the credential cannot be sent."""
    caplog.set_level(logging.DEBUG)
    shown = []

    with serve(answering(whole("401 No", b'{"message": "bad key \\"cGVy***\\""}'))) as server:
        client = client_of(server)
        for value in (f"Basic {SECRET}", f"Basic {SECRET}\n"):
            deadline = Deadline(30, "sending")
            with pytest.raises((AuthError, ConfigError)) as caught:
                client.request("GET", "/", headers={"Authorization": value}, deadline=deadline)
            shown.append(f"{caught.value!r} {caught.value}")
        client.close()

    assert SECRET[:4] not in "\n".join([*shown, caplog.text])


def test_closed() -> None:
    """A closed client raises an error for every request."""
    client = HttpClient(Options(base_url="http://localhost:1", proxy=False))
    client.close()
    client.close()

    with pytest.raises(ClosedError):
        get(client)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """A forked child does not use the connection of its parent, but opens a new connection."""
    with serve(answering(whole("200 OK", b"1"))) as server:
        client = client_of(server)
        get(client)

        def use() -> None:
            assert 1 == get(client)

        assert "" == in_child(use)
        get(client)
        client.close()

        assert 2 == server.accepted


class LineStream:
    """The lines of a response, and a stopper that ends the request from another thread."""

    def __init__(self, client: HttpClient, timeout: float | None = 30) -> None:
        self.stopper = Stopper()
        self._client = client
        self._timeout = timeout

    def lines(self) -> Generator[bytes, None, None]:
        with contextlib.closing(
            start_body(
                self._client,
                "POST",
                "/stream",
                json={},
                deadline=Deadline(self._timeout, "waiting for a response"),
                stopper=self.stopper,
            )
        ) as body:
            yield from lines_in(body, self._timeout, self._client.options.max_message_bytes)


def test_lines() -> None:
    """A line is returned whole, even if it arrives in parts. The connection is kept for reuse."""
    answer = chunked(b"one\ntw", b"o\r\n\n", b"three")
    with serve(answering(answer)) as server:
        client = client_of(server)
        for _ in range(2):
            assert [b"one", b"two", b"three"] == list(LineStream(client).lines())
        client.close()

        assert 1 == server.accepted


def test_lines_arrive_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is returned as soon as it has arrived. Each wait for a line has its own deadline."""
    taken = threading.Event()
    begun: list[float | None] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n")
        taken.wait(30)
        peer.send(b"2\r\n2\n\r\n0\r\n\r\n")
        peer.hold()

    def settimeout(sock: HttpSocket, seconds: float | None) -> None:
        begun.append(seconds)
        sock.deadline = Deadline(seconds, "the HTTP request")

    monkeypatch.setattr(HttpSocket, "settimeout", settimeout)
    with serve(script) as server:
        client = client_of(server)
        lines = LineStream(client).lines()
        assert b"1" == next(lines)
        of_request = len(begun)
        taken.set()
        assert [b"2"] == list(lines)
        client.close()

    assert 2 == len(begun) - of_request


def test_silence_after_a_line() -> None:
    """If the next line does not arrive in time, an error is raised."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n")
        peer.hold()

    with serve(script) as server:
        client = client_of(server)
        with pytest.raises(DeadlineExceeded, match=r"a line of the response took longer"):
            list(LineStream(client, timeout=0.5).lines())
        client.close()


def test_end_of_an_iteration_closes_the_connection() -> None:
    """If the caller closes the iterator before the last line, the connection is closed at once."""
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n")
        peer.read_until_end()
        ended.set()

    with serve(script) as server:
        client = client_of(server)
        lines = LineStream(client).lines()
        next(lines)
        lines.close()

        assert ended.wait(30)
        client.close()


@pytest.mark.parametrize("is_begun", [False, True])
def test_stop(is_begun: bool) -> None:
    """Another thread can end a wait for the response or a wait for a line."""
    waiting = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        if is_begun:
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n")
        waiting.set()
        peer.read_until_end()

    with serve(script) as server, ThreadPoolExecutor(1) as pool:
        client = client_of(server)
        stream = LineStream(client, timeout=None)
        found = pool.submit(lambda: list(stream.lines()))
        assert waiting.wait(30)
        stream.stopper.stop()
        # The class of the error depends on whether the response has begun.
        with pytest.raises((ClosedError, ConnectionLost)):
            found.result(30)
        client.close()


def test_stop_after_the_end_leaves_the_connection_to_others() -> None:
    """Stopping a stream that has ended does not end the next request on the same connection."""
    stopped = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(chunked(b"1\n"))
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n")
        stopped.wait(30)
        peer.send(b"2\r\n2\n\r\n0\r\n\r\n")
        peer.hold()

    with serve(script) as server:
        client = client_of(server)
        ended = LineStream(client)
        assert [b"1"] == list(ended.lines())
        lines = LineStream(client).lines()
        assert b"1" == next(lines)
        ended.stopper.stop()
        stopped.set()
        assert [b"2"] == list(lines)
        client.close()

        assert 1 == server.accepted


def test_long_line() -> None:
    """A line that is longer than ``max_message_bytes`` raises an error."""
    with serve(answering(chunked(b"x" * 5000))) as server:
        client = client_of(server, max_message_bytes=4096)
        with pytest.raises(RemoteProtocolError, match="more than 4096 bytes"):
            list(LineStream(client).lines())
        client.close()


def test_status_of_a_stream() -> None:
    """A stream with an HTTP error status raises the exception for this status."""
    body = b'{"error": {"code": 5, "message": "no such voice", "details": []}}'
    with serve(answering(whole("404 Not Found", body))) as server:
        client = client_of(server)
        with pytest.raises(NotFoundError, match="no such voice"):
            list(LineStream(client).lines())
        client.close()


@pytest.mark.parametrize("is_secure", [False, True])
def test_prewarm(is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """
    The first request uses the connection that was opened in advance.

    TLS 1.3 sends session tickets after the handshake. The client does not mistake the tickets for
    the end of the connection.
    """
    script = answering(whole("200 OK", b"[]"))
    with serve(script, tls=server_tls if is_secure else None) as server:
        client = client_of(server, ssl_context=client_tls)
        client.prewarm(Deadline(30, "connecting"))
        client.prewarm(Deadline(30, "connecting"))
        assert [] == get(client)
        client.close()

    assert 1 == server.accepted


def test_prewarm_and_a_closed_connection() -> None:
    """If the server has closed the connection in the meantime, the first request opens another."""
    closed = threading.Event()

    def script(peer: Peer) -> None:
        if not closed.is_set():
            peer.hang_up()
            closed.set()
            return
        answering(whole("200 OK", b"[]"))(peer)

    with serve(script) as server:
        client = client_of(server)
        client.prewarm(Deadline(30, "connecting"))
        assert closed.wait(30)
        assert [] == get(client)
        client.close()

    assert 2 == server.accepted
