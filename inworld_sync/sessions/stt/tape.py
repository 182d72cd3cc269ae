"""
The audio of one STT stream: what was sent and may be needed again, and what waits to be sent.

Without threads and clocks; its owner's monitor guards it. Positions are samples from the start of
the stream, at the rate of the wire.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

from inworld_sync.audio.quiet import quietest_sample

__all__ = ["SAMPLE_BYTES", "Tape", "TurnEnd"]

SAMPLE_BYTES: Final = 2


class TurnEnd(enum.Enum):
    """Stands in the audio where the user ended a turn."""

    MARK = "endTurn"


class Tape:
    """
    16-bit mono PCM between two positions, and how far it was sent.

    Args:
        keep_samples: What was sent is kept up to this length, until it is covered.

    Attributes:
        start: Position of the oldest sample that is kept.
        sent: Position up to which it was given out.
        end: Position after the newest sample.
    """

    def __init__(self, keep_samples: int) -> None:
        self._keep_samples = keep_samples
        # Deleting at the front of a bytearray costs nothing: it remembers where it begins.
        self._pcm = bytearray()
        # Where the oldest sample lies in the middle of what was said, for it could not be kept.
        self._is_cut = False
        self._sent_marks: deque[int] = deque()
        self._marks: deque[int] = deque()
        self.start = 0
        self.sent = 0
        self.end = 0

    @property
    def unsent_bytes(self) -> int:
        """What waits to be sent."""
        return (self.end - self.sent) * SAMPLE_BYTES

    @property
    def has_mark(self) -> bool:
        """Whether a turn's end waits to be sent."""
        return bool(self._marks)

    @property
    def sent_mark(self) -> int | None:
        """Position of the oldest turn's end that was sent and is not covered."""
        return self._sent_marks[0] if self._sent_marks else None

    def append(self, pcm: bytes | bytearray | memoryview) -> None:
        """Add whole samples."""
        self._pcm += pcm
        self.end += len(pcm) // SAMPLE_BYTES

    def mark(self) -> None:
        """End a turn here."""
        if not self._marks or self._marks[-1] != self.end:
            self._marks.append(self.end)

    def next(self, chunk_samples: int, *, flush: bool) -> bytes | TurnEnd | None:
        """
        Give what is to be sent next and count it as sent.

        Args:
            chunk_samples: The most to give.
            flush: Whether less may be given when there is no more; before a turn's end it always
                may.
        """
        limit = self.end
        if self._marks:
            limit = self._marks[0]
            if limit == self.sent:
                self._sent_marks.append(self._marks.popleft())
                return TurnEnd.MARK
        samples = min(chunk_samples, limit - self.sent)
        if not samples or (samples < chunk_samples and not flush and not self._marks):
            return None
        at = (self.sent - self.start) * SAMPLE_BYTES
        pcm = bytes(self._pcm[at : at + samples * SAMPLE_BYTES])
        self.sent += samples
        if self.sent - self._keep_samples > self.start:
            self._forget(self.sent - self._keep_samples)
            self._is_cut = True
        return pcm

    def cover(self, position: int) -> None:
        """Forget what was sent before *position*: its words have come."""
        if min(position, self.sent) > self.start:
            self._forget(min(position, self.sent))
            self._is_cut = False

    def rewind(self, free: int, cut_samples: int) -> None:
        """
        Give everything that is kept out once more, from a quiet moment on.

        The rest of a word that is cut in two would be understood as a word of its own.

        Args:
            free: The quiet moment is looked for up to this position.
            cut_samples: Where the beginning of what was said could not be kept, within so many.
        """
        until = min(self.sent, self.start + cut_samples if self._is_cut else free)
        if until > self.start:
            looked_at = self._pcm[: (until - self.start) * SAMPLE_BYTES]
            self._forget(self.start + quietest_sample(looked_at))
        self._is_cut = False
        self._marks.extendleft(reversed(self._sent_marks))
        self._sent_marks.clear()
        self.sent = self.start

    def drop_oldest(self, size_bytes: int) -> int:
        """Remove the oldest *size_bytes* of what waits to be sent; give how many samples."""
        samples = min(-(-size_bytes // SAMPLE_BYTES), self.end - self.sent)
        at = (self.sent - self.start) * SAMPLE_BYTES
        del self._pcm[at : at + samples * SAMPLE_BYTES]
        self.end -= samples
        self._marks = deque(max(self.sent, mark - samples) for mark in self._marks)
        return samples

    def rest(self) -> bytes:
        """All that is kept or waits."""
        return bytes(self._pcm)

    def _forget(self, position: int) -> None:
        del self._pcm[: (position - self.start) * SAMPLE_BYTES]
        self.start = position
        while self._sent_marks and self._sent_marks[0] <= position:
            self._sent_marks.popleft()
