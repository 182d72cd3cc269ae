"""Every step of opening a link has a deadline, and every error names the step that failed."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from inworld_sync.errors import ConfigError, ConnectError, DeadlineExceeded
from inworld_sync.models.options import Options, TraceEvent
from inworld_sync.transport import deadline, tcp
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.websocket import Link

from support.clock import Clock
from support.driver import driven
from support.peers import TEXT, Peer, Script, serve

# If the server answers, this timeout is long enough for all steps on a busy machine.
SOON = Options(connect_timeout=1.0, proxy=False)


def open_link(url: str, options: Options = SOON) -> Link:
    return Link.open(url, headers={}, options=options, name="test-1")


def accept_only(peer: Peer) -> None:
    peer.hold()


def drip(data: Callable[[Peer], bytes]) -> Script:
    """Return a server that sends its response one byte at a time, each byte within the timeout."""

    def script(peer: Peer) -> None:
        peer.read_head()
        for byte in data(peer):
            if peer.released.wait(0.02):
                return
            peer.send(bytes([byte]))
        peer.hold()

    return script


@pytest.fixture
def frozen_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of deadlines. Each wait then has the complete timeout."""
    monkeypatch.setattr(deadline, "time", Clock())


@pytest.mark.usefixtures("frozen_deadline")
def test_black_hole_after_tcp() -> None:
    """If a server accepts TCP but never answers, ``connect_timeout`` ends the upgrade."""
    with (
        serve(accept_only) as server,
        pytest.raises(DeadlineExceeded, match="response to the upgrade") as caught,
    ):
        open_link(server.url)

    assert f"connecting to {server.url} took longer than 1 s" in str(caught.value)


@pytest.mark.usefixtures("frozen_deadline")
def test_black_hole_in_tls(client_tls: ssl.SSLContext) -> None:
    """If a server never answers the TLS handshake, ``connect_timeout`` ends the handshake."""
    with serve(accept_only) as server:
        url = f"wss://127.0.0.1:{server.port}/"
        with pytest.raises(DeadlineExceeded, match="passed in this step: the TLS handshake"):
            open_link(url, Options(connect_timeout=1.0, ssl_context=client_tls, proxy=False))


@pytest.mark.usefixtures("frozen_deadline")
def test_black_hole_at_a_proxy() -> None:
    """If a proxy never answers, ``connect_timeout`` ends the request to the proxy."""
    with serve(accept_only) as server:
        options = Options(connect_timeout=1.0, proxy=f"http://127.0.0.1:{server.port}")
        with pytest.raises(DeadlineExceeded, match="passed in this step: asking the proxy"):
            open_link("ws://service.invalid/", options)


@pytest.fixture
def full_listener() -> Iterator[int]:
    """Return a port whose accept queue is full. A SYN to this port gets no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()


def test_black_hole_in_tcp(full_listener: int) -> None:
    """If a host does not answer on TCP, ``connect_timeout`` ends the TCP connect."""
    with pytest.raises(DeadlineExceeded, match="passed in this step: connecting by TCP"):
        open_link(f"ws://127.0.0.1:{full_listener}/")


def test_black_hole_in_the_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the name service does not answer, ``connect_timeout`` ends the lookup."""
    go = threading.Event()
    real = socket.getaddrinfo

    def stuck(host: str, *args: object, **kwargs: int) -> object:
        if not kwargs.get("flags"):
            go.wait(30)
        return real(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    with pytest.raises(DeadlineExceeded, match="passed in this step: looking up the name"):
        open_link("ws://localhost:1/")
    go.set()


def test_dripped_answer() -> None:
    """A response that arrives byte by byte does not extend ``connect_timeout``."""
    with (
        serve(drip(lambda peer: peer.answer_101("X-Filler: " + "x" * 500))) as server,
        pytest.raises(DeadlineExceeded, match=r"took longer than 1 s"),
    ):
        open_link(server.url)


def test_endless_continue() -> None:
    """Endless ``100 Continue`` responses do not extend ``connect_timeout``."""

    def script(peer: Peer) -> None:
        peer.read_head()
        for _ in range(1000):
            if peer.released.wait(0.02):
                return
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.send(peer.answer_101())
        peer.hold()

    with serve(script) as server, pytest.raises(DeadlineExceeded, match=r"took longer than 1 s"):
        open_link(server.url)


def test_slow_proxy() -> None:
    """A proxy whose response arrives byte by byte does not extend ``connect_timeout``."""
    answer = b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 1000 + b"\r\n\r\n"
    with serve(drip(lambda _: answer)) as gate:
        options = Options(connect_timeout=1.0, proxy=f"http://127.0.0.1:{gate.port}")
        with pytest.raises(DeadlineExceeded, match="passed in this step: asking the proxy"):
            open_link("ws://service.invalid/", options)


def test_dripped_tls(client_tls: ssl.SSLContext) -> None:
    """TLS records that arrive byte by byte do not extend ``connect_timeout``."""

    def script(peer: Peer) -> None:
        peer.send(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KiB
        while not peer.released.wait(0.02):
            peer.send(b"\0")

    with serve(script) as server:
        options = Options(connect_timeout=1.0, ssl_context=client_tls, proxy=False)
        with pytest.raises(DeadlineExceeded, match=r"took longer than 1 s"):
            open_link(f"wss://localhost:{server.port}/", options)


def test_slow_response_in_time() -> None:
    """If a response arrives byte by byte, but in time, the response is accepted."""

    def script(peer: Peer) -> None:
        peer.read_head()
        for byte in peer.answer_101():
            peer.send(bytes([byte]))
        peer.send_frame(TEXT, b"welcome")
        peer.read_until_end()

    with serve(script) as server, driven(server.url, Options()) as driver:
        assert b"welcome" == driver.next()


def test_the_callers_deadline_is_used() -> None:
    """If the caller has its own deadline, which began earlier, this deadline is used."""
    with (
        serve(accept_only) as server,
        pytest.raises(DeadlineExceeded, match=r"^speaking took longer than 1 s"),
    ):
        Link.open(
            server.url,
            headers={},
            options=Options(),
            name="test-1",
            deadline=Deadline(1, "speaking"),
        )


def test_refused_port() -> None:
    """If nothing listens on a port, the ConnectError names the host and the reason."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        with pytest.raises(ConnectError, match=rf"localhost:{port} cannot be reached: .*refused"):
            open_link(f"ws://localhost:{port}/")


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a host name has no address, the ConnectError names the host name."""

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(ConnectError, match=r"name lookup of 'nowhere.invalid' failed"):
        open_link("ws://nowhere.invalid/")


# (invalid URL, words of the error)
BAD_URLS = [
    ("ftp://host/", "wss://host was expected"),
    ("wss://", "wss://host was expected"),
    ("wss://host:notaport/", "wss://host was expected"),
    ("host/path", "wss://host was expected"),
    ("wss://host/a path", "percent-encoded"),
    ("wss://host/ö", "percent-encoded"),
    ("wss://hóst/", "Punycode"),
    ("ws://a..b/", "is not a name"),
    ("https://.api.inworld.ai", "is not a name"),
    (f"wss://{'a' * 64}.test", "is not a name"),
    ("wss://host/\r\nX: y", "percent-encoded"),
]


@pytest.mark.parametrize(("url", "words"), BAD_URLS)
def test_bad_urls(url: str, words: str) -> None:
    """An invalid URL raises a ConfigError before anything is sent."""
    with pytest.raises(ConfigError, match=words):
        open_link(url)


def dead_and_alive(port: int, dead_port: int) -> list[tuple[object, ...]]:
    """Return two addresses of one host. Only the second address answers."""
    kind, family = socket.SOCK_STREAM, socket.AF_INET
    return [
        (family, kind, 6, "", ("127.0.0.1", dead_port)),
        (family, kind, 6, "", ("127.0.0.1", port)),
    ]


def test_next_address_after_a_head_start(
    full_listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first address of a host does not answer, the second address is used."""
    with serve(Peer.upgrade) as server:
        addresses = dead_and_alive(server.port, full_listener)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

        link = open_link("ws://service.invalid/", Options(proxy=False))

        assert link.stats().connect.tcp_ms >= tcp._HEAD_START * 1000 * 0.9
        link.release()


def test_families_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv4 and IPv6 addresses are tried alternately, in the order of the system."""
    six, four, kind = socket.AF_INET6, socket.AF_INET, socket.SOCK_STREAM
    found = [(six, kind, 6, "", (f"::{n}", 1, 0, 0)) for n in (1, 2, 3)]
    found += [(four, kind, 6, "", (f"127.0.0.{n}", 1)) for n in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    addresses = tcp.look_up("service.invalid", 1, Deadline(5.0, "looking"))

    assert ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"] == [each[1][0] for each in addresses]


def test_connected_is_traced(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """The trace event of a connect has the duration of each step."""
    events: list[TraceEvent] = []
    options = Options(ssl_context=client_tls, on_trace=events.append)

    with serve(Peer.upgrade, tls=server_tls) as server:
        link = open_link(server.url, options)
        stats = link.stats()
        link.release()

    assert ["connected", "closed"] == [event.name for event in events]
    assert {"dns_ms", "tcp_ms", "proxy_ms", "tls_ms", "upgrade_ms"} <= set(events[0].facts)
    assert events[0].seconds == pytest.approx(stats.connect.total_ms / 1000)
    assert stats.connect.tls_ms > 0
    assert "TLSv1.3" == stats.tls_version
