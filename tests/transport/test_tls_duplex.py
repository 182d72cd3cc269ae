"""While a TLS connection reads and writes, only one thread at a time uses its OpenSSL object."""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from typing import ClassVar

import pytest
from soak_tls import soak

from inworld_sync.models.options import Options
from inworld_sync.transport.stream import TlsStream
from inworld_sync.transport.websocket import Link

from support.driver import driving
from support.peers import CLOSE, PING, PONG, TEXT, Peer, serve


class UseRecorder:
    """Wraps a TLS object or buffer, and records whether two threads use it at the same time."""

    inside = 0
    worst = 0
    calls: ClassVar[Counter[str]] = Counter()

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: object) -> object:
            UseRecorder.inside += 1
            UseRecorder.worst = max(UseRecorder.worst, UseRecorder.inside)
            UseRecorder.calls[name] += 1
            try:
                time.sleep(0.0002)  # another thread may run here, unless a lock prevents it
                return found(*args)
            finally:
                UseRecorder.inside -= 1

        return call


def test_one_thread_at_a_time(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with much traffic in both directions, only one thread at a time uses the TLS object."""
    monkeypatch.setattr(UseRecorder, "worst", 0)
    monkeypatch.setattr(UseRecorder, "calls", Counter())

    def script(peer: Peer) -> None:
        peer.upgrade()
        first = 0
        while first != CLOSE:
            first, payload = peer.read_frame()
            peer.send_frame(PONG if first == PING else first, payload)

    with serve(script, tls=server_tls) as server:
        options = Options(ssl_context=client_tls, ping_interval=0.005)
        link = Link.open(server.url, headers={}, options=options, name="test-1")
        stream = link._stream
        assert isinstance(stream, TlsStream)
        for name in ("_tls", "_incoming", "_outgoing"):
            setattr(stream, name, UseRecorder(getattr(stream, name)))
        with driving(link) as driver:
            for _ in range(200):
                link.send(b"x" * 5_000)
            for _ in range(200):
                driver.next()
            link.close()

    assert 1 == UseRecorder.worst
    assert UseRecorder.calls["read"] > 10
    assert UseRecorder.calls["write"] > 200


def test_fresh_connections() -> None:
    """500 connections read and write as soon as they are open, and no connection fails."""
    failures = soak(500, at_once=8)

    assert not failures


def test_a_blocked_read_does_not_stop_a_send(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A reader that waits for the server holds no lock that the writer needs."""
    received = threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        assert (TEXT, b"sent while reading") == peer.read_frame()
        received.set()
        peer.hold()

    with serve(script, tls=server_tls) as server:
        options = Options(ssl_context=client_tls, ping_interval=60)
        link = Link.open(server.url, headers={}, options=options, name="test-1")
        with driving(link):
            link.send(b"sent while reading")
            assert received.wait(30)
