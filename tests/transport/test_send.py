"""Sending messages and frames, waits for room in the queue, and ends of connections."""

from __future__ import annotations

import functools
import math
import queue
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
from websockets.frames import Frame, Opcode

from inworld_sync.errors import ClosedError, ConfigError, ConnectionLost, DeadlineExceeded
from inworld_sync.models.options import Options

from support.driver import PATIENT, Driver, driven
from support.peers import CLOSE, PING, PONG, TEXT, Peer, serve

# The kernel's buffers of both sides are smaller. If the server does not read, the sender stalls.
STALL_BYTES = 8 << 20
# The header of a frame with so many bytes (RFC 6455, section 5.2).
_HEADER_BYTES = 14
STALLING = attrs.evolve(PATIENT, max_queued_bytes=2 * STALL_BYTES, ping_interval=60)


class Reader:
    """A server that records the messages. With *waits*, reading begins when ``go`` is set."""

    def __init__(self, *, waits: bool = False) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.go = threading.Event()
        if not waits:
            self.go.set()

    def __call__(self, peer: Peer) -> None:
        peer.upgrade()
        self.go.wait(30)
        while True:
            first, payload = peer.read_frame()
            self.frames.append((first, payload))
            if first == CLOSE:
                peer.send_frame(CLOSE, payload)
                return

    @property
    def messages(self) -> list[bytes]:
        return [payload for first, payload in self.frames if first == TEXT]


# (message of each accepted type, bytes that are sent)
MESSAGES = [
    (b"bytes", b"bytes"),
    (bytearray(b"bytearray"), b"bytearray"),
    (memoryview(b"view"), b"view"),
    ("größer", "größer".encode()),
    (b"", b""),
    (b"x" * 125, b"x" * 125),
    (b"x" * 126, b"x" * 126),
    (b"x" * 65_535, b"x" * 65_535),
    (b"x" * 65_536, b"x" * 65_536),
    (b"xyz" * 300_001, b"xyz" * 300_001),
]


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_messages(message: bytes | bytearray | memoryview | str, expected: bytes) -> None:
    """A message of each type and size is sent as one masked text frame."""
    reader = Reader()

    with serve(reader) as server, driven(server.url, PATIENT) as driver:
        driver.link.send(message)
        driver.link.close()

    assert [(TEXT, expected), (CLOSE, b"\x03\xe8")] == reader.frames


def test_a_buffer_is_copied() -> None:
    """The caller may change a buffer as soon as send() has returned."""
    reader = Reader(waits=True)
    buffer = bytearray(b"before")

    with serve(reader) as server, driven(server.url, PATIENT) as driver:
        driver.link.send(buffer)
        buffer[:] = b"after!"
        reader.go.set()
        driver.link.close()

    assert [b"before"] == reader.messages


def test_masked_frames() -> None:
    """A frame that is already masked is sent unchanged, in order with other messages."""
    reader = Reader()
    masked = Frame(Opcode.TEXT, b"built elsewhere").serialize(mask=True)

    with serve(reader) as server, driven(server.url, PATIENT) as driver:
        driver.link.send("first")
        driver.link.send_frame(masked)
        driver.link.send("last")
        driver.link.close()

    assert [b"first", b"built elsewhere", b"last"] == reader.messages


@pytest.mark.parametrize("is_secure", [False, True])
def test_threads_and_control_frames_do_not_mix(
    is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Messages of eight threads, pings and pongs are complete, and in order for each thread."""
    senders, count = 8, 60
    received: list[bytes] = []
    pongs = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        while True:
            first, payload = peer.read_frame()
            if first == TEXT:
                received.append(payload)
                if len(received) % 10 == 0:
                    peer.send_frame(PING, str(len(received)).encode())
            elif first == PONG:
                pongs.append(payload)
            elif first == PING:
                peer.send_frame(PONG, payload)
            elif first == CLOSE:
                peer.send_frame(CLOSE, payload)
                return

    def send_all(driver: Driver, sender: int) -> None:
        for index in range(count):
            driver.link.send(f"{sender} {index} ".encode() + b"x" * (index * 997 % 70_000))

    options = Options(ping_interval=0.002, ssl_context=client_tls, max_queued_bytes=100_000)
    with (
        serve(script, tls=server_tls if is_secure else None) as server,
        driven(server.url, options) as driver,
    ):
        with ThreadPoolExecutor(senders) as pool:
            list(pool.map(lambda sender: send_all(driver, sender), range(senders)))
        driver.link.flush(timeout=30)
        driver.link.close()
        assert driver.ended().clean

    heads = [tuple(map(int, message.split(b" ")[:2])) for message in received]
    assert pongs
    for sender in range(senders):
        assert list(range(count)) == [index for who, index in heads if who == sender]


def test_pong_while_the_writer_is_stalled() -> None:
    """While the server reads nothing, the client still receives. The pong precedes queued text."""
    order: list[int] = []
    received = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        first, size = peer.read_exactly(1), 1
        peer.send_frame(PING, b"old")
        peer.send_frame(PING, b"new")
        peer.send_frame(TEXT, b"heard")
        assert received.wait(30)
        # The first byte of the stalled frame was read. Read the rest of the frame.
        assert (TEXT, 1) == (first[0], size)
        header = peer.read_exactly(1 + 8 + 4)
        peer.read_exactly(int.from_bytes(header[1:9], "big"))
        for _ in range(3):
            first_byte, payload = peer.read_frame()
            order.append(first_byte)
            if first_byte == PONG:
                assert b"new" == payload, "only the newest ping is answered"

    with (
        serve(script, receive_buffer_bytes=4096) as server,
        driven(server.url, STALLING) as driver,
    ):
        driver.link.send(b"x" * STALL_BYTES)
        driver.link.send("queued 1")
        driver.link.send("queued 2")
        assert b"heard" == driver.next()
        received.set()
        driver.link.flush(timeout=30)

    assert [PONG, TEXT, TEXT] == order


def test_the_queue_is_bounded() -> None:
    """If there is no room in time, send() raises an error, and the message is never sent."""
    reader = Reader(waits=True)
    options = attrs.evolve(PATIENT, max_queued_bytes=1000, ping_interval=60)

    with (
        serve(reader, receive_buffer_bytes=4096) as server,
        driven(server.url, options) as driver,
    ):
        driver.link.send(b"x" * STALL_BYTES)  # exceeds the limit, but the queue is empty
        with pytest.raises(DeadlineExceeded, match="room"):
            driver.link.send(b"refused", timeout=0.05)
        assert STALL_BYTES + _HEADER_BYTES == driver.link.stats().queued_bytes
        reader.go.set()
        driver.link.send(b"accepted", timeout=30)
        driver.link.flush(timeout=30)
        assert 0 == driver.link.stats().queued_bytes
        driver.link.close()

    assert [STALL_BYTES, len(b"accepted")] == [len(message) for message in reader.messages]


@pytest.mark.parametrize("timeout", [-1, math.nan, "5", True])
def test_bad_timeouts(timeout: float) -> None:
    """A timeout that is negative or not a number raises ConfigError. A long timeout does not."""
    with serve(Reader()) as server, driven(server.url, PATIENT) as driver:
        for call in (driver.link.flush, functools.partial(driver.link.send, b"x")):
            with pytest.raises(ConfigError, match=r"timeout must be a number of seconds"):
                call(timeout=timeout)
        driver.link.send(b"x", timeout=1e12)
        driver.link.flush(timeout=1e12)
        driver.link.close()


def test_very_long_options() -> None:
    """The timeouts of the options may be longer than any wait that the system supports."""
    names = ("connect_timeout", "send_timeout", "close_timeout", "ping_interval", "ping_timeout")
    reader = Reader()
    with (
        serve(reader) as server,
        driven(server.url, Options(**dict.fromkeys(names, 1e6))) as driver,  # type: ignore[arg-type]
    ):
        driver.link.send(b"x")
        driver.link.flush(timeout=30)
        driver.link.close()
        assert driver.ended().clean

    assert reader.messages == [b"x"]


def test_a_message_that_frees_memory() -> None:
    """With ``needs_room=False``, a message is queued even if the queue has no room."""
    reader = Reader(waits=True)

    with (
        serve(reader, receive_buffer_bytes=4096) as server,
        driven(
            server.url, attrs.evolve(PATIENT, max_queued_bytes=1000, ping_interval=60)
        ) as driver,
    ):
        driver.link.send(b"x" * STALL_BYTES)
        driver.link.send(b"urgent", timeout=0.0, needs_room=False)
        reader.go.set()
        driver.link.flush(timeout=30)
        driver.link.close()

    assert [STALL_BYTES, len(b"urgent")] == [len(message) for message in reader.messages]


def test_the_timer() -> None:
    """The writer calls the timer's function once for each time that was set, never too early."""
    called: queue.Queue[float] = queue.Queue()

    with (
        serve(Reader()) as server,
        driven(
            server.url, Options(ping_interval=60), on_timer=lambda: called.put(time.monotonic())
        ) as driver,
    ):
        for seconds in (0.05, -1.0, 0.0):
            due = time.monotonic() + seconds
            driver.link.set_timer(due)
            assert called.get(timeout=30) >= due
        driver.link.set_timer(time.monotonic() + 3600)
        driver.link.send(b"sent while the timer runs")
        driver.link.flush(timeout=30)
        driver.link.close()

    assert called.empty()


def test_the_timer_may_send() -> None:
    """A message that the timer's function queues is sent."""
    reader = Reader()
    drivers: queue.Queue[Driver] = queue.Queue()

    def send() -> None:
        driver = drivers.get()
        driver.link.send(b"from the timer", needs_room=False)
        driver.link.close(wait=False)

    with (
        serve(reader) as server,
        driven(server.url, Options(ping_interval=60), on_timer=send) as driver,
    ):
        drivers.put(driver)
        driver.link.set_timer(time.monotonic())
        driver.ended()

    assert [b"from the timer"] == reader.messages


def _close(driver: Driver) -> None:
    driver.link.close()


def _abort(driver: Driver) -> None:
    driver.link.abort()


# (function that ends a link during a wait, error of the wait)
ENDINGS = [(_close, ClosedError), (_abort, ClosedError)]
WAITS: list[Callable[[Driver], None]] = [
    lambda driver: driver.link.send(b"waits"),
    lambda driver: driver.link.flush(timeout=None),
]


@pytest.mark.parametrize("wait", WAITS, ids=["send", "flush"])
@pytest.mark.parametrize(("end", "error"), ENDINGS)
def test_waits_end_with_the_link(
    wait: Callable[[Driver], None], end: Callable[[Driver], None], error: type[Exception]
) -> None:
    """A wait for room, or for an empty queue, ends when the link ends."""
    reader = Reader(waits=True)
    with (
        serve(reader, receive_buffer_bytes=4096) as server,
        driven(server.url, Options(max_queued_bytes=1000, close_timeout=0.1)) as driver,
        ThreadPoolExecutor(1) as pool,
    ):
        driver.link.send(b"x" * STALL_BYTES)
        waiting = pool.submit(wait, driver)
        end(driver)
        with pytest.raises(error):
            waiting.result(30)
        reader.go.set()


@pytest.mark.parametrize("wait", WAITS, ids=["send", "flush"])
def test_waits_end_with_the_connection(wait: Callable[[Driver], None]) -> None:
    """If the server closes the connection, a wait raises a ConnectionLost that has a cause."""
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        go.wait(30)
        peer.reset()

    with (
        serve(script, receive_buffer_bytes=4096) as server,
        driven(server.url, Options(max_queued_bytes=1000)) as driver,
        ThreadPoolExecutor(1) as pool,
    ):
        driver.link.send(b"x" * STALL_BYTES)
        waiting = pool.submit(wait, driver)
        go.set()
        with pytest.raises(ConnectionLost) as caught:
            waiting.result(30)
        assert caught.value.__cause__ is not None
        assert 1006 == caught.value.code


def test_send_timeout() -> None:
    """If a frame is not sent in time, the link ends. Nothing is sent after the partial frame."""
    taken: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.released.wait(30)
        taken.append(peer.read_until_end())

    options = attrs.evolve(STALLING, send_timeout=0.2)
    with (
        serve(script, receive_buffer_bytes=4096) as server,
        driven(server.url, options) as driver,
    ):
        driver.link.send(b"\0" * STALL_BYTES)
        driver.link.send(b"follows")
        end = driver.ended()
        assert ("network", 1006) == (end.by, end.code)
        assert "accepted no data for 0.2 s" in end.reason
        with pytest.raises(ConnectionLost, match="network"):
            driver.link.send(b"late")
    # Only the start of one frame was sent: its header, its mask, and a payload of masked zeros.
    header, mask, rest = taken[0][:10], taken[0][10:14], taken[0][14:]
    assert bytes([TEXT, 0xFF]) + STALL_BYTES.to_bytes(8, "big") == header
    assert (mask * (len(rest) // 4 + 1))[: len(rest)] == rest
    assert len(rest) < STALL_BYTES


def test_after_the_server_closed() -> None:
    """If the server has closed the link, send() raises an error with the server's code."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send_frame(CLOSE, b"\x03\xf4restart")
        peer.read_frame()

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        driver.ended()
        with pytest.raises(ConnectionLost, match="ended by the server") as caught:
            driver.link.send(b"late")

    assert (1012, "restart") == (caught.value.code, caught.value.reason)


def test_flush_after_the_end() -> None:
    """If the server closes the link after all messages were sent, flush() raises no error."""

    flushed = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        assert flushed.wait(30)
        peer.read_frame()
        peer.send_frame(CLOSE, b"\x03\xe8")
        peer.read_frame()

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        driver.link.send(b"all of it")
        driver.link.flush(timeout=30)
        flushed.set()
        driver.ended()
        driver.link.flush(timeout=30)


def test_stats() -> None:
    """The statistics count the messages and bytes of both directions."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        first, payload = peer.read_frame()
        peer.send_frame(first, payload)
        peer.read_until_end()

    with serve(script) as server, driven(server.url, PATIENT) as driver:
        driver.link.send(b"x" * 100)
        driver.next()
        driver.link.flush(timeout=30)
        stats = driver.link.stats()

    assert (1, 1) == (stats.messages_in, stats.messages_out)
    assert (102, 106) == (stats.bytes_in, stats.bytes_out)
    assert (None, None) == (stats.proxy, stats.tls_version)
    assert stats.connect.total_ms >= stats.connect.upgrade_ms > 0.0
