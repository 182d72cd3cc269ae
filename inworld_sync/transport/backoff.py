"""Calculates the delays between attempts, for all retries and reconnects."""

from __future__ import annotations

import random
from typing import Final

from inworld_sync.errors import InworldError, ServiceError

__all__ = ["Backoff", "retry_after_of"]

_MAX_DELAY_SECONDS: Final = 5.0
# The most doublings that are computed. Every series reaches its largest bound after fewer. Without
# this limit, the power would overflow after 1024 attempts.
_MAX_DOUBLINGS: Final = 30


class Backoff:
    """
    The delays before the attempts of a series, with exponential backoff and full jitter.

    The delay of an attempt is a random number between 0 and an upper bound, which doubles with each
    attempt. So if many clients fail at once, they do not all try again at the same time.

    Args:
        first_seconds: The upper bound of the first delay.
        max_seconds: The largest upper bound, at which the doubling ends.
        is_first_immediate: Whether the first attempt has no delay. If True, *first_seconds* is for
            the second attempt.

    Attributes:
        attempts: The number of delays of this series so far.
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

    def next_delay(self, error: InworldError | None = None) -> float:
        """
        Count an attempt; return the seconds to wait before the attempt.

        Args:
            error: The error of the last attempt. The delay is not shorter than the ``retry_after``
                of the error.
        """
        doublings = self.attempts - 1 if self._is_first_immediate else self.attempts
        self.attempts += 1
        least = retry_after_of(error)
        if doublings < 0:
            return least
        longest = min(
            self._first_seconds * 2.0 ** min(doublings, _MAX_DOUBLINGS), self._max_seconds
        )
        # Jitter is added to retry_after, because the server sends the same time to many clients.
        return least + longest * random.random()  # noqa: S311 - no secret

    def reset(self) -> None:
        """Begin a new series."""
        self.attempts = 0


def retry_after_of(error: InworldError | None) -> float:
    """Return the seconds that the server asked to wait before the next attempt, or 0.0."""
    return (error.retry_after or 0.0) if isinstance(error, ServiceError) else 0.0
