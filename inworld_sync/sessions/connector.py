"""
Opens the connections of a client, with its credential and within the limit of the account.

Lock rule: the ``_lock`` of a connector guards its list of sessions and the flag ``_closed``. No
session and no pool is called while this lock is held.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlencode

from inworld_sync.errors import (
    ClosedError,
    ConnectError,
    InworldError,
    QuotaError,
    ServiceError,
)
from inworld_sync.limits.limiter import ClientAwareLimiter, Place
from inworld_sync.locks import Event, make_lock
from inworld_sync.models.options import Limiter, Options
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.credential import (
    Credential,
    Header,
    place_credential,
    request_headers,
)
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.needed import import_needed
from inworld_sync.transport.observers import Observers
from inworld_sync.transport.outcome import reported

if TYPE_CHECKING:
    from inworld_sync.transport.websocket import Link

__all__ = ["Connector", "Session", "trace_wait"]

T = TypeVar("T")


# The longest delay before the first retry of an upgrade.
_FIRST_DELAY_SECONDS = 0.2

# At the end of the program, the closing of all sessions may take this many seconds.
_EXIT_SECONDS = 5.0

# An upgrade that failed with one of these HTTP statuses may succeed later. Status 500 is not
# included, because the service may have handled the request.
_RETRIED_STATUSES = frozenset({429, 502, 503, 504})


class Session(Protocol):
    """A session, stream or connection, which is closed with the client."""

    def _begin_close(self) -> None:
        """Begin to close and return at once."""

    def close(self) -> None:
        """Close the session. Wait until its threads have ended and its sockets are closed."""


class Pool(Protocol):
    """Connections that the client opens and closes by itself."""

    def evict_idle(self) -> None:
        """Close all idle connections."""

    def retire(self, count: int) -> int:
        """Let up to *count* connections close after their work; return how many will close."""
        ...


class Connector:
    """
    Opens links for one client within the limit of the account, and closes the client's sessions.

    Args:
        options: The settings of the client.
        credential: The credential of the client.
        limiter: Limits the open connections.

    Attributes:
        on_outcome: Called when a connection is open, and when its last attempt has failed; not
            called for the connections of a pool. The argument is None or the error of the last
            attempt.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, options: Options, credential: Credential, limiter: Limiter) -> None:
        self.options = options
        self.limiter = limiter
        self.credential = credential
        self._lock = make_lock()
        self.on_outcome: Callable[[InworldError | None], None] | None = None
        self._closed = Event()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._pools: list[Pool] = []
        if isinstance(limiter, ClientAwareLimiter):
            limiter._attach(self)  # noqa: SLF001 - users do not need it

    def open(
        self,
        path: str,
        name: str,
        *,
        query: Mapping[str, str] | None = None,
        timeout: float | None = None,
        place: Place,
        reconnects: bool = False,
        retries_quota: bool = True,
    ) -> Link:
        """
        Open a link, and acquire a place of the limiter for the link.

        An attempt is repeated if the client could not connect, or if the upgrade was answered with
        status 429, 502, 503 or 504. The delay is random, and not shorter than ``Retry-After``.
        If the service refuses a credential that can be renewed, the attempt is repeated once
        without a delay.

        Args:
            path: The path of the service.
            name: The name of the connection.
            query: Parameters that are added to the address.
            timeout: Seconds to get a place and to open the link, together; None means
                ``connect_timeout``.
            place: The place for the link. The place is acquired if the caller has not acquired it,
                and released if the link cannot be opened. The caller releases the place at the end
                of the link.
            reconnects: See :meth:`open_with`.
            retries_quota: Whether an attempt is repeated after status 429.

        Raises:
            QuotaError: No place became free in time.
            TransportError: Could not connect.
            ServiceError: The service refused the upgrade.
            ClosedError: The client was closed.
            Exception: The user's function for tokens raised this exception.
        """
        url = self.options.endpoint(path, websocket=True)
        full_url = f"{url}?{urlencode(query)}" if query else url

        def attempt(header: Header, deadline: Deadline) -> Link:
            return self._open_link(full_url, header, name, deadline)

        return self.open_with(
            attempt,
            name,
            f"connecting to {url}",
            timeout=timeout,
            place=place,
            reconnects=reconnects,
            retries_quota=retries_quota,
        )

    def open_with(
        self,
        attempt: Callable[[Header, Deadline], T],
        name: str,
        doing: str,
        *,
        timeout: float | None,
        place: Place,
        reconnects: bool = False,
        retries_quota: bool = True,
    ) -> T:
        """
        Open a connection as :meth:`open` does, with a function for one attempt.

        Args:
            attempt: Opens the connection with a credential, before a deadline.
            name: The name of the connection.
            doing: The operation, for errors.
            timeout: Seconds, as for :meth:`open`.
            place: The place of the connection, as for :meth:`open`.
            reconnects: Whether the caller replaces a lost connection and repeats attempts itself.
                Then an exception of the user's function for tokens becomes a :class:`ConnectError`.
                After this error, the caller may try again.
            retries_quota: Whether an attempt is repeated after status 429.
        """
        try:
            import_needed()
            seconds = self.options.connect_timeout if timeout is None else timeout
            deadline = Deadline(seconds, doing)
            had_place = place.is_taken
            self._acquire_place(place, name, deadline, seconds)

            def attempt_once() -> T:
                return self.credential.use(deadline, lambda header: attempt(header, deadline))

            def opened() -> T:
                if reconnects:
                    return _reconnecting(attempt_once)
                return self._repeated(attempt_once, name, deadline, retries_quota)

            if had_place or self.on_outcome is None:
                return opened()
            with reported(self.on_outcome):
                return opened()
        except BaseException:
            place.release()
            raise

    def _acquire_place(self, place: Place, name: str, deadline: Deadline, seconds: float) -> None:
        if place.is_taken or place.acquire(0.0):
            return
        began = time.monotonic()
        self.evict_idle()
        is_free = place.acquire(deadline.at_most(math.inf))
        trace_wait(self.options, name, began)
        if not is_free:
            raise QuotaError(
                f"the limit of connections was reached for {seconds:g} s: close a connection, or "
                "make the client with a limiter that has more places",
                retryable=True,
            )

    def _open_link(self, url: str, header: Header, name: str, deadline: Deadline) -> Link:
        # This module is imported when the first connection opens.
        from inworld_sync.transport.websocket import Link

        options = self.options
        url, placed = place_credential(url, header, options.credential_in)
        headers = {**request_headers(), **options.headers, **placed}
        link = Link.open(url, headers=headers, options=options, name=name, deadline=deadline)
        link.on_refused = lambda: self.credential.reject(header)
        return link

    def _repeated(
        self, attempt: Callable[[], T], name: str, deadline: Deadline, retries_quota: bool
    ) -> T:
        options = self.options
        backoff = Backoff(_FIRST_DELAY_SECONDS)
        while True:
            try:
                return attempt()
            except InworldError as error:
                is_retried = _is_retried(error, retries_quota=retries_quota)
                if not is_retried or backoff.attempts >= options.max_retries:
                    raise
                delay = backoff.next_delay(error)
                if delay >= deadline.at_most(math.inf):
                    raise
                options.logger.info("%s: connecting again after: %s", name, error)
            if self._closed.wait(delay):
                raise _closed_error()

    def new_place(self) -> Place:
        """Return a place for one connection. The place is not taken yet."""
        return Place(self.limiter, self.options.logger)

    def adopt(self, session: Session) -> None:
        """
        Record a session, so that it is closed with the client.

        Raises:
            ClosedError: The client is closed already. The session is then closed too.
        """
        with self._lock:
            if not self._closed.is_set():
                self._sessions.add(session)
                _adopted.add(weakref.ref(session, _adopted.discard))
                return
        session.close()
        raise _closed_error()

    def add_pool(self, pool: Pool) -> None:
        """Make :meth:`evict_idle` and :meth:`retire` include the connections of a pool."""
        with self._lock:
            self._pools.append(pool)

    def evict_idle(self) -> None:
        """Close idle connections, because the limit is reached."""
        for pool in self._all_pools():
            pool.evict_idle()

    def retire(self, count: int) -> int:
        """Let up to *count* connections close after their work; return how many will close."""
        retired = 0
        for pool in self._all_pools():
            retired += pool.retire(count - retired)
        return retired

    def _all_pools(self) -> list[Pool]:
        with self._lock:
            return list(self._pools)

    def close(self) -> None:
        """Close all sessions. The sessions wait for the service at the same time."""
        with self._lock:
            self._closed.set()
            sessions = list(self._sessions)
        for session in sessions:
            session._begin_close()  # noqa: SLF001 - users do not need it
        for session in sessions:
            session.close()


def trace_wait(options: Options, name: str, began: float) -> None:
    """Trace that the connection *name* waited for a place since the monotonic time *began*."""
    Observers(options, name).trace("waited_for_place", time.monotonic() - began)


# The sessions of all clients. Adding and listing needs no lock.
_adopted: set[weakref.ref[Session]] = set()


@atexit.register
def _close_at_exit() -> None:
    """
    Close all sessions when the program ends.

    The threads of sessions are daemons, which Python does not join. In a program that embeds Python
    and starts it again, such threads would use the memory of the old interpreter.
    """
    hook = threading.excepthook

    def show(arguments: threading.ExceptHookArgs) -> None:
        # A daemon thread of the program may still wait for a session. The error of such a thread is
        # not printed.
        if not issubclass(arguments.exc_type, InworldError):
            hook(arguments)

    threading.excepthook = show
    until = time.monotonic() + _EXIT_SECONDS
    sessions = [session for each in list(_adopted) if (session := each()) is not None]
    for session in sessions:
        session._begin_close()  # noqa: SLF001 - users do not need it
    for session in sessions:
        if time.monotonic() < until:
            with contextlib.suppress(InworldError):
                session.close()


def _reconnecting(attempt: Callable[[], T]) -> T:
    try:
        return attempt()
    except InworldError:
        raise
    except Exception as error:
        raise ConnectError(f"the credential's function raised {type(error).__name__}") from error


def _is_retried(error: InworldError, retries_quota: bool) -> bool:
    if isinstance(error, QuotaError) and not retries_quota:
        return False
    if isinstance(error, ServiceError):
        return error.retryable and error.status in _RETRIED_STATUSES
    return isinstance(error, ConnectError)


def _closed_error() -> ClosedError:
    return ClosedError("the client was closed, make another")
