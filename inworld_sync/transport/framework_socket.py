"""
Adapts the WebSockets of web frameworks, so that a thread can wait for the next message with a
timeout.

::

    the socket has                          how it is read
    receive(timeout) or recv(timeout)       on the thread that calls ``receive``
    receive() or recv()                     on a thread of its own, since such a wait has no timeout
    only send()                             the program passes the messages to ``feed``

simple-websocket, which flask-sock uses, writes with one call of ``socket.send``. Under gevent, this
call may write only a part of the message. The thread that answers pings writes too. So the raw
socket of simple-websocket is replaced by an object that writes whole messages, one after another.
"""

from __future__ import annotations

import contextlib
import inspect
import socket as sockets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from inworld_sync.errors import ConfigError, ConnectionLost
from inworld_sync.locks import Condition, make_lock
from inworld_sync.transport.channels_consumer import ConsumerSender

__all__ = ["FrameworkSocket", "Message", "Sender", "SocketEnded"]

Message: TypeAlias = "str | bytes"

# At most this many messages and bytes wait if no thread receives. This is one minute of audio.
_MAX_WAITING = 3000
_MAX_WAITING_BYTES = 8 * 1024 * 1024

# If a socket returns None before this part of the timeout has passed, the socket has ended.
_EARLY = 0.5


# The close codes of a WebSocket that was closed normally.
_NORMAL_CODES = (1000, 1001, 1005)


class SocketEnded(Exception):
    """The socket has ended. The ``__cause__`` is the error of the socket."""

    @property
    def is_normal(self) -> bool:
        """Whether the other side has closed the socket normally."""
        cause = self.__cause__
        if cause is None:
            return True
        # Exceptions of the library websockets have the CLOSE frame that was received. Exceptions of
        # simple-websocket have the code in the attribute ``reason``.
        code = getattr(getattr(cause, "rcvd", None), "code", None)
        if code is None:
            code = cause.code if isinstance(cause, ConnectionLost) else getattr(cause, "reason", 0)
        return code in _NORMAL_CODES


class Sender(Protocol):
    """A socket that can send; it may have ``receive`` or ``recv``, and ``close``."""

    def send(self, data: str | bytes, /) -> object:
        """Send a text or binary message."""
        ...


class FrameworkSocket:
    """
    One WebSocket of a framework.

    Args:
        socket: The WebSocket object of the framework.
        name: The name of the call or relay, for the threads.
        max_message_bytes: The longest message to accept, in bytes; None for no limit. A longer
            message of the other side ends the socket.

    Raises:
        ConfigError: The socket cannot send, or is a consumer of Django Channels and the current
            thread does not belong to Channels.

    Thread safety: one thread receives, one thread sends; any thread may call :meth:`feed` and
    :meth:`close`.
    """

    def __init__(self, socket: Sender, name: str, *, max_message_bytes: int | None = None) -> None:
        if not callable(getattr(socket, "send", None)):
            raise ConfigError(f"a socket needs the method send(), got {type(socket).__name__}")
        if inspect.iscoroutinefunction(socket.send):
            raise ConfigError(
                f"a socket needs a send() that waits, and send() of {type(socket).__name__} is an "
                "async function: use a synchronous framework, or a send() that passes each message "
                "to the event loop"
            )
        self._socket = socket
        self._sender = ConsumerSender.for_socket(socket)
        # ``send`` of a Django Channels consumer has one argument for text and one for bytes.
        self._has_bytes_data = "bytes_data" in _parameters(socket.send)
        self._name = name
        self._read = _reader_of(socket)
        self._has_timeout = self._read is not None and _has_timeout(self._read)
        self._news = Condition()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._end: SocketEnded | None = None
        self._is_reading = self._closed = False
        self._max_message_bytes = max_message_bytes
        _write_whole_messages(socket)
        if max_message_bytes is not None and getattr(socket, "max_message_size", 0) is None:
            # Without this limit, simple-websocket would buffer a message of any size.
            socket.max_message_size = max_message_bytes  # type: ignore[attr-defined]

    def send(self, message: Message) -> None:
        """Send a message; the framework decides how long this may take."""
        if self._has_bytes_data and isinstance(message, bytes):
            send: Callable[..., object] = self._socket.send
            send(bytes_data=message)
        else:
            self._socket.send(message)

    def receive(self, timeout: float) -> Message | None:
        """
        Return the next message; None after *timeout* seconds without a message.

        Raises:
            SocketEnded: The socket has ended.
        """
        if self._has_timeout and self._read is not None and not (self._waiting or self._end):
            return self._receive(self._read, timeout)
        if self._read is not None and not self._has_timeout and not self._is_reading:
            self._is_reading = True
            threading.Thread(
                target=self._run, args=(self._read,), name=f"inworld-{self._name}-in", daemon=True
            ).start()
        with self._news:
            self._news.wait_for(lambda: bool(self._waiting or self._end), timeout)
            if self._waiting:
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message)
                return message
            if self._end is not None:
                raise self._end
            return None

    def feed(self, message: Message | None) -> None:
        """Add a message that the program has received; None means that the socket has ended."""
        with self._news:
            if self._end is not None or self._closed:
                return
            limit = self._max_message_bytes
            if message is None:
                self._end = SocketEnded("the socket was closed")
            elif limit is not None and len(message) > limit:
                self._end = SocketEnded(f"a message has {len(message)} bytes, more than {limit}")
            elif (
                len(self._waiting) >= _MAX_WAITING
                or self._waiting_bytes + len(message) > _MAX_WAITING_BYTES
            ):
                self._end = SocketEnded(
                    f"{len(self._waiting)} messages with {self._waiting_bytes} bytes were not read"
                )
            else:
                self._waiting.append(message)
                self._waiting_bytes += len(message)
            self._news.notify_all()

    def close(self, timeout: float, code: int = 1000) -> None:
        """
        Call ``close`` of the socket, if the socket has this method. If the socket is not closed
        after *timeout* seconds, end the TCP connection.

        Args:
            timeout: Seconds to wait.
            code: The close code of the WebSocket.
        """
        self.feed(None)
        if self._closed:
            return
        self._closed = True
        close = getattr(self._socket, "close", None)
        if callable(close):
            # If the other side reads nothing, ``close`` of the framework may wait without a limit.
            thread = threading.Thread(
                target=_quietly,
                args=(close, _close_arguments(close, code)),
                name=f"inworld-{self._name}-close",
                daemon=True,
            )
            thread.start()
            thread.join(timeout)
            if thread.is_alive():
                self.abort()

    def abort(self) -> None:
        """End the TCP connection at once, so that no thread waits for the other side."""
        if self._sender is not None:
            self._sender.abort()
        # simple-websocket and websockets.sync have their raw socket in these attributes.
        for name in ("sock", "socket"):
            shutdown = getattr(getattr(self._socket, name, None), "shutdown", None)
            if callable(shutdown):
                with contextlib.suppress(OSError):
                    shutdown(sockets.SHUT_RDWR)

    @staticmethod
    def _receive(read: Callable[..., object], timeout: float) -> Message | None:
        began = time.monotonic()
        try:
            message = read(timeout=timeout)
        except TimeoutError:
            return None
        except Exception as error:
            raise SocketEnded(f"{type(error).__name__}: {error}") from error
        if message is None and time.monotonic() - began >= timeout * _EARLY:
            return None
        return _checked(message)

    def _run(self, read: Callable[..., object]) -> None:
        try:
            while not self._closed:
                self.feed(_checked(read()))
        except SocketEnded as ended:
            self._fail(ended)
        except Exception as error:  # noqa: BLE001 - each framework has its own errors
            failure = SocketEnded(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, ended: SocketEnded) -> None:
        with self._news:
            self._end = self._end or ended
            self._news.notify_all()


def _reader_of(socket: object) -> Callable[..., object] | None:
    for name in ("receive", "recv"):
        read: Callable[..., object] | None = getattr(socket, name, None)
        if read is not None and callable(read) and not inspect.iscoroutinefunction(read):
            # The ``receive`` of a Django Channels consumer is called with messages, and cannot be
            # used to wait.
            parameters = _parameters(read)
            if not any(each in parameters for each in ("text_data", "bytes_data", "message")):
                return read
    return None


def _has_timeout(read: Callable[..., object]) -> bool:
    return "timeout" in _parameters(read)


def _parameters(read: Callable[..., object]) -> list[str]:
    try:
        return list(inspect.signature(read).parameters)
    except (TypeError, ValueError):
        return []


def _quietly(close: Callable[..., object], arguments: dict[str, int]) -> None:
    with contextlib.suppress(Exception):  # the conversation is over, and the socket may be closed
        close(**arguments)


def _close_arguments(close: Callable[..., object], code: int) -> dict[str, int]:
    """Return the argument for the close code: ``code``, or ``reason`` for simple-websocket."""
    parameters = _parameters(close)
    for name in ("code", "reason"):
        if code != _NORMAL_CODES[0] and name in parameters:
            return {name: code}
    return {}


class _WholeMessages:
    """
    Writes whole messages to a raw socket, also if several threads write.

    Args:
        raw: The raw socket.
    """

    def __init__(self, raw: sockets.socket) -> None:
        self._raw = raw
        self._writing = make_lock()

    def send(self, data: bytes) -> int:
        """Write all of *data*."""
        with self._writing:
            self._raw.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._raw, name)


def _write_whole_messages(socket: object) -> None:
    if type(socket).__module__.partition(".")[0] != "simple_websocket":
        return
    raw = getattr(socket, "sock", None)
    if raw is not None and not isinstance(raw, _WholeMessages):
        socket.sock = _WholeMessages(raw)  # type: ignore[attr-defined]


def _checked(message: object) -> Message:
    if isinstance(message, (str, bytes)) and message:
        return message
    if isinstance(message, (bytearray, memoryview)) and len(message):
        return bytes(message)
    raise SocketEnded("the socket was closed")
