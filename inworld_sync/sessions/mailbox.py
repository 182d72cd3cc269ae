"""
Implements the mailbox of one consumer of an event stream.

Lock rule: the monitor of the connection is held while events are added. A consumer takes events
without the monitor: the consumer waits in the queue, which has its own lock in C. The lock of a
mailbox guards the count of the bytes that were taken and the list of takers. This lock is held for
one statement.

A thread that waits for a consumer first increments ``Monitor.watchers``, and then reads the count
or the list with the lock. A consumer first changes the count or the list with the lock, and then
reads ``watchers``. So at least one of the two threads sees the change of the other thread. Without
the lock and without the GIL, the processor may read before it writes. Then it is possible that
neither thread sees the change of the other thread.
"""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from inworld_sync.errors import LocalProtocolError
from inworld_sync.locks import make_lock

__all__ = ["END", "MAX_WAITING_BYTES", "Mailbox"]

E = TypeVar("E")

# This many bytes of events may wait for one consumer, about five minutes of 24 kHz PCM. The size of
# an event is the size of its message.
MAX_WAITING_BYTES = 16 * 1024 * 1024

END: Final = (None, 0)
"""The last entry of a mailbox. Its size is 0, while the size of an event is above 0."""


class Mailbox(Generic[E]):
    """
    The events that one consumer has not taken yet.

    Args:
        max_events: If this many events wait, the mailbox is full; None limits only the bytes of the
            events.

    Attributes:
        max_bytes: If more bytes wait, the mailbox is full.
        max_events: See the argument.
        queue: The events with their sizes in bytes. A thread that gets :data:`END` puts END back.
        put_bytes: The bytes of all events that were added.
        taken_bytes: The bytes of all events that were taken or dropped.
        takers: One object for each thread that waits for an event.
        closed: Whether the consumer has ended.
        error: Why the consumer has ended before the stream; None if the stream ended first.
    """

    def __init__(self, max_events: int | None = None) -> None:
        self.queue: SimpleQueue[tuple[E | None, int]] = SimpleQueue()
        self.max_bytes = MAX_WAITING_BYTES
        self.max_events = max_events
        self.put_bytes = self.taken_bytes = 0
        self.takers: deque[object] = deque()
        self.closed = False
        self.error: LocalProtocolError | None = None
        self.lock = make_lock()

    @property
    def waiting_bytes(self) -> int:
        """The bytes of the events that wait."""
        with self.lock:
            return self.put_bytes - self.taken_bytes

    @property
    def is_full(self) -> bool:
        """Whether the reader should pause."""
        return self.waiting_bytes > self.max_bytes or (
            self.max_events is not None and self.queue.qsize() >= self.max_events
        )

    @property
    def is_starving(self) -> bool:
        """Whether the consumer waits for an event now."""
        with self.lock:
            is_awaited = bool(self.takers)
        return is_awaited and self.queue.empty()

    def adopt(self, other: Mailbox[E]) -> None:
        """Take over the content of another mailbox. The other mailbox is not used afterwards."""
        self.queue = other.queue
        self.put_bytes, self.taken_bytes = other.put_bytes, other.taken_bytes
        self.closed, self.error = other.closed, other.error

    def drop_oldest(self) -> bool:
        """Drop the oldest event; return False if there is none."""
        try:
            _, size_bytes = self.queue.get_nowait()
        except Empty:
            return False
        if not size_bytes:
            self.queue.put(END)
            return False
        with self.lock:
            self.taken_bytes += size_bytes
        return True

    def empty(self) -> None:
        """Drop all events."""
        while self.drop_oldest():
            pass

    def close(self) -> None:
        """End the consumer, and drop its events; a thread that waits gets :data:`END`."""
        self.closed = True
        self.empty()
        self.queue.put(END)
