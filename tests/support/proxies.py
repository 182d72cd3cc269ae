"""Proxies that open or refuse tunnels with CONNECT or SOCKS5."""

from __future__ import annotations

import base64
import contextlib
import selectors
import socket
import ssl
from collections.abc import Iterator

from support.peers import PATIENCE_SECONDS, Peer, RawServer, serve

# The codes of RFC 1928: address types, and replies.
_IPV4, _NAME, _IPV6 = 1, 3, 4
_GRANTED, _NOT_ALLOWED = 0, 2


class ConnectProxy:
    """
    A proxy whose tunnels lead to this machine, for every requested host.

    Args:
        credential: ``user:password`` that the client must send. If None, every client is accepted.
        refusal: The complete response to send instead of a tunnel. If None, tunnels are opened.

    Attributes:
        asked: The targets that clients have requested, such as ``localhost:443``.
    """

    def __init__(self, credential: str | None = None, refusal: bytes | None = None) -> None:
        self.asked: list[str] = []
        self._credential = credential
        self._refusal = refusal

    def __call__(self, peer: Peer) -> None:
        peer.read_head()
        method, target, _ = peer.request.decode("ascii").split(" ", 2)
        assert method == "CONNECT"
        self.asked.append(target)
        if self._refusal is not None:
            peer.send(self._refusal)
        elif not self._is_allowed(peer):
            peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        else:
            granted = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n"
            _relay(peer, int(target.rpartition(":")[2]), granted)

    def _is_allowed(self, peer: Peer) -> bool:
        if self._credential is None:
            return True
        expected = "Basic " + base64.b64encode(self._credential.encode()).decode()
        return peer.header("proxy-authorization") == expected


class SocksProxy:
    """
    A SOCKS5 proxy (RFC 1928) whose tunnels lead to this machine. See :class:`ConnectProxy`.

    Args:
        credential: ``user:password`` that the client must send (RFC 1929). If None, every client is
            accepted.
        refusal: The bytes to send instead of the reply to the request of a tunnel.
    """

    def __init__(self, credential: str | None = None, refusal: bytes | None = None) -> None:
        self.asked: list[str] = []
        self._credential = credential
        self._refusal = refusal

    def __call__(self, peer: Peer) -> None:
        version, count = peer.read_exactly(2)
        assert version == 5
        methods = peer.read_exactly(count)
        method = 0 if self._credential is None else 2
        if method not in methods:
            peer.send(b"\x05\xff")
            return
        peer.send(bytes([5, method]))
        if method and not self._is_allowed(peer):
            peer.send(b"\x01\x01")
            return
        version, command, _, kind = peer.read_exactly(4)
        assert (version, command) == (5, 1)
        host = _read_host(peer, kind)
        port = int.from_bytes(peer.read_exactly(2), "big")
        self.asked.append(f"{host}:{port}")
        if self._refusal is not None:
            peer.send(self._refusal)
        else:
            _relay(peer, port, bytes([5, _GRANTED, 0, _IPV4, 127, 0, 0, 1, 0, 80]))

    def _is_allowed(self, peer: Peer) -> bool:
        assert self._credential is not None
        version, size = peer.read_exactly(2)
        assert version == 1
        user = peer.read_exactly(size)
        password = peer.read_exactly(peer.read_exactly(1)[0])
        if f"{user.decode()}:{password.decode()}" != self._credential:
            return False
        peer.send(b"\x01\x00")
        return True


NOT_ALLOWED = bytes([5, _NOT_ALLOWED, 0, _IPV4, 0, 0, 0, 0, 0, 0])


def _read_host(peer: Peer, kind: int) -> str:
    if kind == _IPV4:
        return socket.inet_ntop(socket.AF_INET, peer.read_exactly(4))
    if kind == _IPV6:
        return f"[{socket.inet_ntop(socket.AF_INET6, peer.read_exactly(16))}]"
    assert kind == _NAME
    return peer.read_exactly(peer.read_exactly(1)[0]).decode("ascii")


def _relay(peer: Peer, port: int, granted: bytes) -> None:
    """
    Connect to a port of this machine, send *granted*, and pass all bytes on until one side ends.

    One thread passes both directions, because two threads must not use a TLS socket at once.
    """
    with socket.create_connection(("127.0.0.1", port)) as onward:
        onward.settimeout(PATIENCE_SECONDS)
        peer.send(granted)
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            ready.register(peer.sock, selectors.EVENT_READ, onward)
            ready.register(onward, selectors.EVENT_READ, peer.sock)
            while True:
                for key, _ in ready.select():
                    if not _pass_on(key.fileobj, key.data):  # type: ignore[arg-type]
                        return


def _pass_on(source: socket.socket, sink: socket.socket) -> bool:
    """Pass on the bytes that have arrived. Return False if the source has ended."""
    while True:
        piece = source.recv(65536)
        sink.sendall(piece)
        if not (isinstance(source, ssl.SSLSocket) and source.pending()):
            return bool(piece)


@contextlib.contextmanager
def proxy(
    credential: str | None = None,
    refusal: bytes | None = None,
    *,
    scheme: str = "http",
    tls: ssl.SSLContext | None = None,
) -> Iterator[tuple[RawServer, ConnectProxy | SocksProxy]]:
    """
    Run a proxy during the block.

    For the schemes of SOCKS, the proxy is a :class:`SocksProxy`. Otherwise, the proxy is a
    :class:`ConnectProxy`.
    """
    kind = SocksProxy if scheme.startswith("socks") else ConnectProxy
    script = kind(credential, refusal)
    with serve(script, tls=tls if scheme == "https" else None) as server:
        yield server, script
