"""
Decides whether a lost connection is replaced, and after how many seconds.

Thread safety: none. Each session has its own policy, which one thread uses at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from inworld_sync.errors import ConnectionLost, InworldError, ServiceError, TransportError

__all__ = ["Backoff", "ReconnectPolicy", "is_transient"]

C = TypeVar("C")

_MAX_DELAY_SECONDS: Final = 5.0
# Enough to reach any longest delay; without a limit, the power overflows after 1024 attempts.
_MAX_DOUBLINGS: Final = 30


class Backoff:
    """
    The delays before the attempts of a series: doubled each time, then shortened at random.

    If many clients lose their connections at once, random delays spread their new attempts.

    Args:
        first_seconds: The longest first delay.
        max_seconds: The longest delay.
        is_first_immediate: Whether the first attempt has no delay, so that *first_seconds* is the
            delay before the second one.

    Attributes:
        attempts: Delays of this series so far.
    """

    def __init__(
        self,
        first_seconds: float,
        max_seconds: float = _MAX_DELAY_SECONDS,
        *,
        is_first_immediate: bool = False,
    ) -> None:
        self.attempts = 0
        self._first_seconds = first_seconds
        self._max_seconds = max_seconds
        self._is_first_immediate = is_first_immediate

    def next_delay(self) -> float:
        """Count an attempt; return the seconds to wait before it."""
        doublings = self.attempts - 1 if self._is_first_immediate else self.attempts
        self.attempts += 1
        if doublings < 0:
            return 0.0
        longest = min(
            self._first_seconds * 2.0 ** min(doublings, _MAX_DOUBLINGS), self._max_seconds
        )
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def reset(self) -> None:
        """Begin a new series."""
        self.attempts = 0


class ReconnectPolicy:
    """
    Replaces a lost connection, with a limit of attempts, of time, or both.

    The limits are for attempts in a row. The owner calls :meth:`reset` when a connection has proved
    to work, for example because the transcript progressed or a response was received.

    Args:
        backoff: The delays.
        max_attempts: The most attempts in a row; None for no limit.
        timeout: Seconds after the loss of a connection in which attempts are made; None for no
            limit.
    """

    def __init__(
        self, backoff: Backoff, *, max_attempts: int | None = None, timeout: float | None = None
    ) -> None:
        self._backoff = backoff
        self._max_attempts = max_attempts
        self._timeout = timeout
        self._lost_at: float | None = None

    @property
    def attempts(self) -> int:
        """Attempts in a row so far."""
        return self._backoff.attempts

    def reset(self) -> None:
        """Start the limits anew with the next loss."""
        self._backoff.reset()
        self._lost_at = None

    def reconnect(
        self,
        cause: InworldError,
        wait: Callable[[float], bool],
        open_connection: Callable[[float | None], C],
        *,
        lost_at: float | None = None,
    ) -> tuple[C, int] | None:
        """
        Try to open another connection until one attempt succeeds.

        Args:
            cause: Why the last connection ended.
            wait: Waits for the given seconds; returns False if no connection is wanted any more.
            open_connection: Opens a connection within the given seconds; None means its own
                default.
            lost_at: When the connection was lost, on the monotonic clock; None means now.

        Returns:
            The connection and the number of attempts of this call, or None if *wait* returned
            False.

        Raises:
            InworldError: As :meth:`check`.
        """
        if self._lost_at is None:
            self._lost_at = time.monotonic() if lost_at is None else lost_at
        attempts = 0
        while True:
            self.check(cause)
            attempts += 1
            left = self._remaining()
            delay = self._backoff.next_delay()
            if not wait(delay if left is None else min(delay, left)):
                return None
            try:
                return open_connection(left), attempts
            except InworldError as error:
                cause = error

    def check(self, cause: InworldError) -> None:
        """
        Return if another attempt is allowed and may succeed.

        Raises:
            InworldError: *cause*, if the next attempt would fail as well, or a
                :class:`ConnectionLost` caused by it, if a limit is reached.
        """
        if not is_transient(cause):
            raise cause
        # The limits have the names of the arguments of the callers.
        if self._max_attempts is not None and self.attempts >= self._max_attempts:
            limit = f"max_reconnects={self._max_attempts}"
        elif self._remaining() == 0.0:
            limit = f"reconnect_timeout={self._timeout:g}"
        else:
            return
        if isinstance(cause, ServiceError):
            raise cause
        raise ConnectionLost(
            f"could not restore the connection in {self.attempts} attempts ({limit}): {cause}"
        ) from cause

    def _remaining(self) -> float | None:
        """Seconds left of the timeout; None without one, or before a loss."""
        if self._timeout is None or self._lost_at is None:
            return None
        return max(0.0, self._lost_at + self._timeout - time.monotonic())


def is_transient(error: InworldError) -> bool:
    """Return whether a later attempt may succeed, because the network or a busy service failed."""
    if isinstance(error, ServiceError):
        return error.retryable
    return isinstance(error, TransportError)
