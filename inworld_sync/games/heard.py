"""
Computes the position that is heard. An engine reads audio before this audio is heard.

Positions are counted in output frames, which are all frames that the reads have returned. A segment
relates a range of output frames to a range of an item of speech.

Thread safety: none; the owner's lock guards all objects.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["HeardClock", "Segments"]

# The positions of this many items are kept.
_MAX_ITEMS = 64


class HeardClock:
    """
    Estimates how many output frames were heard.

    Without reports, the device is simulated: the device plays the first frame *latency_ms* after
    the frame was read, and then continues in real time while it has frames. With reports, the
    position is the last report, plus the time since this report.

    Args:
        sample_rate_hz: Output frames per second.

    Attributes:
        latency_ms: The time from the read of a frame until the frame is heard, if the device is
            idle.
        read_frames: How many frames were read.
        heard_frames: How many of these frames were heard. This number never decreases.
    """

    def __init__(self, sample_rate_hz: int, latency_ms: float) -> None:
        self._rate_hz = sample_rate_hz
        self.latency_ms = latency_ms
        self.read_frames = 0
        self.heard_frames = 0.0
        self._last_read_frames = 0
        # The time, counted in frames, until an idle device plays the first frame that was read.
        self._start_in = 0.0
        self._reported: float | None = None

    @property
    def is_steady(self) -> bool:
        """Whether the position advances with real time, up to the last frame that was read."""
        return self._reported is not None and self._reported >= self.heard_frames

    def read(self, frames: int) -> None:
        """Count frames that were read."""
        latency_frames = self.latency_ms * self._rate_hz / 1000.0
        if self._reported is None and self.heard_frames >= self.read_frames:
            self._start_in = latency_frames
        self.read_frames += frames
        self._last_read_frames = frames
        if self._reported is None:
            # The device holds at most the frames of the last two reads and of the latency. This
            # limit corrects the position if the game's clock is slower than the device's clock.
            least = self.read_frames - 2 * frames - latency_frames
            self.heard_frames = max(self.heard_frames, least)

    def advance(self, seconds: float) -> None:
        """Advance the position by real time."""
        frames = seconds * self._rate_hz
        if self._reported is not None:
            # This code runs in each frame, so it has no function calls.
            self._reported = reported = self._reported + frames
            if reported > self.read_frames:
                self._reported = reported = float(self.read_frames)
            if reported > self.heard_frames:
                self.heard_frames = reported
            return
        waited = min(frames, self._start_in)
        self._start_in -= waited
        self.heard_frames = min(self.heard_frames + frames - waited, float(self.read_frames))

    def report(self, frames: int) -> None:
        """Set the number of frames that the device has played or dropped since the first read."""
        self._reported = float(min(frames, self.read_frames))
        self.heard_frames = max(self.heard_frames, self._reported)

    def drop(self) -> None:
        """Move the position to the end of all reads, because the device drops its audio."""
        self.heard_frames = float(self.read_frames)
        self._start_in = 0.0
        if self._reported is not None:
            self._reported = self.heard_frames


@attrs.define
class _Segment:
    item: str
    output_start: float
    output_end: float
    start: float
    end: float


class Segments:
    """
    The speech in the output frames that were read, but not heard yet.

    Attributes:
        item: The item that was heard last; None before the first item.
        position: How many frames of *item* were heard.
        heard: How many frames of each item were heard. Items that were not heard are missing.
        is_speaking: Whether speech is heard at the last position passed to :meth:`reach`.
        until: If speech is heard, the position in the output up to which *position* increases by
            *speed* for each frame of the output.
        speed: See *until*. It is not 1 if the speech is stretched.
    """

    def __init__(self) -> None:
        self._segments: deque[_Segment] = deque()
        self.heard: dict[str, float] = {}
        self.item: str | None = None
        self.position = 0.0
        self.is_speaking = False
        self.until = 0.0
        self.speed = 1.0

    @property
    def is_empty(self) -> bool:
        """Whether all speech that was read has also been heard."""
        return not self._segments

    def add(
        self, item: str, output_start: float, output_end: float, start: float, end: float
    ) -> None:
        """Record that a range of output frames plays the frames *start* to *end* of an item."""
        self._segments.append(_Segment(item, output_start, output_end, start, end))

    def reach(self, output_frames: float) -> None:
        """Set the position in the output up to which audio was heard."""
        self.is_speaking = False
        while self._segments:
            first = self._segments[0]
            if output_frames <= first.output_start:
                return
            self.item = first.item
            is_inside = output_frames < first.output_end
            position = first.end
            if is_inside:
                self.until = first.output_end
                length = first.output_end - first.output_start
                self.speed = speed = (first.end - first.start) / length
                position = first.start + speed * (output_frames - first.output_start)
            self.position = self.heard[first.item] = position
            if len(self.heard) > _MAX_ITEMS:
                del self.heard[next(iter(self.heard))]
            if is_inside:
                self.is_speaking = True
                return
            self._segments.popleft()

    def upcoming(self, output_frames: float) -> tuple[str, float] | None:
        """
        Return the next item that will be heard and the position in this item, or None.

        The position is negative while the beginning of the item is not heard yet.
        """
        if not self._segments:
            return None
        first = self._segments[0]
        return first.item, first.start - (first.output_start - output_frames)

    def clear(self) -> None:
        """Drop all speech that was not heard."""
        self._segments.clear()
        self.is_speaking = False
