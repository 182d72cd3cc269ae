"""
Runs the event loop of one WebRTC connection on a thread of its own.

This thread and the threads that aiortc starts are daemons. So a process can end while a connection
is open.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from inworld_sync.errors import ConnectError
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline

__all__ = ["LoopThread"]

T = TypeVar("T")

# At the end of the loop, the remaining tasks are cancelled, and have this time to end.
_CANCEL_SECONDS = 1.0


class LoopThread:
    """
    An event loop with its thread, which :meth:`begin` starts.

    Args:
        name: The name of the connection, for the thread.
        logger: Gets the exceptions that no task handles.

    Thread safety: any thread may call the methods, except the thread of the loop.
    """

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self._name = name
        self._logger = logger
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._log)
        self._started: set[concurrent.futures.Future[object]] = set()
        # asyncio uses the default executor for name lookups.
        self._executor = concurrent.futures.ThreadPoolExecutor(1, f"inworld-webrtc-worker-{name}")
        self._loop.set_default_executor(self._executor)
        self._thread = threading.Thread(
            target=self._run, name=f"inworld-webrtc-{name}", daemon=True
        )

    def begin(self) -> None:
        """
        Start the thread.

        Raises:
            ConnectError: The thread could not start.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ConnectError(f"{self._name}: no thread could start: {error}") from error

    def run(self, work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
        """
        Run a coroutine on the loop, and return its result.

        Raises:
            DeadlineExceeded: The coroutine did not end in time, and was cancelled.
            Exception: The exception of the coroutine.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not future.done():
                deadline.check()
                concurrent.futures.wait([future], deadline.at_most(LONGEST_WAIT_SECONDS))
            return future.result()
        finally:
            future.cancel()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the loop soon. Do nothing if the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine on the loop, without waiting for its end."""
        if self._thread.ident is None:
            work.close()
            return
        try:
            started = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop has ended
            work.close()
        else:
            # The loop refers to its tasks weakly.
            self._started.add(started)
            started.add_done_callback(self._started.discard)

    def stop(self) -> None:
        """End the loop soon, without waiting. The remaining tasks are cancelled."""
        self.call(self._loop.stop)

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread, and return whether the thread has ended."""
        if self._thread.ident is None:  # the thread has never started
            self._loop.close()
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_SECONDS))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            # The shutdown does not wait for a name lookup, which cannot be interrupted.
            self._executor.shutdown(wait=False, cancel_futures=True)
            asyncio.set_event_loop(None)
            self._loop.close()

    def _log(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._logger.debug("%s: %s", self._name, context.get("message"), exc_info=error)
