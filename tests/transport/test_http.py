"""HTTP requests: deadlines, retries and errors."""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import threading
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
from inworld_sync.transport.http import HttpClient

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
    """Return a server that sends *answer* for every request on a connection."""

    def script(peer: Peer) -> None:
        while True:
            request = peer.read_request()
            if requests is not None:
                requests.append(request)
            peer.send(answer)

    return script


def get(client: HttpClient, path: str = "/voices", timeout: float = 10) -> object:
    return client.request("GET", path, headers={}, timeout=timeout).json()


@pytest.mark.parametrize("is_secure", [False, True])
def test_request(is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """A request is sent as specified, and the complete response is returned."""
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
            timeout=10,
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
    """Successive requests use one connection."""
    with serve(answering(whole("200 OK", b"1"))) as server:
        client = client_of(server)
        assert [1, 1, 1] == [get(client) for _ in range(3)]
        client.close()

        assert 1 == server.accepted


def test_threads_share_a_client() -> None:
    """Several threads can use one client at once, without a warning about its pool."""
    with serve(answering(chunked(b"[1,", b"2]"))) as server, ThreadPoolExecutor(8) as pool:
        client = client_of(server)
        answers = list(pool.map(lambda _: get(client), range(80)))
        client.close()

    assert [[1, 2]] * 80 == answers


# Statuses and the class of their error.
REFUSALS = [
    ("401 Unauthorized", AuthError),
    ("404 Not Found", NotFoundError),
    ("429 Too Many Requests", QuotaError),
    ("302 Found", ServiceError),
    ("503 Service Unavailable", ServiceError),
]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
def test_refusals(status: str, kind: type[ServiceError]) -> None:
    """A refusal raises its class at once: it is not tried again, nor followed elsewhere."""
    requests: list[tuple[bytes, bytes]] = []
    body = b'{"error": {"code": 9, "message": "said why", "details": []}}'
    answer = whole(status, body, "Location: /elsewhere", "X-Request-Id: f00", "Retry-After: 0")

    with serve(answering(answer, requests)) as server:
        client = client_of(server)
        with pytest.raises(kind) as caught:
            get(client)
        client.close()

    assert 1 == len(requests)
    assert (int(status[:3]), "f00") == (caught.value.status, caught.value.request_id)
    assert kind is type(caught.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2"])
def test_hang_up(answer: bytes) -> None:
    """If the server closes instead of answering, the ConnectionLost names the request."""

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
    """A body that is shorter than announced is an error."""

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


# Bytes instead of an HTTP response, and the words of the error.
NO_ANSWERS = [
    (b"", "the server closed the connection"),
    (b"SSH-2.0-OpenSSH\r\n", r"the response is not HTTP \(.*\)"),
]


@pytest.mark.parametrize(("answer", "words"), NO_ANSWERS)
def test_no_answer(answer: bytes, words: str) -> None:
    """Bytes that are not an HTTP response are described in plain words."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    with serve(script) as server:
        client = client_of(server)
        with pytest.raises(ConnectionLost, match=f"the connection broke: {words}$"):
            get(client)
        client.close()


def test_not_json() -> None:
    """If a response should be JSON and is a page, the error names its type."""
    answer = whole("200 OK", b"<html>", "Content-Type: text/html")

    with serve(answering(answer)) as server:
        client = client_of(server)
        with pytest.raises(RemoteProtocolError, match="got 6 bytes of 'text/html'"):
            get(client)
        client.close()


def test_large_answer() -> None:
    """A response larger than ``max_message_bytes`` is an error."""
    with serve(answering(whole("200 OK", b"1" * 300_000))) as server:
        client = client_of(server, max_message_bytes=200_000)
        with pytest.raises(RemoteProtocolError, match="max_message_bytes"):
            get(client)
        client.close()


def drip(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not peer.released.wait(0.02):
        peer.send(b"1")


@pytest.mark.parametrize("script", [Peer.hold, drip])
def test_deadline(script: Script) -> None:
    """Neither silence nor a body that drips lasts longer than the timeout."""
    with serve(script) as server:
        client = client_of(server)
        with pytest.raises(DeadlineExceeded, match=r"GET .* took longer than 0\.2 s"):
            get(client, timeout=0.2)
        client.close()


def test_deadline_of_the_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the name service does not answer, the request ends after its timeout."""
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
    """If nothing listens on a port, the ConnectError names it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        client = HttpClient(Options(base_url=f"http://localhost:{port}", proxy=False))

        with pytest.raises(ConnectError, match=f"localhost:{port} cannot be reached"):
            get(client)


def test_untrusted_certificate(server_tls: ssl.SSLContext) -> None:
    """Errors about certificates are the same as for links."""
    with (
        serve(Peer.hold, tls=server_tls) as server,
        pytest.raises(ConnectError, match="is not trusted") as caught,
    ):
        get(client_of(server))

    assert "ssl_context=" in str(caught.value)


def test_proxy(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Requests over TLS use a proxy's tunnel, with the proxy's credential."""
    with (
        serve(answering(whole("200 OK", b"1")), tls=server_tls) as server,
        proxy("user:word") as (gate, script),
    ):
        url = f"http://user:word@127.0.0.1:{gate.port}"
        client = client_of(server, proxy=url, ssl_context=client_tls)
        assert 1 == get(client)
        client.close()

    assert [f"localhost:{server.port}"] == script.asked


def test_plain_requests_by_proxy() -> None:
    """A request without TLS is sent to the proxy itself."""
    requests: list[tuple[bytes, bytes]] = []

    with serve(answering(whole("200 OK", b"1"), requests)) as gate:
        proxy_url = f"http://user:word@127.0.0.1:{gate.port}"
        client = HttpClient(Options(base_url="http://service.invalid", proxy=proxy_url))
        assert 1 == get(client)
        client.close()

    head = requests[0][0]
    assert head.startswith(b"GET http://service.invalid/voices HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in head


# Before CPython 3.11, http.client leaves the refused response to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_refusing_proxy(client_tls: ssl.SSLContext) -> None:
    """If a proxy refuses the tunnel, the ConnectError has its reason."""
    with proxy(refusal=b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (gate, _):
        options = Options(
            base_url="https://service.invalid",
            proxy=f"http://127.0.0.1:{gate.port}",
            ssl_context=client_tls,
        )
        with pytest.raises(ConnectError, match=r"proxy.*403 Forbidden"):
            get(HttpClient(options))


def test_no_cookies() -> None:
    """A cookie that the server sets is not sent back."""
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
    """A path that cannot be sent is a ConfigError before anything is sent."""
    with pytest.raises(ConfigError):
        get(HttpClient(Options(base_url="http://localhost:1", proxy=False)), path)


def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A credential is in no error and no log, also if it cannot be sent."""
    caplog.set_level(logging.DEBUG)
    shown = []

    with serve(answering(whole("401 No", b'{"message": "bad key \\"cGVy***\\""}'))) as server:
        client = client_of(server)
        for value in (f"Basic {SECRET}", f"Basic {SECRET}\n"):
            with pytest.raises((AuthError, ConfigError)) as caught:
                client.request("GET", "/", headers={"Authorization": value}, timeout=30)
            shown.append(f"{caught.value!r} {caught.value}")
        client.close()

    assert SECRET[:4] not in "\n".join([*shown, caplog.text])


def test_closed() -> None:
    """A closed client accepts no request."""
    client = HttpClient(Options(base_url="http://localhost:1", proxy=False))
    client.close()
    client.close()

    with pytest.raises(ClosedError):
        get(client)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """A forked child does not use the parent's connection but opens its own."""
    with serve(answering(whole("200 OK", b"1"))) as server:
        client = client_of(server)
        get(client)
        child = os.fork()
        if not child:
            os._exit(get(client) != 1)
        assert 0 == os.waitpid(child, 0)[1]
        get(client)
        client.close()

        assert 2 == server.accepted
