"""
One of the sounds that share a loudspeaker, each with its own queue and its own count of what was
heard.

What is written goes into a jitter buffer (:class:`~inworld_sync.audio.playout.Playout`); the
device's own thread pulls from it and notes when each stretch will be heard.

Lock rule: that of :mod:`inworld_sync.devices.output`, whose ``changed`` guards every field here.
"""

from __future__ import annotations

import bisect
import time
from typing import TYPE_CHECKING, NamedTuple

from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.devices._pcm import SAMPLE_BYTES, sample_bytes
from inworld_sync.devices.output import OutputDevice
from inworld_sync.errors import ClosedError, DeadlineExceeded
from inworld_sync.models.devices import SpeakerMark, SpeakerStats

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SpeakerInput"]

# Written at a time: all of a block fits or none of it.
_BLOCK_MS = 20

# Between two looks at what the device did; changes on this side wake a waiting thread at once.
_LOOK_SECONDS = 0.005
_LONG_LOOK_SECONDS = 0.25
_MARK_LOOK_SECONDS = 0.001

# For the last few milliseconds of a converted sound to find room.
_END_SECONDS = 1.0

# For a fade to reach a device before its playout is taken away; a block of one is shorter.
_FADE_SECONDS = 0.25


class _Mark(NamedTuple):
    frames: int
    number: int  # so that marks of one place keep their order, and tags are not compared
    position_samples: int
    tag: object


class SpeakerInput:
    """
    One of the sounds that share a :class:`~inworld_sync.Speaker`; made by :meth:`Speaker.add`.

    It takes 16-bit mono PCM and is an :class:`~inworld_sync.AudioSink` like the speaker itself.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self,
        output: OutputDevice,
        sample_rate_hz: int,
        buffer_ms: int,
        *,
        gain: float,
        duck_db: float,
        priority: int,
    ) -> None:
        self._output = output
        self._changed = output.changed
        self._sample_rate_hz = sample_rate_hz
        self._rate_hz = output.rate_hz
        self._removed = False
        self._clears = 0
        self._item = 0
        self._item_open = False
        self._fed_samples = 0
        # Frames are samples at the playout's rate.
        self._written_frames = 0
        self._heard_frames = 0
        self._marks: list[_Mark] = []
        self._cancelled: list[_Mark] = []
        self._last_mark = 0
        self._playout = Playout(self._rate_hz, output_format="f32", capacity_ms=buffer_ms)
        self._resampler = Resampler(sample_rate_hz, self._rate_hz)
        self._track = output.mixer.add(self._playout, gain=gain, duck_db=duck_db, priority=priority)

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second that :meth:`write` expects."""
        return self._sample_rate_hz

    @property
    def heard_samples(self) -> int:
        """
        Samples heard since it was made, by the device's count and past its latency.

        What :meth:`clear` dropped is not counted, and time scaling does not change the count.
        """
        with self._changed:
            return self._samples(self._heard())

    @property
    def stats(self) -> SpeakerStats:
        """How well it plays; the underflows and the latency are the device's."""
        with self._changed:
            playout = self._playout.stats()
            feed = self._output.feed
            device = None if feed is None else feed.stats
        per_ms = self._rate_hz / 1000.0
        return SpeakerStats(
            0 if device is None else device.underflows,
            playout.stalls,
            playout.stalled_frames / per_ms,
            playout.concealed_frames / per_ms,
            playout.inserted_frames / per_ms,
            0.0 if device is None else device.latency_ms,
        )

    def adjust(
        self,
        *,
        gain: float | None = None,
        duck_db: float | None = None,
        priority: int | None = None,
    ) -> None:
        """
        Change how loud it is, by a ramp; None leaves a value as it is. See :meth:`Speaker.add`.

        Raises:
            ConfigError: A value is out of its range.
            ClosedError: It was closed.
        """
        with self._changed:
            self._require_open()
            self._output.mixer.adjust(self._playout, gain=gain, duck_db=duck_db, priority=priority)

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """
        Take PCM for playing; wait while the buffer is full.

        A :meth:`clear` meanwhile drops all of *pcm* that was not heard and ends the wait.

        Raises:
            AudioError: The last sample is cut.
            DeadlineExceeded: *timeout* seconds passed; what fitted until then plays.
            DeviceError: The device is gone, and no other one took its place.
            ClosedError: It was closed.
        """
        samples = sample_bytes(pcm)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._require_open()
            clears = self._clears
            self._fed_samples += len(samples) // SAMPLE_BYTES
            try:
                self._push(self._resampler.feed(samples), clears, deadline)
            except DeadlineExceeded:
                self._fed_samples = self._samples(self._written_frames)
                raise

    def end(self) -> None:
        """Say that the utterance is complete: it plays to its last sample and waits for no more."""
        with self._changed:
            self._require_open()
            self._end(time.monotonic() + _END_SECONDS)

    def clear(self) -> int:
        """
        Drop all that was written and that the device has not taken, with a fade of 5 ms.

        What the device has taken is heard, within its latency, and counts as heard at once.

        Returns:
            What :attr:`heard_samples` is from now on: final.
        """
        with self._changed:
            if not self._is_closed:
                self._clear()
            return self._samples(self._heard_frames)

    def pause(self) -> None:
        """Fade out and stand still until :meth:`resume`; what is written waits."""
        with self._changed:
            self._playout.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        with self._changed:
            self._playout.resume()

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Wait until all that was written is heard or dropped; nothing more follows for now.

        Raises:
            DeadlineExceeded: It was not after *timeout* seconds; it plays on.
            DeviceError: The device is gone, and no other one took its place.
            ClosedError: It was closed before.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._require_open()
            self._end(deadline)
            while (missing := self._written_frames - self._heard()) > 0:
                self._wait(missing, deadline)

    # ---- marks -------------------------------------------------------------------------------

    def mark(self, tag: object, position_samples: int | None = None) -> None:
        """
        Ask :meth:`poll` to tell *tag* once all that comes before it is heard.

        Args:
            tag: Anything.
            position_samples: Where, counted as :attr:`heard_samples` is; None means behind what
                is written so far. It may lie in what is still to be written.

        Raises:
            ClosedError: It was closed.
        """
        with self._changed:
            self._require_open()
            position = self._fed_samples if position_samples is None else position_samples
            frames = self._frames(position)
            self._last_mark += 1
            bisect.insort(self._marks, _Mark(frames, self._last_mark, position, tag))
            self._changed.notify_all()

    def poll(self, *, timeout: float | None = 0.0) -> list[SpeakerMark]:
        """
        Marks that were reached or cancelled since the last call, in order; each once.

        A :meth:`clear` cancels the marks behind what was heard, and closing does.

        Args:
            timeout: Seconds to wait for one; None waits until there is one. Nothing comes of
                waiting without a mark.

        Raises:
            DeviceError: The device is gone, and no other one took its place.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                found = self._take_marks()
                seconds = self._until_mark()
                if deadline is not None:
                    seconds = min(seconds, deadline - time.monotonic())
                if found or seconds <= 0 or self._is_closed or not self._marks:
                    return found
                try:
                    self._output.wait(seconds)
                except ClosedError:
                    return self._take_marks()

    def _take_marks(self) -> list[SpeakerMark]:
        heard = self._heard()
        reached = bisect.bisect_right(self._marks, heard, key=lambda mark: mark.frames)
        taken, self._marks = self._marks[:reached], self._marks[reached:]
        if self._is_closed:
            self._cancelled += self._marks
            self._marks = []
        cancelled, self._cancelled = self._cancelled, []
        return [
            *(SpeakerMark(mark.tag, mark.position_samples, True) for mark in taken),
            *(SpeakerMark(mark.tag, mark.position_samples, False) for mark in cancelled),
        ]

    def _until_mark(self) -> float:
        """Seconds until the next mark is heard if nothing stops the sound."""
        if not self._marks:
            return _LONG_LOOK_SECONDS
        seconds = (self._marks[0].frames - self._heard()) / self._rate_hz
        return min(max(seconds, _MARK_LOOK_SECONDS), _LONG_LOOK_SECONDS)

    # ---- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """
        Stop with a short fade and make room for another input. May be called twice and from any
        thread.
        """
        with self._changed:
            if self._is_closed:
                return
            self._clear()
            self._removed = True
            # A playout that goes away at once would end in a click.
            self._output.wait_for_blocks(2, _FADE_SECONDS)
            if self._output.closed_ns is None:
                self._output.mixer.remove(self._playout)
            self._playout.close()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- inside ------------------------------------------------------------------------------

    def _samples(self, frames: int) -> int:
        """How many of the samples that were written so many frames are."""
        if self._rate_hz == self._sample_rate_hz:
            return frames
        return round(frames * self._sample_rate_hz / self._rate_hz)

    def _frames(self, samples: int) -> int:
        """How many frames so many samples are."""
        if self._rate_hz == self._sample_rate_hz:
            return samples
        return round(samples * self._rate_hz / self._sample_rate_hz)

    @property
    def _is_closed(self) -> bool:
        return self._removed or self._output.closed_ns is not None

    def _require_open(self) -> None:
        self._output.require_open()
        if self._removed:
            raise ClosedError("this SpeakerInput is closed")

    def _heard(self) -> int:
        if not self._removed:
            measured = self._track.heard_frames(self._output.closed_ns)
            # A device may correct its latency; what was heard stays heard.
            self._heard_frames = max(self._heard_frames, min(measured, self._written_frames))
        return self._heard_frames

    def _clear(self) -> None:
        for cleared in self._playout.clear().values():
            dropped_ms = cleared.received_ms - cleared.heard_ms
            self._written_frames -= round(dropped_ms * self._rate_hz / 1000.0)
        self._heard_frames = self._written_frames
        self._fed_samples = self._samples(self._written_frames)
        self._resampler = Resampler(self._sample_rate_hz, self._rate_hz)
        kept = bisect.bisect_right(self._marks, self._written_frames, key=lambda mark: mark.frames)
        self._cancelled += self._marks[kept:]
        del self._marks[kept:]
        self._next_item()
        self._clears += 1
        self._changed.notify_all()

    def _push(self, pcm: bytes, clears: int, deadline: float | None) -> None:
        """Give the playout all of it, unless a clear drops the rest."""
        samples = memoryview(pcm)
        size_bytes = self._rate_hz * _BLOCK_MS // 1000 * SAMPLE_BYTES
        for start in range(0, len(samples), size_bytes):
            block = samples[start : start + size_bytes]
            while not self._playout.push(block, item=self._item):
                self._wait(len(block) // SAMPLE_BYTES, deadline)
                if clears != self._clears:
                    return
            self._written_frames += len(block) // SAMPLE_BYTES
            self._item_open = True

    def _end(self, deadline: float | None) -> None:
        clears = self._clears
        self._push(self._resampler.finish(), clears, deadline)
        if clears == self._clears:
            self._next_item()

    def _next_item(self) -> None:
        """What is written from now on is another utterance."""
        if self._item_open:
            self._playout.end(self._item)
            self._item += 1
            self._item_open = False
        self._resampler = Resampler(self._sample_rate_hz, self._rate_hz)

    def _wait(self, frames: int, deadline: float | None) -> None:
        """
        Wait for a change, or about as long as so many frames play.

        Raises:
            ClosedError: It was closed.
            DeadlineExceeded: The deadline has passed.
            DeviceError: The device is gone, and no other one took its place.
        """
        seconds = min(max(frames / self._rate_hz, _LOOK_SECONDS), _LONG_LOOK_SECONDS)
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the deadline passed with {self._written_frames - self._heard()} samples of "
                    f"{self._rate_hz} Hz not yet heard"
                )
            seconds = min(seconds, left)
        self._output.wait(seconds)
        self._require_open()
