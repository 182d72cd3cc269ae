"""
Defines the base class of the sinks. This class counts how much audio was heard, and waits for the
end of the audio.

Locks: ``_changed`` guards every field. A wait on ``_changed`` releases the lock. Each subclass
documents what it does while it holds the lock. Methods whose names begin with an underscore are
called with the lock held.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from inworld_sync.audio._memory import cut_sample
from inworld_sync.audio.closing import Closing
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.samples import AudioData, contiguous_samples
from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded
from inworld_sync.locks import Condition

if TYPE_CHECKING:
    from inworld_sync.audio.playout import Playout

__all__ = ["PlayoutWriter", "Sink", "deadline_after"]

# Audio is written in blocks of this length. A block is accepted completely or not at all.
_BLOCK_MS = 20

# How long end() waits until the buffer has room for the last milliseconds of converted audio.
_END_SECONDS = 1.0


def deadline_after(timeout: float | None) -> float:
    """
    Return the monotonic time after *timeout* seconds; infinity for None.

    Raises:
        ConfigError: *timeout* is not a number.
    """
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout)
    ):
        raise ConfigError(f"timeout must be None or a number of seconds, got {timeout!r}")
    return math.inf if timeout is None else time.monotonic() + timeout


class Sink(Closing):
    """
    Plays 16-bit mono PCM and counts how much of it was heard.

    In the private methods, a frame is one sample at the sample rate at which the audio is played.

    Attributes:
        sample_rate_hz: The sample rate of the audio that :meth:`write` expects.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, sample_rate_hz: int, rate_hz: int, changed: Condition) -> None:
        self.sample_rate_hz: Final = sample_rate_hz
        self._rate_hz = rate_hz
        self._changed = changed
        self._closed = False
        self._clears = 0
        self._written_frames = 0  # without the frames that a clear has dropped

    @property
    def heard_samples(self) -> int:
        """
        How many samples were heard since the sink was created. A sample counts only after the
        latency of the device.

        Audio that :meth:`clear` dropped is not counted. Time scaling does not change the count.
        """
        with self._changed:
            return self._samples(self._heard())

    def write(self, pcm: AudioData, *, timeout: float | None = None) -> None:
        """
        Queue PCM to be played. Wait while the buffer is full.

        A call of :meth:`clear` during the wait ends the wait, and drops the part of *pcm* that was
        not heard.

        Args:
            pcm: 16-bit little-endian mono samples as bytes; or an array of int16, int32, uint8 or
                floats in [-1, 1]. The channels of an array are mixed.
            timeout: The largest number of seconds to wait; None means no limit.

        Raises:
            AudioError: *pcm* is not audio, or its last sample is incomplete.
            DeadlineExceeded: *timeout* seconds passed. The audio that was queued until then is
                played.
            DeviceError: The device was lost, and no other device could be opened.
            ClosedError: This sink, or the playout that it writes to, is closed.
        """
        samples = memoryview(contiguous_samples(pcm, "s16", strict=True))
        if len(samples) % SAMPLE_BYTES:
            raise cut_sample("s16", SAMPLE_BYTES, len(samples))
        deadline = deadline_after(timeout)
        with self._changed:
            self._require_open()
            self._write(samples, deadline)

    def end(self) -> None:
        """Mark the utterance as complete, so that its end plays without a wait for more audio."""
        with self._changed:
            self._end(deadline_after(_END_SECONDS))

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Mark the utterance as complete, and wait until all written audio was heard or dropped.

        Args:
            timeout: The largest number of seconds to wait; None means no limit.

        Raises:
            DeadlineExceeded: *timeout* seconds passed. The audio continues to play.
            DeviceError: The device was lost, and no other device could be opened.
            ClosedError: This sink, or the playout that it writes to, is closed.
        """
        deadline = deadline_after(timeout)
        with self._changed:
            self._end(deadline)
            while (missing := self._missing()) > 0:
                self._wait(missing, deadline)

    @abstractmethod
    def _heard(self) -> int:
        """Return how many frames were heard until now."""

    @abstractmethod
    def _write(self, samples: memoryview, deadline: float) -> None:
        """Queue all of *samples*, unless a clear drops the rest."""

    @abstractmethod
    def _end(self, deadline: float, /) -> None:
        """Do what :meth:`end` does, before the deadline passes."""

    @abstractmethod
    def _seconds(self, frames: int, /) -> float:
        """Return how many seconds one wait for *frames* frames to be heard may last."""

    def _missing(self) -> int:
        """Return how many written frames were neither heard nor dropped yet."""
        heard = self._heard()  # called first, since it may change _written_frames
        return self._written_frames - heard

    def _samples(self, frames: int) -> int:
        """Convert a number of played frames to samples at the rate of :meth:`write`."""
        return round(frames * self.sample_rate_hz / self._rate_hz)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"this {type(self).__name__} is closed")

    def _wait(self, frames: int, deadline: float) -> None:
        """
        Wait for a change, or for about the time in which *frames* frames play.

        Raises:
            ClosedError: This sink is closed.
            DeadlineExceeded: The deadline has passed.
            DeviceError: The device was lost, and no other device could be opened.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(
                f"the timeout passed and {self._missing()} samples of {self._rate_hz} Hz were not "
                "heard yet"
            )
        self._wait_for_change(min(self._seconds(frames), left))

    def _wait_for_change(self, seconds: float) -> None:
        self._changed.wait(seconds)
        if self._closed:
            raise ClosedError(f"this {type(self).__name__} was closed while a thread waited for it")


class PlayoutWriter(Sink):
    """
    A sink that writes to a playout.

    Thread safety: as for :class:`Sink`. A thread acquires the playout's own lock after
    ``_changed``.
    """

    def __init__(self, playout: Playout, sample_rate_hz: int, changed: Condition) -> None:
        super().__init__(sample_rate_hz, playout.sample_rate_hz, changed)
        self._playout = playout

    def pause(self) -> None:
        """Fade out and stop playing until :meth:`resume`. Written audio stays queued."""
        self._playout.pause()

    def resume(self) -> None:
        """Continue after :meth:`pause`."""
        self._playout.resume()

    @abstractmethod
    def _took(self, frames: int, /) -> None:
        """Handle frames that were written and counted."""

    def _push(self, pcm: bytes | memoryview, item: Hashable, deadline: float) -> bool:
        """Push all of *pcm* to the playout; return False if a clear dropped the rest."""
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
