"""
Implements the part of HTTP/1.1 that the emulator needs: requests, responses, keep-alive and chunked
bodies.

Source: RFC 9112. The limits are those of the emulator.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from inworld_sync.emulator.faults import Cut, Fault
from inworld_sync.emulator.status import status
from inworld_sync.emulator.stream import Stream

__all__ = ["BadRequest", "Request", "RequestReader", "Response", "response_head", "service_headers"]

_MAX_HEAD_BYTES = 64 << 10
_MAX_CHUNK_LINE_BYTES = 256
# This pattern allows enough digits for every accepted length. int() would raise for thousands of
# digits.
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,12}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BadRequest(Exception):
    """
    A request that cannot be read or is too large. The connection ends after the response.

    Attributes:
        status: The HTTP status of the response.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen(kw_only=True)
class Request:
    """
    One request.

    Attributes:
        method: The method in capitals, as sent.
        path: The path without the query, percent-decoded, so that ``%3A`` has become a colon.
        query: The names and values in their order. Names keep their case.
        headers: The headers, with names in lower case. A comma joins the values of repeated
            headers.
        body: The whole body.
        head: The request line and the headers as they were received, with the empty line.
        faults: The faults of the connection.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes = b""
    head: bytes = attrs.field(default=b"", repr=False)
    faults: tuple[Fault, ...] = ()

    @property
    def wants_websocket(self) -> bool:
        """Whether the client asks for an upgrade to WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may carry another request after this one."""
        return self.headers.get("connection", "").lower() != "close"

    def query_value(self, name: str) -> str | None:
        """Return the first value of *name*, or None. The query may have the name in any case."""
        return next((value for key, value in self.query if key.lower() == name), None)


@attrs.frozen(kw_only=True)
class Response:
    """
    One response. A body of parts is sent chunked: each part is sent as soon as it is produced.

    Attributes:
        status: The HTTP status.
        headers: The headers, without ``Content-Length``, ``Transfer-Encoding`` and ``Connection``.
        body: The whole body, or its parts.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes | Iterable[bytes] = b""

    @classmethod
    def of_json(
        cls, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make a JSON response."""
        return cls(
            status=status,
            headers={"Content-Type": "application/json", **(headers or {})},
            body=json.dumps(value, ensure_ascii=False).encode(errors="replace"),
        )

    @classmethod
    def of_status(cls, code: int, message: str, *, http_status: int) -> Response:
        """Make the response to a refused request: a gRPC status in JSON."""
        return cls.of_json(status(code, message), status=http_status)


def service_headers(started: float) -> dict[str, str]:
    """Make the headers that all responses have; *started* is the request's monotonic time."""
    return {
        "x-inworld-request-id": uuid.uuid4().hex,
        "x-envoy-upstream-service-time": str(round((time.monotonic() - started) * 1000)),
    }


def response_head(response: Response, *, started: float, keep_alive: bool) -> bytes:
    """Make the status line and the headers; *started* is the monotonic time of the request."""
    line = HTTPStatus(response.status)
    headers = {**response.headers, **service_headers(started)}
    if isinstance(response.body, bytes):
        headers["Content-Length"] = str(len(response.body))
    else:
        headers["Transfer-Encoding"] = "chunked"
    if not keep_alive:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {line.value} {line.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class RequestReader:
    """Reads one request after the other from a stream."""

    def __init__(
        self,
        stream: Stream,
        *,
        timeout: float,
        first_timeout: float,
        max_body_bytes: int,
        cut_bytes: int | None = None,
    ) -> None:
        self._stream = stream
        # A fault resets the connection after this many bytes of a body.
        self._cut_bytes = cut_bytes
        self._timeout = timeout
        # This timeout limits the time for which a connection without any request is open.
        self._head_timeout = min(timeout, first_timeout)
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._deadline = 0.0

    @property
    def rest(self) -> bytes:
        """The bytes that were received after the last request."""
        return bytes(self._buffer)

    def read(self) -> Request | None:
        """
        Return the next request, or None if the client has disconnected.

        Raises:
            BadRequest: The request is malformed or too large.
            Cut: A fault has ended the connection.
            TimeoutError: The whole request was not received within the timeout.
        """
        started = time.monotonic()
        self._deadline = started + self._head_timeout
        head = self._until(b"\r\n\r\n", _MAX_HEAD_BYTES, status=431)
        if not head:
            return None
        self._deadline = started + self._timeout
        self._head_timeout = self._timeout
        request = _parse_head(head)
        if request.wants_websocket:
            return request
        return attrs.evolve(request, body=self._body(request.headers))

    def _more(self) -> bool:
        data = self._stream.receive(max(0.0, self._deadline - time.monotonic()))
        self._buffer += data
        return bool(data)

    def _until(self, mark: bytes, limit: int, *, status: int = 400) -> bytes:
        """Return the bytes up to the end of *mark*, or no bytes if the stream ends earlier."""
        searched = 0
        while (at := self._buffer.find(mark, max(0, searched - len(mark)))) < 0:
            searched = len(self._buffer)
            if searched > limit:
                raise BadRequest(f"a line or the headers exceed {limit} bytes", status=status)
            if not self._more():
                return b""
        return self._pop(at + len(mark))

    def _pop(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if self._cut_bytes is not None and len(self._buffer) >= self._cut_bytes:
                self._stream.reset()
                raise Cut
            if not self._more():
                raise BadRequest("the body ended early")
        return self._pop(count)

    def _body(self, headers: Mapping[str, str]) -> bytes:
        encoding = headers.get("transfer-encoding")
        if encoding is not None:
            if encoding.lower() != "chunked":
                message = f"Transfer-Encoding must be chunked, got {encoding[:20]!r}"
                raise BadRequest(message, status=501)
            return b"".join(self._chunks())
        length = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length):
            raise BadRequest(f"Content-Length must be a number, got {length[:20]!r}")
        return self._exactly(self._checked(int(length)))

    def _checked(self, length: int) -> int:
        if length > self._max_body_bytes:
            raise BadRequest(f"the body exceeds {self._max_body_bytes} bytes", status=413)
        return length

    def _chunks(self) -> Iterator[bytes]:
        total = 0
        while True:
            digits = self._until(b"\r\n", _MAX_CHUNK_LINE_BYTES).split(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(digits):
                raise BadRequest("a chunk of the body has no size")
            size = int(digits, 16)
            total = self._checked(total + size)
            if size == 0:
                while self._until(b"\r\n", _MAX_HEAD_BYTES) not in (b"\r\n", b""):
                    pass  # trailers are not used
                return
            yield self._exactly(size)
            self._exactly(2)


def _parse_head(head: bytes) -> Request:
    lines = head.decode("latin-1").split("\r\n")[:-2]
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/"):
        raise BadRequest("the first line is not an HTTP request")
    if parts[2] != "HTTP/1.1":
        raise BadRequest(f"only HTTP/1.1 is supported, got {parts[2][:20]!r}", status=505)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("a header line has no name")
        if _CONTROL_CHARACTER.search(line):
            raise BadRequest(f"the header {name[:40]!r} has a control character")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        target = urlsplit(parts[1])
    except ValueError:
        raise BadRequest(f"the target is not a URL, got {parts[1][:40]!r}") from None
    return Request(
        method=parts[0],
        path=unquote(target.path),
        query=tuple(parse_qsl(target.query, keep_blank_values=True)),
        headers=headers,
        head=head,
    )
