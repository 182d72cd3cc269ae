"""
A connected byte stream, plain or TLS, that one thread reads while another writes.

The rules, on which everything above relies:

- One thread receives and one thread at a time sends; only the sender calls ``send`` on the socket.
- The socket is non-blocking; waits happen in poll, outside every lock, and end when the wake is
  set.
- OpenSSL's objects must not be entered by two threads at once (openssl/openssl#18209), so every
  call on them is made under one lock, which is the innermost of the package: nothing is called
  and nothing waits while it is held.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Protocol, cast

from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.self_pipe import SelfPipe, Waiter

__all__ = ["PlainStream", "Stream", "TlsStream", "receive_by"]

# A read of the socket takes up to four records of 16 KiB, and up to sixteen once a peer was seen
# to send faster than that is read, which saves a tenth of the cost of its messages.
_CIPHERTEXT_BYTES = 64 * 1024
_BUSY_CIPHERTEXT_BYTES = 256 * 1024

# Encrypted at once, under the lock: little enough not to keep the receiving thread waiting.
_ENCRYPTED_BYTES = 64 * 1024


class Stream(Protocol):
    """What :class:`PlainStream` and :class:`TlsStream` have in common."""

    @property
    def owes_output(self) -> bool:
        """Whether receiving has made bytes that the sending thread must let out by flush."""
        ...

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        """
        Receive what there is, at least one byte from the network; the receiving thread only.

        Args:
            room: Where the bytes go; not empty.
            timeout: Seconds without a byte from the network after which to give up.

        Returns:
            The bytes placed in *room*; 0 when the network gave some that are not yet enough.

        Raises:
            EOFError: The peer ends the stream.
            TimeoutError: No byte came.
            WokenUp: The self-pipe was set.
            OSError: The network or TLS failed.
        """
        ...

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """
        Hand all of *data* to the network; the sending thread only.

        Raises:
            DeadlineExceeded: It passed; part of the data may have left, so nothing may follow it.
            WokenUp: The self-pipe was set.
            OSError: The network or TLS failed.
        """

    def send_now(self, data: bytes) -> memoryview | None:
        """
        Hand to the network what it takes at once of all of *data*; the sending thread only.

        Returns:
            None when it took everything; else what :meth:`send_rest` must be given before
            anything else is sent.

        Raises:
            OSError: The network or TLS failed.
        """
        ...

    def send_rest(self, rest: memoryview, deadline: Deadline) -> None:
        """Hand over what :meth:`send_now` left; as :meth:`send_all`."""

    def flush(self, deadline: Deadline) -> None:
        """Let out what :attr:`owes_output` is about; as :meth:`send_all`."""


def receive_by(stream: Stream, room: memoryview, deadline: Deadline) -> int:
    """
    Receive what there is, at least one byte, before *deadline*; the receiving thread only.

    Raises:
        DeadlineExceeded: It passed.
        EOFError: The peer ends the stream.
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
    """A stream over TCP alone."""

    owes_output = False

    def __init__(self, sock: socket.socket, self_pipe: SelfPipe) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._readable = Waiter(sock, self_pipe, write=False)
        self._writable = Waiter(sock, self_pipe, write=True)

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        """See :meth:`Stream.receive_into`."""
        self._readable.wait(timeout)
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
                self._writable.wait(deadline.remaining())
            except TimeoutError:
                raise deadline.error() from None
            left = self.send_now(left)

    def flush(self, deadline: Deadline) -> None:
        """Nothing to do: receiving makes no output."""


class TlsStream:
    """
    A TLS client over a plain stream.

    The ciphertext passes through two memory buffers, so that the TLS state is touched under the
    lock and the socket outside it.
    """

    def __init__(self, plain: PlainStream, context: ssl.SSLContext, server_hostname: str) -> None:
        self.owes_output = False
        self._plain = plain
        self._lock = threading.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._ciphertext = memoryview(bytearray(_CIPHERTEXT_BYTES))
        self._has_more = False

    @property
    def version(self) -> str:
        """The protocol in use, for example ``TLSv1.3``."""
        with self._lock:
            return self._tls.version() or "unknown"

    def handshake(self, deadline: Deadline) -> None:
        """
        Agree on keys and check the peer's certificate; before any other call.

        Raises:
            ssl.SSLError: The peer's certificate or its TLS is not acceptable.
            EOFError: The peer hung up.
            DeadlineExceeded: It passed.
        """
        while not self._try_handshake(deadline):
            count = receive_by(self._plain, self._ciphertext, deadline)
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
            # The alert tells the peer why; that it cannot be sent changes nothing here.
            with contextlib.suppress(OSError):
                self.flush(deadline)
            raise
        self.flush(deadline)
        return True

    def receive_into(self, room: memoryview, timeout: float | None) -> int:
        """See :meth:`Stream.receive_into`."""
        if not self._has_more:
            received = self._plain.receive_into(self._ciphertext, timeout)
            with self._lock:
                self._incoming.write(self._ciphertext[:received])
            if received == len(self._ciphertext) < _BUSY_CIPHERTEXT_BYTES:
                self._ciphertext = memoryview(bytearray(_BUSY_CIPHERTEXT_BYTES))
        return self._decrypt(room)

    def send_all(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """See :meth:`Stream.send_all`."""
        rest = memoryview(data)
        while rest:
            self._plain.send_all(self._encrypt(rest[:_ENCRYPTED_BYTES]), deadline)
            rest = rest[_ENCRYPTED_BYTES:]

    def send_now(self, data: bytes) -> memoryview | None:
        """See :meth:`Stream.send_now`."""
        return self._plain.send_now(self._encrypt(data))

    def send_rest(self, rest: memoryview, deadline: Deadline) -> None:
        """See :meth:`Stream.send_rest`."""
        self._plain.send_rest(rest, deadline)

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
            self._plain.send_all(ciphertext, deadline)

    def _decrypt(self, room: memoryview) -> int:
        """Fill *room* as far as the received records go."""
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
                        # A read that leaves room has emptied its record; a full one may not have.
                        self._has_more = count == len(room)
                        break
            except ssl.SSLWantReadError:
                self._has_more = False
                return count
            except ssl.SSLError:
                # What was decrypted before it is good; the next call meets the error again.
                if not count:
                    raise
            finally:
                self.owes_output = self._outgoing.pending > 0
        if not count:
            # OpenSSL gives an empty read here for one reason alone: the peer's close_notify.
            raise EOFError
        return count

    def _read(self, room: memoryview) -> int:
        # The stub knows only the form that returns bytes.
        return cast("int", self._tls.read(len(room), room))
