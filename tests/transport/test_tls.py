"""The certificates that a link trusts, and the errors of TLS."""

from __future__ import annotations

import datetime
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from inworld_sync.errors import ConfigError, ConnectError
from inworld_sync.models.options import Options
from inworld_sync.transport import tls
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.stream import Stream
from inworld_sync.transport.websocket import Link

from support.driver import driving
from support.peers import TEXT, Peer, serve


def open_link(url: str, context: ssl.SSLContext | None) -> Link:
    options = Options(ssl_context=context, proxy=False)
    return Link.open(url, headers={}, options=options, name="test-1")


def answer_true(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")


def get(base_url: str, context: ssl.SSLContext | None = None) -> object:
    """Send an HTTP request without retries, and return the JSON of the response."""
    client = HttpClient(Options(base_url=base_url, ssl_context=context, proxy=False, max_retries=0))
    try:
        return client.request("GET", "/", deadline=Deadline(30, "asking")).json()
    finally:
        client.close()


def message_of(error: ConnectError) -> str:
    """Return the message of an error. The message must never advise to turn off verification."""
    words = str(error)
    assert "verify" not in words.replace("certificate verify failed", "").lower()
    assert "disable" not in words.lower()
    return words


def test_untrusted_authority(server_tls: ssl.SSLContext) -> None:
    """If the authority of a certificate is unknown, the error says how to add the authority."""
    with (
        serve(Peer.hold, tls=server_tls) as server,
        pytest.raises(ConnectError, match="is not trusted") as caught,
    ):
        open_link(server.url, None)

    assert "ssl_context=" in message_of(caught.value)
    assert f"localhost:{server.port}" in message_of(caught.value)


@pytest.mark.parametrize("name", ["elsewhere.invalid", "127.0.0.9"])
def test_wrong_host(authority: trustme.CA, client_tls: ssl.SSLContext, name: str) -> None:
    """If a certificate is for another host, the error names both hosts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    host = "localhost" if name.startswith("else") else "127.0.0.1"

    with (
        serve(Peer.hold, tls=context) as server,
        pytest.raises(ConnectError, match="is for another host") as caught,
    ):
        open_link(f"wss://{host}:{server.port}/", client_tls)

    assert "base_url" in message_of(caught.value)


def test_server_without_tls(client_tls: ssl.SSLContext) -> None:
    """If a server does not use TLS, the ConnectError says so."""

    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.read_until_end()

    with serve(script) as server, pytest.raises(ConnectError, match="are not TLS") as caught:
        open_link(f"wss://localhost:{server.port}/", client_tls)

    assert "base_url must start with http://" in message_of(caught.value)
    assert f"localhost:{server.port}" in message_of(caught.value)


def test_hang_up_in_the_handshake(client_tls: ssl.SSLContext) -> None:
    """If a server closes the connection during the handshake, the error says so."""
    with serve(Peer.hang_up) as server, pytest.raises(ConnectError, match="TLS handshake"):
        open_link(f"wss://localhost:{server.port}/", client_tls)


@pytest.fixture
def fresh_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clear the cache of certificates before and after a test, and unset the variables."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    tls._default_context.cache_clear()
    yield
    tls._default_context.cache_clear()


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("by", ["websocket", "http"])
def test_certificates_of_the_environment(
    authority: trustme.CA,
    server_tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    by: str,
) -> None:
    """If one of these variables names a file, the certificates in the file are trusted."""
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv(name, str(bundle))

    if by == "websocket":
        with serve(Peer.upgrade, tls=server_tls) as server:
            open_link(server.url, None).release()
    else:
        with serve(answer_true, tls=server_tls) as server:
            assert get(f"https://localhost:{server.port}") is True


@pytest.mark.usefixtures("fresh_cache")
def test_folder_of_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``REQUESTS_CA_BUNDLE`` may name a folder, as in the library ``requests``."""
    given: list[dict[str, object]] = []
    create = ssl.create_default_context

    def recorded(**arguments: object) -> ssl.SSLContext:
        given.append(arguments)
        return create(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl, "create_default_context", recorded)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))

    context = tls.context_for(Options())

    assert [{"cafile": None, "capath": str(tmp_path)}] == given
    assert [] == context.get_ca_certs()


@pytest.mark.usefixtures("fresh_cache")
def test_openssl_variables_come_first(
    authority: trustme.CA,
    server_tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """``REQUESTS_CA_BUNDLE`` is ignored if ``SSL_CERT_FILE`` is set."""
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")

    with serve(Peer.upgrade, tls=server_tls) as server:
        open_link(server.url, None).release()


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere.pem"),
        ("SSL_CERT_FILE", __file__),
        ("SSL_CERT_DIR", "/nowhere"),
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem"),
        ("REQUESTS_CA_BUNDLE", __file__),
    ],
)
def test_bad_certificates_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """If one of these variables names no certificates, an error is raised."""
    monkeypatch.setenv(name, value)

    with serve(Peer.hold) as server:
        with pytest.raises(ConfigError, match=f"{name} names '{value}'"):
            open_link(f"wss://localhost:{server.port}/", None)
        with pytest.raises(ConfigError, match=f"{name} names '{value}'"):
            get(f"https://localhost:{server.port}")


@pytest.mark.parametrize(("begin", "end"), [(2019, 2020), (2090, 2099)])
@pytest.mark.parametrize("by", ["websocket", "http"])
def test_expired(
    authority: trustme.CA, client_tls: ssl.SSLContext, begin: int, end: int, by: str
) -> None:
    """If a certificate is not valid now, the error mentions the clock, but not ``ssl_context``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "localhost",
        not_before=datetime.datetime(begin, 1, 1, tzinfo=datetime.timezone.utc),
        not_after=datetime.datetime(end, 1, 1, tzinfo=datetime.timezone.utc),
    ).configure_cert(context)

    with (
        serve(Peer.hold, tls=context) as server,
        pytest.raises(ConnectError, match="not valid now") as caught,
    ):
        if by == "websocket":
            open_link(server.url, client_tls)
        else:
            get(f"https://localhost:{server.port}", client_tls)

    assert ("certificate has expired" in message_of(caught.value)) is (end < 2026)
    assert "clock" in message_of(caught.value)
    assert "ssl_context" not in message_of(caught.value)


@pytest.mark.usefixtures("fresh_cache")
def test_without_certifi(monkeypatch: pytest.MonkeyPatch) -> None:
    """If certifi is not installed, the certificates of the system are used."""
    monkeypatch.setitem(sys.modules, "certifi", None)

    context = tls.context_for(Options())

    assert ssl.CERT_REQUIRED == context.verify_mode
    assert context.check_hostname


@pytest.mark.usefixtures("fresh_cache")
def test_certificates_are_read_once() -> None:
    """The certificates are read once per process, because reading them is slow."""
    assert tls.context_for(Options()) is tls.context_for(Options(connect_timeout=1))


def test_own_context_is_used_as_it_is(client_tls: ssl.SSLContext) -> None:
    """The client uses the SSL context of the options itself, not a copy."""
    assert tls.context_for(Options(ssl_context=client_tls)) is client_tls


class StreamWithOutput:
    """A stream that has data to send after it has received data, as in a key update of TLS."""

    def __init__(self, stream: Stream) -> None:
        self.owes_output = False
        self.flushed = threading.Event()
        self._stream = stream

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        count = self._stream.receive_into(room, timeout)
        self.owes_output = True
        return count

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        self._stream.send_all(data, deadline)

    def flush(self, deadline: Deadline) -> None:
        self.owes_output = False
        self.flushed.set()


def test_the_idle_writer_sends_output_of_tls() -> None:
    """An idle writer sends the data that TLS itself has to send."""

    driven = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        driven.wait(30)
        peer.send_frame(TEXT, b"received")
        peer.hold()

    with serve(script) as server:
        link = Link.open(server.url, headers={}, options=Options(), name="test-1")
        stream = link._stream = StreamWithOutput(link._stream)
        with driving(link):
            driven.set()
            assert stream.flushed.wait(30)
