"""
Does the WebSocket upgrade with websocket-client, over a stream of this package.

websocket-client creates the request and checks the response. :class:`_Exchange` is between the
library and the network, because the library has no options for these rules:

- The headers and the query are added here, so the trace and the error log of the library never
  contain a credential.
- The body of an error response is read here, because the library loses a chunked body.
- Cookies are removed in both directions, because the library has one cookie jar for the process.
- A redirect is an error, because the library would send the credential to the new address.
- One deadline covers the whole upgrade. The library's timeout would start again with every byte.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import io
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, cast

import attrs

from inworld_sync.errors import ConfigError, ConnectError, InworldError
from inworld_sync.secret import Secret, SecretBytes
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http_socket import HttpSocket
from inworld_sync.transport.rejection import error_from_response, reason_of
from inworld_sync.transport.stream import Stream
from inworld_sync.transport.urls import Place

if TYPE_CHECKING:
    import socket

__all__ = ["Upgraded", "upgrade"]

# The most bytes that are read of the body of an error response.
_MAX_BODY_BYTES = 64 * 1024

# Seconds to wait for the body of an error response, which usually comes with the headers.
_BODY_TIMEOUT = 2.0

_TLS_HINT = "; if the server uses TLS, base_url must start with https://"

# The headers that websocket-client writes itself.
_OWN_HEADERS = {"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"}

# The headers of the response that websocket-client checks.
_SUBPROTOCOL_HEADER = "sec-websocket-protocol"
_CHECKED_HEADERS = ("upgrade", "connection", "sec-websocket-accept")


@attrs.frozen(kw_only=True)
class Upgraded:
    """
    The response of a server that accepted the upgrade.

    Attributes:
        headers: Headers by lower-case name.
        received: The bytes that were received after the headers.
    """

    # A server repeats a subprotocol, which may be a credential.
    headers: Mapping[str, str] = attrs.field(repr=False)
    received: bytes = attrs.field(repr=False)


def upgrade(
    stream: Stream, place: Place, *, headers: Mapping[str, str], shown_url: str, deadline: Deadline
) -> Upgraded:
    """
    Upgrade *stream* to a WebSocket.

    Args:
        stream: A connection to the server, on which nothing was sent yet.
        place: The server and the resource.
        headers: Additional headers, from :func:`merge_headers`.
        shown_url: The URL without secrets, for errors.
        deadline: For the request and the complete response.

    Raises:
        ServiceError: The server refused the upgrade with an HTTP status.
        ConnectError: The response is not valid, or the connection broke.
        DeadlineExceeded: The response was not complete in time.
        ConfigError: A header cannot be sent, or another package is installed as ``websocket``.
    """
    websocket = _websocket_client()
    if own := {name.lower() for name in headers} & _OWN_HEADERS:
        raise ConfigError(
            f"the header {own.pop()!r} is a part of every WebSocket upgrade; leave it out"
        )
    exchange = _Exchange(stream, place.target, headers, shown_url, deadline)
    try:
        websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True).connect(
            f"ws://{place.authority}/",
            socket=exchange,
            host=place.authority,
            suppress_origin=True,
            redirect_limit=0,
        )
    except websocket.WebSocketException as error:
        if exchange.failure:
            raise exchange.failure from exchange.failure.__cause__
        raise ConnectError(
            f"{shown_url} answered the upgrade without the headers of a WebSocket; check base_url"
        ) from error
    chosen = exchange.headers.get(_SUBPROTOCOL_HEADER)
    if chosen is not None and chosen not in _offered(headers):
        raise ConnectError(f"{shown_url} chose a subprotocol that the client did not offer")
    if "sec-websocket-extensions" in exchange.headers:
        raise ConnectError(f"{shown_url} uses a WebSocket extension that the client did not offer")
    return Upgraded(headers=exchange.headers, received=exchange.received)


def _offered(headers: Mapping[str, str]) -> list[str]:
    """Return the subprotocols that the client offers."""
    values = [value for name, value in headers.items() if name.lower() == _SUBPROTOCOL_HEADER]
    return [each.strip() for each in ",".join(values).split(",") if each.strip()]


def _websocket_client() -> ModuleType:
    """Import websocket-client. The package ``websocket`` on PyPI has the same module name."""
    try:
        module = importlib.import_module("websocket")
    except ImportError as error:
        raise ConfigError(
            f"websocket-client cannot be imported ({error}); pip install websocket-client"
        ) from error
    if not hasattr(module, "WebSocket") or not hasattr(module, "ABNF"):
        raise ConfigError(
            f"the module websocket at {module.__file__} is not websocket-client; "
            "pip uninstall websocket, then pip install --force-reinstall websocket-client"
        )
    return module


class _Exchange:
    """The object that websocket-client uses as its socket, for one request and one response."""

    # websocket-client reads this attribute before it closes a socket.
    _closed = False

    def __init__(
        self,
        stream: Stream,
        target: str,
        headers: Mapping[str, str],
        shown_url: str,
        deadline: Deadline,
    ) -> None:
        self.failure: InworldError | None = None
        self.headers: dict[str, str] = {}
        self.received = b""
        self._stream = stream
        self._request_line = f"GET {target} HTTP/1.1"
        self._header_lines = [Secret(f"{name}: {value}") for name, value in headers.items()]
        self._shown_url = shown_url
        self._deadline = deadline
        self._request = b""
        self._response: io.BytesIO | None = None

    def send(self, data: bytes) -> int:
        """Complete the library's request, which is sent when the library reads the response."""
        lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")[1:]
        kept = [line for line in lines if not line.lower().startswith("cookie:")]
        whole = [self._request_line, *kept, *self._header_lines, "", ""]
        # A traceback may show the variables of the functions that send it.
        self._request = SecretBytes("\r\n".join(whole).encode("latin-1"))
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return the headers that the library checks, or nothing after a failure."""
        if self._response is None:
            try:
                self._response = io.BytesIO(self._exchanged())
            except InworldError as error:
                # Kept for upgrade(), because the library would replace a timeout with its own
                # error.
                self.failure = error
                self._response = io.BytesIO()
        return self._response.read(size)

    def _exchanged(self) -> bytes:
        """Send the request, read the response, and return the headers that the library checks."""
        raw = HttpSocket(self._stream, self._deadline)
        with contextlib.closing(
            http.client.HTTPResponse(cast("socket.socket", raw), method="GET")
        ) as response:
            self._begin(response)
            if response.status != http.client.SWITCHING_PROTOCOLS:
                body = SecretBytes(self._body(response, raw))
                raise error_from_response(response.status, self.headers, body, url=self._shown_url)
            raw.end()
            self.received = response.fp.read()
        checked = [f"{name}: {self.headers.get(name, '')}" for name in _CHECKED_HEADERS]
        lines = ["HTTP/1.1 101 Switching Protocols", *checked, "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def _begin(self, response: http.client.HTTPResponse) -> None:
        try:
            self._stream.send_all(self._request, self._deadline)
            response.begin()
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, InworldError):
                raise
            hint = "" if self._shown_url.startswith(("wss:", "https:")) else _TLS_HINT
            raise ConnectError(
                f"{self._shown_url} did not answer the upgrade: {reason_of(error)}{hint}"
            ) from error
        for name, value in response.getheaders():
            joined = self.headers.get(name.lower())
            self.headers[name.lower()] = value if joined is None else f"{joined}, {value}"

    def _body(self, response: http.client.HTTPResponse, raw: HttpSocket) -> bytes:
        """Read the body of an error response, or the part of it that arrives in time."""
        raw.deadline = Deadline(self._deadline.at_most(_BODY_TIMEOUT), "reading the response")
        body = b""
        try:
            while len(body) < _MAX_BODY_BYTES:
                piece = response.read1(_MAX_BODY_BYTES - len(body))
                if not piece:
                    break
                body += piece
        except (http.client.HTTPException, OSError):
            pass  # the status matters more than an incomplete or late body
        return body

    def gettimeout(self) -> None:
        """Return None, because the deadline replaces the library's timeout."""

    def settimeout(self, timeout: float | None) -> None:
        """Do nothing, because the deadline replaces the library's timeout."""

    def fileno(self) -> int:
        """Return an invalid descriptor, so that the library cannot wait on it."""
        return -1

    def shutdown(self, how: int) -> None:
        """Do nothing, because the caller of :func:`upgrade` owns the stream."""

    def close(self) -> None:
        """Do nothing, because the caller of :func:`upgrade` owns the stream."""
