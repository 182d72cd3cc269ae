"""
A loudspeaker whose device is fed by C, so that a busy interpreter cannot make it stutter.

What is written goes into a jitter buffer (:class:`~inworld_sync.audio.playout.Playout`); the
device's own thread pulls from it and notes when each stretch will be heard.

Lock rule: ``_changed`` guards every field, and serialises the playout's producer. It is held while
waiting on it and while a device opens, and let go while ``on_change`` runs. PortAudio's lock is
taken inside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.streams import SoundGate, SpeakerFeed
from inworld_sync.devices._pcm import SAMPLE_BYTES, require_between, sample_bytes
from inworld_sync.devices.opening import (
    Format,
    Heartbeat,
    choose_format,
    open_stream,
    reopen_stream,
)
from inworld_sync.devices.portaudio import DeviceStream
from inworld_sync.errors import ClosedError, DeadlineExceeded
from inworld_sync.models.devices import DeviceChanged, DeviceInfo, SpeakerStats

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Speaker"]

# Written at a time: all of a block fits or none of it.
_BLOCK_MS = 20

# Between two looks at what the device did; changes on this side wake a waiting thread at once.
_LOOK_SECONDS = 0.005
_LONG_LOOK_SECONDS = 0.25

# For the last few milliseconds of a converted sound to find room.
_END_SECONDS = 1.0

# PulseAudio swallows up to 5 ms after a stream starts.
_WARM_UP_MS = 10


class Speaker:
    """
    Plays 16-bit mono PCM on a sound device.

    The device runs from the start to :meth:`close`, and plays silence where there is nothing to
    say. A sound that comes in time plays to the sample as it was written. One that comes too
    slowly is stretched a little or covered, and counted; see :attr:`stats`.

    Attributes:
        gate: For a :class:`~inworld_sync.Microphone` that must not hear this speaker.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self,
        sample_rate_hz: int = 24000,
        *,
        device: int | str | None = None,
        latency_ms: float = 80.0,
        buffer_ms: int = 2000,
        on_change: Callable[[DeviceChanged], object] | None = None,
    ) -> None:
        """
        Open the device and start it.

        Args:
            sample_rate_hz: Samples a second of what is written, 8000 to 48000. A device that does
                not take it is given another one, and the sound is converted.
            device: An index or a part of a name of :func:`~inworld_sync.devices.list_devices`;
                None for the default device, and for the new one when it changes by being
                unplugged.
            latency_ms: What to ask of the device; it takes the nearest it can. Lower is prompter,
                and may click on a slow machine. 1 to 1000.
            buffer_ms: How much may be written and not yet played; 100 to 600000.
            on_change: Called after the device was lost and another one opened, on the thread that
                noticed: the one that writes or drains.

        Raises:
            ConfigError: A value is out of its range, or no device has this name.
            DeviceError: There is no device, it does not open, or sounddevice or PortAudio is not
                installed.
        """
        require_between("sample_rate_hz", sample_rate_hz, 8000, 48_000, "Hz")
        require_between("latency_ms", latency_ms, 1, 1000, "ms")
        require_between("buffer_ms", buffer_ms, 100, 600_000, "ms")
        self._sample_rate_hz = sample_rate_hz
        self._latency_ms = latency_ms
        self._on_change = on_change
        self.gate = SoundGate()
        self._changed = threading.Condition()
        self._closed = False
        self._clears = 0
        self._item = 0
        self._item_open = False
        # Frames are samples at the playout's rate.
        self._written_frames = 0
        self._heard_frames = 0
        self._earlier_frames = 0  # taken by devices that are gone
        chosen = choose_format("output", device, sample_rate_hz)
        # Indices change when devices do.
        self._wanted = (
            f"{chosen.device.name}, {chosen.device.host_api}" if isinstance(device, int) else device
        )
        self._rate_hz = chosen.sample_rate_hz
        self._playout = Playout(self._rate_hz, capacity_ms=buffer_ms)
        self._resampler = Resampler(sample_rate_hz, self._rate_hz)
        self._device = chosen.device
        self._feed: SpeakerFeed | None = None
        self._stream = self._open(chosen)

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second that :meth:`write` expects."""
        return self._sample_rate_hz

    @property
    def device(self) -> DeviceInfo:
        """The device that plays."""
        with self._changed:
            return self._device

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
        """How well it plays."""
        with self._changed:
            playout = self._playout.stats()
            device = None if self._feed is None else self._feed.stats
        per_ms = self._rate_hz / 1000.0
        return SpeakerStats(
            0 if device is None else device.underflows,
            playout.stalls,
            playout.stalled_frames / per_ms,
            playout.concealed_frames / per_ms,
            playout.inserted_frames / per_ms,
            0.0 if device is None else device.latency_ms,
        )

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
            self._push(self._resampler.feed(samples), clears, deadline)

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
            for cleared in self._playout.clear().values():
                dropped_ms = cleared.received_ms - cleared.heard_ms
                self._written_frames -= round(dropped_ms * self._rate_hz / 1000.0)
            self._heard_frames = self._written_frames
            self._resampler = Resampler(self._sample_rate_hz, self._rate_hz)
            self._next_item()
            self._clears += 1
            self._changed.notify_all()
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

    def close(self) -> None:
        """Stop at once and free the device. May be called twice and from any thread."""
        with self._changed:
            if not self._closed:
                self._heard_frames = self._heard()
                self._closed = True
                self._stream.close()
                if self._feed is not None:
                    self._feed.detach()
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _samples(self, frames: int) -> int:
        """How many of the samples that were written so many frames are."""
        if self._rate_hz == self._sample_rate_hz:
            return frames
        return round(frames * self._sample_rate_hz / self._rate_hz)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("this Speaker is closed")

    def _open(self, chosen: Format) -> DeviceStream:
        feed = SpeakerFeed(
            self._playout,
            self.gate,
            sample_rate_hz=chosen.sample_rate_hz,
            channels=chosen.channels,
            latency_ms=self._latency_ms,
            warm_up_ms=_WARM_UP_MS,
        )
        try:
            stream = open_stream("output", chosen, feed.callback, feed, self._latency_ms)
        except BaseException:
            feed.detach()
            raise
        self._device, self._feed, self._heartbeat = chosen.device, feed, Heartbeat()
        return stream

    def _heard(self) -> int:
        if not self._closed and self._feed is not None:
            measured = self._earlier_frames + self._feed.heard_frames
            # A device may correct its latency; what was heard stays heard.
            self._heard_frames = max(self._heard_frames, min(measured, self._written_frames))
        return self._heard_frames

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
        if not self._is_alive():
            self._revive()
        seconds = min(max(frames / self._rate_hz, _LOOK_SECONDS), _LONG_LOOK_SECONDS)
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the deadline passed with {self._written_frames - self._heard()} samples of "
                    f"{self._rate_hz} Hz not yet heard"
                )
            seconds = min(seconds, left)
        self._changed.wait(seconds)
        if self._closed:
            raise ClosedError("this Speaker was closed while a thread waited for it")

    def _is_alive(self) -> bool:
        if self._feed is None:
            return False
        stats = self._feed.stats
        return not self._heartbeat.is_gone(self._stream, stats.blocks, stats.finished)

    def _revive(self) -> None:
        """Open the device again, or the one that is the default now."""
        old = self._device
        lost_frames = 0
        if self._feed is not None:
            heard = self._heard()
            self._stream.close()
            self._feed.detach()
            self._earlier_frames += self._feed.stats.taken_frames
            self._feed = None
            self._heard_frames = max(heard, min(self._earlier_frames, self._written_frames))
            lost_frames = self._heard_frames - heard
        self._stream = reopen_stream("output", self._open_again)
        if self._on_change is not None:
            event = DeviceChanged("output", old, self._device, lost_frames * 1000.0 / self._rate_hz)
            self._changed.release()
            try:
                self._on_change(event)
            finally:
                self._changed.acquire()

    def _open_again(self) -> DeviceStream:
        return self._open(choose_format("output", self._wanted, self._rate_hz, exactly=True))
