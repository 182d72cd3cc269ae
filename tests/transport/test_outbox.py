"""A sender with the write lock writes to the socket itself. Other messages are queued."""

from __future__ import annotations

import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from inworld_sync.errors import ClosedError
from inworld_sync.models.options import Options
from inworld_sync.transport import frames
from inworld_sync.transport.outbox import Outbox, OutboxShut, Outgoing

from support.driver import Driver, driven
from support.peers import CLOSE, TEXT, Peer, serve

MESSAGE = Outgoing.of(frames.TEXT, b"message")
REST = attrs.evolve(MESSAGE, rest=memoryview(b"sage"))


def put(outbox: Outbox, item: Outgoing) -> bool:
    """Acquire the write lock and return True, or queue the message and return False."""
    if outbox.acquire_write_lock(len(item.frame)):
        return True
    outbox.put(item, None)
    return False


def release(outbox: Outbox, unsent: Outgoing | None = None) -> None:
    """Release the write lock that was acquired for the message."""
    outbox.release_write_lock(len(MESSAGE.frame), unsent)


class RunningOutbox:
    """An outbox with a writer thread that records the messages that it takes."""

    def __init__(self, seconds: float = 10) -> None:
        self._seconds = seconds
        self.outbox = Outbox(1 << 20)
        self.taken: list[Outgoing | None] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while item := self.outbox.pop(self._seconds):
                self.taken.append(item)
                self.outbox.sent(item)
        except OutboxShut:
            pass

    def __enter__(self) -> RunningOutbox:
        self.thread.start()
        while not put(self.outbox, MESSAGE):
            self.outbox.await_empty(10)  # the writer was not waiting yet
        self.taken.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.outbox.drop()
        self.thread.join(30)


def test_one_sender_has_the_write_lock() -> None:
    """While a sender has the write lock, a second message is queued. The writer sends it later."""
    with RunningOutbox() as running:
        second = Outgoing.of(frames.TEXT, b"second")
        assert not put(running.outbox, second)
        assert running.taken == []

        release(running.outbox)
        running.outbox.await_empty(10)

        assert running.taken == [second]


def test_the_writer_is_woken_by_the_release() -> None:
    """A writer that wakes up while a sender has the write lock still ends at its deadline."""
    with RunningOutbox(seconds=3) as running:
        outbox = running.outbox
        with outbox._lock:
            outbox._work.notify()
        while not outbox._writer_waits_for_lock:
            time.sleep(0.001)
        release(outbox)
        running.thread.join(30)

        assert not running.thread.is_alive()


def test_the_rest_is_sent_first() -> None:
    """The rest of a partly sent message is sent before all queued messages, also before a pong."""
    with RunningOutbox() as running:
        outbox = running.outbox
        put(outbox, Outgoing.of(frames.TEXT, b"second"))
        outbox.put_pong(b"pong")
        release(outbox, REST)
        outbox.await_empty(10)
        first, *others = running.taken

        assert first is not None
        assert first.rest == b"sage"
        assert [(frames.PONG, b"pong"), (frames.TEXT, b"second")] == [
            (item.opcode, frames.unmask(item.frame)) for item in others if item
        ]


def test_the_rest_is_sent_before_the_last_close() -> None:
    """If a link ends early, a partly sent frame is completed before CLOSE is sent."""
    with RunningOutbox() as running:
        assert running.outbox.end_with(b"\x03\xe8")
        release(running.outbox, REST)
        running.thread.join(30)
        first, last = running.taken

        assert first is not None
        assert first.rest == b"sage"
        assert last is not None
        assert last.opcode == frames.CLOSE


def test_rest_is_dropped_after_a_drop() -> None:
    """If the queue was dropped, the rest of a message that a sender returns is dropped too."""
    with RunningOutbox() as running:
        running.outbox.drop()
        release(running.outbox, REST)
        running.thread.join(30)

        assert running.taken == []
        assert running.outbox.queued_bytes == 0


def test_no_write_lock_while_the_queue_is_not_empty() -> None:
    """No sender gets the write lock while a message is queued or the writer sends."""
    outbox = Outbox(1 << 20)

    assert not put(outbox, MESSAGE)
    assert outbox.pop(0) == MESSAGE
    assert not put(outbox, MESSAGE)


def _settle(driver: Driver) -> None:
    """Send a message and wait until it was sent. The writer then waits for work."""
    driver.link.send("settle")
    driver.link.flush(timeout=30)


@pytest.mark.parametrize("is_secure", [False, True])
def test_frames_are_complete_when_the_network_is_full(
    is_secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """If senders can send only parts of frames, all frames are still complete and in order."""
    senders, count = 4, 40
    body = b"x" * 47_000
    go = threading.Event()
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        go.wait(30)
        while True:
            first, payload = peer.read_frame()
            if first == CLOSE:
                peer.send_frame(CLOSE, payload)
                return
            assert first == TEXT
            received.append(payload)

    def send(driver: Driver, sender: int) -> None:
        for number in range(count):
            driver.link.send(b"%d %d " % (sender, number) + body)

    options = Options(ssl_context=client_tls, max_queued_bytes=64 << 20)
    with (
        serve(script, tls=server_tls if is_secure else None) as server,
        driven(server.url, options) as driver,
        ThreadPoolExecutor(senders) as pool,
    ):
        for done in [pool.submit(send, driver, sender) for sender in range(senders)]:
            done.result(30)
        go.set()
        driver.link.close()

    heads = [tuple(map(int, message.split(b" ", 2)[:2])) for message in received]
    assert all(message.endswith(body) for message in received)
    for sender in range(senders):
        assert [number for who, number in heads if who == sender] == list(range(count))


def test_an_interrupt_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """If Ctrl-C interrupts a write, the link ends. Nothing more is sent, and no thread hangs."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        while peer.read_frame():
            pass

    with serve(script) as server, driven(server.url, Options()) as driver:
        interrupted = threading.Event()

        # A signal cannot be timed so exactly, so this function raises the exception instead.
        def interrupt(_: object) -> None:
            interrupted.set()
            raise KeyboardInterrupt

        monkeypatch.setattr(driver.link._stream, "send_now", interrupt)
        with pytest.raises(KeyboardInterrupt):
            while not interrupted.is_set():
                _settle(driver)
        with pytest.raises(ClosedError):
            driver.link.send("more")

        assert driver.link.end is not None
        assert driver.link.end.reason == "interrupted while it was sending"
