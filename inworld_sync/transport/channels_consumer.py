"""
Calls methods of a Django Channels consumer from any thread.

A server such as uvicorn sends messages in its event loop. If another thread calls ``send`` of a
consumer, asgiref runs the call in a new event loop. In that loop, a message that is longer than
the buffer of the socket would wait forever, because the server ends the wait in its own event loop
only. So every call is passed to the event loop of the server.
"""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from inworld_sync.errors import ConfigError, ConnectionLost

if TYPE_CHECKING:
    import asyncio

__all__ = ["ConsumerCaller"]

# A call looks this often whether the event loop still runs.
_LOOK_SECONDS = 1.0


class ConsumerCaller:
    """
    Calls methods of one consumer.

    Args:
        loop: The event loop of the server.

    Thread safety: any thread but the thread of the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: set[concurrent.futures.Future[None]] = set()

    @classmethod
    def for_socket(cls, socket: object) -> ConsumerCaller | None:
        """
        Return the caller for a consumer of Channels; None for another socket.

        Raises:
            ConfigError: The current thread is not the thread on which Channels calls the consumer.
        """
        consumer = sys.modules.get("channels.consumer")
        if consumer is None or not isinstance(socket, consumer.SyncConsumer):
            return None
        from asgiref.sync import async_to_sync

        loop = async_to_sync(_running_loop)()
        if not loop.is_running():
            raise ConfigError(
                "the object for a Channels consumer must be created in a method of the consumer, "
                "such as connect(), and not on another thread: only its run() belongs there"
            )
        return cls(loop)

    def call(self, function: Callable[..., object], *args: object, **kwargs: object) -> None:
        """
        Call a method of the consumer, and wait until the server has handled the message.

        Raises:
            ConnectionLost: The server has stopped, or :meth:`abort` was called.
            Exception: The error of the method.
        """
        import asyncio

        task = _call(function, args, kwargs)
        try:
            future = asyncio.run_coroutine_threadsafe(task, self._loop)
        except RuntimeError as error:
            task.close()
            raise ConnectionLost("the server has stopped") from error
        self._running.add(future)
        try:
            while not concurrent.futures.wait([future], _LOOK_SECONDS).done:
                if not self._loop.is_running():
                    raise ConnectionLost("the server has stopped")
            future.result()
        except concurrent.futures.CancelledError as error:
            raise ConnectionLost("the message was not sent, because the socket ends") from error
        finally:
            self._running.discard(future)

    def abort(self) -> None:
        """End the calls that wait for the server."""
        for future in tuple(self._running):
            future.cancel()


async def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    return asyncio.get_running_loop()


async def _call(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    from asgiref.sync import sync_to_async

    # A thread-sensitive call would wait until the consumers of all other pages are idle.
    await sync_to_async(function, thread_sensitive=False)(*args, **kwargs)
