"""
Reads the body of an HTTP response piece by piece. The caller passes a deadline for each piece.

Lock rule: ``_lock`` guards the flags; nothing else is called while the lock is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from inworld_sync.errors import ClosedError, InworldError, RemoteProtocolError
from inworld_sync.locks import make_lock
from inworld_sync.transport.credential import send_authorized
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.fork_guard import ForkGuard
from inworld_sync.transport.http import Exchange, HttpClient, as_json, headers_of, is_retried
from inworld_sync.transport.http_socket import Stopper

if TYPE_CHECKING:
    import urllib3

__all__ = ["HttpBody", "lines_in", "open_body", "start_body"]


class HttpBody:
    """
    The body of a response with a status below 300.

    Attributes:
        headers: Headers of the response by lower-case name.

    Thread safety: one thread reads; any thread may call :meth:`close`, which ends a wait of the
    reader.
    """

    def __init__(
        self, exchange: Exchange, response: urllib3.BaseHTTPResponse, stopper: Stopper
    ) -> None:
        self.headers: Mapping[str, str] = headers_of(response)
        self._exchange = exchange
        self._response = response
        self._stopper = stopper
        self._fork_guard = ForkGuard()
        self._lock = make_lock()
        self._is_reading = False
        self._is_closed = False
        # Whether the body was read to its end, so that the connection can be used again.
        self._is_kept = False

    def read(self, deadline: Deadline) -> bytes:
        """
        Return the next bytes; wait for at least one. Return empty bytes at the end of the body.

        After the end, the connection is kept for further requests. After an error, the connection
        is closed.

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
        try:
            piece = self._exchange.read(self._response, deadline, self._stopper)
        except BaseException as error:
            self._end_read(None)
            if self._stopper.is_stopped and isinstance(error, InworldError):
                raise _closed_error() from None
            raise
        self._end_read(piece)
        # If this side has ended the stream, the read returns b"", as at the end of the body.
        if self._stopper.is_stopped:
            raise _closed_error()
        return piece

    def close(self) -> None:
        """Close the connection, unless the body was read to its end; may be called twice."""
        if self._fork_guard.in_child:
            return
        with self._lock:
            if self._is_kept:
                return
            self._is_closed = True
            is_reading = self._is_reading
        self._stopper.stop()
        if not is_reading:
            self._response.close()

    def __del__(self) -> None:
        self.close()

    def _end_read(self, piece: bytes | None) -> None:
        """Stop using the response after an error (*piece* is None) or at the end of the body."""
        with self._lock:
            self._is_reading = False
            was_closed = self._is_closed
            self._is_closed = was_closed or not piece
            self._is_kept = piece == b"" and not was_closed
        if was_closed or piece is None:
            self._response.close()
        elif self._is_kept:
            self._response.release_conn()


def _closed_error() -> ClosedError:
    return ClosedError("the response was closed before its end")


def open_body(
    client: HttpClient,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Mapping[str, object],
    deadline: Deadline,
) -> HttpBody:
    """
    Send a request and return when the response begins.

    The request is retried up to ``options.max_retries`` times if the client could not connect, or
    if the service did not handle the request: the status is 429 or 503, and the response has
    ``Retry-After``.

    Args:
        client: Sends the request.
        method: The HTTP method, such as ``POST``.
        path: Path of the URL, beginning with a slash.
        headers: Headers of the request. A header of the options with the same name is not sent.
        json: Object to send as JSON.
        deadline: The deadline for connecting, the head of the response, and the retries.

    Raises:
        ServiceError: The status is 300 or above; the class depends on the status.
        DeadlineExceeded: The deadline passed.
        ConnectError: Could not connect.
        ConnectionLost: The connection broke.
        ConfigError: The path or a header cannot be sent.
        ClosedError: The client is closed.
    """
    return client.attempt(
        lambda: start_body(client, method, path, headers=headers, json=json, deadline=deadline),
        partial(is_retried, method, obeys_retry_after=True),
        deadline,
    )


def start_body(
    client: HttpClient,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Mapping[str, object],
    deadline: Deadline,
    stopper: Stopper | None = None,
) -> HttpBody:
    """
    Send a request once and return when the response begins; see :func:`open_body`.

    Args:
        client: Sends the request.
        method: The HTTP method, such as ``POST``.
        path: Path of the URL, beginning with a slash.
        headers: Headers of the request. A header of the options with the same name is not sent.
        json: Object to send as JSON.
        deadline: The deadline for connecting and the head of the response.
        stopper: Ends the wait for the response. After the response has begun, the stopper does the
            same as :meth:`HttpBody.close`.
    """
    stop = stopper or Stopper()

    def send(merged: Mapping[str, str]) -> HttpBody:
        exchange = Exchange(client, method, path, deadline)
        body = HttpBody(exchange, exchange.open(merged, as_json(json), None, stop), stop)
        client.close_with_client(body)
        return body

    return send_authorized(send, client.credential, deadline, headers)


def lines_in(body: HttpBody, timeout: float | None, max_bytes: int) -> Iterator[bytes]:
    """
    Yield the lines of a body, without line breaks. Empty lines are left out.

    Args:
        body: The body of the response.
        timeout: How many seconds the wait for a line may take.
        max_bytes: The largest number of bytes of a line.

    Raises:
        DeadlineExceeded: A line did not come in time.
        RemoteProtocolError: A line is too long.
        ConnectionLost: The connection broke.
        ClosedError: The body was closed.
    """
    held = bytearray()
    is_over = False
    while not is_over:
        deadline = Deadline(timeout, "waiting for a line of the response")
        while b"\n" not in held and not is_over:
            piece = body.read(deadline)
            held += piece
            is_over = not piece
            if len(held) - held.rfind(b"\n") > max_bytes:
                raise RemoteProtocolError(
                    f"a line of the response has more than {max_bytes} bytes; see max_message_bytes"
                )
        *lines, held = held.split(b"\n")
        if is_over:
            lines.append(held)
        for line in lines:
            if line := line.strip():
                yield bytes(line)
