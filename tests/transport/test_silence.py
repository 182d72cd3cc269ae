"""A connection counts as lost if the server is silent, but not if this process was stalled."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from inworld_sync.errors import ConnectionLost
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.silence import receive_after_silence

from support.driver import driven
from support.peers import PING, PONG, TEXT, Peer, serve

DEAD_AFTER_SECONDS = 2.0


class QuietStream:
    """
    A stream in which the waits before wait number *sends_at* raise TimeoutError. All other waits
    return one byte.

    Attributes:
        timeouts: The timeout of each wait.
    """

    owes_output = False

    def __init__(self, sends_at: int = sys.maxsize) -> None:
        self.timeouts: list[float | None] = []
        self._speaks_at = sends_at

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        self.timeouts.append(timeout)
        if len(self.timeouts) < self._speaks_at:
            raise TimeoutError
        room[:1] = b"x"
        return 1

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        raise AssertionError

    def send_now(self, data: bytes) -> memoryview | None:
        raise AssertionError

    def send_rest(self, rest: memoryview, deadline: Deadline) -> None:
        raise AssertionError

    def flush(self, deadline: Deadline) -> None:
        raise AssertionError


def test_silence() -> None:
    """
    The waits and the first step add up to ``ping_timeout``. After the last wait, data is read once
    more.
    """
    stream = QuietStream()

    with pytest.raises(ConnectionLost, match="silent for 10 s"):
        receive_after_silence(stream, memoryview(bytearray(8)), 10.0)

    assert [2.0] * 4 + [0] == stream.timeouts


@pytest.mark.parametrize("sends_at", [1, 2, 4, 5])
def test_a_byte_ends_the_silence(sends_at: int) -> None:
    """A byte that arrives during any of the waits, or after them, is returned."""
    room = bytearray(8)

    assert 1 == receive_after_silence(QuietStream(sends_at), memoryview(room), 10.0)
    assert b"x" == room[:1]


@pytest.mark.slow
def test_a_stalled_process_is_not_silence() -> None:
    """
    A connection is not lost if its process was stalled for longer than ``ping_timeout``.

    While one thread holds the GIL, no other thread runs, and no ping is sent. A thread that imports
    a large extension module may hold the GIL for so long.
    """
    pinged, answers = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        while True:
            first, payload = peer.read_frame()
            if first == PING:
                pinged.set()
                assert answers.wait(10)
                peer.send_frame(PONG, payload)
                peer.send_frame(TEXT, payload)

    options = Options(ping_timeout=DEAD_AFTER_SECONDS, ping_interval=0.1)
    with serve(script) as server, driven(server.url, options) as driver:
        assert pinged.wait(10)
        stall(DEAD_AFTER_SECONDS * 1.5)
        answers.set()

        assert all(driver.next() for _ in range(3))
        assert driver.link.end is None


def stall(seconds: float) -> None:
    """Hold the GIL for some seconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
    finally:
        sys.setswitchinterval(interval)
