"""
How a client's sessions reach the service: address, credential and the account's limit, in one.

Lock rule: a connector's ``_lock`` guards the list of sessions and whether the client is closed, a
limiter's the list of its clients; nothing is called under either.
"""

from __future__ import annotations

import math
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode

from inworld_sync._version import __version__
from inworld_sync.auth import Auth
from inworld_sync.errors import ClosedError, ConfigError, QuotaError
from inworld_sync.models.options import Limiter, Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.websocket import Link

__all__ = ["DEFAULT_MAX_CONNECTIONS", "ConnectionLimiter", "Connector", "Session"]

# Documented for an account; a newer page gives ten times the plan's concurrent generations.
DEFAULT_MAX_CONNECTIONS = 20


class ConnectionLimiter:
    """
    Bounds connections within one process, of one client or of several that share it.

    Where no place is free, connections that no client uses are closed.

    Args:
        places: How many may be open at once, 1 or more.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, places: int = DEFAULT_MAX_CONNECTIONS) -> None:
        if not isinstance(places, int) or places < 1:
            raise ConfigError(f"places must be a whole number of at least 1, got {places!r}")
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._clients: weakref.WeakSet[Connector] = weakref.WeakSet()

    def acquire(self, timeout: float) -> bool:
        """Take a place; wait up to *timeout* seconds and return whether one came free."""
        if self._places.acquire(blocking=False):
            return True
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            client.evict_idle()
        return self._places.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))

    def release(self) -> None:
        """Give a place back."""
        self._places.release()


class Session(Protocol):
    """What a client closes when it is closed."""

    def _begin_close(self) -> None:
        """Begin to close and return at once."""

    def close(self) -> None:
        """Close, and wait until nothing is left of it."""


class Connector:
    """
    Opens links for one client, within the account's limit, and closes what came of them.

    Args:
        options: The client's settings.
        auth: As whom.
        limiter: Its places are taken before a connection is opened.

    Thread safety: may be used from any thread at once.
    """

    def __init__(self, options: Options, auth: Auth, limiter: Limiter) -> None:
        self.options = options
        self.limiter = limiter
        self._auth = auth
        self._lock = threading.Lock()
        self._closed = False
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._evictors: list[Callable[[], object]] = []
        if isinstance(limiter, ConnectionLimiter):
            with limiter._lock:  # noqa: SLF001 - of this file's own class
                limiter._clients.add(self)  # noqa: SLF001

    def headers(self) -> dict[str, str]:
        """What every request is sent with, the credential included."""
        name, value = self._auth.header()
        return {
            "User-Agent": f"inworld-sync/{__version__}",
            "X-Request-Id": str(uuid.uuid4()),
            **self.options.headers,
            name: value,
        }

    def open(
        self,
        path: str,
        name: str,
        *,
        query: Mapping[str, str] | None = None,
        timeout: float | None = None,
        has_place: bool = False,
    ) -> Link:
        """
        Open a link and take one of the account's places for it; :meth:`closed` gives it back.

        Args:
            path: The service's path.
            name: The connection's name.
            query: Added to the address.
            timeout: Seconds for all of it; None takes ``connect_timeout``.
            has_place: Whether the caller took the place already; it is given back on failure.

        Raises:
            QuotaError: All places stayed taken.
            TransportError: No connection came about.
            ServiceError: The service refused the upgrade.
        """
        seconds = self.options.connect_timeout if timeout is None else timeout
        url = self.options.endpoint(path, websocket=True)
        deadline = Deadline(seconds, f"connecting to {url}")
        if not has_place and not self.limiter.acquire(0.0):
            self.evict_idle()
            if not self.limiter.acquire(deadline.at_most(math.inf)):
                raise QuotaError(
                    f"all connections of the account's limit stayed in use for {seconds:g} s: "
                    "close one, or give the client a limiter with more places",
                    retryable=True,
                )
        try:
            return Link.open(
                f"{url}?{urlencode(query)}" if query else url,
                headers=self.headers(),
                options=self.options,
                name=name,
                deadline=deadline,
            )
        except BaseException:
            self.limiter.release()
            raise

    def closed(self) -> None:
        """Give back the place of a link that :meth:`open` opened."""
        self.limiter.release()

    def adopt(self, session: Session) -> None:
        """
        Have a session closed with the client.

        Raises:
            ClosedError: The client was closed meanwhile; the session is closed too.
        """
        with self._lock:
            if not self._closed:
                self._sessions.add(session)
                return
        session.close()
        raise ClosedError("the client was closed, make another")

    def add_evictor(self, evict: Callable[[], object]) -> None:
        """Make :meth:`evict_idle` call *evict*."""
        with self._lock:
            self._evictors.append(evict)

    def evict_idle(self) -> None:
        """Close idle connections, because the limit is reached."""
        with self._lock:
            evictors = list(self._evictors)
        for evict in evictors:
            evict()

    def close(self) -> None:
        """Close every session; the waits for their peers run side by side."""
        with self._lock:
            self._closed = True
            sessions = list(self._sessions)
        for session in sessions:
            session._begin_close()  # noqa: SLF001 - users do not need it
        for session in sessions:
            session.close()
