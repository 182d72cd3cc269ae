"""Tests of waits for sockets, and of reads from streams."""

from __future__ import annotations

import math
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from inworld_sync.errors import DeadlineExceeded
from inworld_sync.transport import deadline as deadline_module, self_pipe as self_pipe_module
from inworld_sync.transport.deadline import Deadline, RunningDeadline
from inworld_sync.transport.self_pipe import SelfPipe, Waiter, WokenUp
from inworld_sync.transport.stream import PlainStream, receive_by

from support.clock import Clock


@pytest.fixture
def self_pipe() -> Iterator[SelfPipe]:
    self_pipe = SelfPipe()
    yield self_pipe
    self_pipe.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture(params=["poll", "select"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with poll, and again with select, as on Windows."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll", raising=False)
        monkeypatch.delattr(self_pipe_module, "_poll")
    elif not hasattr(select, "poll"):
        pytest.skip("this system has no poll")


Pair = tuple[socket.socket, socket.socket]


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("timeout", [None, math.inf, 10.0, 1e300])
def test_ready(pair: Pair, self_pipe: SelfPipe, timeout: float | None) -> None:
    """A wait ends when the socket has data to read, or when the socket accepts data to send."""
    pair[1].send(b"x")

    Waiter(pair[0], self_pipe, write=False).wait(timeout)
    Waiter(pair[0], self_pipe, write=True).wait(timeout)


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("timeout", [0.0, 0.0004, 0.01])
def test_timeout(pair: Pair, self_pipe: SelfPipe, timeout: float) -> None:
    """If the event does not occur, the wait ends after its timeout."""
    with pytest.raises(TimeoutError):
        Waiter(pair[0], self_pipe, write=False).wait(timeout)


@pytest.mark.usefixtures("system")
def test_wake_before(pair: Pair, self_pipe: SelfPipe) -> None:
    """If a self-pipe is already set, every wait ends at once, even if the socket is ready."""
    pair[1].send(b"x")
    self_pipe.set()

    for write in (False, True, False):
        with pytest.raises(WokenUp):
            Waiter(pair[0], self_pipe, write=write).wait(None)


@pytest.mark.usefixtures("system")
def test_wake_during(pair: Pair, self_pipe: SelfPipe) -> None:
    """Setting a self-pipe ends the waits of several threads at the same time."""
    woken = threading.Semaphore(0)

    def wait() -> None:
        try:
            Waiter(pair[0], self_pipe, write=False).wait(None)
        except WokenUp:
            woken.release()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    self_pipe.set()

    assert all(woken.acquire(timeout=30) for _ in threads)
    for thread in threads:
        thread.join(30)


def test_peer_is_gone(pair: Pair, self_pipe: SelfPipe) -> None:
    """At the end of a stream, a read raises EOFError. It does not return an empty result."""
    stream = PlainStream(pair[0], self_pipe)
    pair[1].send(b"last")
    pair[1].close()
    room = memoryview(bytearray(10))

    assert 4 == stream.receive_into(room, 10.0)
    with pytest.raises(EOFError):
        stream.receive_into(room, 10.0)


class EndlessStream:
    """A stream that always has data."""

    owes_output = False

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        return len(room)

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None: ...

    def flush(self, deadline: Deadline) -> None: ...


def test_flood() -> None:
    """If a server never stops sending, a read still ends at its deadline."""
    with pytest.raises(DeadlineExceeded):
        receive_by(EndlessStream(), memoryview(bytearray(10)), Deadline(0.0, "waiting"))


def test_a_stop_during_a_send(
    pair: Pair, self_pipe: SelfPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the process is stopped during a wait to send, the time of the stop does not count."""
    clock, data = Clock(), bytes(4_000_000)
    monkeypatch.setattr(deadline_module, "time", clock)
    stream = PlainStream(pair[0], self_pipe)
    received = bytearray()

    class Stopped:
        """A wait in which the process is stopped for a minute, while the other side reads."""

        def wait(self, timeout: float | None) -> None:
            assert timeout, "no time was left"
            clock.now += 60
            received.extend(pair[1].recv(1_000_000))

    monkeypatch.setattr(stream, "_writable", Stopped())
    stream.send_all(data, RunningDeadline(1.0, "sending"))
    while len(received) < len(data):
        received.extend(pair[1].recv(1_000_000))

    assert data == received
