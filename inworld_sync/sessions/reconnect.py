"""
Decides whether a lost connection is replaced, and after how many seconds.

Thread safety: none. Each session has its own policy, which one thread uses at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from inworld_sync.errors import (
    AuthError,
    ConnectionLost,
    InworldError,
    ServiceError,
    TransportError,
)
from inworld_sync.transport.backoff import Backoff, retry_after_of

__all__ = ["ReconnectPolicy", "is_transient"]

C = TypeVar("C")

# If the next attempt of a session must wait for longer, the session ends instead.
_MAX_RETRY_AFTER_SECONDS = 60.0


class ReconnectPolicy:
    """
    Replaces a lost connection. The number of attempts and their time can be limited.

    The limits are for attempts in a row. The owner calls :meth:`reset` when a connection has proved
    to work, for example because the transcript progressed or a response was received.

    Args:
        backoff: The delays between the attempts.
        max_attempts: The largest number of attempts in a row. None means no limit.
        timeout: Attempts are made for this many seconds after the loss of a connection. None means
            no limit.
        renews_credential: Whether an attempt after a refused credential may use another credential.
            Of several attempts in a row, only one may follow such a refusal.
    """

    def __init__(
        self,
        backoff: Backoff,
        *,
        max_attempts: int | None = None,
        timeout: float | None = None,
        renews_credential: bool = False,
    ) -> None:
        self._backoff = backoff
        self._max_attempts = max_attempts
        self._timeout = timeout
        self._lost_at: float | None = None
        self._renews_credential = renews_credential
        self._has_renewed = False

    @property
    def attempts(self) -> int:
        """The number of attempts in a row so far."""
        return self._backoff.attempts

    def reset(self) -> None:
        """Start the limits anew with the next loss."""
        self._backoff.reset()
        self._lost_at = None
        self._has_renewed = False

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
            wait: Waits for the given seconds. Returns False if no connection is needed any more.
            open_connection: Opens a connection within the given seconds. Its argument is None if
                there is no limit of time.
            lost_at: When the connection was lost, on the monotonic clock; None means now.

        Returns:
            The connection and the number of attempts of this call, or None if *wait* returned
            False.

        Raises:
            InworldError: The error that :meth:`check` raises.
        """
        if self._lost_at is None:
            self._lost_at = time.monotonic() if lost_at is None else lost_at
        attempts = 0
        while True:
            self.check(cause)
            attempts += 1
            left = self._remaining()
            delay = self._backoff.next_delay(cause)
            if not wait(delay if left is None else min(delay, left)):
                return None
            try:
                return open_connection(left), attempts
            except InworldError as error:
                cause = error

    def check(self, cause: InworldError) -> None:
        """
        Raise an error unless another attempt is allowed and may succeed.

        Raises:
            InworldError: The error is *cause* if the next attempt would fail as well. If a limit is
                reached, the error is a :class:`ConnectionLost` with *cause* as its cause.
        """
        retry_after = retry_after_of(cause)
        is_final = not is_transient(cause) and not self._may_renew(cause)
        if is_final or retry_after > _MAX_RETRY_AFTER_SECONDS:
            raise cause
        remaining = self._remaining()
        # The error names the limits as the callers name their arguments.
        if self._max_attempts is not None and self.attempts >= self._max_attempts:
            limit = f"max_reconnects={self._max_attempts}"
        elif remaining is not None and remaining <= retry_after:
            limit = f"reconnect_timeout={self._timeout:g}"
        else:
            return
        if isinstance(cause, ServiceError):
            raise cause
        raise ConnectionLost(
            f"could not restore the connection in {self.attempts} attempts ({limit}): {cause}"
        ) from cause

    def _may_renew(self, cause: InworldError) -> bool:
        if not isinstance(cause, AuthError) or self._has_renewed or not self._renews_credential:
            return False
        self._has_renewed = True
        return True

    def _remaining(self) -> float | None:
        """Return the seconds left of the timeout; None without a timeout, or before a loss."""
        if self._timeout is None or self._lost_at is None:
            return None
        return max(0.0, self._lost_at + self._timeout - time.monotonic())


def is_transient(error: InworldError) -> bool:
    """Return whether a later attempt may succeed, because the network or a busy service failed."""
    if isinstance(error, ServiceError):
        return error.retryable
    return isinstance(error, TransportError)
