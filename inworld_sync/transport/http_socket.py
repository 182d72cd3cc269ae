"""Lets ``http.client`` use a stream as its socket."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from inworld_sync.locks import make_lock
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.stream import Stream, receive_by

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["HttpSocket", "Stopper"]


class HttpSocket:
    """
    A stream that ``http.client.HTTPConnection`` and ``http.client.HTTPResponse`` use as a socket.

    The timeout of a real socket starts again with every byte. The timeout of this class is one
    deadline for all reads and writes until the next call of :meth:`settimeout`.

    Args:
        stream: The stream of the connection.
        deadline: The first deadline.
        fileno: The descriptor of the socket, which urllib3 polls; -1 if there is none.
        on_close: Called once, when this object and all its files are closed.
        on_end: Ends the waits of the stream, on any thread.

    Attributes:
        deadline: The present deadline.

    Lock rule: ``_request_lock`` guards ``_stopper``. The lock is held during ``on_end``, which does
    not wait.

    Thread safety: one thread at a time may use this object; any thread may call
    :meth:`end_request`.
    """

    def __init__(
        self,
        stream: Stream,
        deadline: Deadline,
        fileno: int = -1,
        on_close: Callable[[], object] = lambda: None,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.deadline = deadline
        self._stream = stream
        self._fileno = fileno
        self._on_close = on_close
        self._on_end = on_end
        self._request_lock = make_lock()
        self._stopper: Stopper | None = None
        self._open_files = 0
        self._is_closed = False
        self._is_over = False

    def settimeout(self, seconds: float | None) -> None:
        """Start a new deadline."""
        self.deadline = Deadline(seconds, "the HTTP request")

    def sendall(self, data: bytes) -> None:
        """Send all of *data* before the deadline."""
        self._stream.send_all(data, self.deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file that reads from the stream. The stream is open until the file is closed."""
        self._open_files += 1
        return io.BufferedReader(_StreamFile(self))

    def receive_into(self, room: memoryview) -> int:
        """Receive at least one byte before the deadline; return 0 at the end of the stream."""
        if self._is_over:
            return 0
        try:
            count = receive_by(self._stream, room, self.deadline)
        except EOFError:
            return 0
        if self._stream.owes_output:
            self._stream.flush(self.deadline)
        return count

    def is_idle(self) -> bool:
        """Return whether the connection is open and no byte of a response has been received."""
        room = memoryview(bytearray(1))
        try:
            # A result of 0 bytes means neither the end nor a response: TLS may have received a
            # message that is not data.
            while not self._stream.receive_into(room, 0):
                pass
        except TimeoutError:
            return True
        except (EOFError, OSError):
            pass
        return False

    def end(self) -> None:
        """Make further reads return nothing, because the next bytes are not HTTP."""
        self._is_over = True

    def begin_request(self, stopper: Stopper | None) -> None:
        """Begin the next request. An earlier stopper cannot end this request; *stopper* can."""
        with self._request_lock:
            self._stopper = stopper
        if stopper is not None:
            stopper.attach(self)

    def end_request(self, stopper: Stopper) -> None:
        """End the waits of the stream, if the present request belongs to *stopper*."""
        with self._request_lock:
            if self._stopper is stopper:
                self._on_end()

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._fileno

    def close(self) -> None:
        """Close the stream as soon as all files of :meth:`makefile` are closed."""
        if not self._is_closed:
            self._is_closed = True
            self._close_if_unused()

    def file_closed(self) -> None:
        """Record that a file of :meth:`makefile` was closed."""
        self._open_files -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_closed and not self._open_files:
            self._on_close()


class Stopper:
    """
    Ends the request of one thread from another thread.

    Lock rule: ``_lock`` guards the attributes and is held while the lock of the socket is
    acquired.

    Thread safety: any thread may call the methods.
    """

    def __init__(self) -> None:
        self._lock = make_lock()
        self._is_stopped = False
        self.socket: HttpSocket | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._is_stopped

    def attach(self, sock: HttpSocket) -> None:
        """
        Let :meth:`stop` end the waits of *sock*.

        If :meth:`stop` was called already, end the waits now.
        """
        with self._lock:
            self.socket = sock
            if self._is_stopped:
                sock.end_request(self)

    def stop(self) -> None:
        """End the request. The thread of the request gets an error."""
        with self._lock:
            self._is_stopped = True
            if self.socket is not None:
                self.socket.end_request(self)


class _StreamFile(io.RawIOBase):
    def __init__(self, sock: HttpSocket) -> None:
        super().__init__()
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._sock.receive_into(memoryview(buffer))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._sock.file_closed()
