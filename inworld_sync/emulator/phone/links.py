"""
Connects a simulated call with a program: in the same process, by WebSocket, or by TCP.

Threads: ``inworld-phone-link`` reads the socket of a program in another process or thread.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from inworld_sync.emulator.phone.carriers import Message
from inworld_sync.errors import ConnectionLost
from inworld_sync.locks import Condition

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["InProcessSocket", "TcpLink", "WebSocketLink"]

_TIMEOUT_SECONDS = 30.0
_HEAD_BYTES = 3

_Receive = Callable[["Message | None"], object]


class InProcessSocket:
    """
    The socket of a program in this process, with the methods of flask-sock.

    Args:
        on_message: Called with each message of the program, and with None when the program has
            closed the socket.
    """

    def __init__(self, on_message: _Receive) -> None:
        self._on_message = on_message
        self._changed = Condition()
        self._messages: deque[Message] = deque()
        self._is_over = False

    # For the program.

    def receive(self, timeout: float | None = None) -> Message | None:
        """
        Return the next message; None after *timeout* seconds.

        Raises:
            ConnectionLost: The call has ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._messages or self._is_over), timeout)
            if self._messages:
                return self._messages.popleft()
            if self._is_over:
                raise ConnectionLost("the simulated call has closed the socket", code=1000)
            return None

    def send(self, message: Message) -> None:
        """Send a message to the call."""
        if self._is_over:
            raise ConnectionLost("the simulated call has closed the socket", code=1000)
        self._on_message(message)

    def close(self) -> None:
        """Close the socket, which ends the call."""
        self.end()
        self._on_message(None)

    # For the call.

    def deliver(self, message: Message) -> None:
        """Pass a message to the program."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def end(self) -> None:
        """Close the socket, on the side of the call."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


class WebSocketLink:
    """
    A WebSocket to a program.

    Args:
        url: The address of the program.
        headers: Headers of the request.
        on_message: As for :class:`InProcessSocket`.
    """

    def __init__(self, url: str, headers: Mapping[str, str], on_message: _Receive) -> None:
        from websockets.sync.client import connect

        self._on_message = on_message
        # Newer versions of websockets warn if the connection is not used as a context manager.
        self._open = contextlib.ExitStack()
        self._connection: ClientConnection = self._open.enter_context(
            connect(
                url,
                additional_headers=dict(headers),
                compression=None,
                open_timeout=_TIMEOUT_SECONDS,
                close_timeout=1,
                max_queue=None,
            )
        )
        self._thread = threading.Thread(target=self._run, name="inworld-phone-link", daemon=True)
        self._thread.start()

    def deliver(self, message: Message) -> None:
        """Pass a message to the program."""
        with contextlib.suppress(Exception):  # the program may have closed the socket
            self._connection.send(message)

    def end(self) -> None:
        """Close the socket."""
        self._open.close()
        if self._thread is not threading.current_thread():
            self._thread.join(_TIMEOUT_SECONDS)

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # the end of the connection raises an exception
            while True:
                self._on_message(self._connection.recv())
        self._on_message(None)


class TcpLink:
    """
    A TCP connection to an AudioSocket server; see :class:`WebSocketLink`.

    Args:
        host: The host of the server.
        port: The port of the server.
        on_message: As for :class:`InProcessSocket`.
    """

    def __init__(self, host: str, port: int, on_message: _Receive) -> None:
        self._on_message = on_message
        self._socket = socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._run, name="inworld-phone-link", daemon=True)
        self._thread.start()

    def deliver(self, message: Message) -> None:
        """Pass a frame to the server."""
        assert isinstance(message, bytes)
        with contextlib.suppress(OSError):  # the server may have closed the connection
            self._socket.sendall(message)

    def end(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not threading.current_thread():
            self._thread.join(_TIMEOUT_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = self._read(_HEAD_BYTES)
                _, length = struct.unpack("!BH", head)
                self._on_message(head + self._read(length))
        self._on_message(None)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data
