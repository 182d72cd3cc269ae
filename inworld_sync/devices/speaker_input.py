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
from typing import NamedTuple

from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.devices._pcm import SAMPLE_BYTES
from inworld_sync.devices._sink import PlayoutWriter, deadline_after
from inworld_sync.devices.output import OutputDevice
from inworld_sync.errors import ClosedError, DeadlineExceeded
from inworld_sync.models.devices import SpeakerMark, SpeakerStats

__all__ = ["SpeakerInput"]

# Between two looks at what the device did; changes on this side wake a waiting thread at once.
_LOOK_SECONDS = 0.005
_LONG_LOOK_SECONDS = 0.25
_MARK_LOOK_SECONDS = 0.001

# For a fade to reach a device before its playout is taken away; a block of one is shorter.
_FADE_SECONDS = 0.25


class _Mark(NamedTuple):
    frames: int
    number: int  # so that marks of one place keep their order, and tags are not compared
    position_samples: int
    tag: object


class SpeakerInput(PlayoutWriter):
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
        playout = Playout(output.rate_hz, output_format="f32", capacity_ms=buffer_ms)
        super().__init__(playout, sample_rate_hz, output.changed)
        self._output = output
        self._item = 0
        self._item_open = False
        self._fed_samples = 0
        self._heard_frames = 0
        self._marks: list[_Mark] = []
        self._cancelled: list[_Mark] = []
        self._last_mark = 0
        self._resampler = Resampler(sample_rate_hz, self._rate_hz)
        self._track = output.mixer.add(playout, gain=gain, duck_db=duck_db, priority=priority)

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
            frames = round(position * self._rate_hz / self.sample_rate_hz)
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
        deadline = deadline_after(timeout)
        with self._changed:
            while True:
                found = self._take_marks()
                seconds = min(self._until_mark(), deadline - time.monotonic())
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
            self._closed = True
            # A playout that goes away at once would end in a click.
            self._output.wait_for_blocks(2, _FADE_SECONDS)
            if self._output.closed_ns is None:
                self._output.mixer.remove(self._playout)
            self._playout.close()
            self._changed.notify_all()

    # ---- inside ------------------------------------------------------------------------------

    @property
    def _is_closed(self) -> bool:
        return self._closed or self._output.closed_ns is not None

    def _require_open(self) -> None:
        self._output.require_open()
        super()._require_open()

    def _heard(self) -> int:
        if not self._closed:
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
        kept = bisect.bisect_right(self._marks, self._written_frames, key=lambda mark: mark.frames)
        self._cancelled += self._marks[kept:]
        del self._marks[kept:]
        self._next_item()
        self._clears += 1
        self._changed.notify_all()

    def _write(self, samples: memoryview, deadline: float) -> None:
        self._fed_samples += len(samples) // SAMPLE_BYTES
        try:
            self._push(self._resampler.feed(samples), self._item, deadline)
        except DeadlineExceeded:
            self._fed_samples = self._samples(self._written_frames)
            raise

    def _took(self, _: int) -> None:
        self._item_open = True

    def _end(self, deadline: float) -> None:
        self._require_open()
        if self._push(self._resampler.finish(), self._item, deadline):
            self._next_item()

    def _next_item(self) -> None:
        """What is written from now on is another utterance."""
        if self._item_open:
            self._playout.end(self._item)
            self._item += 1
            self._item_open = False
        self._resampler = Resampler(self.sample_rate_hz, self._rate_hz)

    def _seconds(self, frames: int) -> float:
        return min(max(frames / self._rate_hz, _LOOK_SECONDS), _LONG_LOOK_SECONDS)

    def _wait_for_change(self, seconds: float) -> None:
        self._output.wait(seconds)
        self._require_open()
