"""One limit of time for a whole operation, handed down through all its steps."""

from __future__ import annotations

import math
import time

from inworld_sync.errors import ConfigError, DeadlineExceeded

__all__ = ["LONGEST_WAIT_SECONDS", "Deadline"]

# Waits without a limit are cut into pieces, so that Ctrl-C reaches a waiting thread on Windows too.
LONGEST_WAIT_SECONDS = 1.0


class Deadline:
    """
    The moment by which an operation must be done, on the monotonic clock.

    It is made once, where the operation begins, and passed down, so that no step can start the
    time anew.

    Args:
        seconds: The limit; None or infinity for no limit.
        doing: What takes place, as a noun phrase for the error: ``connecting to wss://...``.

    Raises:
        ConfigError: *seconds* is no number.

    Thread safety:
        Immutable; may be shared.
    """

    __slots__ = ("_at", "_doing", "_seconds")

    def __init__(self, seconds: float | None, doing: str) -> None:
        self._seconds = seconds
        self._doing = doing
        try:
            at = math.inf if seconds is None else time.monotonic() + seconds
        except TypeError:
            at = math.nan
        if math.isnan(at):
            raise ConfigError(
                f"a timeout must be a number of seconds, or None for no limit, got {seconds!r}"
            )
        self._at = None if at == math.inf else at

    def remaining(self) -> float | None:
        """Seconds left, 0.0 once it has passed; None without a limit."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def at_most(self, seconds: float) -> float:
        """Seconds left, but no more than *seconds*: for a wait that is cut into pieces."""
        return seconds if self._at is None else min(seconds, max(0.0, self._at - time.monotonic()))

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self._at is not None and time.monotonic() >= self._at

    def check(self) -> None:
        """
        Go on only if there is time left.

        Raises:
            DeadlineExceeded: The moment has passed.
        """
        if self.expired:
            raise self.error()

    def error(self) -> DeadlineExceeded:
        """Make the error that names the operation and its limit."""
        # The rest of a longer limit has digits that nobody wants to read.
        seconds = round(self._seconds or 0.0, 3)
        return DeadlineExceeded(f"{self._doing} took longer than {seconds:g} s")
