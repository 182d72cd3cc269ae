"""
Servers on raw sockets. They send exactly the bytes of a test, which may be invalid.

They share no code with the package or with websocket-client.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

Script = Callable[["Peer"], None]

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x81, 0x82, 0x88, 0x89, 0x8A, 0x80

# The time limit in seconds for events that occur at once if the test succeeds.
PATIENCE_SECONDS = 90.0


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = None) -> bytes:
    """
    Return one frame of a server. If *mask* is given, the frame is masked, which is invalid.
    """
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class Peer:
    """One connection, on the side of the server."""

    def __init__(self, sock: socket.socket, released: threading.Event) -> None:
        self.sock = sock
        self.request = b""
        self.released = released
        self._held = bytearray()
        sock.settimeout(PATIENCE_SECONDS)
        # Without this option, a write waits 40 ms for the acknowledgment of the previous write.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def hold(self) -> None:
        """Wait until the end of the test."""
        self.released.wait()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_frame(self, first: int, payload: bytes = b"") -> None:
        self.send(frame(first, payload))

    def read_exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def read_head(self) -> bytes:
        """Read the head of an HTTP request, including the empty line."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read_exactly(1)
        self.request = head
        return head

    def read_request(self) -> tuple[bytes, bytes]:
        """Read an HTTP request. Return its head and its body."""
        head = self.read_head()
        return head, self.read_exactly(int(self.header("content-length") or 0))

    def read_frame(self) -> tuple[int, bytes]:
        """Read one masked frame. Return its first byte and its payload."""
        first, size = self.read_exactly(2)
        assert size & 0x80, "a client masks every frame"
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.read_exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.read_exactly(8))
        mask = self.read_exactly(4)
        return first, _unmasked(self.read_exactly(size), mask)

    def end_sending(self) -> None:
        """End the direction to the client, which may have closed the connection already."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def read_until_end(self) -> bytes:
        """Read until the client ends the connection in any way."""
        data = bytearray(self._held)
        with contextlib.suppress(OSError):
            while piece := self.sock.recv(65536):
                data += piece
        return bytes(data)

    def answer_101(self, *headers: str) -> bytes:
        """Return the response to the upgrade request that was read."""
        key = self.header("sec-websocket-key")
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
            *headers,
            "",
            "",
        ]
        return "\r\n".join(lines).encode()

    def upgrade(self, *headers: str) -> None:
        """Accept the WebSocket upgrade."""
        self.read_head()
        self.send(self.answer_101(*headers))

    def header(self, name: str) -> str:
        """Return a header of the request, or "" if the request has no such header."""
        for line in self.request.decode("latin-1").split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name.lower():
                return value.strip()
        return ""

    def hang_up(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _unmasked(data: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
    return number.to_bytes(len(data), "big")


class RawServer:
    """
    Runs a script on a new thread for each connection. An exception in a script fails the test.

    Use :func:`serve`.
    """

    def __init__(
        self,
        script: Script,
        tls: ssl.SSLContext | None,
        receive_buffer_bytes: int | None,
    ) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.socket()
        if receive_buffer_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        self.released = threading.Event()
        self.failures: list[BaseException] = []
        self.accepted = 0
        self._threads = [threading.Thread(target=self._accept, name="peer-accept", daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        scheme = "wss" if self._tls else "ws"
        return f"{scheme}://localhost:{self.port}/path"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._run, args=(sock,), name="peer", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        try:
            with sock:
                if self._tls:
                    sock.settimeout(PATIENCE_SECONDS)
                    with self._tls.wrap_socket(sock, server_side=True) as secure:
                        self._script(Peer(secure, self.released))
                else:
                    self._script(Peer(sock, self.released))
        except (ConnectionError, ssl.SSLError, EOFError):
            pass  # the client has closed the connection; the test checks what the server received
        except BaseException as error:
            self.failures.append(error)

    def close(self) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the script of a server does not end"
        if self.failures:
            raise self.failures[0]


@contextlib.contextmanager
def serve(
    script: Script,
    *,
    tls: ssl.SSLContext | None = None,
    receive_buffer_bytes: int | None = None,
) -> Iterator[RawServer]:
    """
    Serve *script* on a free port of 127.0.0.1 during the block.

    If *receive_buffer_bytes* is small and the server does not read, writes of a client soon wait.
    """
    server = RawServer(script, tls, receive_buffer_bytes)
    try:
        yield server
    finally:
        server.close()
