"""A limiter that knows how many places are out."""

from __future__ import annotations

import threading

from inworld_sync.sessions.connector import ConnectionLimiter


class CountingLimiter(ConnectionLimiter):
    """
    Counts places; giving back one that was not taken is an error of ``BoundedSemaphore``.

    Attributes:
        taken: Places that are out.
        most: The most that were out at once.
    """

    def __init__(self, places: int = 20) -> None:
        super().__init__(places)
        self._lock = threading.Lock()
        self.taken = 0
        self.most = 0

    def acquire(self, timeout: float) -> bool:
        if not super().acquire(timeout):
            return False
        with self._lock:
            self.taken += 1
            self.most = max(self.most, self.taken)
        return True

    def release(self) -> None:
        with self._lock:
            self.taken -= 1
        super().release()
