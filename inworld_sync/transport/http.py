"""Sends HTTP requests with urllib3, without redirects and cookies."""

from __future__ import annotations

import json as json_module
import math
import os
import re
import time
import urllib.parse
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    InworldError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.locks import Event, make_lock
from inworld_sync.models.options import Options
from inworld_sync.secret import SecretBytes
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.credential import (
    Credential,
    Header,
    request_headers,
    send_authorized,
)
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.outcome import reported
from inworld_sync.transport.rejection import error_from_response
from inworld_sync.transport.urls import merge_headers, parse_url, show_url
from inworld_sync.wire.codec import dump_text, parse_json

if TYPE_CHECKING:
    import urllib3

    from inworld_sync.transport.http_socket import Stopper
    from inworld_sync.transport.pool import ConnectionPool

__all__ = ["Exchange", "HttpClient", "HttpResponse", "as_json", "headers_of", "is_retried"]

T = TypeVar("T")

_PIECE_BYTES = 64 * 1024

# At most this many bytes of an error's body are read.
_MAX_ERROR_BYTES = 64 * 1024

_FIRST_DELAY_SECONDS = 0.2

# A GET with one of these statuses is retried. 429 means that the server limits requests. The other
# statuses mean that a gateway cannot reach its service.
_RETRIED_STATUSES = frozenset({429, 502, 503, 504})

# If a response has one of these statuses and ``Retry-After``, the request was not handled.
_REFUSED_STATUSES = frozenset({429, 503})

# The JSON escape of half of a surrogate pair. The other half may follow or be missing.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@attrs.frozen(kw_only=True)
class HttpResponse:
    """
    A response with a status below 300.

    Attributes:
        status: The HTTP status.
        headers: The headers, by lower-case name.
        body: The complete body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    def json(self) -> object:
        """
        Parse the body. Half of a surrogate pair becomes ``?``.

        Raises:
            RemoteProtocolError: The body is not JSON in UTF-8.
        """
        try:
            value: object = parse_json(str(self.body, "utf-8-sig"))
            if _SURROGATE.search(self.body):
                # Half of a surrogate pair cannot be printed or sent again, so "?" replaces it.
                text = json_module.dumps(value, ensure_ascii=False)
                value = json_module.loads(text.encode(errors="replace"))
        except ValueError as error:
            raise RemoteProtocolError(
                f"the body of a response with HTTP status {self.status} must be JSON, got "
                f"{len(self.body)} bytes of "
                f"{self.headers.get('content-type', 'no content type')!r}"
            ) from error
        return value


class Closable(Protocol):
    """A body that is read piece by piece."""

    def close(self) -> None:
        """Close the connection of the body."""


class HttpClient:
    """
    Sends HTTP requests to one server.

    Args:
        options: Base URL, certificates, proxy, headers, retries and the limit for a body.
        credential: The credential that is sent with every request. With None, a request has only
            its own credential.

    Thread safety:
        Several threads may send requests at the same time. A forked child opens its own
        connections.

    Attributes:
        on_outcome: Called after each request of :meth:`request` with the error of the request, or
            with None.

    Lock rule: ``_lock`` guards the set of bodies; nothing is called while the lock is held.
    """

    def __init__(self, options: Options, credential: Credential | None = None) -> None:
        self.options = options
        self.credential = credential
        self.on_outcome: Callable[[InworldError | None], None] | None = None
        self.place = parse_url(options.base_url)
        # The key is the process id, because a forked child must not use the connections of its
        # parent.
        self._pools: dict[int, ConnectionPool] = {}
        self._closed = Event()
        self._lock = make_lock()
        self._bodies: weakref.WeakSet[Closable] = weakref.WeakSet()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        credential: Header | None = None,
        json: Mapping[str, object] | None = None,
        body: Callable[[], Iterable[bytes]] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        deadline: Deadline,
        obeys_retry_after: bool = False,
    ) -> HttpResponse:
        """
        Send a request and read the complete response.

        A request is retried up to ``options.max_retries`` times, if the client could not connect.
        A GET is also retried if the connection broke or the status is 429, 502, 503 or 504.
        If the service refuses a credential that can be renewed, any request is sent once more.

        Args:
            method: The HTTP method, such as ``GET``.
            path: Path of the URL, beginning with a slash.
            headers: Headers of the request. A header of the options with the same name is not sent.
            credential: The header that is sent instead of the credential of the client.
            json: Object to send as JSON; if None, no JSON is sent.
            body: A function that returns the blocks of the body. The blocks replace *json*, and the
                function is called once for each attempt. The caller sets the type of the body in
                *headers*. An error that *body* raises ends the request.
            query: Parameters of the query. A parameter with several values is repeated.
            deadline: The deadline for the whole call, with all steps of connecting, the response
                and the retries.
            obeys_retry_after: Whether a request that is not a GET is also retried if the status is
                429 or 503 and the response has ``Retry-After``. The service then did not handle
                the request.

        Raises:
            ServiceError: The status is 300 or above, and decides the class of the error.
            DeadlineExceeded: The deadline passed.
            ConnectError: Could not connect.
            ConnectionLost: The connection broke.
            RemoteProtocolError: The response is longer than ``options.max_message_bytes``.
            ConfigError: The path, a header, the query or the JSON cannot be sent.
            ClosedError: The client is closed.
        """

        def send(merged: Mapping[str, str]) -> HttpResponse:
            content = as_json(json) if body is None else body()
            return Exchange(self, method, path, deadline).run(merged, content, query)

        with reported(self.on_outcome):
            return self.attempt(
                lambda: send_authorized(send, credential or self.credential, deadline, headers),
                lambda error: is_retried(method, error, obeys_retry_after=obeys_retry_after),
                deadline,
            )

    def prewarm(self, deadline: Deadline) -> None:
        """
        Open a connection for the first request, unless there is an idle connection.

        Raises:
            DeadlineExceeded, ConnectError, ClosedError: As for :meth:`request`.
        """
        self.pool().prewarm(deadline.at_most(math.inf))

    def attempt(
        self, send: Callable[[], T], is_retried: Callable[[InworldError], bool], deadline: Deadline
    ) -> T:
        """
        Call *send*. Call *send* again after each error that allows a retry.

        Only this folder calls the method.
        """
        backoff = Backoff(_FIRST_DELAY_SECONDS)
        while True:
            try:
                return send()
            except InworldError as error:
                if backoff.attempts >= self.options.max_retries or not is_retried(error):
                    raise
                delay = backoff.next_delay(error)
                if delay >= deadline.at_most(math.inf):
                    raise
            self.pause(delay)

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
        """
        Close the idle connections, and the bodies that are being read; end retries.

        This call does not end a request of :meth:`request`, whose response is read as a whole.
        """
        with self._lock:
            self._closed.set()
            bodies = list(self._bodies)
        for body in bodies:
            body.close()
        for pool in list(self._pools.values()):
            pool.close()

    def close_with_client(self, body: Closable) -> None:
        """Add a body that :meth:`close` closes; used only in this folder."""
        with self._lock:
            self._bodies.add(body)
            if not self._closed.is_set():
                return
        body.close()

    def pool(self) -> ConnectionPool:
        """Return the connection pool of this process. Only this file calls the method."""
        if self._closed.is_set():
            raise _closed_error()
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            from inworld_sync.transport.pool import make_pool
            from inworld_sync.transport.proxy import choose_proxy

            # Two threads may each create a pool. setdefault makes both threads use the same pool.
            proxy = choose_proxy(self.options.endpoint("/", websocket=False), self.options)
            pool = self._pools.setdefault(pid, make_pool(self.options, self.place, proxy))
        return pool


def is_retried(method: str, error: InworldError, *, obeys_retry_after: bool) -> bool:
    """Return whether a request is sent again after this error; see :meth:`HttpClient.request`."""
    if isinstance(error, ConnectError):
        return True
    if method != "GET":
        return (
            obeys_retry_after
            and isinstance(error, ServiceError)
            and error.retryable
            and error.retry_after is not None
            and error.status in _REFUSED_STATUSES
        )
    if isinstance(error, ServiceError):
        return error.retryable and error.status in _RETRIED_STATUSES
    return isinstance(error, ConnectionLost)


def _closed_error() -> ClosedError:
    return ClosedError("the HTTP client is closed")


def as_json(value: Mapping[str, object] | None) -> bytes | None:
    """Return the body for a JSON object; used only in this folder."""
    return None if value is None else dump_text(value).encode()


class Exchange:
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
        """Send the request and return the response. Raise an error for a status of 300 or above."""
        response = self.open(headers, body, query)
        try:
            body = b"".join(self.pieces(response, self._client.options.max_message_bytes))
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return HttpResponse(status=response.status, headers=headers_of(response), body=body)

    def open(
        self,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: Mapping[str, str | Sequence[str]] | None,
        stopper: Stopper | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send the request; return the beginning of the response. Errors are as for :meth:`run`."""
        response = self._start(headers, body, query, stopper)
        if response.status < 300:
            return response
        try:
            self._raise_error(response)
        finally:
            response.close()

    def _start(
        self,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        query: Mapping[str, str | Sequence[str]] | None,
        stopper: Stopper | None,
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and wait for the headers of the response."""
        try:
            suffix = f"?{urllib.parse.urlencode(query, doseq=True)}" if query else ""
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"the values of a query must be valid Unicode, got {error.object!a:.100}"
            ) from None
        parse_url(self._url + suffix)
        own = {"Host": self._client.place.authority}
        if isinstance(body, bytes):
            own["Content-Type"] = "application/json"
        merged = merge_headers(own, request_headers(), self._client.options.headers, headers)
        pool = self._client.pool()
        import urllib3

        from inworld_sync.transport.pool import stoppable

        # The deadline may pass at any time, and urllib3 refuses a timeout of 0.
        left = self._deadline.remaining()
        if left == 0.0:
            raise self._deadline.error()
        try:
            with stoppable(stopper):
                return pool.urlopen(
                    self._method,
                    self._path + suffix,
                    body=body,
                    headers=merged,
                    timeout=urllib3.Timeout(total=left),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._mapped(error) from error

    def read(
        self, response: urllib3.BaseHTTPResponse, deadline: Deadline, stopper: Stopper
    ) -> bytes:
        """Return the next bytes of the body before *deadline*; b"" at the end of the body."""
        self.begin_wait(deadline, stopper)
        return next(self.pieces(response, None), b"")

    def begin_wait(self, deadline: Deadline, stopper: Stopper) -> None:
        """Set the deadline and the stopper for the next part of the response."""
        self._deadline = deadline
        if stopper.socket is not None:
            stopper.socket.settimeout(deadline.remaining())

    def _raise_error(self, response: urllib3.BaseHTTPResponse) -> NoReturn:
        body = b""
        try:
            for piece in self.pieces(response, _MAX_ERROR_BYTES):
                body += piece
        except InworldError:
            pass  # the status matters more than an incomplete, long or late body
        # The body may contain a part of the credential. A traceback may show local variables, and
        # SecretBytes hides the body there.
        body = piece = SecretBytes(body)
        raise error_from_response(
            response.status, headers_of(response), body, url=show_url(self._url)
        )

    def pieces(self, response: urllib3.BaseHTTPResponse, max_bytes: int | None) -> Iterator[bytes]:
        """Return the pieces of the body as they arrive, before the request's deadline."""
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


def headers_of(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """Return the headers of a response by lower-case name."""
    return {name.lower(): value for name, value in response.headers.items()}
