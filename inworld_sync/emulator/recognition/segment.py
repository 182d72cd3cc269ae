"""One stretch of speech, short enough to be recognized at once, and where it may be cut."""

from __future__ import annotations

from typing import Final

from inworld_sync.emulator.recognition.loudness import quietest_byte
from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS

__all__ = ["Segment"]

# Left after the last speech, so that a soft ending is heard.
_TAIL_MS: Final = 150
# Where a partial transcript looks for the end of a word: half a word is understood as another.
_WORD_END_MS: Final = 350
# A cut leaves at least this share of the segment before it.
_CUT_SHARE: Final = 0.65


class Segment:
    """
    The sound from shortly before some speech until after it.

    Positions are bytes of the stream, always even.

    Args:
        start: Position of the first byte of *pcm*.
        pcm: The sound so far, which begins with a little of what came before the speech.
    """

    def __init__(self, start: int, pcm: bytes) -> None:
        self.start = start
        self.speech_end = start + len(pcm)
        self.looked_at = self.speech_end
        self._pcm = bytearray(pcm)

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self.start + len(self._pcm)

    @property
    def length_ms(self) -> int:
        """How long the whole segment is."""
        return len(self._pcm) // BYTES_PER_MS

    @property
    def silence_ms(self) -> int:
        """How much silence follows the last speech."""
        return (self.end - self.speech_end) // BYTES_PER_MS

    def append(self, window: bytes, *, is_speech: bool) -> None:
        """Take the next sound of the stream."""
        self._pcm += window
        if is_speech:
            self.speech_end = self.end

    def speech(self) -> bytes:
        """The sound up to shortly after the last speech."""
        return bytes(self._pcm[: self.speech_end - self.start + _TAIL_MS * BYTES_PER_MS])

    def so_far(self) -> bytes:
        """The sound up to the quietest of its latest moments, at least its first half."""
        size = len(self._pcm)
        latest = max(size // 2, size - _WORD_END_MS * BYTES_PER_MS) & ~1
        return bytes(self._pcm[: quietest_byte(bytes(self._pcm), latest, size)])

    def last(self, size_ms: int) -> bytes:
        """The last *size_ms* of silence, never of speech."""
        start = max(self.speech_end, self.end - size_ms * BYTES_PER_MS)
        return bytes(self._pcm[start - self.start :])

    def cut(self) -> Segment | None:
        """
        End this segment at the quietest moment of its last third.

        Returns:
            A segment of the rest; None when no speech is in it.
        """
        at = quietest_byte(bytes(self._pcm), int(len(self._pcm) * _CUT_SHARE) & ~1, len(self._pcm))
        rest = Segment(self.start + at, bytes(self._pcm[at:]))
        rest.speech_end = self.speech_end
        del self._pcm[at:]
        self.speech_end = min(self.speech_end, self.end)
        return rest if rest.speech_end > rest.start else None
