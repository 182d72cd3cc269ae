"""
Defines the rules of a call that depend on time: for keys, for silence, for a lost connection to the
model, and for the end after the last speech.

This module has no clock and no thread. The thread of the bridge passes the time in seconds.
"""

from __future__ import annotations

import attrs

from inworld_sync.sessions.tts.speech import Speech
from inworld_sync.telephony.calls import CallEnd

__all__ = ["Closing", "KeyRule", "OutageRule", "SilenceRule"]


@attrs.define
class KeyRule:
    """
    Collects pressed keys into one message of the user.

    Attributes:
        pressed: All keys of the call.
    """

    _timeout: float
    pressed: str = attrs.field(init=False, default="")
    _waiting: str = attrs.field(init=False, default="")
    _until: float = attrs.field(init=False, default=0.0)

    def add(self, digit: str, now: float) -> bool:
        """Add a key; return whether the key is the first of a message."""
        is_first = not self._waiting
        self.pressed += digit
        self._waiting += digit
        self._until = now if digit == "#" else now + self._timeout
        return is_first

    def pop(self, now: float) -> str:
        """Return the keys if their message is complete; otherwise return ""."""
        if not self._waiting or now < self._until:
            return ""
        keys, self._waiting = self._waiting, ""
        return keys


@attrs.define
class SilenceRule:
    """Detects that neither side has spoken for too long."""

    _timeout: float | None
    _active_at: float

    def handle(self, now: float, *, is_active: bool) -> bool:
        """Record whether a side is active now; return whether the silence is too long."""
        if is_active:
            self._active_at = now
        return self._timeout is not None and now - self._active_at >= self._timeout


@attrs.define
class OutageRule:
    """Detects that the connection to the model is lost for too long."""

    _after: float
    _lost_at: float | None = attrs.field(init=False, default=None)
    _is_reported: bool = attrs.field(init=False, default=False)

    def handle(self, now: float, *, is_connected: bool) -> bool:
        """Record whether there is a connection; return True once for each long outage."""
        if is_connected:
            self._lost_at, self._is_reported = None, False
            return False
        self._lost_at = self._lost_at or now
        if self._is_reported or now - self._lost_at < self._after:
            return False
        self._is_reported = True
        return True


@attrs.define
class Closing:
    """
    The planned end of a call, after the caller has heard the last speech.

    Attributes:
        end: Why the call will end, as in :class:`CallSummary`.
        until: When the call ends even if the caller has not heard all of the speech.
        target: The target of a transfer; None without a transfer.
        goodbye: Recorded speech to play before the end; None if it has begun, or there is none.
        is_cancelable: Whether the call continues if the caller interrupts.
    """

    end: CallEnd
    until: float
    target: str | None = None
    goodbye: Speech | None = None
    is_cancelable: bool = False
