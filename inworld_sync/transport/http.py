"""HTTP requests with urllib3, without redirects and cookies."""

from __future__ import annotations

import json as json_module
import math
import os
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
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
from inworld_sync.transport.credential import Credential, Header, request_headers
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.rejection import error_from_response
from inworld_sync.transport.urls import merge_headers, parse_url, show_url

if TYPE_CHECKING:
    import urllib3

__all__ = ["HttpClient", "HttpResponse"]

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
        credential: Of every request; None sends none by itself.

    Thread safety:
        Any thread may send requests, also at the same time. A forked child opens its own
        connections.
    """

    def __init__(self, options: Options, credential: Credential | None = None) -> None:
        self.options = options
        self._credential = credential
        self.place = parse_url(options.base_url)
        # By process id: a forked child must not use the connections of its parent.
        self._pools: dict[int, urllib3.HTTPConnectionPool] = {}
        self._closed = threading.Event()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        credential: Header | None = None,
        json: object | None = None,
        query: Mapping[str, str] | None = None,
        deadline: Deadline,
    ) -> HttpResponse:
        """
        Send a request and read the complete response.

        A request is retried up to ``options.max_retries`` times, if the client could not connect.
        A GET is also retried if the connection broke or the status is 429, 502, 503 or 504.
        If the service refuses a credential that can be renewed, any request is sent once more.

        Args:
            method: ``GET``, ``POST`` and so on.
            path: Path of the URL, beginning with a slash.
            headers: They replace headers of the options with the same name.
            credential: Sent instead of the credential of the client.
            json: Value to send as JSON; None sends no body.
            query: Parameters of the query.
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

        def send(header: Header | None) -> HttpResponse:
            merged = {**(headers or {}), **dict([header] if header else ())}
            return _Exchange(self, method, path, deadline).run(merged, json, query)

        own = None if credential else self._credential
        backoff = Backoff(_FIRST_DELAY_SECONDS)
        while True:
            try:
                return own.use(deadline, send) if own else send(credential)
            except InworldError as error:
                if backoff.attempts >= self.options.max_retries or not _is_retried(method, error):
                    raise
                delay = backoff.next_delay(error)
                if delay >= deadline.at_most(math.inf):
                    raise
            if self._closed.wait(delay):
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


class _Exchange:
    """One request and its response."""

    def __init__(self, client: HttpClient, method: str, path: str, deadline: Deadline) -> None:
        self._client = client
        self._method = method
        self._path = path
        self._url = client.options.endpoint(path, websocket=False)
        self._doing = f"{method} {show_url(self._url)}"
        self._deadline = deadline

    def run(
        self, headers: Mapping[str, str], json: object | None, query: Mapping[str, str] | None
    ) -> HttpResponse:
        """Send the request and return the response; raise an error for a status from 300."""
        response = self._start(headers, json, query)
        try:
            if response.status >= 300:
                self._raise_error(response)
            body = b"".join(self._pieces(response, self._client.options.max_message_bytes))
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return HttpResponse(status=response.status, headers=_lowered(response), body=body)

    def _start(
        self, headers: Mapping[str, str], json: object | None, query: Mapping[str, str] | None
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and wait for the headers of the response."""
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        parse_url(self._url + suffix)
        body = None if json is None else json_module.dumps(json).encode()
        own = {"Host": self._client.place.authority}
        if json is not None:
            own["Content-Type"] = "application/json"
        merged = merge_headers(own, request_headers(), self._client.options.headers, headers)
        pool = self._client.pool()
        import urllib3

        self._deadline.check()
        try:
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

    def _raise_error(self, response: urllib3.BaseHTTPResponse) -> NoReturn:
        body = b""
        try:
            for piece in self._pieces(response, _MAX_ERROR_BYTES):
                body += piece
        except InworldError:
            pass  # the status matters more than an incomplete, long or late body
        raise error_from_response(
            response.status, _lowered(response), body, url=show_url(self._url)
        )

    def _pieces(self, response: urllib3.BaseHTTPResponse, max_bytes: int) -> Iterator[bytes]:
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
            if count > max_bytes:
                raise RemoteProtocolError(
                    f"the response to {self._doing} has more than {max_bytes} bytes; "
                    "see max_message_bytes"
                )

    def _mapped(self, error: Exception) -> InworldError:
        from inworld_sync.transport.pool import from_urllib3

        return from_urllib3(error, self._doing, self._deadline)


def _lowered(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
