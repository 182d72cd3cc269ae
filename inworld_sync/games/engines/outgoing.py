"""
Sends messages to an engine. Events are sent at once. The audio of a line is sent shortly before the
engine plays it.

Each entry of a line (audio, words or mouth shapes) has a position. The writer thread sends an entry
only if its position is at most ``ahead_ms`` after the position that the engine has reported as
heard. So a paused game gets no more audio, and an interruption drops little audio.

Lock rule: ``_news`` guards all fields. No thread holds ``_news`` while it sends a message.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

import attrs

from inworld_sync.games.engines.messages import audio_message, write_event
from inworld_sync.locks import Condition
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline

__all__ = ["RATE_HZ", "EndReason", "Outgoing", "OutgoingLine"]

# The audio of all lines is 16-bit mono PCM at this rate.
RATE_HZ = 24000
_BYTES_PER_MS = RATE_HZ * 2 / 1000.0
_MESSAGE_MS = 100

# At most this many events wait for an engine that reads no messages.
_MAX_EVENTS = 2000

# At most this much audio of a line waits in the queue. A thread that has more audio must wait.
_MAX_WAITING_MS = 60_000.0

# The engine may round its reports. So its last report may be a little less than the whole line.
_TOLERANCE_MS = 50.0

# This module assumes that the engine plays at most this much audio after its last report.
_MAX_GUESS_MS = 300.0

EndReason = Literal["complete", "interrupted", "failed"]


@attrs.define(eq=False)
class OutgoingLine:
    """
    A line that the engine plays. Only :class:`Outgoing` changes this object.

    The number of a line that has ended may be used again. So a thread that sends a line identifies
    the line by this object.

    Attributes:
        number: The number of the line.
        entries: The messages that were not sent yet, as a heap of (position in ms, count, message).
            The count keeps the order of messages that have the same position.
        received_ms: How much audio was put into the queue.
        sent_ms: How much audio was sent.
        heard_ms: The position that the engine has reported as heard.
        reported_at: The time of the engine's last report. Before the first report, it is the time
            at which the first audio was sent. Before the first audio, it is None.
        is_complete: Whether all audio was put into the queue.
        end: Why the line has ended; None while the line is being sent.
    """

    number: int
    entries: list[tuple[float, int, str | bytes]] = attrs.field(factory=list)
    received_ms: float = 0.0
    sent_ms: float = 0.0
    heard_ms: float = 0.0
    reported_at: float | None = None
    is_complete: bool = False
    end: EndReason | None = None
    _count: int = 0

    def add(self, position_ms: float, message: str | bytes) -> None:
        """Queue a message about a position of the line."""
        self._count += 1
        heapq.heappush(self.entries, (position_ms, self._count, message))

    @property
    def is_heard(self) -> bool:
        """Whether all audio of the line was heard."""
        return self.is_complete and self.heard_ms >= self.received_ms - _TOLERANCE_MS

    def heard_now_ms(self, now: float) -> float:
        """Return how much was heard, assuming that the engine plays on after its last report."""
        if self.reported_at is None:
            return 0.0
        guess_ms = min((now - self.reported_at) * 1000.0, _MAX_GUESS_MS)
        return min(self.heard_ms + guess_ms, self.sent_ms)


class Outgoing:
    """
    The queue of messages to one engine.

    Args:
        send: Sends one message, and may wait. Raises an exception if the engine has disconnected.

    Thread safety: one thread calls :meth:`run`; any thread may call the other methods.

    Attributes:
        ahead_ms: How far the audio that was sent may be ahead of the audio that was heard.
    """

    def __init__(self, send: Callable[[str | bytes], object]) -> None:
        self._send = send
        self._news = Condition()
        self._events: deque[str] = deque()
        self._lines: dict[int, OutgoingLine] = {}
        self._sending_since: float | None = None
        self._closed = self._overflowed = self._has_ended = False
        self.ahead_ms = 1000.0

    # For the threads that have something to send.

    def event(self, message: str) -> None:
        """Queue a message. If the queue is full, drop it, and record that the engine is stalled."""
        with self._news:
            if self._closed:
                return
            if len(self._events) >= _MAX_EVENTS:
                self._overflowed = True
                return
            self._events.append(message)
            self._news.notify_all()

    def add_line(self, number: int) -> OutgoingLine:
        """Begin a line."""
        line = OutgoingLine(number)
        with self._news:
            self._lines[number] = line
        self.event(write_event("begin", line=number))
        return line

    def put(self, line: OutgoingLine, pcm: bytes, *, wait: bool) -> bool:
        """
        Queue audio of a line.

        Args:
            line: The line.
            pcm: Whole samples.
            wait: Whether to wait for room in the queue.

        Returns:
            False if the queue is full. True if the audio was queued, or was dropped because the
            line has ended.
        """
        with self._news:
            while self._is_full(line) and wait:
                self._news.wait(LONGEST_WAIT_SECONDS)
            if line.end is not None or self._closed:
                return True
            if self._is_full(line):
                return False
            for piece in _pieces(pcm):
                line.add(line.received_ms, piece)
                line.received_ms += len(piece) / _BYTES_PER_MS
            self._news.notify_all()
            return True

    def put_event(self, line: OutgoingLine, position_ms: float, message: str) -> None:
        """Queue a message about a position. Audio before this position is sent first."""
        with self._news:
            if line.end is None:
                line.add(position_ms, message)
                self._news.notify_all()

    def complete(self, line: OutgoingLine) -> None:
        """Mark a line as complete. The engine gets ``end`` after all audio."""
        with self._news:
            line.is_complete = True
            self._news.notify_all()

    def end(self, line: OutgoingLine, reason: EndReason) -> None:
        """End a line at once, even if all its audio was sent. Drop audio that was not sent."""
        with self._news:
            if self._lines.get(line.number) is not line:
                return
            del self._lines[line.number]
            line.entries.clear()
            line.end = reason
            self._news.notify_all()
        self.event(write_event("end", line=line.number, reason=reason, ms=round(line.sent_ms, 1)))

    def fail(self, line: OutgoingLine, code: str, message: str) -> None:
        """End a line because of an error."""
        with self._news:
            is_open = self._lines.get(line.number) is line
        if is_open:
            self.event(write_event("error", code=code, message=message, line=line.number))
            self.end(line, "failed")

    def heard(self, number: int, heard_ms: float) -> OutgoingLine | None:
        """Handle a report of the engine. Return the line, or None if the line is not known."""
        with self._news:
            line = self._lines.get(number)
            if line is None:
                return None
            line.heard_ms = max(line.heard_ms, min(heard_ms, line.sent_ms))
            line.reported_at = time.monotonic()
            if line.is_heard and line.end is not None:
                del self._lines[number]
            self._news.notify_all()
            return line

    def heard_ms(self, line: OutgoingLine) -> tuple[float, bool]:
        """Return how much of a line was heard until now, and whether this is the whole line."""
        with self._news:
            if line.is_heard:
                return line.received_ms, True
            return line.heard_now_ms(time.monotonic()), False

    def has_line(self, number: int) -> bool:
        """
        Return whether a line uses this number. A line uses its number until the line was heard to
        its end, was interrupted or has failed.
        """
        with self._news:
            return number in self._lines

    def open_lines(self, *, are_replies: bool) -> int:
        """
        Return how many lines were not heard to their end.

        Args:
            are_replies: True counts only replies, and False only the other lines.
        """
        with self._news:
            return sum((number < 0) == are_replies for number in self._lines)

    # For the connection.

    @property
    def stalled(self) -> float:
        """For how many seconds the engine has accepted no message; infinite after an overflow."""
        with self._news:
            if self._overflowed:
                return float("inf")
            since = self._sending_since
            return 0.0 if since is None else time.monotonic() - since

    def flush(self, timeout: float) -> None:
        """Wait until all events are sent, at most *timeout* seconds."""
        deadline = Deadline(timeout, "sending the last messages to the engine")
        with self._news:
            while (self._events or self._sending_since is not None) and not self._has_ended:
                if deadline.expired:
                    return
                self._news.wait(deadline.remaining())

    def close(self) -> None:
        """End :meth:`run`, and every call of :meth:`put` that waits for room."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def run(self) -> None:
        """Send messages until :meth:`close` is called."""
        try:
            while (message := self._next()) is not None:
                self._send(message)
        finally:
            with self._news:
                self._sending_since = None
                self._has_ended = True
                self._news.notify_all()

    # ``_next`` acquires ``_news``. The callers of the other methods hold ``_news``.

    def _is_full(self, line: OutgoingLine) -> bool:
        if line.end is not None or self._closed:
            return False
        return line.received_ms - line.sent_ms >= _MAX_WAITING_MS

    def _next(self) -> str | bytes | None:
        with self._news:
            self._sending_since = None
            while not self._closed:
                message = self._ready()
                if message is not None:
                    self._sending_since = time.monotonic()
                    self._news.notify_all()
                    return message
                self._news.notify_all()
                self._news.wait(LONGEST_WAIT_SECONDS)
            return None

    def _ready(self) -> str | bytes | None:
        if self._events:
            return self._events.popleft()
        for line in self._lines.values():
            if not line.entries:
                if line.is_complete and line.end is None:
                    return self._end_message(line)
                continue
            position_ms, _, message = line.entries[0]
            if position_ms > line.heard_ms + self.ahead_ms:
                continue
            heapq.heappop(line.entries)
            if isinstance(message, str):
                return message
            if line.reported_at is None:
                line.reported_at = time.monotonic()
            line.sent_ms += len(message) / _BYTES_PER_MS
            return audio_message(line.number, message)
        return None

    def _end_message(self, line: OutgoingLine) -> str:
        line.end = "complete"
        if line.is_heard:
            del self._lines[line.number]
        return write_event("end", line=line.number, reason="complete", ms=round(line.sent_ms, 1))


def _pieces(pcm: bytes) -> Iterator[bytes]:
    size_bytes = int(_MESSAGE_MS * _BYTES_PER_MS)
    for start in itertools.count(0, size_bytes):
        piece = pcm[start : start + size_bytes]
        if not piece:
            return
        yield piece
