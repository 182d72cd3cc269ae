"""
How a client's sessions reach the service: address, credential and the account's limit, in one.

Lock rule: :class:`ConnectionLimiter` holds nothing but its semaphore; nothing is called under it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from urllib.parse import urlencode

import attrs

from inworld_sync import __version__
from inworld_sync.auth import Auth
from inworld_sync.errors import QuotaError
from inworld_sync.models.options import Limiter, Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.websocket import Link

__all__ = ["DEFAULT_MAX_CONNECTIONS", "ConnectionLimiter", "Connector"]

# Documented for an account; a newer page gives ten times the plan's concurrent generations.
DEFAULT_MAX_CONNECTIONS = 20


class ConnectionLimiter:
    """
    Bounds connections within one process.

    Args:
        places: How many may be open at once.
    """

    def __init__(self, places: int = DEFAULT_MAX_CONNECTIONS) -> None:
        self._places = threading.BoundedSemaphore(places)

    def acquire(self, timeout: float) -> bool:
        """Take a place; wait up to *timeout* seconds and return whether one came free."""
        return self._places.acquire(timeout=timeout)

    def release(self) -> None:
        """Give a place back."""
        self._places.release()


@attrs.frozen
class Connector:
    """
    Opens links for one client.

    Thread safety: may be used from any thread at once.
    """

    options: Options
    auth: Auth = attrs.field(repr=False)
    limiter: Limiter

    def headers(self) -> dict[str, str]:
        """What every request is sent with, the credential included."""
        name, value = self.auth.header()
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
    ) -> Link:
        """
        Open a link and take one of the account's places for it; :meth:`closed` gives it back.

        Args:
            path: The service's path.
            name: The connection's name.
            query: Added to the address.
            timeout: Seconds for all of it; None takes ``connect_timeout``.

        Raises:
            QuotaError: All places stayed taken.
            TransportError: No connection came about.
            ServiceError: The service refused the upgrade.
        """
        seconds = self.options.connect_timeout if timeout is None else timeout
        url = self.options.endpoint(path, websocket=True)
        deadline = Deadline(seconds, f"connecting to {url}")
        if not self.limiter.acquire(seconds):
            raise QuotaError(
                f"all connections of the account's limit stayed in use for {seconds:g} s: close "
                "one, or give the client a limiter with more places",
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
