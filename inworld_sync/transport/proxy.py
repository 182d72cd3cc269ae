"""Chooses the proxy of a connection, and opens a tunnel through the proxy."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import re
import urllib.parse
import urllib.request

import attrs

from inworld_sync.errors import ConfigError, ConnectError
from inworld_sync.models.options import Options
from inworld_sync.secret import Secret, SecretBytes
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.stream import Stream, receive_by
from inworld_sync.transport.tcp import is_loopback
from inworld_sync.transport.urls import Place, parse_url

__all__ = ["Proxy", "choose_proxy", "open_tunnel"]

_DEFAULT_PORT = 80

# An entry of no_proxy with a port. In such an entry an IPv6 address has brackets.
_ENTRY_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+):(?P<port>\d{1,5})")

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
    Return the proxy for *url*, or None to connect directly.

    If ``options.proxy`` is not None, only this option decides. Otherwise the first of these
    environment variables that is set has the URL of the proxy. The names of the variables may be in
    lower or upper case:

    - for a ``wss`` URL: ``wss_proxy``, ``https_proxy``, ``all_proxy``
    - for an ``https`` URL: ``https_proxy``, ``all_proxy``
    - for a ``ws`` URL: ``ws_proxy``, ``http_proxy``, ``all_proxy``
    - for an ``http`` URL: ``http_proxy``, ``all_proxy``

    The client connects directly to the hosts that ``no_proxy`` lists. If no ``*_proxy`` variable is
    set, the system settings of macOS and Windows are used. For a loopback host such as
    ``localhost``, the client ignores the environment and the system settings.

    Raises:
        ConfigError: The proxy's URL is invalid, or its scheme is not supported.
    """
    if options.proxy is not None:
        return _parse(options.proxy, "proxy=") if options.proxy else None
    place = parse_url(url)
    if is_loopback(place.host):
        return None
    # The URLs may have passwords.
    known = {name: Secret(value) for name, value in urllib.request.getproxies_environment().items()}
    if known:
        is_bypassed = _matches_no_proxy(place, known.get("no", ""))
    else:
        known = {name: Secret(value) for name, value in urllib.request.getproxies().items()}
        is_bypassed = bool(known) and bool(urllib.request.proxy_bypass(place.authority))
    if is_bypassed:
        return None
    scheme = urllib.parse.urlsplit(url).scheme
    for name in (scheme, scheme.replace("ws", "http"), "all"):
        if known.get(name):
            return _parse(known[name], f"the environment's {name}_proxy")
    return None


def _matches_no_proxy(place: Place, no_proxy: str) -> bool:
    """
    Return whether ``no_proxy`` lists the host of *place*.

    Entries are separated by commas or spaces. An entry is ``*`` for all hosts, or one of these,
    with or without a port:

    - a host name, which also matches its subdomains
    - an IP address
    - a network such as ``10.0.0.0/8``
    """
    host = place.host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in no_proxy.lower().replace(",", " ").split():
        name = entry
        match = _ENTRY_WITH_PORT.fullmatch(entry)
        if match:
            if int(match["port"]) != place.port:
                continue
            name = match["host"]
        name = name.strip("[]")
        if address is not None:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(name, strict=False):
                    return True
        suffix = name.lstrip("*").strip(".")
        if name == "*" or (suffix and (host == suffix or host.endswith(f".{suffix}"))):
            return True
    return False


def _parse(text: str, source: str) -> Proxy:
    text = Secret(text)
    found = _read(text)
    if isinstance(found, str):
        raise ConfigError(f"{source} {found}")
    return found


def _read(text: str) -> Proxy | str:
    """
    Return the proxy of a URL, or what is wrong with the URL.

    The URL may have a password. So this function raises no error, because a traceback could show
    the password.
    """
    text = text.strip()
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme and parts.scheme != "http":
        return (
            f"must start with http://, got {parts.scheme}://; "
            "use an HTTP proxy that allows CONNECT, or proxy=False for no proxy"
        )
    if "@" in parts.path + parts.query + parts.fragment:
        return (
            "has one of the characters / ? # in its user or password; "
            "write them as %2F, %3F and %23"
        )
    try:
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        host, port = None, 0
    if not host or not parts.scheme:
        return "must look like http://host:port"
    authorization = None
    if parts.username is not None:
        user = urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        credential = base64.b64encode(f"{user}:{password}".encode()).decode()
        authorization = Secret(f"Basic {credential}")
    return Proxy(host=host, port=port, authorization=authorization)


def open_tunnel(stream: Stream, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """
    Send CONNECT to *proxy*, so that *stream* becomes a tunnel to *host* (RFC 9110, section 9.3.6).

    Args:
        stream: A connection to the proxy.
        proxy: The proxy.
        host: The server behind the proxy.
        port: The port of the server.
        deadline: The deadline by which the response must have arrived.

    Raises:
        ConnectError: The proxy refused, or its response is not HTTP.
        DeadlineExceeded: The proxy did not answer in time.
    """
    target = f"{_bracketed(host)}:{port}"
    stream.send_all(_connect_request(proxy, target), deadline)
    head, _, rest = _read_response(stream, proxy, deadline).partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    protocol, _, status = status_line.partition(" ")
    if not protocol.startswith("HTTP/1.") or not status[:3].isdigit():
        raise ConnectError(f"the proxy {proxy.url} did not answer with an HTTP response")
    if status.startswith("407"):
        raise ConnectError(
            f"the proxy {proxy.url} did not accept the credential (HTTP 407); "
            "put the right user:password@ into the proxy's URL"
        )
    if not status.startswith("2"):
        raise ConnectError(f"the proxy {proxy.url} refused a tunnel to {target}: HTTP {status}")
    if rest:
        raise ConnectError(f"the proxy {proxy.url} sent data before the tunnel was used")


def _connect_request(proxy: Proxy, target: str) -> SecretBytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return SecretBytes("\r\n".join([*lines, "", ""]).encode("ascii"))


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
