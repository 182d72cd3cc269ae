"""One time limit for a whole operation, shared by all its steps."""

from __future__ import annotations

import time

from inworld_sync.errors import ConfigError, DeadlineExceeded

__all__ = ["LONGEST_WAIT_SECONDS", "Deadline"]

# A wait without a limit is repeated in pieces of this length: on Windows, Ctrl-C cannot interrupt
# a wait on a lock.
LONGEST_WAIT_SECONDS = 1.0

# Above it, waits of the operating system overflow.
_MAX_SECONDS = 1e6


class Deadline:
    """
    The time on the monotonic clock by which an operation must be done.

    It is created once, where the operation begins, and passed to each step, so that no step can
    start the time again.

    Args:
        seconds: The limit, 0 or more; None or more than 11 days means no limit.
        doing: The operation, for the error message: ``connecting to wss://...``.

    Raises:
        ConfigError: *seconds* is not a number, or below 0.

    Thread safety:
        Immutable; may be shared.
    """

    __slots__ = ("_at", "_doing", "_seconds")

    def __init__(self, seconds: float | None, doing: str) -> None:
        self._seconds = seconds
        self._doing = doing
        try:
            is_valid = seconds is None or seconds >= 0
        except TypeError:
            is_valid = False
        if not is_valid:
            raise ConfigError(
                "a timeout must be a number of seconds from 0, or None for no limit,"
                f" got {seconds!r}"
            )
        is_unlimited = seconds is None or seconds > _MAX_SECONDS
        self._at = None if is_unlimited else time.monotonic() + (seconds or 0.0)

    def remaining(self) -> float | None:
        """Return the seconds left, 0.0 after the deadline; None without a limit."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def at_most(self, seconds: float) -> float:
        """Return the seconds left, but at most *seconds*, for a wait in several pieces."""
        return seconds if self._at is None else min(seconds, max(0.0, self._at - time.monotonic()))

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
        # The time left of a longer limit has many digits.
        seconds = round(self._seconds or 0.0, 3)
        return DeadlineExceeded(f"{self._doing} took longer than {seconds:g} s")
