"""
Sends HTTP requests to the servers that a session or the user names: MCP servers and chat endpoints.

A request goes to one URL. Redirects are not followed, so credentials are sent to that origin only.
Time and size are limited, and a request ends soon after its event ``stopped`` is set.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import attrs

__all__ = ["HttpAnswer", "HttpFailed", "post_json"]

# The interval at which a request checks whether it must end.
_STEP_SECONDS = 0.1
_CONNECT_SECONDS = 10.0


class HttpFailed(Exception):
    """
    The request failed.

    Attributes:
        status: The HTTP status, 0 if there was no response.
        body: The beginning of the response.
    """

    def __init__(self, message: str, *, status: int = 0, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


@attrs.frozen
class HttpAnswer:
    """
    A successful response.

    Attributes:
        headers: The headers, with names in lower case.
        lines: The lines of the body, as they are received. Iterating may raise HttpFailed.
    """

    headers: Mapping[str, str]
    lines: Iterator[bytes]


@contextmanager
def post_json(
    url: str,
    body: object,
    headers: Mapping[str, str],
    *,
    stopped: threading.Event,
    timeout: float,
    total_timeout: float,
    max_bytes: int,
) -> Iterator[HttpAnswer]:
    """
    Send a JSON body to an http or https URL, and yield the response.

    Args:
        url: The URL.
        body: A JSON value.
        headers: The headers of the request.
        stopped: An event that ends the request when it is set.
        timeout: Seconds without a byte after which the request fails.
        total_timeout: Seconds for the whole request.
        max_bytes: The maximum size of the response.

    Raises:
        HttpFailed: The URL or a header is invalid, the server cannot be reached, its response is
            not a success, or a limit was exceeded.
    """
    bounds = _Bounds(stopped, timeout, time.monotonic() + total_timeout, max_bytes)
    try:
        connection, target = _open(url, min(timeout, _CONNECT_SECONDS))
        connection.connect()
        with connection.sock as sock:
            connection.sock = _BoundedSocket(sock, bounds)
            data = json.dumps(body).encode()
            connection.request("POST", target, data, {"Accept-Encoding": "identity", **headers})
            response = connection.getresponse()
            if not 200 <= response.status < 300:
                text = response.read(500).decode(errors="replace")
                reason = f"status {response.status} {response.reason}".strip()
                raise HttpFailed(reason, status=response.status, body=text)
            names = {name.lower(): value for name, value in response.getheaders()}
            yield HttpAnswer(names, _lines(response))
    except (OSError, http.client.HTTPException, ValueError) as error:
        # http.client raises ValueError for control characters in a header or in the URL.
        raise HttpFailed(f"{type(error).__name__}: {error}") from error


def _open(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(url)
    kinds: dict[str, Callable[..., http.client.HTTPConnection]] = {
        "http": http.client.HTTPConnection,
        "https": http.client.HTTPSConnection,
    }
    if parts.scheme not in kinds or not parts.hostname:
        raise HttpFailed(
            f"the URL must begin with http:// or https:// and a host, got {url[:200]!r}"
        )
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)
    target = parts.path or "/"
    return connection, f"{target}?{parts.query}" if parts.query else target


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        # In a chunked body too, readline() returns as soon as the end of a line was received.
        while line := response.readline():
            yield line
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HttpFailed(f"{type(error).__name__}: {error}") from error


@attrs.define
class _Bounds:
    stopped: threading.Event
    timeout: float
    deadline: float
    left_bytes: int


class _BoundedSocket:
    """The methods of a socket that http.client uses, with bounds for reading."""

    def __init__(self, sock: socket.socket, bounds: _Bounds) -> None:
        self._socket = sock
        self._bounds = bounds

    def sendall(self, data: bytes) -> None:
        """Send all of *data*."""
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader with the bounds."""
        return io.BufferedReader(_BoundedReader(self._socket, self._bounds))

    def close(self) -> None:
        """Do nothing, because http.client calls this method before the response is read."""


class _BoundedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, bounds: _Bounds) -> None:
        self._socket = sock
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        bounds = self._bounds
        deadline = min(bounds.deadline, time.monotonic() + bounds.timeout)
        self._socket.settimeout(_STEP_SECONDS)
        while not bounds.stopped.is_set():
            try:
                count = self._socket.recv_into(buffer)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise TimeoutError("the server did not send its response in time") from None
                continue
            bounds.left_bytes -= count
            if bounds.left_bytes < 0:
                raise OSError("the response is too large")
            if time.monotonic() >= bounds.deadline:
                raise TimeoutError("the server did not send its response in time")
            return count
        raise OSError("the request was cancelled")
