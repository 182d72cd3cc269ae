"""
Reads and writes a connected byte stream, plain or TLS. One thread can read while another writes.

Rules:

- One thread receives, and one thread at a time sends. Only the sender calls ``send`` on the socket.
- The socket is non-blocking. All waits are calls of poll, during which no lock is held. The waits
  end when the self-pipe is set.
- Two threads must not use an OpenSSL object at once (openssl/openssl#18209), so a lock guards all
  calls of OpenSSL. A thread that holds this lock neither waits nor acquires another lock.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Protocol, cast

from inworld_sync.locks import make_lock
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.self_pipe import SelfPipe, Waiter, WokenUp, whole_milliseconds

__all__ = ["NotTls", "PlainStream", "Stream", "TlsStream", "receive_by"]

# One read of the socket receives up to 4 TLS records of 16 KiB. When a read has filled this buffer,
# each later read receives up to 16 records, which saves a tenth of the cost of receiving.
_CIPHERTEXT_BYTES = 64 * 1024
_BUSY_CIPHERTEXT_BYTES = 256 * 1024

# At most this many bytes are encrypted in one step. The lock is held during the step, and the
# receiving thread needs this lock too.
_ENCRYPTED_BYTES = 64 * 1024

# The possible first bytes of a TLS record (RFC 8446, section 5.1).
_TLS_CONTENT_TYPES = range(20, 24)


class Stream(Protocol):
    """The methods of :class:`PlainStream` and :class:`TlsStream`."""

    @property
    def owes_output(self) -> bool:
        """True if receiving has produced TLS bytes, which the sender must send with flush."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether the receiving thread waits for bytes from the network."""
        ...

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        """
        Receive the available bytes, at least one. Only the receiving thread may call this method.

        Args:
            room: Receives the bytes; must not be empty.
            timeout: Seconds to wait for the first byte from the network.

        Returns:
            The number of bytes in *room*; 0 if only a part of a TLS record was received.

        Raises:
            EOFError: The server ended the stream.
            TimeoutError: No byte arrived.
            WokenUp: The self-pipe was set.
            OSError: The network or TLS failed.
        """
        ...

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """
        Send all of *data*. Only the sending thread may call this method.

        Raises:
            DeadlineExceeded: The deadline passed. A part of the data may have been sent, so no
                further data may be sent.
            WokenUp: The self-pipe was set.
            OSError: The network or TLS failed.
        """

    def send_now(self, data: bytes) -> memoryview | None:
        """
        Send the part of *data* that the network accepts at once. Only the sender may call this.

        Returns:
            None if all of *data* was sent. Otherwise the rest of *data*, which must be passed to
            :meth:`send_rest` before other data is sent.

        Raises:
            OSError: The network or TLS failed.
        """
        ...

    def send_rest(self, rest: memoryview, deadline: Deadline) -> None:
        """Send the rest that :meth:`send_now` returned. Raises the errors of :meth:`send_all`."""

    def flush(self, deadline: Deadline) -> None:
        """Send the bytes of :attr:`owes_output`. Raises the errors of :meth:`send_all`."""


def receive_by(stream: Stream, room: memoryview, deadline: Deadline) -> int:
    """
    Receive at least one byte before *deadline*. Only the receiving thread may call this function.

    Raises:
        DeadlineExceeded: The deadline passed.
        EOFError: The server ended the stream.
        OSError: The network or TLS failed.
    """
    deadline.check()
    try:
        while not (count := stream.receive_into(room, deadline.remaining())):
            deadline.check()
    except TimeoutError:
        raise deadline.error() from None
    return count


class PlainStream:
    """A stream over TCP without TLS."""

    owes_output = False

    def __init__(self, sock: socket.socket, self_pipe: SelfPipe) -> None:
        sock.setblocking(False)
        self.is_waiting = False
        self._sock = sock
        self._self_pipe = self_pipe
        self._readable = Waiter(sock, self_pipe, write=False)
        self._writable = Waiter(sock, self_pipe, write=True)
        # The timeout of the last call, in seconds and in milliseconds. Both are kept, because most
        # calls have the same timeout.
        self._timeout: float | None = None
        self._timeout_ms: int | None = None

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        """See :meth:`Stream.receive_into`."""
        if timeout != self._timeout:
            self._timeout, self._timeout_ms = timeout, whole_milliseconds(timeout)
        # These lines do what Waiter.wait does. After a wait, the call of one more function takes
        # longer than poll itself.
        self.is_waiting = True
        is_ready = self._readable.poll(self._timeout_ms)
        self.is_waiting = False
        if self._self_pipe.is_set:
            raise WokenUp
        if not is_ready:
            raise TimeoutError
        try:
            count = self._sock.recv_into(room)
        except BlockingIOError:
            return 0
        if not count:
            raise EOFError
        return count

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """See :meth:`Stream.send_all`."""
        rest = self.send_now(data)
        if rest is not None:
            self.send_rest(rest, deadline)

    def send_now(self, data: bytes | memoryview) -> memoryview | None:
        """See :meth:`Stream.send_now`."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        return None if sent == len(data) else memoryview(data)[sent:]

    def send_rest(self, rest: memoryview, deadline: Deadline) -> None:
        """See :meth:`Stream.send_rest`."""
        left: memoryview | None = rest
        while left is not None:
            try:
                self._writable.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
            except TimeoutError:  # noqa: PERF203 - each step waits for the network
                deadline.check()
            else:
                left = self.send_now(left)

    def flush(self, deadline: Deadline) -> None:
        """Do nothing, because receiving produces no output without TLS."""


class NotTls(OSError):
    """The server answered the TLS handshake with bytes that are not TLS."""


class TlsStream:
    """
    A TLS client over another stream: plain, or the TLS stream to a proxy.

    The ciphertext passes through two memory buffers, so that the lock is held while TLS is used,
    but not while the socket is used.
    """

    def __init__(self, under: Stream, context: ssl.SSLContext, server_hostname: str) -> None:
        self.owes_output = False
        self._under = under
        self._lock = make_lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._ciphertext = memoryview(bytearray(_CIPHERTEXT_BYTES))
        self._has_more = False

    @property
    def is_waiting(self) -> bool:
        """See :attr:`Stream.is_waiting`."""
        return self._under.is_waiting

    @property
    def version(self) -> str:
        """The protocol in use, for example ``TLSv1.3``."""
        with self._lock:
            return self._tls.version() or "unknown"

    def handshake(self, deadline: Deadline) -> None:
        """
        Do the TLS handshake, which checks the server's certificate. This must be the first call.

        Raises:
            ssl.SSLError: The certificate is not trusted, or the handshake failed.
            NotTls: The server does not use TLS.
            EOFError: The server closed the connection.
            DeadlineExceeded: The deadline passed.
        """
        is_first = True
        while not self._try_handshake(deadline):
            count = receive_by(self._under, self._ciphertext, deadline)
            if is_first and self._ciphertext[0] not in _TLS_CONTENT_TYPES:
                raise NotTls
            is_first = False
            with self._lock:
                self._incoming.write(self._ciphertext[:count])

    def _try_handshake(self, deadline: Deadline) -> bool:
        try:
            with self._lock:
                self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush(deadline)
            return False
        except ssl.SSLError:
            # Try to send the TLS alert. The alert has the reason, which the server may log.
            with contextlib.suppress(OSError):
                self.flush(deadline)
            raise
        self.flush(deadline)
        return True

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        """See :meth:`Stream.receive_into`."""
        if not self._has_more:
            received = self._under.receive_into(self._ciphertext, timeout)
            with self._lock:
                self._incoming.write(self._ciphertext[:received])
            if received == len(self._ciphertext) < _BUSY_CIPHERTEXT_BYTES:
                self._ciphertext = memoryview(bytearray(_BUSY_CIPHERTEXT_BYTES))
        return self._decrypt(room)

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """See :meth:`Stream.send_all`."""
        rest = memoryview(data)
        while rest:
            self._under.send_all(self._encrypt(rest[:_ENCRYPTED_BYTES]), deadline)
            rest = rest[_ENCRYPTED_BYTES:]

    def send_now(self, data: bytes) -> memoryview | None:
        """See :meth:`Stream.send_now`."""
        return self._under.send_now(self._encrypt(data))

    def send_rest(self, rest: memoryview, deadline: Deadline) -> None:
        """See :meth:`Stream.send_rest`."""
        self._under.send_rest(rest, deadline)

    def _encrypt(self, data: bytes | memoryview) -> bytes:
        with self._lock:
            self._tls.write(data)
            self.owes_output = False
            return self._outgoing.read()

    def flush(self, deadline: Deadline) -> None:
        """See :meth:`Stream.flush`."""
        with self._lock:
            ciphertext = self._outgoing.read()
            self.owes_output = False
        if ciphertext:
            self._under.send_all(ciphertext, deadline)
        else:
            self._under.flush(deadline)

    def _decrypt(self, room: memoryview) -> int:
        """Decrypt the received records into *room*."""
        count = 0
        self._has_more = True
        with self._lock:
            try:
                while count < len(room):
                    got = self._read(room[count:])
                    count += got
                    if not got:
                        break
                    if not self._incoming.pending:
                        # If *room* is not full, all records were read. Otherwise the last record
                        # may have more bytes.
                        self._has_more = count == len(room)
                        break
            except ssl.SSLWantReadError:
                self._has_more = False
                return count
            except ssl.SSLError:
                # The bytes that were decrypted before the error are valid. The next call raises the
                # error again.
                if not count:
                    raise
            finally:
                self.owes_output = self._outgoing.pending > 0 or self._under.owes_output
        if not count:
            # OpenSSL returns no bytes here only after the server's close_notify.
            raise EOFError
        return count

    def _read(self, room: memoryview) -> int:
        # The type stub has only the form that returns bytes.
        return cast("int", self._tls.read(len(room), room))
