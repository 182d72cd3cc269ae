"""When an STT stream's lost connection is replaced, and when it is given up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeVar

from inworld_sync.errors import ConnectionLost, InworldError, ServiceError, TransportError
from inworld_sync.models.events import StreamEnded

__all__ = ["Retries", "is_regular"]

_FIRST_DELAY_SECONDS: Final = 0.2
_MAX_DELAY_SECONDS: Final = 5.0

_C = TypeVar("_C")


class Retries:
    """
    Attempts in a row; its owner's monitor or thread guards it.

    Args:
        max_attempts: How many may follow each other without any progress.
    """

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._attempts = 0

    def replace(
        self,
        cause: InworldError,
        sleep: Callable[[float], bool],
        open_another: Callable[[], _C],
    ) -> tuple[_C, int] | None:
        """
        Try to open another connection until it goes well.

        Args:
            cause: Why the last one ended.
            sleep: Waits so many seconds, and gives whether a connection is still wanted.
            open_another: Opens one.

        Returns:
            The connection, and how many attempts it took; None when none is wanted any more.

        Raises:
            InworldError: As :meth:`require`.
        """
        attempts = 0
        while True:
            self.require(cause)
            attempts += 1
            if not sleep(self.next_delay()):
                return None
            try:
                return open_another(), attempts
            except InworldError as error:
                cause = error

    def reset(self) -> None:
        """Begin a new row, because there was progress."""
        self._attempts = 0

    def require(self, cause: InworldError) -> None:
        """
        Go on only if another attempt may help.

        Raises:
            InworldError: *cause*, or after too many attempts an error that it caused.
        """
        is_spent = self._attempts >= self._max_attempts
        if isinstance(cause, ServiceError):
            if is_spent or not cause.retryable:
                raise cause
        elif not isinstance(cause, TransportError):
            raise cause
        elif is_spent:
            raise ConnectionLost(
                f"the connection was lost and {self._attempts} attempts to replace it brought "
                f"the transcript no further: {cause}"
            ) from cause

    def next_delay(self) -> float:
        """Count an attempt; give how many seconds to wait before it."""
        delay = min(_FIRST_DELAY_SECONDS * 2.0**self._attempts, _MAX_DELAY_SECONDS)
        self._attempts += 1
        # Not all clients of a service that went away come back at the same moment.
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def is_regular(ended: StreamEnded) -> bool:
    """Whether the service closed a connection without saying that anything was wrong."""
    return (
        ended.by == "server"
        and ended.code in (1000, 1001)
        and isinstance(ended.error, (ConnectionLost, type(None)))
    )
