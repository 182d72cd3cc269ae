"""A simulated browser that connects to a relay, and a server for relays."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from inworld_sync.web import Relay, RelaySummary

from support.websocket_server import close_server

__all__ = ["PATIENCE_SECONDS", "Browser", "RelayServer", "relay_server"]

PATIENCE_SECONDS = 90.0


class Browser:
    """
    A page that records all messages. A test decides which position the page reports.

    Attributes:
        messages: The text messages of the relay.
        audio: The audio of each item.
        position: The item that is played, and how many ms of it were heard. The page answers
            each clear with this position.
        answers: Whether the page answers clears.
        close_code: The code with which the relay has closed the socket.
    """

    def __init__(self, url: str, mode: str | None = "open", *, origin: str | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.audio: dict[int, bytes] = {}
        self.position = (0, 0.0)
        self.answers = True
        self.close_code: int | None = None
        self._changed = threading.Condition()
        host = url.partition("://")[2].partition("/")[0]
        self._left = contextlib.ExitStack()
        opened = connect(
            url,
            origin=origin or f"http://{host}",  # type: ignore[arg-type]
            compression=None,
            max_queue=None,
            close_timeout=1,
        )
        self.connection: ClientConnection = self._left.enter_context(opened)
        self._thread = threading.Thread(target=self._run, name="test-browser", daemon=True)
        self._thread.start()
        if mode is not None:
            # The server may refuse the conversation before the server has read this message.
            with contextlib.suppress(ConnectionClosed):
                self.send("start", mode=mode)

    def send(self, kind: str, **fields: object) -> None:
        """Send a text message."""
        self.connection.send(json.dumps({"type": kind, **fields}))

    def speak(self, milliseconds: int) -> None:
        """Send audio of the microphone, in messages of 20 ms."""
        for _ in range(0, milliseconds, 20):
            self.connection.send(bytes(960))

    def wait(self, is_reached: Callable[[], object]) -> None:
        """Wait until a message makes the condition true."""
        with self._changed:
            assert self._changed.wait_for(is_reached, PATIENCE_SECONDS), self.messages[-20:]

    def wait_for(self, kind: str, **fields: object) -> dict[str, Any]:
        """Wait for the first message of a type with these fields, and return the message."""
        self.wait(lambda: self.of(kind, **fields))
        return self.of(kind, **fields)[0]

    def of(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """Return the messages of a type that have these fields."""
        wanted = {"type": kind, **fields}
        return [each for each in list(self.messages) if wanted.items() <= each.items()]

    def wait_closed(self) -> int | None:
        """Wait until the relay has closed the socket. Return the close code."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the relay did not close the socket"
        return self.close_code

    def close(self) -> None:
        """Leave the page."""
        self._left.close()
        self._thread.join(PATIENCE_SECONDS)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            while True:
                self._handle(self.connection.recv())
        except ConnectionClosed:
            received = self.connection.protocol.close_rcvd
            self.close_code = None if received is None else received.code
        with self._changed:
            self._changed.notify_all()

    def _handle(self, message: str | bytes) -> None:
        with self._changed:
            if isinstance(message, bytes):
                number = int.from_bytes(message[:4], "little")
                self.audio[number] = self.audio.get(number, b"") + message[4:]
            else:
                self.messages.append(json.loads(message))
            self._changed.notify_all()
        if isinstance(message, str) and self.messages[-1]["type"] == "clear" and self.answers:
            item, ms = self.position
            self.send("interrupted", item=item, ms=ms)


class RelayServer:
    """
    A server that runs a relay for each WebSocket.

    Attributes:
        url: The address for browsers.
        relays: All relays that have begun.
        summaries: The summaries of the relays that have ended.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.relays: list[Relay] = []
        self.summaries: list[RelaySummary] = []
        self.ended = threading.Event()

    def run(self, relay: Relay) -> None:
        """Run a relay, and keep the summary of the relay."""
        self.relays.append(relay)
        self.summaries.append(relay.run())
        self.ended.set()

    def summary(self) -> RelaySummary:
        """Wait for the end of the first relay, and return the summary of this relay."""
        assert self.ended.wait(PATIENCE_SECONDS), "the relay did not end"
        return self.summaries[0]


@contextlib.contextmanager
def relay_server(source: Any, **settings: Any) -> Iterator[RelayServer]:
    """
    Serve relays on a free port.

    Args:
        source: The session of the relays, or a function that opens a session.
        settings: Further arguments of the relays.
    """

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        served.run(Relay(connection, source, headers=connection.request.headers, **settings))

    server = serve(handle, "127.0.0.1", 0, compression=None, close_timeout=1)
    served = RelayServer(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/talk")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        for relay in served.relays:
            relay.close()
        until = time.monotonic() + PATIENCE_SECONDS
        while len(served.summaries) < len(served.relays) and time.monotonic() < until:
            served.ended.wait(0.05)
            time.sleep(0.01)
        close_server(server, thread)
