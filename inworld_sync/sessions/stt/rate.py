"""
How many audio messages a second may be sent.

Lock rule: ``_lock`` guards the time of the next turn and is held for moments.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from inworld_sync.errors import ConfigError

__all__ = ["DEFAULT_CHUNKS_PER_SECOND", "ChunkRate"]

# Source: the service's documentation, "rate limits", audio chunks of STT.
DEFAULT_CHUNKS_PER_SECOND: Final = 50.0

# After a pause so much time may be made up for at once: a tenth of what any second allows.
_BURST_SECONDS: Final = 0.1


class ChunkRate:
    """
    Gives out turns to send, evenly spaced, to one stream or to many that share a limit.

    Args:
        chunks_per_second: Above 0.

    Thread safety: any thread.
    """

    def __init__(self, chunks_per_second: float = DEFAULT_CHUNKS_PER_SECOND) -> None:
        if not chunks_per_second > 0:
            raise ConfigError(f"chunks_per_second must be above 0, got {chunks_per_second!r}")
        self._spacing = 1.0 / chunks_per_second
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait_seconds(self) -> float:
        """Take the next turn; give how long to wait for it."""
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - _BURST_SECONDS)
            turn = self._next
            self._next += self._spacing
            return max(0.0, turn - now)
