"""
Implements the byte stream of a connection: a TCP socket, or TLS over a TCP socket.

Locks: ``TlsStream._sending`` (acquired first) keeps records in the order in which they were made,
and is held while they are sent. ``TlsStream._tls`` (acquired second) guards every call into
OpenSSL, and is never held while a socket waits. A reader and a writer that share one SSLSocket can
corrupt the state of this socket. So OpenSSL reads and writes memory buffers here.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time

__all__ = ["Stream", "TlsStream"]

_READ_BYTES = 65536
_LINGER_ZERO = struct.pack("ii", 1, 0)


def _wait_readable(sock: socket.socket, timeout: float | None) -> bool:
    """Wait for data. Keep the timeout of the socket, because a sender uses the same socket."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0, timeout * 1000)))
    return bool(select.select([sock], [], [], timeout)[0])


class Stream:
    """
    Sends and receives bytes over a TCP socket.

    Thread safety: one thread receives, any thread sends. ``abort`` and ``reset`` may be called from
    any thread, more than once; both wake a waiting receiver and sender.
    """

    def __init__(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # some systems raise if the client has disconnected
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._will_reset = False

    def receive(self, timeout: float | None) -> bytes:
        """Return the next bytes, or b"" at the end. Raise TimeoutError after *timeout* seconds."""
        try:
            if not _wait_readable(self._socket, timeout):
                raise TimeoutError
            return self._socket.recv(_READ_BYTES)
        except ValueError:  # another thread closed the socket, so it has no descriptor
            return b""

    def send(self, data: bytes) -> None:
        """Send all of *data*; wait while the client is slow."""
        self._socket.sendall(data)

    def finish(self) -> None:
        """End the sending direction, so that the client receives the end of the stream."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """End both directions at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD if self._will_reset else socket.SHUT_RDWR)

    def reset(self) -> None:
        """End with a TCP reset. The reset is sent when the owner calls ``close``."""
        # close() here would not wake a receiver, and the kernel would keep the connection open.
        self._will_reset = True
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.abort()

    def close(self) -> None:
        """Close the socket. The owner calls this method last."""
        self._socket.close()


class TlsStream(Stream):
    """TLS over a TCP socket. OpenSSL works on memory buffers, not on the socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._tls = threading.Lock()
        self._sending = threading.Lock()

    def handshake(self, timeout: float) -> None:
        """Complete the TLS handshake within *timeout* seconds; raise OSError if it fails."""
        deadline = time.monotonic() + timeout
        while not self._shake():
            self._flush()
            self._feed(max(0.0, deadline - time.monotonic()))
        self._flush()

    def receive(self, timeout: float | None) -> bytes:
        """Return the next bytes, or b"" at the end. Raise TimeoutError after *timeout* seconds."""
        while (data := self._decrypted()) is None:
            self._flush()
            self._feed(timeout)
        return data

    def send(self, data: bytes) -> None:
        """Send all of *data*; wait while the client is slow."""
        with self._sending:
            with self._tls:
                self._object.write(data)
                records = self._outgoing.read()
            super().send(records)

    def finish(self) -> None:
        """End the sending direction, so that the client receives the end of the stream."""
        with contextlib.suppress(OSError), self._sending:
            # unwrap() raises because the close_notify of the client has not arrived yet.
            with self._tls, contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
            super().send(self._outgoing.read())
        super().finish()

    def _shake(self) -> bool:
        with self._tls, contextlib.suppress(ssl.SSLWantReadError):
            self._object.do_handshake()
            return True
        return False

    def _decrypted(self) -> bytes | None:
        """Return the data of completely received records; None if more bytes are needed."""
        try:
            with self._tls:
                return self._object.read(_READ_BYTES)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def _feed(self, timeout: float | None) -> None:
        records = super().receive(timeout)
        with self._tls:
            if records:
                self._incoming.write(records)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        """Send the handshake messages and alerts that OpenSSL has produced."""
        if not self._outgoing.pending:
            return
        with self._sending:
            with self._tls:
                records = self._outgoing.read()
            super().send(records)
