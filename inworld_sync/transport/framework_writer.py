"""
Sends all messages on a framework's WebSocket, from one thread.

Threads: ``inworld-...-out`` sends. No other thread sends on the socket.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from inworld_sync.errors import ConnectionLost, InworldError
from inworld_sync.transport.framework_socket import FrameworkSocket, Message

__all__ = ["MessageSource", "SocketWriter"]

_WAIT_SECONDS = 0.5


class MessageSource(Protocol):
    """Provides the messages that are sent."""

    def next_messages(self, timeout: float) -> Iterable[Message]:
        """Wait until messages are due, and return them; return () after *timeout* seconds."""
        ...

    def notify(self) -> None:
        """End a wait of :meth:`next_messages`."""
        ...

    def fail(self, error: InworldError) -> None:
        """Stop, because nothing more can be sent."""
        ...


class SocketWriter:
    """
    The thread that sends the messages.

    Args:
        name: The name of the call or relay.
        socket: The WebSocket on which the messages are sent.
        source: The source of the messages.

    Attributes:
        error: The error because of which no more messages can be sent, or None.
    """

    def __init__(self, name: str, socket: FrameworkSocket, source: MessageSource) -> None:
        self._socket, self._source = socket, source
        self.error: Exception | None = None
        self._last: deque[Message] = deque()
        self._is_over = False
        self._sending_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"inworld-{name}-out", daemon=True)
        self._thread.start()

    def stalled_seconds(self, now: float) -> float:
        """Return how many seconds the present message has been in ``send``; 0 without a message."""
        since = self._sending_since
        return 0.0 if since is None else now - since

    def finish(self, message: Message | None, timeout: float) -> None:
        """Send *message* unless it is None. Wait up to *timeout* seconds until the thread ends."""
        if message is not None:
            self._last.append(message)
        self._is_over = True
        self._source.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while not self._is_over:
                for message in self._source.next_messages(_WAIT_SECONDS):
                    self._send(message)
            while self._last:
                self._send(self._last.popleft())
        except BaseException as error:  # noqa: BLE001 - each framework has its own errors
            self.error = error if isinstance(error, Exception) else RuntimeError(repr(error))
            lost = ConnectionLost(f"nothing more can be sent: {type(error).__name__}: {error}")
            lost.__cause__ = error
            self._source.fail(lost)

    def _send(self, message: Message) -> None:
        self._sending_since = time.monotonic()
        self._socket.send(message)
        self._sending_since = None
