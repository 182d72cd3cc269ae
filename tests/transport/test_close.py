"""A client closes a link within a deadline, from any thread, and only once."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from inworld_sync.errors import ClosedError
from inworld_sync.models.options import Options
from inworld_sync.transport.websocket import Link, LinkEnd

from support.driver import PATIENT, driven, driving
from support.forks import in_child
from support.peers import CLOSE, TEXT, Peer, serve

STALL_BYTES = 8 << 20

# A close takes much less time than this (0.6 s by default). A close that hangs takes more time.
PATIENCE_SECONDS = 30.0

# With these options, only close_timeout can end a close early.
STALLING = Options(close_timeout=0.2, send_timeout=60.0, ping_timeout=60.0)


def silent(peer: Peer) -> None:
    """Upgrade, then neither send nor read anything."""
    peer.upgrade()
    peer.hold()


def echoing(peer: Peer) -> None:
    """Send every frame back, including CLOSE."""
    peer.upgrade()
    first = 0
    while first != CLOSE:
        first, payload = peer.read_frame()
        peer.send_frame(first, payload)


@pytest.mark.parametrize("is_secure", [False, True])
def test_close(is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Queued messages are sent before CLOSE. The server answers CLOSE, and both threads return."""
    frames: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        while not frames or frames[-1][0] != CLOSE:
            frames.append(peer.read_frame())
        peer.send_frame(TEXT, b"last words")
        peer.send_frame(CLOSE, b"\x03\xe8ok")

    with (
        serve(script, tls=server_tls if is_secure else None) as server,
        driven(server.url, Options(ssl_context=client_tls, close_timeout=30.0)) as driver,
    ):
        for index in range(100):
            driver.link.send(str(index))
        driver.link.close(1001, "going away")

        assert LinkEnd(by="client", code=1001, reason="going away", clean=True) == driver.ended()
        assert b"last words" == driver.next()
    assert [str(index).encode() for index in range(100)] == [data for _, data in frames[:-1]]
    assert (CLOSE, b"\x03\xe9going away") == frames[-1]


def test_close_on_a_silent_server() -> None:
    """If the server never answers CLOSE, close() returns after ``close_timeout``."""
    options = Options(close_timeout=0.2, ping_timeout=60.0)
    with serve(silent) as server, driven(server.url, options) as driver:
        started = time.monotonic()
        driver.link.close(1000, "bye")
        took = time.monotonic() - started

        assert LinkEnd(by="client", code=1000, reason="bye", clean=False) == driver.ended()
    assert 0.2 <= took < PATIENCE_SECONDS


def test_close_that_does_not_wait() -> None:
    """On the reader thread, close() queues CLOSE after the messages and returns at once."""
    frames: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.read_frame()
        peer.send_frame(TEXT, b"close now")
        while not frames or frames[-1][0] != CLOSE:
            frames.append(peer.read_frame())
        peer.send_frame(CLOSE, frames[-1][1])

    def close(_: bytes) -> None:
        driver.link.send("last words")
        driver.link.close(1000, "bye", wait=False)

    with serve(script) as server:
        with driven(server.url, Options(close_timeout=60.0), on_message=close) as driver:
            driver.link.send("go")

            assert b"close now" == driver.next()
            assert LinkEnd(by="client", code=1000, reason="bye", clean=True) == driver.ended()
    assert [(TEXT, b"last words"), (CLOSE, b"\x03\xe8bye")] == frames


def test_close_on_the_reader_thread_has_a_deadline() -> None:
    """close() on the reader thread ends a link to a silent server after ``close_timeout``."""
    options = Options(close_timeout=0.1, ping_timeout=60.0)
    with serve(silent) as server, driven(server.url, options) as driver:
        driver.link.close(1000, "bye", wait=False)

        assert LinkEnd(by="client", code=1000, reason="bye", clean=False) == driver.ended()


def test_later_closes_share_the_deadline() -> None:
    """All calls of close() share one deadline, which the first call starts."""
    options = Options(close_timeout=0.5, ping_timeout=60.0)
    with serve(silent) as server, driven(server.url, options) as driver:
        driver.link.close(wait=False)
        started = time.monotonic()
        for _ in range(100):
            driver.link.close()

        assert time.monotonic() - started < 100 * 0.5
        assert "client" == driver.ended().by


def test_close_with_a_stalled_writer() -> None:
    """close() returns after ``close_timeout`` even if the writer cannot send a frame."""
    with (
        serve(silent, receive_buffer_bytes=4096) as server,
        driven(server.url, STALLING) as driver,
    ):
        driver.link.send(b"x" * STALL_BYTES)
        started = time.monotonic()
        driver.link.close()
        driver.join()

    assert time.monotonic() - started < PATIENCE_SECONDS


def test_server_closes_while_the_writer_is_stalled() -> None:
    """If the server sends CLOSE and reads nothing, the link ends after ``close_timeout``."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send_frame(TEXT, b"ready")
        peer.read_exactly(1)
        peer.send_frame(CLOSE, b"\x03\xe8")
        peer.hold()

    with (
        serve(script, receive_buffer_bytes=4096) as server,
        driven(server.url, STALLING) as driver,
    ):
        assert b"ready" == driver.next()
        driver.link.send(b"x" * STALL_BYTES)
        started = time.monotonic()
        assert "server" == driver.ended().by

    assert time.monotonic() - started < PATIENCE_SECONDS


def test_close_is_idempotent() -> None:
    """Many calls of close() on many threads send only one CLOSE, and all calls return."""
    frames: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        frames.append(peer.read_frame())
        peer.send_frame(CLOSE, b"\x03\xe8")
        assert b"" == peer.read_until_end()

    with (
        serve(script) as server,
        driven(server.url, PATIENT) as driver,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda _: driver.link.close(), range(8)))
        driver.link.close(1001)
        driver.link.abort("late")

        assert LinkEnd(by="client", code=1000, clean=True) == driver.ended()
    assert [(CLOSE, b"\x03\xe8")] == frames


def test_both_sides_close_at_once() -> None:
    """If both sides send CLOSE at the same time, the link ends without an error."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        assert CLOSE == peer.read_frame()[0]
        peer.send_frame(CLOSE, b"\x03\xe9")

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        driver.link.close(1000)

        assert LinkEnd(by="client", code=1000, clean=True) == driver.ended()


def test_hanging_up_instead_of_a_close_frame() -> None:
    """If the server closes the TCP connection instead of sending CLOSE, there is no error."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.read_frame()

    with serve(script) as server, driven(server.url, Options(close_timeout=60.0)) as driver:
        driver.link.close()

        assert LinkEnd(by="client", code=1000, clean=False) == driver.ended()


def test_nothing_is_sent_after_close() -> None:
    """A closed link accepts no message."""
    with serve(echoing) as server, driven(server.url, PATIENT) as driver:
        driver.link.close()

        with pytest.raises(ClosedError, match="is closed"):
            driver.link.send("late")


@pytest.mark.parametrize("is_stalled", [False, True])
def test_abort(is_stalled: bool) -> None:
    """After an abort, both threads return, even if the reader waits and the writer is stalled."""
    options = Options(send_timeout=60.0, ping_timeout=60.0)
    with (
        serve(silent, receive_buffer_bytes=4096) as server,
        driven(server.url, options) as driver,
    ):
        if is_stalled:
            driver.link.send(b"x" * STALL_BYTES)
        driver.link.abort("enough")

        assert LinkEnd(by="client", code=1006, reason="enough") == driver.ended()


class SocketWithoutShutdown:
    """A socket whose shutdown() does not end the waits of other threads, as on some systems."""

    def __init__(self, sock: socket.socket) -> None:
        self.close = sock.close

    def shutdown(self, how: int) -> None:
        pass


@pytest.mark.parametrize("is_stalled", [False, True])
def test_abort_needs_no_shutdown(is_stalled: bool) -> None:
    """Both threads also return on systems where shutdown() does not end the waits of a socket."""
    options = Options(send_timeout=60.0, ping_timeout=60.0)
    with serve(silent, receive_buffer_bytes=4096) as server:
        link = Link.open(server.url, headers={}, options=options, name="test-1")
        shielded = SocketWithoutShutdown(link._connection.sock)
        link._connection = attrs.evolve(link._connection, sock=shielded)
        with driving(link) as driver:
            if is_stalled:
                link.send(b"x" * STALL_BYTES)
            link.abort()
            driver.join()


def test_abort_before_the_threads() -> None:
    """If a link ends before its threads have started, the threads return at once."""
    with serve(silent) as server:
        link = Link.open(server.url, headers={}, options=Options(), name="test-1")
        link.abort()
        link.run_writer()

        assert link.receive() is None
        link.release()


def test_close_before_the_threads() -> None:
    """If the writer of a link has not started, close() does not wait for the writer."""
    with serve(silent) as server:
        link = Link.open(server.url, headers={}, options=Options(close_timeout=60.0), name="test-1")
        link.close()

        assert link.end == LinkEnd(by="client", code=1000)
        link.release()
        link.release()


def test_the_server_sees_an_abort_at_once() -> None:
    """The server sees an abort at once, before the threads of the client are joined."""
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        assert b"" == peer.read_until_end()
        ended.set()

    with serve(script) as server:
        link = Link.open(server.url, headers={}, options=Options(), name="test-1")
        link.abort()
        try:
            assert ended.wait(30)
        finally:
            link.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """In a forked child, the link can only be closed. No call in the child disturbs the parent."""
    with serve(echoing) as server, driven(server.url, PATIENT) as driver:
        link = driver.link
        for use in (
            lambda: link.send("child"),
            lambda: link.flush(timeout=0),
            link.receive,
            link.run_writer,
        ):
            output = in_child(use)
            assert output.startswith("ClosedError"), output
            assert f"opened by process {os.getpid()}" in output
        for harmless in (link.close, link.abort, link.release):
            assert "" == in_child(harmless)
        link.send("parent")

        assert b"parent" == driver.next()
