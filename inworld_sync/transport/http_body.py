"""
Reads the body of an HTTP response piece by piece, each under a deadline of the caller.

Lock rule: ``_lock`` guards the flags; it is held while nothing else is called.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from inworld_sync.errors import ClosedError, InworldError
from inworld_sync.transport.credential import send_authorized
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.fork_guard import ForkGuard
from inworld_sync.transport.http import Exchange, HttpClient, headers_of, is_retried
from inworld_sync.transport.http_socket import Stopper

if TYPE_CHECKING:
    import urllib3

__all__ = ["HttpBody", "open_body"]


class HttpBody:
    """
    The body of a response with a status below 300.

    Attributes:
        headers: Headers of the response by lower-case name.

    Thread safety: one thread reads; any may call :meth:`close`, which ends a wait of the reader.
    """

    def __init__(
        self, exchange: Exchange, response: urllib3.BaseHTTPResponse, stopper: Stopper
    ) -> None:
        self.headers: Mapping[str, str] = headers_of(response)
        self._exchange = exchange
        self._response = response
        self._stopper = stopper
        self._fork_guard = ForkGuard()
        self._lock = threading.Lock()
        self._is_reading = False
        self._is_closed = False

    def read(self, deadline: Deadline) -> bytes:
        """
        Return the next bytes; wait for at least one. Return nothing at the end of the body.

        After the end, the connection is kept for further requests. After an error it is closed.

        Raises:
            DeadlineExceeded: The deadline passed.
            ConnectionLost: The connection broke.
            ClosedError: The body was closed, or belongs to the parent of this process.
        """
        if self._fork_guard.in_child:
            raise ClosedError("the response belongs to the parent of this process")
        with self._lock:
            if self._is_closed:
                raise _closed_error()
            self._is_reading = True
        piece: bytes | None = None
        try:
            piece = self._exchange.read(self._response, deadline, self._stopper)
        except InworldError:
            if self._stopper.is_stopped:
                raise _closed_error() from None
            raise
        finally:
            self._end_read(piece)
        # The end that this side made looks like the end of the body.
        if self._stopper.is_stopped:
            raise _closed_error()
        return piece

    def close(self) -> None:
        """Close the connection, unless the body was read to its end; may be called twice."""
        if self._fork_guard.in_child:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            is_reading = self._is_reading
        self._stopper.stop()
        if not is_reading:
            self._response.close()

    def __del__(self) -> None:
        self.close()

    def _end_read(self, piece: bytes | None) -> None:
        """Leave the response alone after an error (None) and at its end."""
        with self._lock:
            self._is_reading = False
            was_closed = self._is_closed
            self._is_closed = was_closed or not piece
        if was_closed or piece is None:
            self._response.close()
        elif not piece:
            self._response.release_conn()


def _closed_error() -> ClosedError:
    return ClosedError("the response was closed before its end")


def open_body(
    client: HttpClient,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: object,
    deadline: Deadline,
) -> HttpBody:
    """
    Send a request and return when the response begins.

    The request is retried up to ``options.max_retries`` times if the client could not connect, or
    if the service did not handle it: the status is 429 or 503, and the response has
    ``Retry-After``.

    Args:
        client: Sends the request.
        method: ``POST`` and so on.
        path: Path of the URL, beginning with a slash.
        headers: They replace headers of the options with the same name.
        json: Value to send as JSON.
        deadline: For connecting, the head of the response, and the retries.

    Raises:
        ServiceError: The status is 300 or above; the class depends on it.
        DeadlineExceeded: The deadline passed.
        ConnectError: Could not connect.
        ConnectionLost: The connection broke.
        ConfigError: The path or a header cannot be sent.
        ClosedError: The client is closed.
    """

    def send(merged: Mapping[str, str]) -> HttpBody:
        exchange, stopper = Exchange(client, method, path, deadline), Stopper()
        body = HttpBody(exchange, exchange.open(merged, json, None, stopper), stopper)
        client.close_with_client(body)
        return body

    def authorized() -> HttpBody:
        return send_authorized(send, client.credential, deadline, headers)

    return client.attempt(authorized, partial(is_retried, method, obeys_retry_after=True), deadline)
