"""
Implements a lock that threads acquire in the order in which they began to wait.

A mutex guards the queue. The mutex is held for a few instructions only, never during a wait.
"""

from __future__ import annotations

import threading
from collections import deque

from inworld_sync.errors import DeadlineExceeded

__all__ = ["FairLock"]

# How long a ``with`` statement waits for the lock. Half of this time is enough to serve a hundred
# streams with ten seconds of audio each.
_PATIENCE_SECONDS = 60.0


class FairLock:
    """
    A mutual exclusion lock that serves threads in the order in which they began to wait.

    A thread that releases a ``threading.Lock`` may acquire it again at once. With such a lock, one
    stream could keep all other streams from using an engine.

    If a ``with`` statement cannot acquire the lock within a minute, it raises DeadlineExceeded.

    Args:
        guards: The name of the object that the lock guards, for the error.

    Thread safety: all methods may be called from any thread.
    """

    def __init__(self, guards: str = "the speech engine") -> None:
        self._guards = guards
        self._mutex = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        if not self.acquire(_PATIENCE_SECONDS):
            raise DeadlineExceeded(
                f"{self._guards} was busy with other streams for {_PATIENCE_SECONDS:g} s"
            )

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds for the lock; return whether it was acquired."""
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._mutex:
            if turn.is_set():
                return True
            self._waiting.remove(turn)
            return False

    def try_acquire(self) -> bool:
        """Acquire the lock if no thread holds it; return whether it was acquired."""
        with self._mutex:
            got = not self._held
            self._held = True
            return got

    def release(self) -> None:
        """Release the lock. The thread that has waited longest then acquires the lock."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False
