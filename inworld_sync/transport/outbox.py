"""
Queues the frames that one connection has to send.

One lock guards the whole outbox. The lock is held for a few statements, which acquire no other
lock. The lock has two conditions. The writer waits on ``_work``. Callers that wait for room, or
until the queue is empty, wait on ``_change``.

Only the thread that holds the write lock writes to the network. The writer holds the write lock,
except while it waits for work. During such a wait, a thread that sends a message may acquire the
write lock and write the message itself, without the queue and without a thread switch. This thread
does not wait for the network. If the network does not accept all bytes at once, the writer sends
the rest.
"""

from __future__ import annotations

import threading
from collections import deque

import attrs

from inworld_sync.audio.frame import build_frame
from inworld_sync.locks import Condition
from inworld_sync.transport import frames
from inworld_sync.transport.deadline import Deadline, RunningDeadline

__all__ = ["Outbox", "OutboxShut", "Outgoing"]

# The longest time that a non-blocking write can take. A thread that holds the write lock for longer
# will never release the lock: one exception interrupted the write of this thread, and a second
# exception interrupted the handling of the first exception.
_MAX_WRITE_SECONDS = 10.0


class OutboxShut(Exception):
    """The outbox accepts no more messages, or returns no more frames."""


@attrs.frozen
class Outgoing:
    """
    One frame to send.

    Attributes:
        opcode: The opcode of the frame: TEXT, PING, PONG or CLOSE.
        frame: The complete masked frame.
        rest: The bytes of a partly sent frame that were not sent yet.
    """

    opcode: int
    frame: bytes
    rest: memoryview | None = None

    @classmethod
    def of(cls, opcode: int, payload: bytes) -> Outgoing:
        """Make the frame of a payload."""
        return cls(opcode, build_frame(opcode, payload))


class Outbox:
    """
    A queue of messages with a limit in bytes. Pings and pongs are sent before queued messages.

    A message larger than the limit is accepted when the queue is empty. Only the newest ping is
    answered, so a flood of pings needs no memory (RFC 6455, section 5.5.3).

    Thread safety:
        Only the writer calls :meth:`pop` and :meth:`sent`; any thread may call the other methods.
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
        self._writer_waits_for_lock = False
        self._lock_owner: int | None = None
        self._lock = Condition()
        self._work = self._lock.part()
        self._change = self._lock.part()

    @property
    def queued_bytes(self) -> int:
        """The bytes of the frames that are not sent yet, including a partly sent frame."""
        return self._bytes

    def acquire_write_lock(self, size_bytes: int) -> bool:
        """
        Give the caller the write lock, if the writer has nothing to do and nothing is queued.

        Args:
            size_bytes: The size of the message that the caller will write.

        Returns:
            Whether the caller has the write lock. If True, the caller must write the message and
            call :meth:`release_write_lock`.
        """
        thread = threading.get_ident()
        with self._lock:
            if (
                not self._writer_waits
                or not self._accepts_messages
                or self._lock_owner is not None
                or self._is_woken
                or self._queue
                or self._rest
                or self._pong
                or self._last
            ):
                return False
            # Nothing is called between these two lines, so no exception can interrupt between them.
            self._bytes += size_bytes
            self._lock_owner = thread
            return True

    def put(self, item: Outgoing, timeout: float | None, *, needs_room: bool = True) -> None:
        """
        Queue a message for the writer.

        Args:
            item: The message.
            timeout: Seconds to wait for room; None means no limit.
            needs_room: With False, the message is queued even if there is no room.

        Raises:
            OutboxShut: The outbox accepts no more messages.
            DeadlineExceeded: There was no room for *timeout* seconds; nothing was queued.
        """
        size = len(item.frame)
        with self._lock:
            if needs_room and self._bytes + size > self._max_bytes:
                self._await_room(size, timeout)
            if not self._accepts_messages:
                raise OutboxShut
            self._bytes += size
            self._queue.append(item)
            self._work.notify()

    def release_write_lock(self, size_bytes: int, unsent: Outgoing | None = None) -> None:
        """
        Release the write lock.

        Args:
            size_bytes: The size that was passed to :meth:`acquire_write_lock`.
            unsent: The message, if the network has not accepted all of its bytes. The writer
                sends the rest next.
        """
        with self._lock:
            # After a drop the count is 0 already.
            left = self._bytes - size_bytes if self._bytes else 0
            if unsent is not None and not self._is_drained:
                self._rest = unsent
            else:
                self._bytes = left
            self._lock_owner = None
            if self._change.waiters:
                self._change.notify_all()
            # The writer is woken only if it waits for the write lock or must send the rest. Waking
            # the writer each time would cost more. A call that queues a frame wakes the writer.
            if self._writer_waits_for_lock or self._rest:
                self._work.notify()

    def abandon_write_lock(self) -> bool:
        """Release the write lock and drop all frames; return whether this thread held the lock."""
        with self._lock:
            if self._lock_owner != threading.get_ident():
                return False
            self._lock_owner = None
            self._drain()
            return True

    def await_write_lock(self) -> None:
        """Wait while a sender holds the write lock, that is, during one non-blocking write."""
        with self._lock:
            self._change.wait_for(lambda: self._lock_owner is None, _MAX_WRITE_SECONDS)

    def _await_room(self, size: int, timeout: float | None) -> None:
        deadline = RunningDeadline(timeout, "waiting for room to queue a message")
        while self._accepts_messages and self._bytes and self._bytes + size > self._max_bytes:
            if not self._change.wait(deadline.remaining()):
                deadline.check()

    def put_pong(self, payload: bytes) -> None:
        """Queue a pong before all messages."""
        with self._lock:
            self._pong = Outgoing.of(frames.PONG, payload)
            self._work.notify()

    def put_close(self, payload: bytes) -> None:
        """Queue CLOSE after all messages. The outbox then accepts no more messages."""
        with self._lock:
            if self._accepts_messages:
                self._accepts_messages = False
                self._queue.append(Outgoing.of(frames.CLOSE, payload))
                self._work.notify()
                self._change.notify_all()

    def end_with(self, payload: bytes) -> bool:
        """Drop all messages and queue CLOSE; return False if a CLOSE was already sent."""
        with self._lock:
            if self._is_drained:
                return False
            self._drop()
            self._last = Outgoing.of(frames.CLOSE, payload)
            self._work.notify()
            return True

    def drop(self) -> None:
        """Drop all frames. :meth:`pop` returns no more frames."""
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
        """Make :meth:`pop` return None, so that the writer flushes the stream."""
        with self._lock:
            self._is_woken = True
            self._work.notify()

    def pop(self, timeout: float) -> Outgoing | None:
        """
        Wait for the next frame to send.

        Args:
            timeout: How many seconds to wait, at least 0.

        Returns:
            The frame; None after *timeout*, or if :meth:`wake_writer` was called.

        Raises:
            OutboxShut: There will be no more frames.
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
                # This wait ignores the deadline. The deadline is checked after release_write_lock
                # has woken the writer.
                self._writer_waits_for_lock = True
                self._work.wait()
                self._writer_waits_for_lock = False
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
        """Record that *item* was sent."""
        if item.opcode in {frames.PING, frames.PONG, frames.CLOSE}:
            return
        with self._lock:
            # After a drop the count is 0 already.
            self._bytes = max(0, self._bytes - len(item.frame))
            self._change.notify_all()

    def await_empty(self, timeout: float | None) -> None:
        """
        Wait until every message was sent.

        Raises:
            OutboxShut: Messages were dropped.
            DeadlineExceeded: *timeout* seconds passed.
        """
        deadline = RunningDeadline(timeout, "sending the queued messages")
        with self._lock:
            while self._bytes:
                if not self._change.wait(deadline.remaining()):
                    deadline.check()
            if self._has_lost:
                raise OutboxShut
