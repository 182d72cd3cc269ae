"""
Limits how many messages are sent per second.

Locks: each limiter has a lock of its own, see :class:`ChunkRateLimiter`.
"""

from __future__ import annotations

import time
from typing import Final

from inworld_sync.errors import ConfigError
from inworld_sync.locks import make_lock

__all__ = ["ChunkRateLimiter"]

# After a pause, as many messages may be sent at once as are allowed in this time.
_BURST_SECONDS: Final = 0.1


class ChunkRateLimiter:
    """
    Spaces audio messages evenly, for one stream or for several streams that share a limit.

    Args:
        max_chunks_per_second: The largest number of messages per second, above 0.

    Thread safety: any thread may call the method. ``_lock`` guards the time of the next message,
    and is never held while a thread waits.
    """

    def __init__(self, max_chunks_per_second: float) -> None:
        if not max_chunks_per_second > 0:
            raise ConfigError(
                f"max_chunks_per_second must be above 0, got {max_chunks_per_second!r}"
            )
        self._spacing_seconds = 1.0 / max_chunks_per_second
        self._lock = make_lock()
        self._next_at = time.monotonic()

    def reserve(self) -> float:
        """Reserve the next message; return the seconds to wait before the message is sent."""
        with self._lock:
            now = time.monotonic()
            at = max(self._next_at, now - _BURST_SECONDS)
            self._next_at = at + self._spacing_seconds
            return max(0.0, at - now)
