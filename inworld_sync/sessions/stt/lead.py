"""
How far audio that is given faster than it sounds may run ahead of what was understood.

Its owner's monitor guards it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from inworld_sync.sessions.stt.tape import Tape

__all__ = ["Lead"]

# Audio that is not covered is let go only so long after it was sent, and while a turn is open only
# so long after the service's latest word.
_HEARING_SECONDS: Final = 10.0
# Live audio never waits for that: it is not ahead of the clock by so much.
_AHEAD_SECONDS: Final = 5.0


class Lead:
    """
    Knows when what is on a tape was sent.

    Args:
        tape: What is sent.
        rate_hz: Its samples a second.
        keep_samples: How much of what was sent it keeps.
    """

    def __init__(self, tape: Tape, rate_hz: int, keep_samples: int) -> None:
        self._tape = tape
        self._rate_hz = rate_hz
        self._keep_samples = keep_samples
        self._began_at = time.monotonic()
        # Up to where audio was sent, and when.
        self._sent: deque[tuple[int, float]] = deque()

    def note_sent(self) -> None:
        """Take note that the tape was sent as far as it is now."""
        self._sent.append((self._tape.sent, time.monotonic()))
        while self._sent and self._sent[0][0] <= self._tape.start:
            self._sent.popleft()

    def restart(self) -> None:
        """Forget all, since everything is sent again."""
        self._sent.clear()

    def is_too_long(self, open_since: float | None) -> bool:
        """
        Whether the service may not yet have heard what would be let go by sending on.

        Args:
            open_since: While a turn is open, the time of the service's latest word; else None.
        """
        kept = self._tape.sent - self._tape.start
        if kept + self._rate_hz <= self._keep_samples or not self._sent:
            return False
        now = time.monotonic()
        if self._tape.end / self._rate_hz - (now - self._began_at) < _AHEAD_SECONDS:
            return False
        return now - max(self._sent[0][1], open_since or 0.0) < _HEARING_SECONDS
