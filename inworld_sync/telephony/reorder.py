"""
Puts the pieces of a caller's audio in order by their numbers, and counts the pieces that are lost.

This module has no clock. A missing piece counts as lost when 100 ms of later pieces have arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

from inworld_sync.telephony.calls import CallAudio

__all__ = ["Reorder"]

# A missing piece counts as lost when this many later pieces of 20 ms wait.
_WINDOW = 5

# If a number differs by more than this from the expected number, a new count begins, for example
# after a reconnect.
_JUMP = 500
# A new count also begins after this many late pieces in a row.
_LATE_IN_A_ROW = 10


class Reorder:
    """
    The pieces of one track.

    Attributes:
        lost: How many pieces did not arrive in time.
        late: How many pieces arrived after they counted as lost, or arrived twice. Such pieces are
            dropped.
    """

    def __init__(self) -> None:
        self.lost = self.late = 0
        self._next: int | None = None
        self._late_in_a_row = 0
        self._waiting: dict[int, CallAudio] = {}

    def add(self, piece: CallAudio) -> Iterator[CallAudio]:
        """Add a piece, and return the pieces that are in order now."""
        if piece.chunk is None:
            yield piece
            return
        is_new = self._late_in_a_row >= _LATE_IN_A_ROW
        if self._next is None or is_new or abs(piece.chunk - self._next) > _JUMP:
            yield from self.finish()
            self._next = piece.chunk
        if piece.chunk < self._next or piece.chunk in self._waiting:
            self.late += 1
            self._late_in_a_row += 1
            return
        self._late_in_a_row = 0
        self._waiting[piece.chunk] = piece
        yield from self._ready()
        while len(self._waiting) >= _WINDOW:
            first = min(self._waiting)
            self.lost += first - self._next
            self._next = first
            yield from self._ready()

    def finish(self) -> Iterator[CallAudio]:
        """Return the pieces that are still held, in order."""
        for number in sorted(self._waiting):
            self.lost += number - (self._next or number)
            self._next = number + 1
            yield self._waiting.pop(number)

    def _ready(self) -> Iterator[CallAudio]:
        while self._next in self._waiting:
            yield self._waiting.pop(self._next)
            self._next += 1
