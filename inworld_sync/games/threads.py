"""
Starts the threads of voices, and ends them when the program ends.

The thread of the game starts threads, but never joins them. When the program ends, all threads are
stopped and joined within a deadline, so that an embedded interpreter can be closed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable

__all__ = ["GameThread"]

_JOIN_SECONDS = 2.0

# Threads that were started and have not ended. Adding and removing are atomic.
_running: set[GameThread] = set()


class GameThread:
    """
    A thread of a voice.

    Args:
        name: The last part of the name of the thread.
        run: Runs on the thread.
        stop: Makes *run* return soon. *stop* may wait a little. So it runs on the thread of the
            game only when the program ends.
    """

    def __init__(self, name: str, run: Callable[[], None], stop: Callable[[], None]) -> None:
        self._run_function = run
        self._stop_function = stop
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"inworld-game-{name}", daemon=True)
        self._name = name

    def start(self) -> None:
        """Start the thread. The caller does not wait for *run*."""
        _running.add(self)
        try:
            self._thread.start()
        except BaseException:
            _running.discard(self)
            raise

    @property
    def is_alive(self) -> bool:
        """Whether *run* has not returned yet."""
        return self in _running

    def stop_later(self) -> None:
        """Call *stop* on another thread, and return at once. May be called twice."""
        if self._stopping or not self.is_alive:
            return
        self._stopping = True
        stopper = threading.Thread(
            target=self._stop, name=f"inworld-game-stop-{self._name}", daemon=True
        )
        # While the interpreter ends, no thread can be started. Then _stop_at_exit() stops *run*.
        with contextlib.suppress(RuntimeError):
            stopper.start()

    def stop_at_exit(self) -> None:
        """Call *stop* on the calling thread."""
        self._stopping = True
        self._stop()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, at most *timeout* seconds."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._run_function()
        finally:
            _running.discard(self)

    def _stop(self) -> None:
        # If the connection has ended, the stop function may raise an error, which is ignored.
        with contextlib.suppress(Exception):
            self._stop_function()


@atexit.register
def _stop_at_exit() -> None:
    threads = list(_running)
    for thread in threads:
        thread.stop_at_exit()
    until = time.monotonic() + _JOIN_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


if hasattr(os, "register_at_fork"):
    # The threads of the parent do not exist in a child.
    os.register_at_fork(after_in_child=_running.clear)
