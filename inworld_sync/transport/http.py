"""HTTP requests with urllib3, without redirects and cookies."""

from __future__ import annotations

import json as json_module
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

import attrs

from inworld_sync.errors import ClosedError, InworldError, RemoteProtocolError
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.rejection import error_from_response
from inworld_sync.transport.urls import merge_headers, parse_url, show_url

if TYPE_CHECKING:
    import urllib3

__all__ = ["HttpClient", "HttpResponse"]

_PIECE_BYTES = 64 * 1024

# The most bytes that are read of the body of an error.
_MAX_ERROR_BYTES = 64 * 1024


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
        except ValueError as error:
            raise RemoteProtocolError(
                f"the body of a response with HTTP status {self.status} must be JSON, got "
                f"{len(self.body)} bytes of "
                f"{self.headers.get('content-type', 'no content type')!r}"
            ) from error


class HttpClient:
    """
    Sends HTTP requests to one server.

    Args:
        options: Base URL, certificates, proxy, headers and the limit for a body.

    Thread safety:
        Any thread may send requests, also at the same time. A forked child opens its own
        connections.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.place = parse_url(options.base_url)
        # By process id: a forked child must not use the connections of its parent.
        self._pools: dict[int, urllib3.PoolManager] = {}
        self._is_closed = False

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        json: object | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float,
    ) -> HttpResponse:
        """
        Send one request and read the complete response.

        Args:
            method: ``GET``, ``POST`` and so on.
            path: Path of the URL, beginning with a slash.
            headers: They replace headers of the options with the same name.
            json: Value to send as JSON; None sends no body.
            query: Parameters of the query.
            timeout: Seconds for everything; the time between two bytes of the response's headers
                starts again with each byte.

        Raises:
            ServiceError: The status is 300 or above; the class depends on it.
            DeadlineExceeded: *timeout* passed.
            ConnectError: Could not connect.
            ConnectionLost: The connection broke.
            RemoteProtocolError: The response is longer than ``options.max_message_bytes``.
            ConfigError: The path or a header cannot be sent.
            ClosedError: The client is closed.
        """
        exchange = _Exchange(self, method, path, timeout)
        response = exchange.start(headers, json, query)
        try:
            body = b"".join(exchange.pieces(response, self.options.max_message_bytes))
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return HttpResponse(status=response.status, headers=_lowered(response), body=body)

    def close(self) -> None:
        """Close the idle connections; requests that are running are not ended."""
        self._is_closed = True
        for pool in list(self._pools.values()):
            # clear() alone leaves them open as long as an error refers to a response.
            for key in pool.pools.keys():  # noqa: SIM118 - this container forbids iteration
                if kept := pool.pools.get(key):
                    kept.close()
            pool.clear()

    def pool(self) -> urllib3.PoolManager:
        """Return the connection pool of this process; used only in this file."""
        if self._is_closed:
            raise ClosedError("the HTTP client is closed")
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            from inworld_sync.transport.pool import make_pool
            from inworld_sync.transport.proxy import choose_proxy

            # Two threads may each create one; setdefault makes both use the same.
            proxy = choose_proxy(self.options.endpoint("/", websocket=False), self.options)
            pool = self._pools.setdefault(pid, make_pool(self.options, self.place, proxy))
        return pool


class _Exchange:
    """One request and its response."""

    def __init__(self, client: HttpClient, method: str, path: str, timeout: float) -> None:
        self._client = client
        self._method = method
        self._url = client.options.endpoint(path, websocket=False)
        self._timeout = timeout
        self._doing = f"{method} {show_url(self._url)}"
        self._deadline = Deadline(timeout, self._doing)

    def start(
        self, headers: Mapping[str, str], json: object | None, query: Mapping[str, str] | None
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and wait for the headers; raise an error for a status from 300."""
        url = f"{self._url}?{urllib.parse.urlencode(query)}" if query else self._url
        parse_url(url)
        body = None if json is None else json_module.dumps(json).encode()
        typed = {} if json is None else {"Content-Type": "application/json"}
        named = merge_headers(typed, self._client.options.headers, headers)
        pool = self._client.pool()
        import urllib3

        self._deadline.check()
        try:
            response = pool.request(
                self._method,
                url,
                body=body,
                headers=named,
                timeout=urllib3.Timeout(total=self._deadline.remaining()),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._mapped(error) from error
        if response.status >= 300:
            self._raise_error(response)
        return response

    def _raise_error(self, response: urllib3.BaseHTTPResponse) -> NoReturn:
        body = b""
        try:
            for piece in self.pieces(response, _MAX_ERROR_BYTES):
                body += piece
        except InworldError:
            pass  # the status matters more than an incomplete, long or late body
        finally:
            response.close()
        raise error_from_response(
            response.status, _lowered(response), body, url=show_url(self._url)
        )

    def pieces(self, response: urllib3.BaseHTTPResponse, max_bytes: int) -> Iterator[bytes]:
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
            self._deadline.check()

    def _mapped(self, error: Exception) -> InworldError:
        from inworld_sync.transport.pool import from_urllib3

        return from_urllib3(error, self._doing, self._timeout, self._client.place)


def _lowered(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
