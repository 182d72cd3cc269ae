"""
Holds the WebRTC calls of one server, and the event loop on which the calls run.

Threads: one thread, ``inworld-emulator-rtc``, runs the loop. The thread begins with the first call
and ends with ``close``. aiortc starts threads for its decoders. The thread of the loop is a daemon,
and the threads that aiortc starts from it are daemons too. So a process can exit without ``close``.

Lock: ``_lock`` guards the loop and the table. No thread waits for the loop while it holds the lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Coroutine
from typing import Protocol, TypeVar

from inworld_sync.emulator.status import UNAVAILABLE, Refused

__all__ = ["CallTable", "Endable"]

_Result = TypeVar("_Result")
_logger = logging.getLogger("inworld_sync.emulator")
_STEP_SECONDS = 0.05


class Endable(Protocol):
    """A call in the table."""

    async def end(self) -> None:
        """End the call and its connection. The loop runs this coroutine."""
        ...

    def join(self, seconds: float) -> None:
        """Wait for the end of the session's thread, for at most *seconds*."""
        ...


class CallTable:
    """The calls of one server. Thread safety: any thread may use this object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Endable] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(
        self, work: Coroutine[object, object, _Result], timeout: float, stop: threading.Event
    ) -> _Result:
        """
        Run a coroutine on the loop and return its result.

        Args:
            work: The coroutine.
            timeout: The longest wait in seconds.
            stop: An event that ends the wait when it is set.

        Raises:
            Refused: The server is closing, or *timeout* has passed.
        """
        deadline = time.monotonic() + timeout
        try:
            with self._lock:
                future = asyncio.run_coroutine_threadsafe(work, self._started_loop(stop))
        except BaseException:
            work.close()
            raise
        while True:
            with contextlib.suppress(concurrent.futures.TimeoutError, TimeoutError):
                return future.result(_STEP_SECONDS)
            if future.done():
                return future.result()
            if stop.is_set() or time.monotonic() >= deadline:
                future.cancel()
                raise Refused(UNAVAILABLE, "the answer was not ready in time")

    def add(self, call: Endable) -> None:
        """Add a call. ``close`` ends the calls that are still in the table."""
        with self._lock:
            self._calls.add(call)

    def remove(self, call: Endable) -> None:
        """Remove a call that has ended."""
        with self._lock:
            self._calls.discard(call)

    def close(self, seconds: float) -> None:
        """End all calls and the loop, within *seconds*. A later ``run`` starts a new loop."""
        deadline = time.monotonic() + seconds
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
            calls = list(self._calls)
        # In a forked child, the parent's thread does not run.
        if loop is None or thread is None or not thread.is_alive():
            return
        ending = asyncio.run_coroutine_threadsafe(_end_all(calls, seconds / 2), loop)
        with contextlib.suppress(concurrent.futures.TimeoutError, TimeoutError):
            ending.result(seconds)
        for call in calls:
            call.join(max(0.0, deadline - time.monotonic()))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            _logger.error("%s did not end within %s s", thread.name, seconds)

    def _started_loop(self, stop: threading.Event) -> asyncio.AbstractEventLoop:
        if stop.is_set():
            raise Refused(UNAVAILABLE, "the server is closing")
        if self._loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_run_loop, args=(loop,), name="inworld-emulator-rtc", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the system has no thread left
                loop.close()
                raise Refused(UNAVAILABLE, f"the server has no thread left: {error}") from error
            self._loop, self._thread = loop, thread
        return self._loop


async def _end_all(calls: list[Endable], seconds: float) -> None:
    if calls:
        tasks = [asyncio.ensure_future(call.end()) for call in calls]
        await asyncio.wait(tasks, timeout=seconds)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
