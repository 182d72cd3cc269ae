"""
Limits how many connections the clients of a process may have open.

Lock rule: ``_lock`` of a limiter guards its list of clients, and ``_freed`` guards its number of
free places. No client is called while one of these locks is held.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import Protocol, cast

from inworld_sync.errors import ConfigError, ConnectError, InworldError
from inworld_sync.locks import Condition, make_lock
from inworld_sync.models import checks
from inworld_sync.models.options import Limiter

__all__ = [
    "DEFAULT_MAX_CONNECTIONS",
    "ClientAwareLimiter",
    "ConnectionLimiter",
    "LimitedClient",
    "Place",
]

# The documented limit of an account. A newer page of the documentation states another limit, which
# is ten times the concurrent generations of the account's plan.
DEFAULT_MAX_CONNECTIONS = 20


class LimitedClient(Protocol):
    """A client whose connections take the places of a limiter."""

    def evict_idle(self) -> None:
        """Close idle connections."""

    def retire(self, count: int) -> int:
        """Let up to *count* connections close when they are idle; return how many will close."""
        ...


class ClientAwareLimiter:
    """
    A limiter that has a list of its clients, so that the clients can return places.

    In a forked child, the limiter starts without the clients and places of the parent.
    """

    def __init__(self) -> None:
        self._begin()
        _limiters.add(self)

    def _begin(self) -> None:
        """Start without clients and places. A forked child runs this method before other code."""
        self._lock = make_lock()
        self._clients: weakref.WeakSet[LimitedClient] = weakref.WeakSet()

    def _attach(self, client: LimitedClient) -> None:
        with self._lock:
            self._clients.add(client)

    def _attached(self) -> list[LimitedClient]:
        with self._lock:
            return list(self._clients)

    def _evict_idle(self) -> None:
        for client in self._attached():
            client.evict_idle()


_limiters: weakref.WeakSet[ClientAwareLimiter] = weakref.WeakSet()


def _begin_in_child() -> None:
    # The clients attach themselves again later, because their fork handler is registered after this
    # handler.
    for limiter in list(_limiters):
        limiter._begin()  # noqa: SLF001 - of this file's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class ConnectionLimiter(ClientAwareLimiter):
    """
    Limits how many connections one client, or several clients that share this limiter, may have
    open.

    If no place is free, idle connections of these clients are closed.

    Args:
        places: How many connections may be open at once, at least 1.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, places: int = DEFAULT_MAX_CONNECTIONS) -> None:
        if not isinstance(places, int) or places < 1:
            raise ConfigError(f"places must be an integer of at least 1, got {places!r}")
        self._places = places
        super().__init__()

    def _begin(self) -> None:
        super()._begin()
        self._free_places = self._places
        self._freed = Condition()

    def acquire(self, timeout: float) -> bool:
        """Take a place, and return whether a place was free within *timeout* seconds."""
        checks.require_timeout(timeout)
        if self._acquire(0.0):
            return True
        self._evict_idle()
        return self._acquire(timeout)

    def release(self) -> None:
        """
        Return a place.

        Raises:
            ValueError: No place is taken.
        """
        with self._freed:
            if self._free_places == self._places:
                raise ValueError("release() was called more often than acquire() returned True")
            self._free_places += 1
            self._freed.notify()

    def _acquire(self, timeout: float) -> bool:
        was_taken = False
        try:
            with self._freed:
                if self._freed.wait_for(lambda: self._free_places > 0, timeout):
                    self._free_places -= 1
                    was_taken = True
            # This return is inside the ``try``, so that an exception of a signal handler before the
            # return is handled below.
            return was_taken  # noqa: TRY300
        except BaseException:
            # The caller does not learn that a place was taken, so the place is returned here.
            if was_taken:
                self.release()
            raise


class Place:
    """
    A place of a limiter for one connection.

    Args:
        limiter: The limiter that has the place.
        logger: Gets a message if ``release`` of the limiter raises an exception.

    Thread safety: one thread calls :meth:`acquire`, any thread may call :meth:`release`.
    """

    def __init__(self, limiter: Limiter, logger: logging.Logger) -> None:
        self._limiter = limiter
        # A subclass may have a release() of its own.
        is_own = type(limiter) is ConnectionLimiter
        self._own = cast("ConnectionLimiter", limiter) if is_own else None
        self._logger = logger
        self._taken: list[bool] = []

    @property
    def is_taken(self) -> bool:
        """Whether the place was taken and not returned yet."""
        return bool(self._taken)

    def acquire(self, timeout: float) -> bool:
        """
        Take a place, and return whether a place was free within *timeout* seconds.

        Raises:
            ConnectError: The limiter raised an exception. The call may be repeated, since a user's
                limiter may fail once.
        """
        try:
            # One call in C calls the limiter and stores the answer. With two calls, a signal
            # handler could raise in between, and the place would be lost.
            self._taken.extend(filter(None, map(self._limiter.acquire, (timeout,))))
        except InworldError:
            raise
        except Exception as error:
            raise ConnectError(f"the limiter raised {type(error).__name__}: {error}") from error
        return self.is_taken

    def release(self) -> None:
        """
        Return the place, if it was taken and not returned yet. Log an error of the limiter.

        If a signal handler raises an exception during the call, the caller may repeat the call. If
        the limiter is the user's own, the place may be lost in this case.
        """
        own = self._own
        if own is not None:
            with own._freed:  # noqa: SLF001 - of this file's own class
                if self._taken:
                    # No signal handler runs between the two changes, because they call nothing.
                    self._taken = []
                    own._free_places += 1  # noqa: SLF001
                own._freed.notify()  # noqa: SLF001
            return
        try:
            self._taken.pop()
        except IndexError:
            return
        try:
            self._limiter.release()
        except Exception:
            self._logger.exception("the limiter's release() raised")
