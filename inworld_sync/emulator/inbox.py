"""
Implements the queue between the thread that reads a WebSocket and the thread that serves the
WebSocket.

Lock: ``_changed`` guards the queue; no other code is called while the lock is held.
"""

from __future__ import annotations

import threading
import time
from collections import deque

import attrs

__all__ = ["Inbox", "Received"]


@attrs.frozen
class Received:
    """One whole message, and the monotonic time at which it was received."""

    data: bytes = attrs.field(repr=False)
    is_text: bool
    at: float = attrs.field(factory=time.monotonic, eq=False)


# The memory of an empty message and its place in the queue.
_MESSAGE_BYTES = 256


class Inbox:
    """
    A queue of messages with a limit in bytes.

    A message that is larger than the limit is accepted if the queue is empty.

    Thread safety: all methods may be called from any thread.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[Received] = deque()
        self._bytes = 0
        self._is_ended = False
        self._changed = threading.Condition()

    def put(self, message: Received) -> None:
        """Add a message. Wait while the queue is full. After ``end``, drop the message."""
        size = len(message.data) + _MESSAGE_BYTES
        with self._changed:
            while self._bytes and self._bytes + size > self._max_bytes and not self._is_ended:
                self._changed.wait()
            if not self._is_ended:
                self._messages.append(message)
                self._bytes += size
                self._changed.notify_all()

    def put_at_once(self, message: Received) -> bool:
        """Add a message if there is room. Return False if the queue is full."""
        size = len(message.data) + _MESSAGE_BYTES
        with self._changed:
            if self._bytes and self._bytes + size > self._max_bytes:
                return False
            if not self._is_ended:
                self._messages.append(message)
                self._bytes += size
                self._changed.notify_all()
            return True

    def pop(self, timeout: float | None = None) -> Received | None:
        """
        Wait for the next message.

        Args:
            timeout: How many seconds to wait; None waits until there is a message or ``end`` is
                called.

        Returns:
            The message, or None after ``end``.

        Raises:
            TimeoutError: There was no message within *timeout* seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._messages or self._is_ended, timeout):
                raise TimeoutError
            if self._is_ended:
                return None
            message = self._messages.popleft()
            self._bytes -= len(message.data) + _MESSAGE_BYTES
            self._changed.notify_all()
            return message

    def end(self) -> None:
        """Drop all queued messages and wake every waiting thread."""
        with self._changed:
            self._is_ended = True
            self._messages.clear()
            self._bytes = 0
            self._changed.notify_all()
