"""
Defines the limits on the messages of a browser, which may send anything at any speed.

This module has no clock and no thread. The thread of the relay passes the time in seconds.
"""

from __future__ import annotations

import attrs

from inworld_sync.web.relay_messages import RATE_HZ

__all__ = ["MessageRates", "TokenBucket"]

# Audio may arrive at 1.5 times the speed of real time, with bursts of 30 s. Bursts are allowed
# because a browser sends the audio of a stall at once when its network works again.
_AUDIO_BYTES = RATE_HZ * 2 * 1.5
_AUDIO_BURST_BYTES = RATE_HZ * 2 * 30.0

# A page sends 25 to 50 messages with audio in a second, or 188 if it sends each block of an
# AudioWorklet in one message.
_BINARY_MESSAGES = 250.0
_BINARY_BURST = 7500.0

# A page sends about 5 text messages in a second.
_TEXT_MESSAGES = 25.0
_TEXT_BURST = 100.0


@attrs.define
class TokenBucket:
    """
    Allows an average rate with bursts.

    Attributes:
        rate: How much is allowed in a second.
        burst: How much is allowed at once.
    """

    rate: float
    burst: float
    _used: float = attrs.field(init=False, default=0.0)
    _at: float = attrs.field(init=False, default=0.0)

    def allows(self, amount: float, now: float) -> bool:
        """Return whether *amount* is allowed now. An allowed amount counts as used."""
        self._used = max(0.0, self._used - (now - self._at) * self.rate)
        self._at = now
        if self._used + amount > self.burst:
            return False
        self._used += amount
        return True


class MessageRates:
    """Limits the rates of the messages from one browser."""

    def __init__(self) -> None:
        self._texts = TokenBucket(_TEXT_MESSAGES, _TEXT_BURST)
        self._binaries = TokenBucket(_BINARY_MESSAGES, _BINARY_BURST)
        self._audio = TokenBucket(_AUDIO_BYTES, _AUDIO_BURST_BYTES)

    def allow(self, message: str | bytes, now: float) -> bool:
        """Return whether a message may be read. False means that the browser sends too fast."""
        if isinstance(message, str):
            return self._texts.allows(1, now)
        return self._binaries.allows(1, now) and self._audio.allows(len(message), now)
