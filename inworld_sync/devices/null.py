"""
Implements a speaker without a device. Audio takes as long as on a real speaker, but no sound system
is needed.

Locks: ``_changed`` guards every field. A thread holds the lock during arithmetic and while a
subclass handles the samples, but never while it calls other code.
"""

from __future__ import annotations

import time

from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.devices._sink import Sink
from inworld_sync.locks import Condition
from inworld_sync.models.checks import require_whole

__all__ = ["NullSpeaker"]

# The longest wait between two reads of the clock. Every change wakes a waiting thread at once.
_WAIT_SECONDS = 1.0


class NullSpeaker(Sink):
    """
    Consumes audio in real time and does not play it.

    The speaker has no thread. The monotonic clock determines how many samples were heard. Audio
    that is written while earlier audio plays follows the earlier audio without a gap. Other audio
    starts when it is written. There is no latency.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, sample_rate_hz: int = 24000, *, buffer_ms: int = 2000) -> None:
        """
        Create a speaker without a device.

        Args:
            sample_rate_hz: The sample rate of the audio that is written, 1000 to 192000.
            buffer_ms: How much audio may be written and not yet heard, 10 to 3600000.

        Raises:
            ConfigError: A value is out of range.
        """
        require_whole("sample_rate_hz", sample_rate_hz, 1000, 192_000, " Hz")
        require_whole("buffer_ms", buffer_ms, 10, 3_600_000, " ms")
        super().__init__(sample_rate_hz, sample_rate_hz, Condition())
        self._capacity_samples = sample_rate_hz * buffer_ms // 1000
        # _since_samples is the number of samples that were heard until the time _since. After this
        # time, audio plays unless the speaker is paused.
        self._since = 0.0
        self._since_samples = 0
        self._paused = False

    def clear(self) -> int:
        """Drop all audio that was not heard, and return :attr:`heard_samples`."""
        with self._changed:
            self._written_frames = self._heard()
            self._clears += 1
            self._drop()
            self._changed.notify_all()
            return self._written_frames

    def pause(self) -> None:
        """Stop playing until :meth:`resume`."""
        with self._changed:
            self._stand_still()
            self._paused = True

    def resume(self) -> None:
        """Continue after :meth:`pause`."""
        with self._changed:
            if self._paused:
                self._since = time.monotonic()
                self._paused = False
                self._changed.notify_all()

    def close(self) -> None:
        """Stop at once. Any thread may call this method, even more than once."""
        with self._changed:
            self._stand_still()
            self._closed = True
            self._drop()
            self._changed.notify_all()

    def _heard(self) -> int:
        """Return how many samples were heard. A subclass also handles these samples here."""
        if self._paused or self._closed:
            return self._since_samples
        played = int((time.monotonic() - self._since) * self.sample_rate_hz)
        return min(self._since_samples + played, self._written_frames)

    def _keep(self, samples: memoryview) -> None:
        """Handle samples that were queued. A subclass can override this method."""

    def _drop(self) -> None:
        """Handle the drop of all queued samples. A subclass can override this method."""

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

    def _end(self, _: float, /) -> None:
        """Do nothing, because this speaker never waits for more audio."""

    def _seconds(self, frames: int) -> float:
        # One sample is added, so that a wait that ends a little early does not need a second wait.
        seconds = _WAIT_SECONDS if self._paused else (frames + 1) / self._rate_hz
        return min(max(seconds, 0.0), _WAIT_SECONDS)

    def _accept(self, samples: memoryview) -> int:
        """Queue as much of *samples* as there is room for; return the number of queued bytes."""
        heard = self._heard()
        if heard == self._written_frames:
            self._since_samples, self._since = heard, time.monotonic()
        room = self._capacity_samples - (self._written_frames - heard)
        taken = samples[: room * SAMPLE_BYTES]
        self._written_frames += len(taken) // SAMPLE_BYTES
        self._keep(taken)
        return len(taken)
