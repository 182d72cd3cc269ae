"""
Makes urllib3 connection pools that use the connections of this package.

This module is imported at the first request.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection

from inworld_sync.errors import ConnectionLost, DeadlineExceeded, InworldError, extended
from inworld_sync.models.options import Options
from inworld_sync.transport.connect import open_stream
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http_socket import HttpSocket, Stopper
from inworld_sync.transport.proxy import Proxy
from inworld_sync.transport.rejection import reason_of
from inworld_sync.transport.urls import Place

__all__ = ["ConnectionPool", "from_urllib3", "make_pool", "stoppable"]

# ``_thread.stopper`` is the stopper of the request that the current thread sends. urllib3 chooses
# the connection of a request, and cannot pass the stopper to the connection.
_thread = threading.local()

# This many connections are kept open between requests. The service allows no more per account.
_KEPT_CONNECTIONS = 20


class ConnectionPool(urllib3.HTTPConnectionPool):
    """The connections to one server."""

    def prewarm(self, seconds: float) -> None:
        """
        Open a connection within *seconds*, unless there is an idle connection.

        Raises:
            DeadlineExceeded, ConnectError: As for :func:`open_stream`.
        """
        # The pool returns an idle connection, or a new one that is not connected.
        taken = self._get_conn()
        connection = cast("HTTPConnection", taken)
        try:
            if connection.sock is None:
                connection.timeout = seconds
                connection.connect()
        finally:
            self._put_conn(taken)


def make_pool(options: Options, place: Place, proxy: Proxy | None) -> ConnectionPool:
    """
    Return a new connection pool for *place*. The pool does not retry requests.

    The pool opens connections in the same way as WebSocket connections, and raises the same errors.
    urllib3 sets the timeout of a connection at the start of a request. When the response begins,
    urllib3 sets the timeout to the time that is left. :class:`HttpSocket` converts each of these
    timeouts to a deadline, so that the duration of the whole request is limited.
    """

    class Connection(HTTPConnection):
        def connect(self) -> None:
            deadline = Deadline(cast("float", self.timeout), f"connecting to {place}")
            opened = open_stream(place, proxy, options, deadline)
            self.sock = cast(
                "socket.socket",
                HttpSocket(opened.stream, deadline, opened.sock.fileno(), opened.close, opened.end),
            )
            self._begin_request()

        @property
        def is_connected(self) -> bool:
            # urllib3 calls this method before it uses an idle connection again. The check of
            # urllib3 itself treats any received byte as the end of the connection, but TLS also
            # sends bytes that belong to no response.
            return self.sock is not None and cast("HttpSocket", self.sock).is_idle()

        def request(self, *args: Any, **options: Any) -> None:
            # An open connection of the pool is used again, without connect().
            if self.sock is not None:
                self._begin_request()
            super().request(*args, **options)

        def _begin_request(self) -> None:
            cast("HttpSocket", self.sock).begin_request(getattr(_thread, "stopper", None))

    class Pool(ConnectionPool):
        ConnectionCls = Connection  # pyright: ignore[reportAssignmentType] - as urllib3 documents

    return Pool(place.host, place.port, maxsize=_KEPT_CONNECTIONS, retries=False)


@contextlib.contextmanager
def stoppable(stopper: Stopper | None) -> Iterator[None]:
    """Allow *stopper*, if not None, to end the requests that this thread sends in the block."""
    _thread.stopper = stopper
    try:
        yield
    finally:
        _thread.stopper = None


def from_urllib3(error: Exception, doing: str, deadline: Deadline) -> InworldError:
    """
    Return the error of this package for an error of urllib3.

    Args:
        error: The error that urllib3 raised.
        doing: The request, for the message.
        deadline: The deadline of the request.
    """
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, (exceptions.TimeoutError, TimeoutError)):
            # If the timeout passed before the connection was open, an error of this package names
            # the step.
            own = [each for each in causes if isinstance(each, DeadlineExceeded)]
            step = next(
                (each for each in own if isinstance(each.__cause__, DeadlineExceeded)), None
            )
            return extended(deadline.error(), suffix=f": {step}") if step else deadline.error()
        if isinstance(cause, InworldError):
            return cause
    return ConnectionLost(f"{doing}: the connection broke: {reason_of(causes[-1])}")


def _causes(error: Exception) -> list[BaseException]:
    """Return *error* and all errors that urllib3 wrapped in it."""
    found: list[BaseException] = [error]
    for item in found:
        inner = [item.__cause__, *item.args]
        found += [each for each in inner if isinstance(each, BaseException) and each not in found]
    return found
