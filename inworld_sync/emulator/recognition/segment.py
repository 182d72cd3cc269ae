"""Defines segments of speech, which are recognized in one run, and finds where to cut them."""

from __future__ import annotations

from typing import Final

from inworld_sync.emulator.recognition.loudness import quietest_byte
from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS

__all__ = ["Segment"]

# How much audio is kept after the last speech, for the soft ending of a word.
_TAIL_MS: Final = 150
# For a partial transcript, the audio is cut at the quietest moment of this span at its end, because
# half of a word would be recognized as another word.
_WORD_END_MS: Final = 350
# The part before a cut has at least this share of the segment.
_CUT_SHARE: Final = 0.65


class Segment:
    """
    The audio from shortly before some speech until shortly after this speech.

    Positions are bytes of the stream, always even.

    Args:
        start: The position of the first byte of *pcm*.
        pcm: The audio so far, which begins shortly before the speech.
    """

    def __init__(self, start: int, pcm: bytes) -> None:
        self.start = start
        self.speech_end = start + len(pcm)
        self.looked_at = self.speech_end
        self._pcm = bytearray(pcm)

    @property
    def end(self) -> int:
        """The position after the last byte."""
        return self.start + len(self._pcm)

    @property
    def length_ms(self) -> int:
        """The length of the segment."""
        return len(self._pcm) // BYTES_PER_MS

    @property
    def silence_ms(self) -> int:
        """The silence after the last speech."""
        return (self.end - self.speech_end) // BYTES_PER_MS

    def append(self, window: bytes, *, is_speech: bool) -> None:
        """Add the next audio of the stream."""
        self._pcm += window
        if is_speech:
            self.speech_end = self.end

    def speech(self) -> bytes:
        """Return the audio until shortly after the last speech."""
        return bytes(self._pcm[: self.speech_end - self.start + _TAIL_MS * BYTES_PER_MS])

    def so_far(self) -> bytes:
        """Return the audio up to the quietest moment of its last 350 ms, but at least its half."""
        size = len(self._pcm)
        latest = max(size // 2, size - _WORD_END_MS * BYTES_PER_MS) & ~1
        return bytes(self._pcm[: quietest_byte(bytes(self._pcm), latest, size)])

    def last(self, size_ms: int) -> bytes:
        """
        Return the last *size_ms* of the silence after the speech. A shorter silence is returned as
        a whole.
        """
        start = max(self.speech_end, self.end - size_ms * BYTES_PER_MS)
        return bytes(self._pcm[start - self.start :])

    def cut(self) -> Segment | None:
        """
        End this segment at the quietest moment of its last third.

        Returns:
            A segment with the rest; None if the rest has no speech.
        """
        at = quietest_byte(bytes(self._pcm), int(len(self._pcm) * _CUT_SHARE) & ~1, len(self._pcm))
        rest = Segment(self.start + at, bytes(self._pcm[at:]))
        rest.speech_end = self.speech_end
        del self._pcm[at:]
        self.speech_end = min(self.speech_end, self.end)
        return rest if rest.speech_end > rest.start else None
