"""
The WebSocket upgrade, by websocket-client over a stream of ours.

websocket-client writes the request and checks the answer; between it and the network stands
:class:`_Exchange`, for what the library cannot be asked for:

- Headers and query are put in on the way out, so that its trace and its error log, which print
  what they are given, never hold a credential.
- A refusal is read here with its whole body; the library loses a chunked one.
- Cookies pass in neither direction: the library keeps one jar for all connections of a process.
- Redirects are refusals: it would send the credential to wherever one points.
- Everything is under one deadline; the library's timeout begins anew with every byte.
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
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.rejection import error_from_response, reason_of
from inworld_sync.transport.stream import Stream, receive_by
from inworld_sync.transport.urls import Place

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

__all__ = ["Upgraded", "upgrade"]

# Of a refusal's body: enough for any message, little enough to hold in memory.
_MAX_BODY_BYTES = 64 * 1024

# For a refusal's body, in seconds: it comes with the headers or hardly ever.
_BODY_TIMEOUT = 2.0

# What websocket-client writes itself.
_OWN_HEADERS = {"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"}

# What it checks of the answer.
_CHECKED_HEADERS = ("upgrade", "connection", "sec-websocket-accept")


@attrs.frozen(kw_only=True)
class Upgraded:
    """
    What the server said when it agreed.

    Attributes:
        headers: Its headers, by lower-case name.
        received: The first bytes after its answer.
    """

    headers: Mapping[str, str]
    received: bytes


def upgrade(
    stream: Stream, place: Place, *, headers: Mapping[str, str], shown_url: str, deadline: Deadline
) -> Upgraded:
    """
    Make a WebSocket of *stream*.

    Args:
        stream: Connected to the server of *place*, with nothing sent yet.
        place: Where the URL leads.
        headers: Beside those of the upgrade itself, of :func:`merge_headers`.
        shown_url: The URL without secrets, for errors.
        deadline: For the request and the whole answer.

    Raises:
        ServiceError: The server refuses, by HTTP status.
        ConnectError: The answer is no answer to an upgrade, or the connection broke.
        DeadlineExceeded: The answer was not whole in time.
        ConfigError: A header cannot be sent, or another package stands in for websocket-client.
    """
    websocket = _websocket_client()
    if own := {name.lower() for name in headers} & _OWN_HEADERS:
        raise ConfigError(f"the header {own.pop()!r} is the upgrade's own and cannot be given")
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
    if "sec-websocket-protocol" in exchange.headers:
        raise ConnectError(f"{shown_url} chose a subprotocol that was not offered")
    if "sec-websocket-extensions" in exchange.headers:
        raise ConnectError(f"{shown_url} uses a WebSocket extension that was not offered")
    return Upgraded(headers=exchange.headers, received=exchange.received)


def _websocket_client() -> ModuleType:
    """Import websocket-client; a package of the index named ``websocket`` takes the same name."""
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
    """The socket that websocket-client is given: one request out, one answer in."""

    # websocket-client reads it before it closes a socket.
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
        self._header_lines = [f"{name}: {value}" for name, value in headers.items()]
        self._shown_url = shown_url
        self._deadline = deadline
        self._request = b""
        self._answer: io.BytesIO | None = None

    def send(self, data: bytes) -> int:
        """Keep the library's request, completed, until it asks for the answer."""
        lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")[1:]
        kept = [line for line in lines if not line.lower().startswith("cookie:")]
        whole = [self._request_line, *kept, *self._header_lines, "", ""]
        self._request = "\r\n".join(whole).encode("latin-1")
        return len(data)

    def recv(self, size: int) -> bytes:
        """Give the answer, as far as the library needs it; nothing at all after a failure."""
        if self._answer is None:
            try:
                self._answer = io.BytesIO(self._exchanged())
            except InworldError as error:
                # Kept for upgrade(): the library would turn a timeout into an error of its own.
                self.failure = error
                self._answer = io.BytesIO()
        return self._answer.read(size)

    def _exchanged(self) -> bytes:
        """Send the request, read the answer, and give what the library is to check."""
        raw = _RawAnswer(self._stream, self._deadline)
        with contextlib.closing(
            http.client.HTTPResponse(cast("socket.socket", raw), method="GET")
        ) as response:
            self._begin(response)
            if response.status != http.client.SWITCHING_PROTOCOLS:
                body = self._body(response, raw)
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
            raise ConnectError(
                f"{self._shown_url} did not answer the upgrade: {reason_of(error)}"
            ) from error
        for name, value in response.getheaders():
            joined = self.headers.get(name.lower())
            self.headers[name.lower()] = value if joined is None else f"{joined}, {value}"

    def _body(self, response: http.client.HTTPResponse, raw: _RawAnswer) -> bytes:
        """Read a refusal's body, or as much of it as comes."""
        raw.deadline = Deadline(self._deadline.at_most(_BODY_TIMEOUT), "reading a refusal")
        body = b""
        try:
            while len(body) < _MAX_BODY_BYTES:
                piece = response.read1(_MAX_BODY_BYTES - len(body))
                if not piece:
                    break
                body += piece
        except (http.client.HTTPException, OSError):
            pass  # a cut or late body is no reason to hide the status
        return body

    def gettimeout(self) -> None:
        """Say that there is none; the deadline is kept below."""

    def settimeout(self, timeout: float | None) -> None:
        """Ignore the library's; the deadline is kept below."""

    def fileno(self) -> int:
        """Give no descriptor: the library shall not wait on it."""
        return -1

    def shutdown(self, how: int) -> None:
        """Leave the stream to its owner."""

    def close(self) -> None:
        """Leave the stream to its owner."""


class _RawAnswer(io.RawIOBase):
    """The stream as a file, for http.client's reader of answers."""

    def __init__(self, stream: Stream, deadline: Deadline) -> None:
        super().__init__()
        self.deadline = deadline
        self._stream = stream
        self._is_over = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Do as a socket does."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def end(self) -> None:
        """Read no more from the stream: what follows is not HTTP."""
        self._is_over = True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Receive at least one byte; 0 at the end."""
        if self._is_over:
            return 0
        try:
            return receive_by(self._stream, memoryview(buffer), self.deadline)
        except EOFError:
            return 0
