"""Implements the time limit of a whole operation. All steps of the operation share the limit."""

from __future__ import annotations

import math
import time

from inworld_sync.errors import DeadlineExceeded
from inworld_sync.models import checks

__all__ = ["LONGEST_TIMEOUT_SECONDS", "LONGEST_WAIT_SECONDS", "Deadline", "RunningDeadline"]

# A wait without a limit is done in pieces of this length, because on Windows Ctrl-C cannot
# interrupt a wait on a lock.
LONGEST_WAIT_SECONDS = 1.0

# The waits of operating systems accept at most about 24 days. A longer wait is done in pieces.
LONGEST_TIMEOUT_SECONDS = 2_000_000.0

# If a wait ends later than it should by more than this, the process was stopped during the wait.
_STOP_SECONDS = 1.0

# After a stop, the reader has at least this time to read the messages that have arrived meanwhile.
_CATCH_UP_SECONDS = 1.0


class Deadline:
    """
    The time on the monotonic clock by which an operation must be done.

    The deadline is created once, where the operation begins, and passed to each step. So no step
    can start the time again.

    Args:
        seconds: The limit, 0 or more; None or infinity means no limit.
        doing: The operation, for the error message, such as ``connecting to wss://...``.

    Raises:
        ConfigError: *seconds* is negative or not a number.

    Thread safety:
        The object is immutable, so threads may share it.
    """

    __slots__ = ("_at", "_doing", "_seconds")

    def __init__(self, seconds: float | None, doing: str) -> None:
        checks.require_timeout(seconds)
        self._seconds = seconds
        self._doing = doing
        self._at: float | None = None
        if seconds is not None and seconds != math.inf:
            self._at = time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds left, at least 0.0 and at most 23 days; None without a limit."""
        if self._at is None:
            return None
        return min(max(0.0, self._at - time.monotonic()), LONGEST_TIMEOUT_SECONDS)

    def at_most(self, seconds: float) -> float:
        """Return the seconds left, but at most *seconds*, for a wait in several pieces."""
        return seconds if self._at is None else min(seconds, max(0.0, self._at - time.monotonic()))

    def earlier(self, other: Deadline) -> Deadline:
        """Return the deadline that passes first: this deadline or *other*."""
        if other._at is None or (self._at is not None and self._at <= other._at):
            return self
        return other

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._at is not None and time.monotonic() >= self._at

    def check(self) -> None:
        """
        Raise an error if the deadline has passed.

        Raises:
            DeadlineExceeded: The deadline has passed.
        """
        if self.expired:
            raise self.error()

    def error(self) -> DeadlineExceeded:
        """Return an error that names the operation and its limit."""
        # A limit that is the rest of a longer limit has many digits.
        seconds = round(self._seconds or 0.0, 3)
        return DeadlineExceeded(f"{self._doing} took longer than {seconds:g} s")


class RunningDeadline(Deadline):
    """
    A deadline for a message of the service. Time during which this process is stopped does not
    count.

    SIGSTOP, a debugger or the sleep of the computer stops a process. When the process continues,
    the awaited message may be in the socket. So if a wait ended more than one second too late, the
    deadline becomes later by the same number of seconds, and is at least one second from now.

    The timeout of each wait must be the result of :meth:`remaining` or :meth:`at_most`. After the
    wait, the caller must call a method of the deadline at once. The deadline takes the time of this
    call as the end of the wait.

    Thread safety:
        One thread at a time may use the object.
    """

    __slots__ = ("_due_at",)

    def __init__(self, seconds: float | None, doing: str) -> None:
        super().__init__(seconds, doing)
        # When the present wait should end.
        self._due_at = math.inf

    def remaining(self) -> float | None:
        """See :meth:`Deadline.remaining`."""
        self._end_wait()
        left = super().remaining()
        self._due_at = math.inf if left is None else time.monotonic() + left
        return left

    def at_most(self, seconds: float) -> float:
        """See :meth:`Deadline.at_most`."""
        self._end_wait()
        left = super().at_most(seconds)
        self._due_at = time.monotonic() + left
        return left

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed. The deadline moves if the process was stopped."""
        self._end_wait()
        return super().expired

    def _end_wait(self) -> None:
        now = time.monotonic()
        late, self._due_at = now - self._due_at, math.inf
        if self._at is not None and late > _STOP_SECONDS:
            self._at = max(self._at + late, now + _CATCH_UP_SECONDS)
