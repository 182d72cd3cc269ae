"""
The messages and events that observers, trace functions and the log receive.

An exception in an observer or in a trace function does not end the connection.
"""

from __future__ import annotations

import logging
import threading
from typing import Literal

import pytest
from websockets.frames import Frame, Opcode

from inworld_sync.models.options import Options, TraceEvent

from support.driver import driven
from support.peers import CLOSE, PING, PONG, TEXT, Peer, serve


class RecordingObserver:
    """An observer that records all messages."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, bytes]] = []

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        self.messages.append((direction, connection, data))


class FailingObserver:
    """An observer that raises an exception for every message."""

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        raise RuntimeError("the disk is full")


def echoing(peer: Peer) -> None:
    peer.upgrade()
    first = 0
    while first != CLOSE:
        first, payload = peer.read_frame()
        peer.send_frame(PONG if first == PING else first, payload)


def test_observer() -> None:
    """The observer gets the unmasked messages of both directions, but no pings and pongs."""
    observer = RecordingObserver()
    options = Options(
        observer=observer, ping_interval=0.01, headers={"Authorization": "Basic s3cret"}
    )

    with serve(echoing) as server, driven(server.url, options) as driver:
        driver.link.send("one")
        assert b"one" == driver.next()
        driver.link.send_frame(Frame(Opcode.TEXT, b"two").serialize(mask=True))
        assert b"two" == driver.next()
        driver.link.flush(timeout=30)
        driver.link.close()

    assert [b"one", b"two"] == [data for way, _, data in observer.messages if way == "out"]
    assert [b"one", b"two"] == [data for way, _, data in observer.messages if way == "in"]
    assert {"test-1"} == {name for _, name, _ in observer.messages}


def test_trace() -> None:
    """A link traces one connect, one first message, the round trips of pings, and one close."""
    events: list[TraceEvent] = []
    ponged = threading.Event()

    def on_trace(event: TraceEvent) -> None:
        events.append(event)
        if event.name == "ping":
            ponged.set()

    options = Options(on_trace=on_trace, ping_interval=0.01)
    with serve(echoing) as server, driven(server.url, options) as driver:
        driver.link.send("one")
        driver.next()
        driver.link.send("two")
        driver.next()
        assert ponged.wait(30)
        stats = driver.link.stats()
        driver.link.close(1001)

    names = [event.name for event in events]
    assert ["connected", "closed"] == [names[0], names[-1]]
    assert (1, 1) == (names.count("first_message"), names.count("closed"))
    assert {"by": "client", "code": 1001} == dict(events[-1].facts)
    assert all(event.connection == "test-1" and event.seconds >= 0 for event in events)
    assert stats.rtt_ms is not None
    assert stats.rtt_min_ms is not None
    assert 0 < stats.rtt_min_ms <= stats.rtt_ms


def test_observers_that_raise(caplog: pytest.LogCaptureFixture) -> None:
    """If an observer or a trace function raises, the error is logged and the link continues."""

    def on_trace(event: TraceEvent) -> None:
        raise RuntimeError(event.name)

    options = Options(observer=FailingObserver(), on_trace=on_trace)
    with serve(echoing) as server, driven(server.url, options) as driver:
        driver.link.send("one")
        assert b"one" == driver.next()
        driver.link.close()
        assert driver.ended().clean

    assert "the observer raised an exception on the connection test-1" in caplog.text
    assert "on_trace raised an exception on the connection test-1" in caplog.text


def test_foreign_pongs_are_ignored() -> None:
    """A pong that answers no ping does not change the round-trip time."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send_frame(PONG, b"unasked!")
        peer.send_frame(PONG)
        peer.send_frame(TEXT, b"done")
        peer.read_until_end()

    with serve(script) as server, driven(server.url, Options()) as driver:
        driver.next()

        assert driver.link.stats().rtt_ms is None


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    """A link writes one line to the log when it ends, at level DEBUG."""
    logger = logging.getLogger("inworld_sync.test")
    caplog.set_level(logging.DEBUG, logger.name)

    with serve(echoing) as server, driven(server.url, Options(logger=logger)) as driver:
        driver.link.close(1000, "bye")

    assert ["test-1 ended by the client: 1000 'bye'"] == caplog.messages
