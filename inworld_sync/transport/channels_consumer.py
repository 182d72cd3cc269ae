"""
Sends the messages of a Django Channels consumer from any thread.

A server such as uvicorn sends messages in its event loop. If a thread calls ``send`` of a consumer,
and Channels did not start this thread, asgiref runs the call in a new event loop. In that loop, a
message that is longer than the buffer of the socket would wait forever, because the server ends the
wait in its own event loop only. So this module passes each message to the event loop of the server.
"""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from inworld_sync.errors import ConfigError, ConnectionLost

if TYPE_CHECKING:
    import asyncio

__all__ = ["ConsumerSender"]

# A thread that sends looks this often whether the event loop still runs.
_LOOK_SECONDS = 0.5


class ConsumerSender:
    """
    Sends the messages of one consumer. Replaces ``base_send`` of the consumer.

    Args:
        loop: The event loop of the server.
        send: The function of the server that sends a message. It runs in the event loop.

    Thread safety: any thread but the thread of the event loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]],
    ) -> None:
        self._loop = loop
        self.send = send
        self._is_aborted = False
        self._running: set[concurrent.futures.Future[None]] = set()

    @classmethod
    def for_socket(cls, socket: object) -> ConsumerSender | None:
        """
        Return the sender for a consumer of Channels; None for another socket.

        Raises:
            ConfigError: The current thread is not the thread on which Channels calls the consumer.
        """
        consumers = sys.modules.get("channels.consumer")
        if consumers is None or not isinstance(socket, consumers.SyncConsumer):
            return None
        consumer: Any = socket
        # ``base_send`` is an AsyncToSync, or the sender of an earlier object for this consumer.
        base = consumer.base_send
        send = base.send if isinstance(base, cls) else getattr(base, "awaitable", None)
        if send is None:
            return None
        from asgiref.sync import async_to_sync

        loop = async_to_sync(_running_loop)()
        if not loop.is_running():
            raise ConfigError(
                "the object for a Channels consumer must be created in a method of the consumer, "
                "such as connect(), and not on another thread: only its run() belongs there"
            )
        consumer.base_send = sender = cls(loop, send)
        return sender

    def __call__(self, message: Mapping[str, Any]) -> None:
        """
        Send a message, and wait until the server has taken the message.

        Raises:
            ConnectionLost: The server has stopped, or :meth:`abort` was called.
            Exception: The error of the server.
        """
        import asyncio

        is_close = message.get("type") == "websocket.close"
        if self._is_aborted and not is_close:
            raise ConnectionLost("the message was not sent, because the socket ends")
        task = self.send(message)
        try:
            future = asyncio.run_coroutine_threadsafe(task, self._loop)
        except RuntimeError as error:
            task.close()
            raise ConnectionLost("the server has stopped") from error
        if not is_close:
            self._running.add(future)
            # abort() may not have seen this future.
            if self._is_aborted:
                future.cancel()
        try:
            while not concurrent.futures.wait([future], _LOOK_SECONDS).done:
                if not self._loop.is_running():
                    raise ConnectionLost("the server has stopped")
                # The server closes the socket as soon as the other side reads.
                if is_close and self._is_aborted:
                    return
            future.result()
        except concurrent.futures.CancelledError as error:
            raise ConnectionLost("the message was not sent, because the socket ends") from error
        finally:
            self._running.discard(future)

    def abort(self) -> None:
        """End the sends that wait for the server, and all later sends; a close is still sent."""
        self._is_aborted = True
        # list() copies a set that other threads change; tuple() could raise an error.
        for future in list(self._running):
            future.cancel()


async def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    return asyncio.get_running_loop()
