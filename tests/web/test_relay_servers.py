"""Tests of relays in web servers: gunicorn with threads, gunicorn with gevent, and uvicorn."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from inworld_sync.transport.framework_socket import FrameworkSocket

from support.browser import Browser
from support.needs import NEEDS_GEVENT
from support.peers import Peer, serve
from support.scripted import KEY, ScriptEnded
from support.scripted_realtime import Service

GUNICORN = ["gunicorn", "--workers", "1", "--graceful-timeout", "5", "support.relay_flask:app"]
SERVERS = {
    "gthread": [*GUNICORN, "--worker-class", "gthread", "--threads", "8", "--bind", "fd://{}"],
    "gevent": [*GUNICORN, "--worker-class", "gevent", "--bind", "fd://{}"],
    "channels": ["uvicorn", "support.relay_channels:application", "--fd", "{}", "--lifespan=off"],
}

# This text is much longer than the buffer of a socket.
LONG_TEXT = "long" * 200_000


def converse(peer: Peer) -> None:
    """Speak after the user has spoken, and send one long transcript."""
    service = Service(peer, 1)
    with contextlib.suppress(ScriptEnded):
        service.open()
        service.until("input_audio_buffer.append")
        service.created("resp_1")
        service.item("resp_1", "item_a1")
        service.audio("resp_1", "item_a1", bytes(9600))
        service.transcript("resp_1", "item_a1", LONG_TEXT)
        service.audio("resp_1", "item_a1", bytes(9600))
        service.item_done("resp_1", "item_a1")
        service.done("resp_1")
        service.until_left()


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[str]:
    """Run a server in another process with a scripted model. Yield the server's host and port."""
    with serve(converse) as model, socket.create_server(("127.0.0.1", 0)) as listener:
        # The sockets of the server inherit this buffer size, so that a long message does not fit.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        environment = {
            **os.environ,
            "INWORLD_API_KEY": KEY,
            "INWORLD_BASE_URL": f"http://127.0.0.1:{model.port}",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        arguments = [each.format(listener.fileno()) for each in command]
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=environment,
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn has no Windows version")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[NEEDS_GEVENT] * (name == "gevent")) for name in SERVERS]
)
def test_two_browsers(name: str) -> None:
    """Two browsers talk at the same time. All messages arrive complete. Pages are still served."""
    with running(SERVERS[name]) as host:
        with Browser(f"ws://{host}/talk") as first, Browser(f"ws://{host}/talk") as second:
            for page in (first, second):
                page.wait_for("ready")
            assert [] == _get(f"http://{host}/ends")
            for page in (second, first):
                page.speak(100)
                page.wait_for("item_end", item=1, ms=400)
                page.wait_for("text")
                assert bytes(19200) == page.audio[1]
                assert [LONG_TEXT] == [message["delta"] for message in page.of("text")]
                page.send("finished", item=1)
                page.wait_for("state", state="listening")
            first.close()
            second.close()
        while (ends := _get(f"http://{host}/ends")) != ["browser_left"] * 2:
            assert set(ends) <= {"browser_left"}


def _get(url: str) -> list[str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as response:
        found: list[str] = json.load(response)
        return found


class HalfSending:
    """A raw socket that accepts only a part of each ``send``, as a socket of gevent may do."""

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> int:
        self.data += data[:10]
        return 10

    def sendall(self, data: bytes) -> None:
        self.data += data

    def fileno(self) -> int:
        return 99


def test_simple_websocket_sends_whole_messages() -> None:
    """
    FrameworkSocket replaces the raw socket of simple-websocket, but not a second time. The other
    methods of the raw socket still work.
    """

    class Server:
        __module__ = "simple_websocket.ws"

        def __init__(self) -> None:
            self.sock: object = raw

        def send(self, data: bytes) -> None:
            self.sock.send(data)  # type: ignore[attr-defined]

    raw = HalfSending()
    server = Server()
    FrameworkSocket(server, "test").send(bytes(100))
    once = server.sock
    FrameworkSocket(server, "test").send(bytes(100))

    assert bytes(200) == raw.data
    assert once is server.sock
    assert 99 == once.fileno()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        (lambda found: lambda code=1000, reason="": found.append(code), [1008]),
        (lambda found: lambda reason=None, message=None: found.append(reason), [1008]),
        (lambda found: lambda: found.append("closed"), ["closed"]),
    ],
)
def test_close_codes(close: object, expected: list[object]) -> None:
    """The close code is passed in the argument that the framework expects."""
    found: list[object] = []

    class Socket:
        def send(self, data: object) -> None: ...

    Socket.close = staticmethod(close(found))  # type: ignore[attr-defined, operator]
    FrameworkSocket(Socket(), "test").close(30, 1008)
    assert expected == found
