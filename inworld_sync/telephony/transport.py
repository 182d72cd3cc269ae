"""
Adapts the sockets of web frameworks, so that a bridge can wait for the next message with a timeout.

::

    the socket has                          how it is read
    receive(timeout) or recv(timeout)       on the thread of the bridge
    receive() or recv()                     on a thread of its own, since such a wait has no timeout
    only send()                             the program passes the messages to ``feed``
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from inworld_sync.errors import ConfigError, ConnectionLost
from inworld_sync.locks import Condition

__all__ = ["Message", "Sender", "Transport", "TransportEnded"]

Message: TypeAlias = "str | bytes"

# At most this many messages wait if the bridge does not read. This is one minute of audio.
_MAX_WAITING = 3000

# If a socket returns None before this part of the timeout has passed, the socket has ended.
_EARLY = 0.5


# The close codes of a WebSocket that was closed normally.
_NORMAL_CODES = (1000, 1001, 1005)


class TransportEnded(Exception):
    """The socket has ended. The ``__cause__`` is the error of the socket."""

    @property
    def is_normal(self) -> bool:
        """Whether the other side has closed the socket normally."""
        cause = self.__cause__
        if cause is None:
            return True
        # Exceptions of websockets have the frame that was received. Exceptions of simple-websocket
        # have the code as reason.
        code = getattr(getattr(cause, "rcvd", None), "code", None)
        if code is None:
            code = cause.code if isinstance(cause, ConnectionLost) else getattr(cause, "reason", 0)
        return code in _NORMAL_CODES


class Sender(Protocol):
    """A socket that can send; it may have ``receive`` or ``recv``, and ``close``."""

    def send(self, data: str | bytes, /) -> object:
        """Send a text or binary message."""
        ...


class Transport:
    """
    One socket.

    Args:
        socket: The socket of a framework.
        name: The name of the call, for the thread.

    Raises:
        ConfigError: The socket cannot send.

    Thread safety: one thread receives, one thread sends; any thread may call :meth:`feed` and
    :meth:`close`.
    """

    def __init__(self, socket: Sender, name: str) -> None:
        if not callable(getattr(socket, "send", None)):
            raise ConfigError(
                "a call needs a socket with send(), and receive() or recv(), got "
                f"{type(socket).__name__}"
            )
        if inspect.iscoroutinefunction(socket.send):
            raise ConfigError(
                f"a call needs a socket whose send() waits, and send() of {type(socket).__name__} "
                "is an async function: use a synchronous framework, or a send() that passes each "
                "message to the event loop"
            )
        self._socket = socket
        # A consumer of Django Channels has two arguments.
        self._has_bytes_data = "bytes_data" in _parameters(socket.send)
        self._name = name
        self._read = _reader_of(socket)
        self._has_timeout = self._read is not None and _has_timeout(self._read)
        self._news = Condition()
        self._waiting: deque[Message] = deque()
        self._end: TransportEnded | None = None
        self._is_reading = self._closed = False

    def send(self, message: Message) -> None:
        """Send a message; the framework decides how long this may take."""
        if self._has_bytes_data and isinstance(message, bytes):
            send: Callable[..., object] = self._socket.send
            send(bytes_data=message)
        else:
            self._socket.send(message)

    def receive(self, timeout: float) -> Message | None:
        """
        Return the next message; None after *timeout* seconds without one.

        Raises:
            TransportEnded: The socket has ended.
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
                return self._waiting.popleft()
            if self._end is not None:
                raise self._end
            return None

    def feed(self, message: Message | None) -> None:
        """Add a message that the program has received; None means that the socket has ended."""
        with self._news:
            if self._end is not None or self._closed:
                return
            if message is None:
                self._end = TransportEnded("the socket was closed")
            elif len(self._waiting) >= _MAX_WAITING:
                self._end = TransportEnded(f"{_MAX_WAITING} messages were not read")
            else:
                self._waiting.append(message)
            self._news.notify_all()

    def close(self, timeout: float) -> None:
        """Close the socket if it has ``close``. Wait at most *timeout* seconds."""
        self.feed(None)
        if self._closed:
            return
        self._closed = True
        close = getattr(self._socket, "close", None)
        if callable(close):
            # If the other side reads nothing, ``close`` of the framework may wait without a limit.
            thread = threading.Thread(
                target=_quietly, args=(close,), name=f"inworld-{self._name}-close", daemon=True
            )
            thread.start()
            thread.join(timeout)

    @staticmethod
    def _receive(read: Callable[..., object], timeout: float) -> Message | None:
        began = time.monotonic()
        try:
            message = read(timeout=timeout)
        except TimeoutError:
            return None
        except Exception as error:
            raise TransportEnded(f"{type(error).__name__}: {error}") from error
        if message is None and time.monotonic() - began >= timeout * _EARLY:
            return None
        return _checked(message)

    def _run(self, read: Callable[..., object]) -> None:
        try:
            while not self._closed:
                self.feed(_checked(read()))
        except TransportEnded as ended:
            self._fail(ended)
        except Exception as error:  # noqa: BLE001 - each framework has its own errors
            failure = TransportEnded(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, ended: TransportEnded) -> None:
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


def _quietly(close: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # the call is over, and the socket may be closed
        close()


def _checked(message: object) -> Message:
    if isinstance(message, (str, bytes)) and message:
        return message
    if isinstance(message, (bytearray, memoryview)) and len(message):
        return bytes(message)
    raise TransportEnded("the socket was closed")
