"""A thread of the package calls a consumer of Django Channels in the event loop of the server."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
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
        self.is_waiting, self.has_closed = threading.Event(), threading.Event()
        self.socket: FrameworkSocket | None = None
        self.error: ConfigError | None = None
        self.consumer: WebsocketConsumer | None = None
        self._made = threading.Event()
        # The event loop itself refers to its tasks weakly.
        self._pages: list[concurrent.futures.Future[None]] = []
        self._loop = asyncio.new_event_loop()
        self._may_send = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._made.wait(_SECONDS)

    def allow(self) -> None:
        """Let the server send the messages."""
        self._loop.call_soon_threadsafe(self._may_send.set)

    def call(self, function: Callable[[WebsocketConsumer], FrameworkSocket]) -> FrameworkSocket:
        """Call a function with the consumer, as Channels calls the methods of the consumer."""

        async def called() -> FrameworkSocket:
            assert self.consumer is not None
            return await sync_to_async(function)(self.consumer)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(_SECONDS)

    def stop(self) -> None:
        """Stop the event loop, although calls may wait. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(self._serve())
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for each in left:
            each.cancel()
        self._loop.run_until_complete(asyncio.wait([task, *left]))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def open_free_page(self) -> tuple[FrameworkSocket, list[dict[str, Any]]]:
        """Open another page, whose messages are sent at once. Return its socket and messages."""
        sockets: list[FrameworkSocket] = []
        sent: list[dict[str, Any]] = []
        made = threading.Event()

        def connected(consumer: WebsocketConsumer) -> None:
            sockets.append(FrameworkSocket(consumer, "free"))
            made.set()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        page = _served(connected, send)
        self._pages.append(asyncio.run_coroutine_threadsafe(page, self._loop))
        assert made.wait(_SECONDS)
        return sockets[0], sent

    async def _serve(self) -> None:
        def connected(consumer: WebsocketConsumer) -> None:
            self.consumer = consumer
            self.socket = FrameworkSocket(consumer, "page")
            self._made.set()

        async def send(message: dict[str, Any]) -> None:
            self.is_waiting.set()
            await self._may_send.wait()
            self.sent.append((message, asyncio.get_running_loop() is self._loop))
            if message["type"] == "websocket.close":
                self.has_closed.set()

        await _served(connected, send)


async def _served(
    connected: Callable[[WebsocketConsumer], None],
    send: Callable[[dict[str, Any]], Coroutine[Any, Any, None]],
) -> None:
    """Serve one consumer until the task is cancelled."""

    class Talk(WebsocketConsumer):
        def connect(self) -> None:
            connected(self)

    received = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        for message in received:
            return message
        await asyncio.Event().wait()
        raise AssertionError

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


def test_a_socket_that_stalls_is_closed_later(server: Server) -> None:
    """
    ``close`` ends a send that waits. As soon as the server can send, it closes the socket. Later
    sends are refused.
    """
    assert server.socket is not None
    socket = server.socket
    thread, errors = in_thread(lambda: socket.send("text"))
    assert server.is_waiting.wait(_SECONDS)
    socket.close(0.01, 1011)
    thread.join(_SECONDS)
    assert isinstance(errors[0], ConnectionLost)
    with pytest.raises(ConnectionLost, match="the socket ends"):
        socket.send("more")
    server.allow()
    assert server.has_closed.wait(_SECONDS)

    assert [1011] == [message.get("code") for message, _ in server.sent]


def test_pages_that_stall_do_not_stop_others(server: Server) -> None:
    """While many sends wait for one page, another page gets its messages."""
    assert server.socket is not None
    socket = server.socket
    waiting = [in_thread(lambda: socket.send("text"))[0] for _ in range(40)]
    free, sent = server.open_free_page()
    free.send("free")
    assert ["free"] == [message.get("text") for message in sent]
    server.allow()
    for thread in waiting:
        thread.join(_SECONDS)

    assert 40 == len(server.sent)


def test_a_second_object_for_a_consumer(server: Server) -> None:
    """A further object for the same consumer can send, even if the first object was aborted."""
    assert server.socket is not None
    server.socket.abort()
    second = server.call(lambda consumer: FrameworkSocket(consumer, "again"))
    server.allow()
    second.send("text")

    assert [("text", True)] == [(message.get("text"), is_own) for message, is_own in server.sent]


def test_a_thread_that_is_not_of_channels(server: Server) -> None:
    """On a thread that Channels has not started, the constructor raises an error with advice."""
    assert server.consumer is not None
    with pytest.raises(ConfigError, match="must be created in a method of the consumer"):
        FrameworkSocket(server.consumer, "page")
