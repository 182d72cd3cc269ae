"""
What the sinks have in common: they count what was heard, and wait for it.

Lock rule: ``_changed`` guards every field. It is held while waiting on it; a subclass says what
else is done under it. Methods that begin with an underscore are called with it held.
"""

from __future__ import annotations

import math
import threading
import time
from abc import abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from inworld_sync.audio._memory import cut_sample
from inworld_sync.audio.closing import Closing
from inworld_sync.devices._pcm import SAMPLE_BYTES
from inworld_sync.errors import ClosedError, DeadlineExceeded

if TYPE_CHECKING:
    from inworld_sync.audio.playout import Playout

__all__ = ["PlayoutWriter", "Sink", "deadline_after"]

# Written at a time: all of a block fits or none of it.
_BLOCK_MS = 20

# For the last few milliseconds of a converted sound to find room.
_END_SECONDS = 1.0


def deadline_after(timeout: float | None) -> float:
    """The monotonic time at which *timeout* seconds have passed; None means never."""
    return math.inf if timeout is None else time.monotonic() + timeout


class Sink(Closing):
    """
    Takes 16-bit mono PCM and counts how much of it was heard.

    Frames are samples at the rate at which they are played.

    Attributes:
        sample_rate_hz: Samples a second that :meth:`write` expects.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, sample_rate_hz: int, rate_hz: int, changed: threading.Condition) -> None:
        self.sample_rate_hz: Final = sample_rate_hz
        self._rate_hz = rate_hz
        self._changed = changed
        self._closed = False
        self._clears = 0
        self._written_frames = 0  # without those that a clear has dropped

    @property
    def heard_samples(self) -> int:
        """
        Samples heard since it was made, past the latency of the device if there is one.

        What :meth:`clear` dropped is not counted, and time scaling does not change the count.
        """
        with self._changed:
            return self._samples(self._heard())

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """
        Take PCM for playing; wait while the buffer is full.

        A :meth:`clear` meanwhile drops all of *pcm* that was not heard and ends the wait.

        Raises:
            AudioError: The last sample is cut.
            DeadlineExceeded: *timeout* seconds passed; what fitted until then plays.
            DeviceError: The device is gone, and no other one took its place.
            ClosedError: It was closed, or the playout that it writes to.
        """
        samples = memoryview(pcm).cast("B")
        if len(samples) % SAMPLE_BYTES:
            raise cut_sample("s16", SAMPLE_BYTES, len(samples))
        deadline = deadline_after(timeout)
        with self._changed:
            self._require_open()
            self._write(samples, deadline)

    def end(self) -> None:
        """Say that the utterance is complete: it plays to its last sample and waits for no more."""
        with self._changed:
            self._end(deadline_after(_END_SECONDS))

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Wait until all that was written is heard or dropped; nothing more follows for now.

        Raises:
            DeadlineExceeded: It was not after *timeout* seconds; it plays on.
            DeviceError: The device is gone, and no other one took its place.
            ClosedError: It was closed before, or the playout that it writes to.
        """
        deadline = deadline_after(timeout)
        with self._changed:
            self._end(deadline)
            while (missing := self._missing()) > 0:
                self._wait(missing, deadline)

    @abstractmethod
    def _heard(self) -> int:
        """Count the frames that were heard until now."""

    @abstractmethod
    def _write(self, samples: memoryview, deadline: float) -> None:
        """Take all of *samples*, unless a clear drops the rest."""

    @abstractmethod
    def _end(self, deadline: float, /) -> None:
        """Do what :meth:`end` does, by the deadline."""

    @abstractmethod
    def _seconds(self, frames: int, /) -> float:
        """How long to wait at most until so many frames are heard."""

    def _missing(self) -> int:
        """Count the frames that were written and neither heard nor dropped."""
        heard = self._heard()  # first, for it may find that a playout was closed
        return self._written_frames - heard

    def _samples(self, frames: int) -> int:
        """How many of the samples that were written so many frames are."""
        return round(frames * self.sample_rate_hz / self._rate_hz)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"this {type(self).__name__} is closed")

    def _wait(self, frames: int, deadline: float) -> None:
        """
        Wait for a change, or about as long as so many frames play.

        Raises:
            ClosedError: It was closed.
            DeadlineExceeded: The deadline has passed.
            DeviceError: The device is gone, and no other one took its place.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(
                f"the deadline passed with {self._missing()} samples of {self._rate_hz} Hz not "
                "yet heard"
            )
        self._wait_for_change(min(self._seconds(frames), left))

    def _wait_for_change(self, seconds: float) -> None:
        self._changed.wait(seconds)
        if self._closed:
            raise ClosedError(f"this {type(self).__name__} was closed while a thread waited for it")


class PlayoutWriter(Sink):
    """
    A sink that writes to a playout.

    Thread safety: as :class:`Sink`. The playout's own lock is taken inside ``_changed``.
    """

    def __init__(self, playout: Playout, sample_rate_hz: int, changed: threading.Condition) -> None:
        super().__init__(sample_rate_hz, playout.sample_rate_hz, changed)
        self._playout = playout

    def pause(self) -> None:
        """Fade out and stand still until :meth:`resume`; what is written waits."""
        self._playout.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._playout.resume()

    @abstractmethod
    def _took(self, frames: int, /) -> None:
        """Follow what was written; it is counted already."""

    def _push(self, pcm: bytes | memoryview, item: Hashable, deadline: float) -> bool:
        """Give the playout all of it; False if a clear has dropped the rest."""
        clears = self._clears
        samples = memoryview(pcm)
        size_bytes = self._rate_hz * _BLOCK_MS // 1000 * SAMPLE_BYTES
        for start in range(0, len(samples), size_bytes):
            block = samples[start : start + size_bytes]
            frames = len(block) // SAMPLE_BYTES
            while not self._playout.push(block, item=item):
                self._wait(frames, deadline)
                if clears != self._clears:
                    return False
            self._written_frames += frames
            self._took(frames)
        return True
