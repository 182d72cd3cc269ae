"""The tunnels of HTTP, HTTPS and SOCKS5 proxies, for WebSockets and HTTP, and their refusals."""

from __future__ import annotations

import datetime
import ssl
import sys
from collections.abc import Callable

import pytest
import trustme

from inworld_sync.errors import ConfigError, ConnectError, DeadlineExceeded
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.proxy import choose_proxy
from inworld_sync.transport.websocket import Link

from support.driver import driven
from support.frames import variables_of
from support.peers import CLOSE, Peer, serve
from support.proxies import NOT_ALLOWED, proxy

SCHEMES = ["http", "https", "socks5", "socks5h"]


def echoing(peer: Peer) -> None:
    peer.upgrade()
    first = 0
    while first != CLOSE:
        first, payload = peer.read_frame()
        peer.send_frame(first, payload)


def answering(peer: Peer) -> None:
    while True:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")


def get(options: Options, timeout: float = 30) -> object:
    client = HttpClient(options)
    try:
        return client.request("GET", "/path", deadline=Deadline(timeout, "asking")).json()
    finally:
        client.close()


def open_link(options: Options) -> None:
    url = options.endpoint("/path", websocket=True)
    Link.open(url, headers={}, options=options, name="test-1").release()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("credential", [None, "us:p@ss /?#%w"])
def test_tunnel(
    scheme: str,
    credential: str | None,
    is_secure: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    """A link sends the target of the tunnel to the proxy, and then works as without a proxy."""
    user = "us:p%40ss%20%2F%3f%23%25w@" if credential else ""
    long = b"long" * 100_000
    with (
        serve(echoing, tls=server_tls if is_secure else None) as server,
        proxy(credential, scheme=scheme, tls=server_tls) as (gate, script),
    ):
        options = Options(proxy=f"{scheme}://{user}localhost:{gate.port}", ssl_context=client_tls)
        with driven(server.url, options) as driver:
            for message in (b"through", long, b"last"):
                driver.link.send(message)
                assert message == driver.next()
            stats = driver.link.stats()
            driver.link.close()

    host = "127.0.0.1" if scheme == "socks5" else "localhost"
    assert [f"{host}:{server.port}"] == script.asked
    assert f"{scheme}://localhost:{gate.port}" == stats.proxy
    assert stats.connect.proxy_ms > 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("is_secure", [False, True])
def test_http_requests(
    scheme: str, is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """HTTP requests, with and without TLS, use the same tunnels as WebSockets."""
    with (
        serve(answering, tls=server_tls if is_secure else None) as server,
        proxy("user:word", scheme=scheme, tls=server_tls) as (gate, script),
    ):
        options = Options(
            base_url=f"http{'s' if is_secure else ''}://localhost:{server.port}",
            proxy=f"{scheme}://user:word@localhost:{gate.port}",
            ssl_context=client_tls,
        )
        assert get(options) is True

    assert 1 == len(script.asked)


def answer(status: str, *, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# (response of a proxy that opens no tunnel, words of the error)
REFUSALS = [
    (answer("403 Forbidden"), "refused a tunnel to service.invalid:80: HTTP 403 Forbidden"),
    (answer("502 Bad Gateway", body=b"<html>"), "HTTP 502 Bad Gateway"),
    (
        answer("407 Proxy Authentication Required"),
        "put the right user:password@ into the proxy's URL",
    ),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "did not answer with an HTTP response"),
    (b"", "closed the connection without a response"),
    (b"HTTP/1.1 200 OK\r\n\r\nunasked", "sent data before"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "more than 64 KiB"),
]


@pytest.mark.parametrize(("refusal", "words"), REFUSALS)
def test_refusals(refusal: bytes, words: str) -> None:
    """If a proxy opens no tunnel, the ConnectError names the proxy and the reason."""
    with proxy(refusal=refusal) as (gate, _):
        options = Options(
            base_url="http://service.invalid", proxy=f"http://user:s3cret@127.0.0.1:{gate.port}"
        )
        with pytest.raises(ConnectError, match=words) as caught:
            open_link(options)

    assert f"http://127.0.0.1:{gate.port}" in str(caught.value)
    assert "s3cret" not in str(caught.value)


# (reply of a SOCKS5 proxy to the request of a tunnel, words of the error)
SOCKS_REFUSALS = [
    (NOT_ALLOWED, "tunnel to service.invalid:80: Connection not allowed by ruleset"),
    (b"\x05\x04\x00\x01" + bytes(6), "Host unreachable"),
    (b"\x05\x63\x00\x01" + bytes(6), "Invalid reply code"),
    (b"\x05\x00\x00\x07", "Invalid address type"),
    (b"\x05\x00\x00\x03\x02\xff\xff\x00\x00", "codec can't decode"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Unexpected SOCKS version number"),
    (b"\x05", "closed"),
    (b"", "closed"),
]


@pytest.mark.parametrize(("refusal", "words"), SOCKS_REFUSALS)
def test_socks_refusals(refusal: bytes, words: str) -> None:
    """If a SOCKS5 proxy opens no tunnel, the ConnectError has the reason and no password."""
    with proxy("user:s3cret-word", refusal, scheme="socks5h") as (gate, _):
        options = Options(
            base_url="http://service.invalid",
            proxy=f"socks5h://user:s3cret-word@127.0.0.1:{gate.port}",
        )
        with pytest.raises(ConnectError, match=words) as caught:
            open_link(options)

    assert f"the SOCKS5 proxy socks5h://127.0.0.1:{gate.port}" in str(caught.value)
    assert "s3cret" not in str(caught.value) + variables_of(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("user", ["", "user:wrong-word@"])
def test_socks_password(user: str) -> None:
    """If a SOCKS5 proxy does not accept the user, the error says where to write the user name."""
    with proxy("user:s3cret-word", scheme="socks5h") as (gate, _):
        options = Options(
            base_url="http://service.invalid", proxy=f"socks5h://{user}127.0.0.1:{gate.port}"
        )
        with pytest.raises(ConnectError, match="accepts the user and password of its URL"):
            open_link(options)


def test_name_of_a_local_lookup() -> None:
    """If this machine cannot look up a name for a ``socks5`` proxy, the error names ``socks5h``."""
    with proxy(scheme="socks5") as (gate, _):
        options = Options(
            base_url="http://service.invalid", proxy=f"socks5://127.0.0.1:{gate.port}"
        )
        with pytest.raises(ConnectError, match=r"lookup of 'service.invalid' failed.*socks5h://"):
            open_link(options)


def drip(peer: Peer) -> None:
    """Grant a tunnel byte by byte. The host name in the reply is 255 bytes long."""
    peer.read_exactly(3)
    peer.send(b"\x05\x00")
    peer.read_exactly(10)
    for byte in b"\x05\x00\x00\x03\xff" + bytes(257):
        peer.send(bytes([byte]))
        peer.released.wait(0.05)


@pytest.mark.parametrize("script", [Peer.hold, drip])
@pytest.mark.parametrize("by", [open_link, get])
def test_deadline_of_socks(script: Callable[[Peer], None], by: Callable[[Options], object]) -> None:
    """If a SOCKS5 proxy answers slowly or not at all, the connect ends at its deadline."""
    with serve(script) as gate:
        options = Options(
            base_url="http://a.test",
            proxy=f"socks5h://127.0.0.1:{gate.port}",
            connect_timeout=0.5,
            max_retries=0,
        )
        with pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
            get(options, 0.5) if by is get else by(options)


def test_reset_by_a_socks_proxy() -> None:
    """If a SOCKS5 proxy breaks the connection, the error names the step that failed."""

    def script(peer: Peer) -> None:
        peer.read_exactly(3)
        peer.reset()

    with serve(script) as gate:
        options = Options(
            base_url="http://service.invalid", proxy=f"socks5h://u:p@127.0.0.1:{gate.port}"
        )
        with pytest.raises(ConnectError, match="asking the proxy for a tunnel"):
            open_link(options)


@pytest.mark.parametrize("by", [open_link, get])
def test_https_without_tls(by: Callable[[Options], object], client_tls: ssl.SSLContext) -> None:
    """If a proxy of an ``https`` URL uses no TLS, the error says which scheme to write."""

    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.read_until_end()

    with serve(script) as gate:
        options = Options(
            base_url="http://service.invalid",
            proxy=f"https://127.0.0.1:{gate.port}",
            ssl_context=client_tls,
        )
        with pytest.raises(ConnectError, match=r"the URL of the proxy must start with http://"):
            by(options)


def test_untrusted_proxy(server_tls: ssl.SSLContext) -> None:
    """If the certificate of a proxy is not trusted, the error names the proxy."""
    with proxy(scheme="https", tls=server_tls) as (gate, script):
        options = Options(base_url="http://service.invalid", proxy=f"https://localhost:{gate.port}")
        with pytest.raises(ConnectError, match=r"certificate of the proxy https://.*not trusted"):
            open_link(options)

    assert [] == script.asked


@pytest.mark.parametrize("by", [open_link, get])
def test_expired_proxy(
    by: Callable[[Options], object], authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """If the certificate of a proxy has expired, the error says so and names the proxy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "localhost",
        not_before=datetime.datetime(2019, 1, 1, tzinfo=datetime.timezone.utc),
        not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    ).configure_cert(context)

    with proxy(scheme="https", tls=context) as (gate, _):
        options = Options(
            base_url="http://service.invalid",
            proxy=f"https://localhost:{gate.port}",
            ssl_context=client_tls,
        )
        with pytest.raises(ConnectError, match=r"of the proxy https://.*certificate has expired"):
            by(options)


def test_without_python_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-socks, a SOCKS5 proxy raises a ConfigError that names the extra."""
    monkeypatch.setitem(sys.modules, "python_socks.sync", None)

    with pytest.raises(ConfigError, match=r"pip install 'inworld-sync\[socks\]'"):
        choose_proxy("wss://host/", Options(proxy="socks5://host:1"))
    monkeypatch.setenv("https_proxy", "socks5h://host:1")
    with pytest.raises(ConfigError, match=r"environment's https_proxy names a SOCKS5 proxy"):
        choose_proxy("wss://host/", Options())
