"""Receiving messages and control frames, violations of the protocol, and ends of connections."""

from __future__ import annotations

import ssl
import threading

import attrs
import pytest

from inworld_sync.errors import ConnectionLost, RemoteProtocolError
from inworld_sync.models.options import Options
from inworld_sync.transport import connect
from inworld_sync.transport.websocket import Link, LinkEnd

from support.driver import PATIENCE_SECONDS, PATIENT, driven
from support.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, Script, frame, serve
from support.sound_card import until


def speaking(*frames: bytes, then: Script = Peer.read_until_end) -> Script:
    """Return a server that upgrades, sends *frames*, and then calls *then*."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(b"".join(frames))
        then(peer)

    return script


NORMAL_CLOSE = frame(CLOSE, b"\x03\xe8bye")

# (frames that a server sends, messages that the client receives)
STREAMS = [
    ([frame(TEXT, b"one")], [b"one"]),
    ([frame(TEXT, b"one"), frame(TEXT, b""), frame(TEXT, b"three")], [b"one", b"", b"three"]),
    ([frame(0x01, b"a"), frame(0x00, b"b"), frame(CONTINUATION, b"c")], [b"abc"]),
    ([frame(0x01, b""), frame(CONTINUATION, b"")], [b""]),
    (
        [frame(0x01, b"a"), frame(PING, b"1"), frame(0x00, b"b"), frame(PONG), frame(0x80, b"c")],
        [b"abc"],
    ),
    ([frame(0x01, b"a"), frame(CONTINUATION, b"b"), frame(TEXT, b"next")], [b"ab", b"next"]),
    ([frame(BINARY, b"{}"), frame(TEXT, b"next")], [b"{}", b"next"]),
    ([frame(BINARY, b"\xff\xfe not checked")], [b"\xff\xfe not checked"]),
]


@pytest.mark.parametrize(("frames", "expected"), STREAMS)
def test_messages(frames: list[bytes], expected: list[bytes]) -> None:
    """Messages are complete and in order, even with control frames between their fragments."""
    with (
        serve(speaking(*frames, NORMAL_CLOSE)) as server,
        driven(server.url, PATIENT) as driver,
    ):
        assert expected == [driver.next() for _ in expected]
        assert driver.messages.get(timeout=30) is None
        stats = driver.link.stats()

    assert len(expected) == stats.messages_in
    assert sum(each[0] == BINARY for each in frames) == stats.binary_messages


def test_messages_over_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """The messages are complete, whether TLS records are longer or shorter than the messages."""
    sizes = [0, 1, 5, 16_384, 16_385, 40_000, 100_000, 1_500_000, 3]

    def script(peer: Peer) -> None:
        peer.upgrade()
        data = b"".join(frame(TEXT, b"x" * size) for size in sizes)
        for begin in range(0, len(data), 9_999):
            peer.send(data[begin : begin + 9_999])
        peer.read_until_end()

    with (
        serve(script, tls=server_tls) as server,
        driven(server.url, Options(ssl_context=client_tls)) as driver,
    ):
        assert sizes == [len(driver.next()) for _ in sizes]


def test_unread_messages() -> None:
    """A message counts as unread until it was handled, even if the socket is already empty."""
    go = threading.Event()
    handled: list[bool] = []

    def handle(_: bytes) -> None:
        handled.append(driver.link.has_unread())

    def script(peer: Peer) -> None:
        peer.upgrade()
        assert go.wait(PATIENCE_SECONDS)
        peer.send(frame(TEXT, b"one"))
        peer.read_until_end()

    with serve(script) as server, driven(server.url, PATIENT, on_message=handle) as driver:
        until(lambda: not driver.link.has_unread())
        go.set()
        driver.next()
        until(lambda: not driver.link.has_unread())

    assert [True] == handled


def test_unread_messages_while_they_are_received(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message counts as unread even if the reader empties the socket during the look at it."""
    looking, handling, looked = (threading.Event() for _ in range(3))

    def handle(_: bytes) -> None:
        handling.set()
        assert looked.wait(PATIENCE_SECONDS)

    def script(peer: Peer) -> None:
        peer.upgrade()
        assert looking.wait(PATIENCE_SECONDS)
        peer.send(frame(TEXT, b"one"))
        peer.read_until_end()

    with serve(script) as server, driven(server.url, PATIENT, on_message=handle) as driver:
        until(lambda: not driver.link.has_unread())

        class LateWaiter(connect.Waiter):
            """Looks at the socket after the reader has received the message."""

            def wait(self, timeout: float | None) -> None:
                looking.set()
                assert handling.wait(PATIENCE_SECONDS)
                super().wait(timeout)

        monkeypatch.setattr(connect, "Waiter", LateWaiter)
        is_unread = driver.link.has_unread()
        looked.set()

    assert is_unread


def test_message_with_the_answer_to_the_upgrade() -> None:
    """A frame in the same TCP segment as the response to the upgrade is received."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(peer.answer_101() + frame(TEXT, b"early") + frame(TEXT, b"la")[:3])
        peer.send(frame(TEXT, b"la")[3:])
        peer.read_until_end()

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        assert [b"early", b"la"] == [driver.next(), driver.next()]


def test_ping_is_answered() -> None:
    """The pong of the client has the same bytes as the ping of the server."""
    answered: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send_frame(PING, b"echo this")
        answered.append(peer.read_frame())
        peer.send_frame(TEXT, b"done")
        peer.read_until_end()

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        driver.next()

    assert [(PONG, b"echo this")] == answered


# (last frame of the server, expected end of the link)
SERVER_ENDS = [
    (frame(CLOSE, b"\x03\xe8bye"), LinkEnd(by="server", code=1000, reason="bye", clean=True)),
    (frame(CLOSE, b"\x03\xf3"), LinkEnd(by="server", code=1011, clean=True)),
    (frame(CLOSE, b"\x0f\xa1own"), LinkEnd(by="server", code=4001, reason="own", clean=True)),
    (frame(CLOSE), LinkEnd(by="server", code=1005, clean=True)),
]


@pytest.mark.parametrize(("last", "expected"), SERVER_ENDS)
def test_server_closes(last: bytes, expected: LinkEnd) -> None:
    """The end of the link has the server's code and reason. The client answers with this code."""
    echoed: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(last)
        echoed.append(peer.read_frame())
        assert b"" == peer.read_until_end(), "nothing follows CLOSE"

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        assert expected == driver.ended()

    assert [(CLOSE, last[2:4])] == echoed


def test_reason_is_redacted() -> None:
    """If the server's reason contains a part of the key, this part is removed."""
    last = frame(CLOSE, b'\x03\xe8bad key "abcd***"')

    with serve(speaking(last)) as server, driven(server.url, PATIENT) as driver:
        assert "bad key ***" == driver.ended().reason


def send_for_ever(link: Link) -> None:
    while True:
        link.send("x" * 1000)


def test_messages_before_the_end_are_received_after_a_failed_send() -> None:
    """If sending fails, the messages that the server sent before the end are still received."""
    go_on = threading.Event()
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send_frame(TEXT, b"first")
        peer.send(frame(TEXT, b'{"error": {}}') + NORMAL_CLOSE)
        peer.hang_up()
        hung_up.set()

    with (
        serve(script) as server,
        driven(server.url, PATIENT, on_message=lambda _: go_on.wait(30)) as driver,
    ):
        assert hung_up.wait(30)
        with pytest.raises(ConnectionLost, match="can no longer send messages"):
            send_for_ever(driver.link)
        go_on.set()

        assert [b"first", b'{"error": {}}'] == [driver.next(), driver.next()]
        assert LinkEnd(by="server", code=1000, reason="bye", clean=True) == driver.ended()


def _hang_up(peer: Peer) -> None:
    peer.hang_up()


def _reset(peer: Peer) -> None:
    peer.reset()


@pytest.mark.parametrize("then", [_hang_up, _reset])
@pytest.mark.parametrize("part", [b"", frame(TEXT, b"x" * 1000)[:500], frame(0x01, b"part")])
def test_cut_without_close(part: bytes, then: Script) -> None:
    """If a connection ends without CLOSE, the code is 1006. A cut message is not returned."""
    with serve(speaking(part, then=then)) as server, driven(server.url, PATIENT) as driver:
        end = driver.ended()

        assert ("network", 1006, False) == (end.by, end.code, end.clean)
        assert isinstance(end.error, ConnectionLost)
        assert driver.messages.get(timeout=30) is None


def test_tls_close_without_websocket_close(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """If TLS ends without CLOSE, the code is 1006."""

    def unwrap(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        peer.sock.unwrap()

    with (
        serve(speaking(frame(TEXT, b"last"), then=unwrap), tls=server_tls) as server,
        driven(server.url, Options(ssl_context=client_tls)) as driver,
    ):
        assert b"last" == driver.next()
        assert ("network", 1006) == (driver.ended().by, driver.ended().code)


# (violation of the protocol after a valid message, close code of the client's answer)
VIOLATIONS = [
    (frame(TEXT, b"x", mask=b"abcd"), 1002),
    (frame(TEXT | 0x40, b"x"), 1002),
    (frame(CONTINUATION, b"of nothing"), 1002),
    (frame(0x01, b"a") + frame(TEXT, b"b"), 1002),
    (frame(CLOSE, b"\x03"), 1002),
    (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    (frame(TEXT, b"x" * 101), 1009),
    (frame(0x01, b"x" * 60) + frame(CONTINUATION, b"x" * 41), 1009),
]


@pytest.mark.parametrize(("bad", "code"), VIOLATIONS)
def test_violations(bad: bytes, code: int) -> None:
    """The client answers a violation with a close code. The end of the link has the error."""
    received: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(frame(TEXT, b"good") + bad)
        received.append(peer.read_frame())

    with (
        serve(script) as server,
        driven(server.url, attrs.evolve(PATIENT, max_message_bytes=100)) as driver,
    ):
        assert b"good" == driver.next()
        end = driver.ended()

    assert ("client", code) == (end.by, end.code)
    assert isinstance(end.error, RemoteProtocolError)
    assert [(CLOSE, code.to_bytes(2, "big"))] == [(first, data[:2]) for first, data in received]


def test_oversized_message_is_refused_by_its_header() -> None:
    """If the length in a header exceeds the limit, the link ends, and no memory is allocated."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(bytes([TEXT, 127]) + (1 << 40).to_bytes(8, "big"))
        peer.read_until_end()

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        assert 1009 == driver.ended().code


def test_ping_timeout() -> None:
    """If a server sends nothing, not even a pong, the link ends after ``ping_timeout``."""
    options = Options(ping_timeout=0.3, ping_interval=0.1)

    with serve(speaking(then=Peer.hold)) as server, driven(server.url, options) as driver:
        end = driver.ended()

    assert ("network", 1006) == (end.by, end.code)
    assert "silent for 0.3 s" in end.reason


def test_any_byte_keeps_the_link_alive() -> None:
    """If a message arrives slowly, for longer than ``ping_timeout``, the link does not end."""
    message = frame(TEXT, b"x" * 20)

    def script(peer: Peer) -> None:
        peer.upgrade()
        for index in range(len(message)):
            assert not peer.released.wait(0.15)
            peer.send(message[index : index + 1])
        peer.read_until_end()

    # The 22 bytes arrive at intervals of 150 ms, in 3.3 s.
    with (
        serve(script) as server,
        driven(server.url, Options(ping_timeout=3, ping_interval=60)) as driver,
    ):
        assert b"x" * 20 == driver.next()


def test_pongs_keep_a_quiet_link_alive() -> None:
    """If the ping interval is above ``ping_timeout``, pings are still sent early enough."""
    pinged = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.upgrade()
        while True:
            first, payload = peer.read_frame()
            if first == PING:
                pinged.release()
                peer.send_frame(PONG, payload)

    with (
        serve(script) as server,
        driven(server.url, Options(ping_timeout=2, ping_interval=60)) as driver,
    ):
        assert all(pinged.acquire(timeout=30) for _ in range(3))
        assert driver.link.end is None
        assert driver.link.stats().rtt_ms is not None


def test_a_slow_consumer_is_not_silence() -> None:
    """The time that the consumer needs for a message does not count toward ``ping_timeout``."""
    go_on = threading.Event()

    def slow(message: bytes) -> None:
        if message == b"first":
            # This wait is longer than ping_timeout. If the wait counted, the link would end.
            go_on.wait(2.5)

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send_frame(TEXT, b"first")
        while True:
            first, payload = peer.read_frame()
            if first == PING:
                peer.send_frame(PONG, payload)
                peer.send_frame(TEXT, b"second")

    with (
        serve(script) as server,
        driven(server.url, Options(ping_timeout=2), on_message=slow) as driver,
    ):
        assert [b"first", b"second"] == [driver.next(), driver.next()]
        assert driver.link.end is None
