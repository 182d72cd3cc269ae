"""A limiter that counts the used places."""

from __future__ import annotations

import threading

from inworld_sync.sessions.limiter import ConnectionLimiter


class CountingLimiter(ConnectionLimiter):
    """
    Counts the used places. Releasing too many places raises an error (``BoundedSemaphore``).

    Attributes:
        taken: The places in use.
        most: The largest number of places that were in use at the same time.
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
