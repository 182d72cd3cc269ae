"""
Defines the inputs that share a speaker. Each input has its own queue and its own count of heard
samples.

Written audio goes to a jitter buffer (:class:`~inworld_sync.audio.playout.Playout`). The device's
own thread reads from the jitter buffer, and records when each part will be heard.

Locks: as in :mod:`inworld_sync.devices.output`, whose ``changed`` guards every field here.
"""

from __future__ import annotations

import bisect
import time
from typing import NamedTuple

from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.devices._sink import PlayoutWriter, deadline_after
from inworld_sync.devices.output import OutputDevice
from inworld_sync.errors import ClosedError, DeadlineExceeded
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import SpeakerMark, SpeakerStats

__all__ = ["SpeakerInput"]

# The interval between two reads of the device's progress: the shortest interval, the longest, and
# the shortest during a wait for a mark. Other changes wake a waiting thread at once.
_LOOK_SECONDS = 0.005
_LONG_LOOK_SECONDS = 0.25
_MARK_LOOK_SECONDS = 0.001

# The largest position of a mark. At 48 kHz, this position is after more than 200 days.
_MOST_SAMPLES = 2**40

# How long close() waits until the device has played the fade. A block of a device is shorter than
# this time.
_FADE_SECONDS = 0.25


class _Mark(NamedTuple):
    frames: int
    number: int  # keeps the order of marks at one position, so that tags are not compared
    position_samples: int
    tag: object


class SpeakerInput(PlayoutWriter):
    """
    One of the inputs of a :class:`~inworld_sync.Speaker`. :meth:`Speaker.add` creates inputs.

    An input accepts 16-bit mono PCM and is an :class:`~inworld_sync.AudioSink` like the speaker.

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
        """The statistics of this input. The underflows and the latency are those of the device."""
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
        Change gain, attenuation or priority. None keeps the old value. See :meth:`Speaker.add`.

        The gain changes in a ramp, not in a step.

        Raises:
            ConfigError: A value is out of range.
            ClosedError: This input is closed.
        """
        with self._changed:
            self._require_open()
            self._output.mixer.adjust(self._playout, gain=gain, duck_db=duck_db, priority=priority)

    def clear(self) -> int:
        """
        Drop all audio that the device has not taken, with a fade of 5 ms.

        The device still plays the audio that it has taken; this audio counts as heard at once.

        Returns:
            The final :attr:`heard_samples`.
        """
        with self._changed:
            if not self._is_closed:
                self._clear()
            return self._samples(self._heard_frames)

    # ---- marks -------------------------------------------------------------------------------

    def mark(self, tag: object, position_samples: int | None = None) -> None:
        """
        Set a mark. :meth:`poll` returns the mark when all audio before the mark was heard.

        Args:
            tag: Any object; :meth:`poll` returns it.
            position_samples: The position, counted as :attr:`heard_samples`, up to 2**40. It may be
                in audio that will be written later. None means the end of the audio written so far.

        Raises:
            ConfigError: *position_samples* is out of range.
            ClosedError: This input is closed.
        """
        if position_samples is not None:
            require_whole("position_samples", position_samples, 0, _MOST_SAMPLES)
        with self._changed:
            self._require_open()
            position = self._fed_samples if position_samples is None else position_samples
            frames = round(position * self._rate_hz / self.sample_rate_hz)
            self._last_mark += 1
            bisect.insort(self._marks, _Mark(frames, self._last_mark, position, tag))
            self._changed.notify_all()

    def poll(self, *, timeout: float | None = 0.0) -> list[SpeakerMark]:
        """
        Return the marks that were reached or cancelled since the last call, in order.

        :meth:`clear` and :meth:`close` cancel the marks after the audio that was heard.

        Args:
            timeout: The largest number of seconds to wait for a mark; None means no limit. The call
                returns at once if no mark is set.

        Raises:
            DeviceError: The device was lost, and no other device could be opened.
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
        """Return the seconds until the next mark is heard, if the audio continues to play."""
        if not self._marks:
            return _LONG_LOOK_SECONDS
        seconds = (self._marks[0].frames - self._heard()) / self._rate_hz
        return min(max(seconds, _MARK_LOOK_SECONDS), _LONG_LOOK_SECONDS)

    # ---- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """
        Stop with a short fade, and make room for another input.

        Any thread may call this method, even more than once.
        """
        with self._changed:
            if self._is_closed:
                return
            self._clear()
            self._closed = True
            # If the playout were removed before the fade was played, there would be a click.
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
            # The device may correct its latency, but the count must not decrease.
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
        """End the current utterance. Audio that is written from now on is a new utterance."""
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
