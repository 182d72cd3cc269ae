"""A thread of the package calls a consumer of Django Channels in the event loop of the server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.generic.websocket import WebsocketConsumer
from django.conf import settings

from inworld_sync import ConfigError, ConnectionLost
from inworld_sync.transport.framework_socket import FrameworkSocket

_SECONDS = 30.0

if not settings.configured:
    settings.configure(CHANNEL_LAYERS={})


class Server:
    """An ASGI server with one page. The server sends a message only after :attr:`may_send`."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], bool]] = []
        self.is_waiting = threading.Event()
        self.socket: FrameworkSocket | None = None
        self.error: ConfigError | None = None
        self.consumer: WebsocketConsumer | None = None
        self._made = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._may_send = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._made.wait(_SECONDS)

    def allow(self) -> None:
        """Let the server send the messages."""
        self._loop.call_soon_threadsafe(self._may_send.set)

    def stop(self) -> None:
        """Stop the event loop, although calls may wait. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(self._serve())
        self._loop.run_forever()
        for each in asyncio.all_tasks(self._loop):
            each.cancel()
        self._loop.run_until_complete(asyncio.wait([task]))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _serve(self) -> None:
        server = self

        class Talk(WebsocketConsumer):
            def connect(self) -> None:
                server.consumer = self
                server.socket = FrameworkSocket(self, "page")
                server._made.set()

        received = iter([{"type": "websocket.connect"}])

        async def receive() -> dict[str, Any]:
            for message in received:
                return message
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            self.is_waiting.set()
            await self._may_send.wait()
            self.sent.append((message, asyncio.get_running_loop() is self._loop))

        await Talk.as_asgi()({"type": "websocket"}, receive, send)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException | None]]:
    """Call a function on another thread. Return the thread and a list for the error."""
    errors: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except ConnectionLost as error:
            errors.append(error)
        else:
            errors.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def test_messages_are_sent_in_the_event_loop_of_the_server(server: Server) -> None:
    """A message that the server cannot send at once is sent later, in the event loop."""
    assert server.socket is not None
    thread, errors = in_thread(lambda: server.socket and server.socket.send("text"))
    assert server.is_waiting.wait(_SECONDS)
    assert thread.is_alive()
    server.allow()
    thread.join(_SECONDS)
    server.socket.send(b"bytes")
    server.socket.close(_SECONDS, 1011)

    assert [None] == errors
    texts = [(each.get("text"), each.get("bytes"), each.get("code")) for each, _ in server.sent]
    assert [("text", None, None), (None, b"bytes", None), (None, None, 1011)] == texts
    assert all(is_own_loop for _, is_own_loop in server.sent)


@pytest.mark.parametrize("ending", ["abort", "stop"])
def test_a_call_that_waits_ends_with_the_socket_or_the_server(server: Server, ending: str) -> None:
    """``abort`` ends a call that waits for the server. The end of the server ends it too."""
    assert server.socket is not None
    thread, errors = in_thread(lambda: server.socket and server.socket.send("text"))
    assert server.is_waiting.wait(_SECONDS)
    end = server.socket.abort if ending == "abort" else server.stop
    end()
    thread.join(_SECONDS)

    assert not thread.is_alive()
    assert isinstance(errors[0], ConnectionLost)


def test_a_thread_that_is_not_of_channels(server: Server) -> None:
    """On a thread that Channels has not started, the constructor raises an error with advice."""
    assert server.consumer is not None
    with pytest.raises(ConfigError, match="must be created in a method of the consumer"):
        FrameworkSocket(server.consumer, "page")
