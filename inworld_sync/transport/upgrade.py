"""
Does the WebSocket upgrade over a stream of this package.

websocket-client writes the headers of the request and checks the headers of the response. This
module sends and reads the headers, because the library has no options for these rules:

- The headers and the query are added here, so the trace and the error log of the library never
  contain a credential.
- The body of an error response is read here, because the library loses a chunked body.
- Cookies are removed in both directions, because the library has one cookie jar for the process.
- A redirect is an error, because the library would send the credential to the new address.
- One deadline covers the whole upgrade. The library's timeout would start again with every byte.

The library would also read the response byte by byte, with six calls for each byte.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
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

# At most this many bytes of an error response's body are read.
_MAX_BODY_BYTES = 64 * 1024

# Seconds to wait for the body of an error response, which usually comes with the headers.
_BODY_TIMEOUT = 2.0

_TLS_HINT = "; if the server uses TLS, base_url must start with https://"

# The headers that websocket-client writes itself.
_OWN_HEADERS = {"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"}

_SUBPROTOCOL_HEADER = "sec-websocket-protocol"


@attrs.frozen(kw_only=True)
class Upgraded:
    """
    The response of a server that accepted the upgrade.

    Attributes:
        headers: Headers by lower-case name.
        received: The bytes that were received after the headers.
    """

    # A server repeats the subprotocol, which may be a credential. So the repr hides the headers.
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
        deadline: The deadline for the request and the complete response.

    Raises:
        ServiceError: The server refused the upgrade with an HTTP status.
        ConnectError: The response is not valid, or the connection broke.
        DeadlineExceeded: The response was not complete in time.
        ConfigError: A header cannot be sent, or another package is installed as ``websocket``.
    """
    library = _websocket_client()
    if own := {name.lower() for name in headers} & _OWN_HEADERS:
        raise ConfigError(
            f"the header {own.pop()!r} is a part of every WebSocket upgrade; leave it out"
        )
    # The library has only private functions for the two halves of a handshake. The requirements of
    # this package name the versions of the library that have these functions.
    make_headers, is_valid = library._get_handshake_headers, library._validate  # noqa: SLF001
    options = {"host": place.authority, "suppress_origin": True}
    (_, *lines), key = make_headers("/", "ws:", place.host, place.port, options)
    answer = _exchange(stream, place, lines, headers, shown_url, deadline)
    if not is_valid(answer.headers, key, None)[0]:
        raise ConnectError(
            f"{shown_url} answered the upgrade without the headers of a WebSocket; check base_url"
        )
    chosen = answer.headers.get(_SUBPROTOCOL_HEADER)
    if chosen is not None and chosen not in _offered(headers):
        raise ConnectError(f"{shown_url} chose a subprotocol that the client did not offer")
    if "sec-websocket-extensions" in answer.headers:
        raise ConnectError(f"{shown_url} uses a WebSocket extension that the client did not offer")
    return answer


def _offered(headers: Mapping[str, str]) -> list[str]:
    """Return the subprotocols that the client offers."""
    values = [value for name, value in headers.items() if name.lower() == _SUBPROTOCOL_HEADER]
    return [each.strip() for each in ",".join(values).split(",") if each.strip()]


def _websocket_client() -> ModuleType:
    """
    Import the handshake of websocket-client.

    Another package on PyPI, ``websocket``, has the same module name. So the module is checked.
    """
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
    return importlib.import_module("websocket._handshake")


def _exchange(
    stream: Stream,
    place: Place,
    lines: list[str],
    headers: Mapping[str, str],
    shown_url: str,
    deadline: Deadline,
) -> Upgraded:
    """
    Send the request with the headers in *lines*, and read the response; see :func:`upgrade`.

    The query of *place* may have a credential. No variable here shows a copy of the credential.
    """
    kept = [line for line in lines if line and not line.lower().startswith("cookie:")]
    added = [Secret(f"{name}: {value}") for name, value in headers.items()]
    # A traceback may show variables of the functions that send the request, so mask the request.
    request = SecretBytes(
        "\r\n".join([f"GET {place.target} HTTP/1.1", *kept, *added, "", ""]).encode("latin-1")
    )
    raw = HttpSocket(stream, deadline)
    with contextlib.closing(
        http.client.HTTPResponse(cast("socket.socket", raw), method="GET")
    ) as response:
        try:
            stream.send_all(request, deadline)
            response.begin()
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, InworldError):
                raise
            hint = "" if shown_url.startswith(("wss:", "https:")) else _TLS_HINT
            raise ConnectError(
                f"{shown_url} did not answer the upgrade: {reason_of(error)}{hint}"
            ) from error
        # The repr of this object hides the headers, which may repeat a credential.
        answer = Upgraded(headers=_headers_of(response), received=b"")
        if response.status != http.client.SWITCHING_PROTOCOLS:
            body = SecretBytes(_body(response, raw))
            raise error_from_response(response.status, answer.headers, body, url=shown_url)
        raw.end()
        return attrs.evolve(answer, received=response.fp.read())


def _headers_of(response: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        joined = headers.get(name.lower())
        headers[name.lower()] = value if joined is None else f"{joined}, {value}"
    return headers


def _body(response: http.client.HTTPResponse, raw: HttpSocket) -> bytes:
    """Read the body of an error response, or the part of the body that arrives in time."""
    raw.deadline = Deadline(raw.deadline.at_most(_BODY_TIMEOUT), "reading the response")
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
