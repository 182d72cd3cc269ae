"""
What waits to be sent on one link.

One lock guards it all, held for a few statements and never while anything is called. Two
conditions stand on it: ``_work`` for the one writer, ``_change`` for everybody who waits for room
or for the queue to empty.

Only the thread that holds the write lock writes to the network. The writer holds it, except while
it waits for work: then a sender with a message may acquire it, so that the message needs no queue
and no thread has to wake up. The sender never waits for the network; the writer sends the rest.
"""

from __future__ import annotations

import threading
from collections import deque

import attrs

from inworld_sync.transport import frames
from inworld_sync.transport.deadline import Deadline

__all__ = ["Outbox", "OutboxShut", "Outgoing"]


class OutboxShut(Exception):
    """Nothing may be put in any more, or nothing more will come out."""


@attrs.frozen
class Outgoing:
    """
    One frame to send.

    Attributes:
        opcode: What kind it is.
        payload: Not yet masked; for a frame that is built already, the whole frame.
        is_built: Whether the payload is a whole masked frame.
        rest: Of a frame that is under way already: what the network has yet to take.
    """

    opcode: int
    payload: bytes
    is_built: bool = False
    rest: memoryview | None = None


class Outbox:
    """
    A queue of messages bounded in bytes, which control frames overtake.

    A message that is larger than the whole bound is let in when the queue is empty.
    Of pings to answer only the newest is kept, so that a flood of them costs nothing
    (RFC 6455, section 5.5.3).

    Thread safety:
        :meth:`pop` and :meth:`sent` are the writer's; the rest may be called from any thread.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._queue: deque[Outgoing] = deque()
        self._bytes = 0
        self._rest: Outgoing | None = None
        self._pong: Outgoing | None = None
        self._last: Outgoing | None = None
        self._accepts_messages = True
        self._is_drained = False
        self._has_lost = False
        self._is_woken = False
        self._writer_waits = False
        self._lock_owner: int | None = None
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._change = threading.Condition(self._lock)

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that have not left yet, the one under way included."""
        return self._bytes

    def put(
        self,
        item: Outgoing,
        timeout: float | None,
        *,
        needs_room: bool = True,
        acquires: bool = False,
    ) -> bool:
        """
        Queue a message; wait while there is no room, if it *needs_room*.

        Returns:
            True if the message is not queued and the caller, who *acquires* the write lock, must
            write it: :meth:`release_write_lock` must follow.

        Raises:
            OutboxShut: It takes no more messages.
            DeadlineExceeded: There was no room for *timeout* seconds; nothing was queued.
        """
        size = len(item.payload)
        with self._lock:
            if needs_room and self._bytes + size > self._max_bytes:
                self._await_room(size, Deadline(timeout, "waiting for room to queue a message"))
            if not self._accepts_messages:
                raise OutboxShut
            self._bytes += size
            if acquires and self._writer_waits and not self._has_work:
                self._lock_owner = threading.get_ident()
                return True
            self._queue.append(item)
            self._work.notify()
            return False

    @property
    def _has_work(self) -> bool:
        return (
            self._lock_owner is not None
            or self._is_woken
            or bool(self._queue or self._rest or self._pong or self._last)
        )

    def release_write_lock(self, item: Outgoing, rest: memoryview | None) -> None:
        """Release the write lock; the writer sends the *rest* of the message first."""
        with self._lock:
            self._lock_owner = None
            if rest is not None and not self._is_drained:
                self._rest = Outgoing(item.opcode, item.payload, rest=rest)
            else:
                self._bytes = max(0, self._bytes - len(item.payload))
            self._change.notify_all()
            if self._has_work or self._is_drained:
                self._work.notify()

    def abandon_write_lock(self) -> bool:
        """Release the write lock and drop everything; return whether this thread held the lock."""
        with self._lock:
            if self._lock_owner != threading.get_ident():
                return False
            self._lock_owner = None
            self._drain()
            return True

    def await_write_lock(self) -> None:
        """Wait while a sender holds the write lock, which is one write that does not block."""
        with self._lock:
            while self._lock_owner is not None:
                self._change.wait()

    def _await_room(self, size: int, deadline: Deadline) -> None:
        while self._accepts_messages and self._bytes and self._bytes + size > self._max_bytes:
            if not self._change.wait(deadline.remaining()):
                deadline.check()

    def put_pong(self, payload: bytes) -> None:
        """Answer a ping before anything that is queued."""
        with self._lock:
            self._pong = Outgoing(frames.PONG, payload)
            self._work.notify()

    def put_close(self, payload: bytes) -> None:
        """Queue CLOSE after everything that is queued; no message is taken after it."""
        with self._lock:
            if self._accepts_messages:
                self._accepts_messages = False
                self._queue.append(Outgoing(frames.CLOSE, payload))
                self._work.notify()
                self._change.notify_all()

    def end_with(self, payload: bytes) -> bool:
        """Drop what is queued and send CLOSE, unless one has left; say whether one will leave."""
        with self._lock:
            if self._is_drained:
                return False
            self._drop()
            self._last = Outgoing(frames.CLOSE, payload)
            self._work.notify()
            return True

    def drop(self) -> None:
        """Drop what is queued; nothing more comes out."""
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        self._drop()
        self._rest = None
        self._is_drained = True
        self._work.notify()

    def _drop(self) -> None:
        self._has_lost = self._has_lost or self._bytes > 0
        self._queue.clear()
        self._bytes = 0
        self._pong = self._last = None
        self._accepts_messages = False
        self._change.notify_all()

    def wake_writer(self) -> None:
        """Have :meth:`pop` return, so that the writer looks after the stream's own output."""
        with self._lock:
            self._is_woken = True
            self._work.notify()

    def pop(self, timeout: float) -> Outgoing | None:
        """
        Wait for the next frame to send.

        Args:
            timeout: Seconds, 0 or more.

        Returns:
            The frame, or None when the time passed or :meth:`wake_writer` was called.

        Raises:
            OutboxShut: Nothing more will come.
        """
        deadline = Deadline(timeout, "")
        with self._lock:
            self._writer_waits = True
            try:
                return self._await_work(deadline)
            finally:
                self._writer_waits = False

    def _await_work(self, deadline: Deadline) -> Outgoing | None:
        while True:
            if self._is_drained:
                raise OutboxShut
            if self._lock_owner is not None:
                self._work.wait()
                continue
            if self._is_woken:
                self._is_woken = False
                return None
            if item := self._next():
                return item
            if deadline.expired:
                return None
            self._work.wait(deadline.remaining())

    def _next(self) -> Outgoing | None:
        if rest := self._rest:
            self._rest = None
            return rest
        item = self._last or self._pong
        self._last = self._pong = None
        if item is None and self._queue:
            item = self._queue.popleft()
        if item and item.opcode == frames.CLOSE:
            # After CLOSE a side sends nothing more, not even a pong (RFC 6455, section 5.5.1).
            self._is_drained = True
        return item

    def sent(self, item: Outgoing) -> None:
        """Take note that *item* has left."""
        if item.opcode in {frames.PING, frames.PONG, frames.CLOSE}:
            return
        with self._lock:
            # After a drop there is nothing to count down from.
            self._bytes = max(0, self._bytes - len(item.payload))
            self._change.notify_all()

    def await_empty(self, timeout: float | None) -> None:
        """
        Wait until every message has left.

        Raises:
            OutboxShut: Messages were dropped.
            DeadlineExceeded: *timeout* seconds passed.
        """
        deadline = Deadline(timeout, "sending what is queued")
        with self._lock:
            while self._bytes:
                if not self._change.wait(deadline.remaining()):
                    deadline.check()
            if self._has_lost:
                raise OutboxShut
