"""Choice of the proxy, and the tunnel through it."""

from __future__ import annotations

import base64
import urllib.parse
import urllib.request

import attrs

from inworld_sync.errors import ConfigError, ConnectError
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.stream import Stream, receive_by
from inworld_sync.transport.tcp import is_loopback

__all__ = ["Proxy", "choose_proxy", "open_tunnel"]

_DEFAULT_PORT = 8080

# The response of a proxy is a status line and a few headers.
_MAX_RESPONSE_BYTES = 64 * 1024


@attrs.frozen(kw_only=True)
class Proxy:
    """
    An HTTP proxy that opens tunnels with CONNECT.

    Attributes:
        host: Name or address.
        port: TCP port.
        authorization: The value of the Proxy-Authorization header, or None.
    """

    host: str
    port: int
    authorization: str | None = attrs.field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The URL of the proxy without credentials."""
        return f"http://{_bracketed(self.host)}:{self.port}"


def choose_proxy(url: str, options: Options) -> Proxy | None:
    """
    Return the proxy for *url*: the one of *options*, or else the one of the environment.

    The environment consists of ``https_proxy``, ``http_proxy``, ``all_proxy`` and ``no_proxy``, in
    lower or upper case, and the system settings on macOS and Windows. A loopback host never uses a
    proxy of the environment.

    Raises:
        ConfigError: The proxy's URL is invalid, or its scheme is not supported.
    """
    if options.proxy is not None:
        return _parse(options.proxy, "proxy=") if options.proxy else None
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    schemes = ("https", "wss") if parts.scheme in {"https", "wss"} else ("http", "ws")
    known = urllib.request.getproxies()
    for scheme in (schemes[0], "all"):
        if known.get(scheme):
            return _parse(known[scheme], f"the environment's {scheme}_proxy")
    return None


def _parse(text: str, source: str) -> Proxy:
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme != "http":
        raise ConfigError(
            f"{source} must start with http://, got {parts.scheme}://; "
            "use an HTTP proxy that allows CONNECT, or proxy=False for no proxy"
        )
    try:
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        host, port = None, 0
    if not host:
        raise ConfigError(f"{source} must look like http://host:port, got a URL without a host")
    authorization = None
    if parts.username is not None:
        user = urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return Proxy(host=host, port=port, authorization=authorization)


def open_tunnel(stream: Stream, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """
    Send CONNECT to *proxy*, so that *stream* becomes a tunnel to *host* (RFC 9110, section 9.3.6).

    Args:
        stream: A connection to the proxy.
        proxy: The proxy.
        host: The server behind the proxy.
        port: The port of the server.
        deadline: For the request and the response.

    Raises:
        ConnectError: The proxy refused, or its response is not HTTP.
        DeadlineExceeded: The proxy did not answer in time.
    """
    target = f"{_bracketed(host)}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    stream.send_all("\r\n".join([*lines, "", ""]).encode("ascii"), deadline)
    head, _, rest = _read_response(stream, proxy, deadline).partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    protocol, _, status = status_line.partition(" ")
    if not protocol.startswith("HTTP/1.") or not status[:3].isdigit():
        raise ConnectError(f"the proxy {proxy.url} did not answer like an HTTP proxy")
    if status.startswith("407"):
        raise ConnectError(
            f"the proxy {proxy.url} did not accept the credential (HTTP 407); "
            "put the right user:password@ into the proxy's URL"
        )
    if not status.startswith("2"):
        raise ConnectError(f"the proxy {proxy.url} refused a tunnel to {target}: HTTP {status}")
    if rest:
        raise ConnectError(f"the proxy {proxy.url} sent data before the tunnel was used")


def _read_response(stream: Stream, proxy: Proxy, deadline: Deadline) -> bytes:
    response = bytearray()
    piece = memoryview(bytearray(4096))
    try:
        while b"\r\n\r\n" not in response:
            if len(response) > _MAX_RESPONSE_BYTES:
                raise ConnectError(f"the proxy {proxy.url} sent more than 64 KiB of headers")
            response += piece[: receive_by(stream, piece, deadline)]
    except EOFError:
        raise ConnectError(
            f"the proxy {proxy.url} closed the connection without a response"
        ) from None
    return bytes(response)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
