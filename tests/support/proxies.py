"""An HTTP proxy that opens tunnels with CONNECT, or refuses them."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator

from support.peers import Peer, RawServer, serve


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
            port = int(target.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as onward:
                peer.send(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
                peer.sock.settimeout(None)
                back = threading.Thread(target=_pump, args=(onward, peer.sock), daemon=True)
                back.start()
                _pump(peer.sock, onward)
                back.join(30)

    def _is_allowed(self, peer: Peer) -> bool:
        if self._credential is None:
            return True
        expected = "Basic " + base64.b64encode(self._credential.encode()).decode()
        return peer.header("proxy-authorization") == expected


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        source.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy(
    credential: str | None = None, refusal: bytes | None = None
) -> Iterator[tuple[RawServer, ConnectProxy]]:
    """Run a :class:`ConnectProxy` during the block."""
    script = ConnectProxy(credential, refusal)
    with serve(script) as server:
        yield server, script
