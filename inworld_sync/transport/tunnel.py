"""Opens a tunnel through a proxy, with CONNECT or with SOCKS5."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, cast

from inworld_sync.errors import ConnectError
from inworld_sync.secret import SecretBytes
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.proxy import Proxy, bracketed
from inworld_sync.transport.stream import Stream, receive_by
from inworld_sync.transport.tcp import look_up

__all__ = ["open_tunnel"]

# The largest response of a proxy. Usually it is a status line and a few headers.
_MAX_RESPONSE_BYTES = 64 * 1024


def open_tunnel(stream: Stream, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """
    Request a tunnel from *proxy*, so that *stream* becomes a connection to *host*.

    Args:
        stream: A connection to the proxy, with TLS if the proxy uses TLS.
        proxy: The proxy that opens the tunnel.
        host: The server behind the proxy.
        port: The port of the server.
        deadline: The deadline by which the tunnel must be open.

    Raises:
        ConnectError: The proxy refused, or its response is not valid.
        DeadlineExceeded: The proxy did not answer in time.
    """
    if proxy.is_socks:
        _open_by_socks(stream, proxy, host, port, deadline)
    else:
        _open_by_connect(stream, proxy, f"{bracketed(host)}:{port}", deadline)


def _open_by_connect(stream: Stream, proxy: Proxy, target: str, deadline: Deadline) -> None:
    """Send a CONNECT request (RFC 9110, section 9.3.6)."""
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


def _open_by_socks(stream: Stream, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """Do the handshake of SOCKS5 (RFC 1928)."""
    target = f"{bracketed(host)}:{port}"
    if proxy.scheme == "socks5":
        host = _address_of(host, port, deadline)
    failure = _failure_of_socks(_SocksConnection(stream, deadline), proxy, host, port)
    if isinstance(failure, TimeoutError):
        raise deadline.error()
    if isinstance(failure, OSError):
        raise OSError(failure.errno, failure.strerror or str(failure))
    if failure is not None:
        raise ConnectError(
            f"the SOCKS5 proxy {proxy.url} opened no tunnel to {target}: {failure}; check that "
            "the proxy uses SOCKS5, allows this server, and accepts the user and password of its "
            "URL"
        )


def _failure_of_socks(
    connection: _SocksConnection, proxy: Proxy, host: str, port: int
) -> Exception | None:
    """
    Return the error of the handshake, without its traceback.

    Functions of python-socks have the password in local variables, which a traceback may show.
    """
    from python_socks import ProxyError, ProxyType
    from python_socks.sync import Proxy as SocksProxy

    handshake = SocksProxy(
        ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        username=proxy.user,
        password=proxy.password,
        rdns=True,
        forward=cast("Any", connection),
    )
    try:
        handshake.connect(host, port)
    # A proxy can send values that python-socks cannot read: UnicodeDecodeError is a ValueError.
    except (ProxyError, OSError, ValueError) as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    return None


def _address_of(host: str, port: int, deadline: Deadline) -> str:
    """Return an address of a host, preferably an IPv4 address."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = look_up(host, port, deadline)
    except ConnectError as error:
        raise ConnectError(
            f"{error}; with socks5h:// instead of socks5://, the proxy looks up the name"
        ) from error
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return str(found[0][1][0])


class _SocksConnection:
    """
    The connection to a proxy, over which python-socks does its handshake.

    For python-socks, this object is both the previous proxy of a chain and the socket that the
    previous proxy returns. So python-socks opens no socket, and every wait has the deadline.
    """

    def __init__(self, stream: Stream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def connect(self, **_: object) -> _SocksConnection:
        """Return the socket."""
        return self

    def sendall(self, data: bytes) -> None:
        """Send all of *data*."""
        self._stream.send_all(data, self._deadline)

    def recv(self, size: int) -> bytes:
        """Receive at most *size* bytes; return no bytes at the end of the stream."""
        room = memoryview(bytearray(size))
        try:
            return bytes(room[: receive_by(self._stream, room, self._deadline)])
        except EOFError:
            return b""

    def close(self) -> None:
        """Do nothing, because the caller of :func:`open_tunnel` owns the stream."""
