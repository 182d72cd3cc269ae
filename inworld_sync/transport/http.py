"""HTTP requests with urllib3, without redirects and cookies."""

from __future__ import annotations

import json as json_module
import math
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConnectError,
    ConnectionLost,
    InworldError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.options import Options
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.rejection import error_from_response
from inworld_sync.transport.urls import merge_headers, parse_url, show_url

if TYPE_CHECKING:
    import urllib3

    from inworld_sync.transport.http_socket import Stopper

__all__ = ["HttpClient", "HttpResponse", "HttpStream"]

_PIECE_BYTES = 64 * 1024

# The most bytes that are read of the body of an error.
_MAX_ERROR_BYTES = 64 * 1024

_FIRST_DELAY_SECONDS = 0.2

# The statuses of a GET that is retried: a limit of requests, or a gateway without its service.
_RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@attrs.frozen(kw_only=True)
class HttpResponse:
    """
    A response with a status below 300.

    Attributes:
        status: HTTP status.
        headers: Headers by lower-case name.
        body: The complete body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    def json(self) -> object:
        """
        Parse the body.

        Raises:
            RemoteProtocolError: The body is not JSON.
        """
        try:
            return json_module.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise RemoteProtocolError(
                f"the body of a response with HTTP status {self.status} must be JSON, got "
                f"{len(self.body)} bytes of "
                f"{self.headers.get('content-type', 'no content type')!r}"
            ) from error


class HttpClient:
    """
    Sends HTTP requests to one server.

    Args:
        options: Base URL, certificates, proxy, headers, retries and the limit for a body.

    Thread safety:
        Any thread may send requests, also at the same time. A forked child opens its own
        connections.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.place = parse_url(options.base_url)
        # By process id: a forked child must not use the connections of its parent.
        self._pools: dict[int, urllib3.HTTPConnectionPool] = {}
        self._closed = threading.Event()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        json: object | None = None,
        body: Callable[[], Iterable[bytes]] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        deadline: Deadline,
    ) -> HttpResponse:
        """
        Send a request and read the complete response.

        A request is retried up to ``options.max_retries`` times, if the client could not connect.
        A GET is also retried if the connection broke or the status is 429, 502, 503 or 504.

        Args:
            method: ``GET``, ``POST`` and so on.
            path: Path of the URL, beginning with a slash.
            headers: They replace headers of the options with the same name.
            json: Value to send as JSON; None sends no JSON.
            body: Returns the blocks of the body for each attempt, instead of *json*; its type is
                in *headers*. An error that it raises ends the request.
            query: Parameters of the query; one with several values is repeated.
            deadline: For everything: all steps of connecting, the response, the retries.

        Raises:
            ServiceError: The status is 300 or above; the class depends on it.
            DeadlineExceeded: The deadline passed.
            ConnectError: Could not connect.
            ConnectionLost: The connection broke.
            RemoteProtocolError: The response is longer than ``options.max_message_bytes``.
            ConfigError: The path or a header cannot be sent.
            ClosedError: The client is closed.
        """
        backoff = Backoff(_FIRST_DELAY_SECONDS)
        while True:
            try:
                content = _as_json(json) if body is None else body()
                return _Exchange(self, method, path, deadline).run(headers, content, query)
            except InworldError as error:
                if backoff.attempts >= self.options.max_retries or not _is_retried(method, error):
                    raise
                delay = backoff.next_delay(error)
                if delay >= deadline.at_most(math.inf):
                    raise
            self.pause(delay)

    def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        json: object | None = None,
        timeout: float | None,
    ) -> HttpStream:
        """
        Return a request whose response is read while it arrives; it is not retried.

        Args:
            method: ``GET``, ``POST`` and so on.
            path: Path of the URL, beginning with a slash.
            headers: They replace headers of the options with the same name.
            json: Value to send as JSON; None sends no body.
            timeout: Seconds until the response begins, connecting included, and again for each
                line of it.
        """
        return HttpStream(self, method, path, headers, json, timeout)

    def pause(self, seconds: float) -> None:
        """
        Wait; closing the client ends the wait.

        Raises:
            ClosedError: The client is closed.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._closed.wait(min(left, LONGEST_WAIT_SECONDS)):
                raise _closed_error()

    def close(self) -> None:
        """Close the idle connections and end retries; a running request is not ended."""
        self._closed.set()
        for pool in list(self._pools.values()):
            pool.close()

    def pool(self) -> urllib3.HTTPConnectionPool:
        """Return the connection pool of this process; used only in this file."""
        if self._closed.is_set():
            raise _closed_error()
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            from inworld_sync.transport.pool import make_pool
            from inworld_sync.transport.proxy import choose_proxy

            # Two threads may each create one; setdefault makes both use the same.
            proxy = choose_proxy(self.options.endpoint("/", websocket=False), self.options)
            pool = self._pools.setdefault(pid, make_pool(self.options, self.place, proxy))
        return pool


def _is_retried(method: str, error: InworldError) -> bool:
    if isinstance(error, ConnectError):
        return True
    if method != "GET":
        return False
    if isinstance(error, ServiceError):
        return error.retryable and error.status in _RETRIED_STATUSES
    return isinstance(error, ConnectionLost)


def _closed_error() -> ClosedError:
    return ClosedError("the HTTP client is closed")


class HttpStream:
    """
    One request, and its response as lines.

    Thread safety: one thread iterates over :meth:`lines`; any may call :meth:`stop`.
    """

    def __init__(
        self,
        client: HttpClient,
        method: str,
        path: str,
        headers: Mapping[str, str],
        json: object | None,
        timeout: float | None,
    ) -> None:
        from inworld_sync.transport.http_socket import Stopper

        self._client = client
        self._method = method
        self._path = path
        self._headers = headers
        self._body = _as_json(json)
        self._timeout = timeout
        self._stopper = Stopper()

    @property
    def is_stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopper.is_stopped

    def stop(self) -> None:
        """End the request; an iteration that waits raises an error at once."""
        self._stopper.stop()

    def lines(self) -> Generator[bytes, None, None]:
        """
        Send the request and yield the lines of the response, without their ends; no empty ones.

        Closing the iterator before the end closes the connection. After the end it is kept for
        further requests.

        Raises:
            ServiceError: The status is 300 or above; the class depends on it.
            DeadlineExceeded: The response or a line did not come in time.
            ConnectError: Could not connect.
            ConnectionLost: The connection broke, or :meth:`stop` was called.
            RemoteProtocolError: A line is longer than ``options.max_message_bytes``.
            ConfigError: The path or a header cannot be sent.
            ClosedError: The client is closed.
        """
        exchange = _Exchange(self._client, self._method, self._path, self._deadline())
        response = exchange.start(self._headers, self._body, None, self._stopper)
        is_whole = False
        try:
            if response.status >= 300:
                exchange.raise_error(response)
            yield from self._split(exchange, response)
            is_whole = True
        finally:
            if is_whole:
                response.release_conn()
            else:
                response.close()

    def _split(self, exchange: _Exchange, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        max_bytes = self._client.options.max_message_bytes
        held = bytearray()
        for piece in exchange.pieces(response, None):
            held += piece
            *lines, rest = held.split(b"\n")
            held = rest
            if len(held) > max_bytes:
                raise RemoteProtocolError(
                    f"a line of the response to {exchange.doing} has more than {max_bytes} bytes; "
                    "see max_message_bytes"
                )
            for line in lines:
                if line := line.strip():
                    yield bytes(line)
            if lines:
                exchange.begin_wait(self._deadline(), self._stopper)
        if held := held.strip():
            yield bytes(held)

    def _deadline(self) -> Deadline:
        return Deadline(self._timeout, f"waiting for {self._method} {self._path}")


def _as_json(value: object | None) -> bytes | None:
    return None if value is None else json_module.dumps(value).encode()


class _Exchange:
    """One request and its response."""

    def __init__(self, client: HttpClient, method: str, path: str, deadline: Deadline) -> None:
        self._client = client
        self._method = method
        self._path = path
        self._url = client.options.endpoint(path, websocket=False)
        self.doing = f"{method} {show_url(self._url)}"
        self._deadline = deadline

    def run(
        self,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: Mapping[str, str | Sequence[str]] | None,
    ) -> HttpResponse:
        """Send the request and return the response; raise an error for a status from 300."""
        response = self.start(headers, body, query)
        try:
            if response.status >= 300:
                self.raise_error(response)
            body = b"".join(self.pieces(response, self._client.options.max_message_bytes))
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return HttpResponse(status=response.status, headers=_lowered(response), body=body)

    def start(
        self,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: Mapping[str, str | Sequence[str]] | None,
        stopper: Stopper | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and wait for the headers of the response."""
        suffix = f"?{urllib.parse.urlencode(query, doseq=True)}" if query else ""
        parse_url(self._url + suffix)
        own = {"Host": self._client.place.authority}
        if isinstance(body, bytes):
            own["Content-Type"] = "application/json"
        merged = merge_headers(own, self._client.options.headers, headers)
        pool = self._client.pool()
        import urllib3

        from inworld_sync.transport.pool import stoppable

        self._deadline.check()
        try:
            with stoppable(stopper):
                return pool.urlopen(
                    self._method,
                    self._path + suffix,
                    body=body,
                    headers=merged,
                    timeout=urllib3.Timeout(total=self._deadline.remaining()),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._mapped(error) from error

    def begin_wait(self, deadline: Deadline, stopper: Stopper) -> None:
        """Replace the deadline, for the next part of the response."""
        self._deadline = deadline
        if stopper.socket is not None:
            stopper.socket.settimeout(deadline.remaining())

    def raise_error(self, response: urllib3.BaseHTTPResponse) -> NoReturn:
        body = b""
        try:
            for piece in self.pieces(response, _MAX_ERROR_BYTES):
                body += piece
        except InworldError:
            pass  # the status matters more than an incomplete, long or late body
        raise error_from_response(
            response.status, _lowered(response), body, url=show_url(self._url)
        )

    def pieces(self, response: urllib3.BaseHTTPResponse, max_bytes: int | None) -> Iterator[bytes]:
        """Return the pieces of the body as they arrive, under the request's deadline."""
        import urllib3

        count = 0
        while True:
            try:
                piece = response.read1(_PIECE_BYTES)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._mapped(error) from error
            if not piece:
                return
            yield piece
            count += len(piece)
            if max_bytes is not None and count > max_bytes:
                raise RemoteProtocolError(
                    f"the response to {self.doing} has more than {max_bytes} bytes; "
                    "see max_message_bytes"
                )

    def _mapped(self, error: Exception) -> InworldError:
        from inworld_sync.transport.pool import from_urllib3

        return from_urllib3(error, self.doing, self._deadline)


def _lowered(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
