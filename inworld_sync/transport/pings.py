"""A link's own pings, and the time to the server and back that they tell."""

from __future__ import annotations

import struct
import time

__all__ = ["Pings"]


class Pings:
    """
    Makes pings that carry the moment of their making, and knows their pongs.

    Attributes:
        rtt_ms: From the last ping to its pong; None before the first pong.
        rtt_min_ms: The shortest such time.

    Thread safety:
        The writer makes, the reader answers; each field is set by one of them alone, but for the
        open ping, whose loss in a race would cost one measurement.
    """

    def __init__(self) -> None:
        self.rtt_ms: float | None = None
        self.rtt_min_ms: float | None = None
        self._open = b""

    def make(self) -> bytes:
        """Give the payload of a new ping; a pong to an older one no longer counts."""
        self._open = struct.pack("!q", time.monotonic_ns())
        return self._open

    def answered(self, payload: bytes) -> float | None:
        """Take a pong; give its seconds, or None when it answers no ping of ours."""
        if not payload or payload != self._open:
            return None
        self._open = b""
        seconds: float = (time.monotonic_ns() - struct.unpack("!q", payload)[0]) / 1e9
        self.rtt_ms = seconds * 1000
        self.rtt_min_ms = min(self.rtt_ms, self.rtt_min_ms or self.rtt_ms)
        return seconds
