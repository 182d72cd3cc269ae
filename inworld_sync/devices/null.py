"""
A speaker that nobody hears: it takes as long as a real one and needs no sound system.

Lock rule: ``_changed`` guards every field. It is held for arithmetic, while waiting on it, and
for what a subclass does with the samples; never while calling anybody else.
"""

from __future__ import annotations

import threading
import time

from inworld_sync.devices._pcm import SAMPLE_BYTES, require_between
from inworld_sync.devices._sink import Sink

__all__ = ["NullSpeaker"]

# The longest wait between two looks at the clock; every change wakes a waiting thread anyway.
_WAIT_SECONDS = 1.0


class NullSpeaker(Sink):
    """
    Consumes sound in real time and plays it nowhere.

    It has no thread: what was heard follows from the monotonic clock, to the sample. A sound that
    is written while the last one still plays follows it without a gap; one that comes later starts
    when it is written. There is no latency.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, sample_rate_hz: int = 24000, *, buffer_ms: int = 2000) -> None:
        """
        Open it.

        Args:
            sample_rate_hz: Samples a second of what is written, 1000 to 192000.
            buffer_ms: How much may be written and not yet heard; 10 to 3600000.

        Raises:
            ConfigError: A value is out of its range.
        """
        require_between("sample_rate_hz", sample_rate_hz, 1000, 192_000, "Hz")
        require_between("buffer_ms", buffer_ms, 10, 3_600_000, "ms")
        super().__init__(sample_rate_hz, sample_rate_hz, threading.Condition())
        self._capacity_samples = sample_rate_hz * buffer_ms // 1000
        # At this time so much was heard, and from then on it plays unless it is paused.
        self._since = 0.0
        self._since_samples = 0
        self._paused = False

    def clear(self) -> int:
        """Drop all that was written and not heard; return :attr:`heard_samples`."""
        with self._changed:
            self._written_frames = self._heard()
            self._clears += 1
            self._drop()
            self._changed.notify_all()
            return self._written_frames

    def pause(self) -> None:
        """Stand still until :meth:`resume`."""
        with self._changed:
            self._stand_still()
            self._paused = True

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        with self._changed:
            if self._paused:
                self._since = time.monotonic()
                self._paused = False
                self._changed.notify_all()

    def close(self) -> None:
        """Stop at once. May be called twice and from any thread."""
        with self._changed:
            self._stand_still()
            self._closed = True
            self._drop()
            self._changed.notify_all()

    def _heard(self) -> int:
        """Count what was heard until now; a subclass does its work on it here."""
        if self._paused or self._closed:
            return self._since_samples
        played = int((time.monotonic() - self._since) * self.sample_rate_hz)
        return min(self._since_samples + played, self._written_frames)

    def _keep(self, samples: memoryview) -> None:
        """For a subclass: these were taken."""

    def _drop(self) -> None:
        """For a subclass: what was taken and not heard will not be heard."""

    def _stand_still(self) -> None:
        now = time.monotonic()
        self._since_samples, self._since = self._heard(), now

    def _write(self, samples: memoryview, deadline: float) -> None:
        clears = self._clears
        while samples := samples[self._accept(samples) :]:
            room = self._capacity_samples - self._missing()
            needed = min(len(samples) // SAMPLE_BYTES, self._capacity_samples)
            self._wait(needed - room, deadline)
            if clears != self._clears:
                return

    def _end(self, _: float) -> None:
        """Nothing waits for the end of an utterance here."""

    def _seconds(self, frames: int) -> float:
        # One sample more, so that a wait that ends a little early is not followed by another.
        seconds = _WAIT_SECONDS if self._paused else (frames + 1) / self._rate_hz
        return min(max(seconds, 0.0), _WAIT_SECONDS)

    def _accept(self, samples: memoryview) -> int:
        """Take as much of *samples* as there is room for, and say how many bytes."""
        heard = self._heard()
        if heard == self._written_frames:
            self._since_samples, self._since = heard, time.monotonic()
        room = self._capacity_samples - (self._written_frames - heard)
        taken = samples[: room * SAMPLE_BYTES]
        self._written_frames += len(taken) // SAMPLE_BYTES
        self._keep(taken)
        return len(taken)
