"""
A speaker that nobody hears: it takes as long as a real one and needs no sound system.

Lock rule: ``_changed`` guards every field. It is held for arithmetic, while waiting on it, and
for what a subclass does with the samples; never while calling anybody else.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from inworld_sync.devices._pcm import SAMPLE_BYTES, require_between, sample_bytes
from inworld_sync.errors import ClosedError, DeadlineExceeded

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NullSpeaker"]

# The longest wait between two looks at the clock; every change wakes a waiting thread anyway.
_WAIT_SECONDS = 1.0


class NullSpeaker:
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
        self._sample_rate_hz = sample_rate_hz
        self._capacity_samples = sample_rate_hz * buffer_ms // 1000
        self._changed = threading.Condition()
        self._written_samples = 0
        # At this time so much was heard, and from then on it plays unless it is paused.
        self._since = 0.0
        self._since_samples = 0
        self._clears = 0
        self._paused = False
        self._closed = False

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second that :meth:`write` expects."""
        return self._sample_rate_hz

    @property
    def heard_samples(self) -> int:
        """Samples heard since it was made; what was dropped is not counted."""
        with self._changed:
            return self._settle()

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """
        Take PCM for playing; wait while the buffer is full.

        A :meth:`clear` meanwhile drops all of *pcm* that was not heard and ends the wait.

        Raises:
            AudioError: The last sample is cut.
            DeadlineExceeded: *timeout* seconds passed; what fitted until then plays.
            ClosedError: It was closed.
        """
        left = sample_bytes(pcm)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            clears = self._clears
            left = left[self._accept(left) :]
            while left:
                self._wait(len(left) // SAMPLE_BYTES, deadline)
                if clears != self._clears:
                    return
                left = left[self._accept(left) :]

    def end(self) -> None:
        """Say that an utterance is complete; makes no difference here, where nothing waits."""

    def clear(self) -> int:
        """Drop all that was written and not heard; return :attr:`heard_samples`."""
        with self._changed:
            self._written_samples = self._settle()
            self._clears += 1
            self._drop()
            self._changed.notify_all()
            return self._written_samples

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

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Wait until all that was written is heard or dropped.

        Raises:
            DeadlineExceeded: It was not after *timeout* seconds; it plays on.
            ClosedError: It was closed before.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._settle() < self._written_samples:
                self._wait(self._capacity_samples, deadline)

    def close(self) -> None:
        """Stop at once. May be called twice and from any thread."""
        with self._changed:
            self._stand_still()
            self._closed = True
            self._drop()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _settle(self) -> int:
        """Count what was heard until now; a subclass does its work on it here."""
        if self._paused or self._closed:
            return self._since_samples
        played = int((time.monotonic() - self._since) * self._sample_rate_hz)
        return min(self._since_samples + played, self._written_samples)

    def _keep(self, samples: memoryview) -> None:
        """For a subclass: these were taken."""

    def _drop(self) -> None:
        """For a subclass: what was taken and not heard will not be heard."""

    def _stand_still(self) -> None:
        now = time.monotonic()
        self._since_samples, self._since = self._settle(), now

    def _accept(self, samples: memoryview) -> int:
        """Take as much of *samples* as there is room for, and say how many bytes."""
        if self._closed:
            raise ClosedError(f"this {type(self).__name__} is closed")
        heard = self._settle()
        if heard == self._written_samples:
            self._since_samples, self._since = heard, time.monotonic()
        room = self._capacity_samples - (self._written_samples - heard)
        taken = samples[: room * SAMPLE_BYTES]
        self._written_samples += len(taken) // SAMPLE_BYTES
        self._keep(taken)
        return len(taken)

    def _wait(self, room_samples: int, deadline: float | None) -> None:
        """
        Wait for a change, or until there is room for so many samples.

        Raises:
            ClosedError: It was closed.
            DeadlineExceeded: The deadline has passed.
        """
        queued = self._written_samples - self._settle()
        missing = min(room_samples, self._capacity_samples) - (self._capacity_samples - queued)
        # One sample more, so that a wait that ends a little early is not followed by another.
        seconds = _WAIT_SECONDS if self._paused else (missing + 1) / self._sample_rate_hz
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the deadline passed with {queued} samples of {self._sample_rate_hz} Hz not "
                    f"yet heard, {self._capacity_samples} may be waiting"
                )
            seconds = min(seconds, left)
        self._changed.wait(min(max(seconds, 0.0), _WAIT_SECONDS))
        if self._closed:
            raise ClosedError(f"this {type(self).__name__} was closed while a thread waited for it")
