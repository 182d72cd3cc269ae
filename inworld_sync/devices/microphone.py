"""
Has the microphone, whose device fills a ring buffer in C, so that a busy interpreter loses no
audio.

Locks: ``_lock`` guards every field that changes. It is held while a device opens, and never while
waiting or while ``on_change`` runs. A thread that holds ``_lock`` may acquire PortAudio's lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from inworld_sync.audio._arguments import require_number
from inworld_sync.audio.closing import Closing
from inworld_sync.audio.meter import Level
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.streams import MicrophoneRing
from inworld_sync.devices._sink import deadline_after
from inworld_sync.devices.portaudio import (
    DeviceStream,
    choose_format,
    reopen_stream,
    require_device,
)
from inworld_sync.devices.speaker import Speaker
from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded
from inworld_sync.locks import Event
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import DeviceChanged, DeviceInfo

__all__ = ["Microphone"]

# The shortest and the longest time between two reads of the ring. The shortest prevents a busy loop
# if a wait ends early. The longest limits the time until a lost device is noticed.
_LEAST_SECONDS = 0.001
_MOST_SECONDS = 0.25


class Microphone(Closing):
    """
    Records 16-bit mono PCM from a sound device, block by block.

    The device records until :meth:`close`. Recorded audio waits in a ring buffer of *buffer_ms*.
    If the buffer is full, audio is lost and counted in :attr:`dropped_samples`.

    Attributes:
        sample_rate_hz: The sample rate of the blocks.

    Thread safety: one thread iterates; any thread may call the other methods.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        *,
        device: int | str | None = None,
        block_ms: int = 20,
        latency_ms: float = 20.0,
        buffer_ms: int = 5000,
        mute_while: Speaker | None = None,
        hangover_ms: int = 250,
        on_change: Callable[[DeviceChanged], object] | None = None,
    ) -> None:
        """
        Open the device and start recording.

        Args:
            sample_rate_hz: The sample rate of the blocks, 8000 to 48000. If the device does not
                support it, the device is opened at another rate and the audio is converted.
            device: An index or a part of a name in :func:`~inworld_sync.devices.list_devices`. None
                means the default device. If that device is unplugged, the new default device is
                used.
            block_ms: The length of a block, 5 to 1000.
            latency_ms: The latency to request from the device, 1 to 1000. The device uses the
                nearest latency that it supports.
            buffer_ms: How much recorded audio may wait to be read, 100 to 60000.
            mute_while: A speaker in the same room. Silence is recorded while this speaker plays, so
                that the service does not take the speaker's sound for the user's speech. The user
                cannot interrupt the speaker then. Headphones or echo cancellation make this
                argument unnecessary.
            hangover_ms: Silence is recorded for this time after the speaker stops, because of the
                echo of the room; 0 to 5000.
            on_change: Called with a :class:`~inworld_sync.DeviceChanged` after the device was lost
                and another device was opened, on the thread that reads.

        Raises:
            ConfigError: A value is out of range, or no device has this name.
            DeviceError: There is no device, the device cannot be opened, or sounddevice or
                PortAudio is not installed.
        """
        require_whole("sample_rate_hz", sample_rate_hz, 8000, 48_000, " Hz")
        require_whole("block_ms", block_ms, 5, 1000, " ms")
        require_number("latency_ms", latency_ms, 1, 1000, " ms")
        require_whole("buffer_ms", buffer_ms, 100, 60_000, " ms")
        require_number("hangover_ms", hangover_ms, 0, 5000, " ms")
        require_device(device, on_change)
        if mute_while is not None and not isinstance(mute_while, Speaker):
            raise ConfigError(
                f"mute_while must be a Speaker or None, got {type(mute_while).__name__}"
            )
        self.sample_rate_hz: Final = sample_rate_hz
        self._block_bytes = sample_rate_hz * block_ms // 1000 * SAMPLE_BYTES
        self._latency_ms = latency_ms
        self._buffer_ms = buffer_ms
        self._speaker = mute_while
        self._hangover_ms = hangover_ms
        self._on_change = on_change
        self._lock = threading.Lock()
        self._closed = Event()
        self._paused = False
        self._converted = bytearray()
        # The counts of devices that were used earlier.
        self._earlier_dropped = 0
        self._earlier_overflows = 0
        self._stream = self._open(device)

    @property
    def device(self) -> DeviceInfo:
        """The device that records."""
        with self._lock:
            return self._device

    @property
    def dropped_samples(self) -> int:
        """How many samples of the device were lost because the ring buffer was full."""
        with self._lock:
            return self._earlier_dropped + self._ring.stats.dropped_samples

    @property
    def overflows(self) -> int:
        """How many times the device itself lost audio."""
        with self._lock:
            return self._earlier_overflows + self._ring.stats.overflows

    @property
    def paused(self) -> bool:
        """Whether the microphone is paused and records silence."""
        with self._lock:
            return self._paused

    def level(self, *, window_ms: float = 50.0) -> Level:
        """
        Measure the audio that is recorded now, even if the program does not read it.

        The result is silence while the microphone is paused or muted.

        Args:
            window_ms: How many milliseconds before now to measure, in whole blocks of the device;
                at most 512 blocks.

        Returns:
            The peak and the root mean square.
        """
        with self._lock:
            return self._ring.level(window_ms)

    def pause(self) -> None:
        """Record silence until :meth:`resume`. Blocks continue to arrive."""
        self._mute(True)

    def resume(self) -> None:
        """Record audio again after :meth:`pause`."""
        self._mute(False)

    def read(self, *, timeout: float | None = None) -> bytes:
        """
        Wait for the next block and return it.

        Args:
            timeout: How many seconds to wait at most; None means without limit.

        Raises:
            DeadlineExceeded: *timeout* seconds passed. No audio is lost.
            DeviceError: The device was lost, and no other device could be opened.
            ClosedError: The microphone is closed.
        """
        deadline = deadline_after(timeout)
        while True:
            missing = self._block_bytes - len(self._converted)
            if missing > 0:
                missing -= self._fetch(missing)
            if missing <= 0:
                block = bytes(self._converted[: self._block_bytes])
                del self._converted[: self._block_bytes]
                return block
            seconds = missing / SAMPLE_BYTES / self.sample_rate_hz
            self._wait(min(max(seconds, _LEAST_SECONDS), _MOST_SECONDS), deadline)

    def __iter__(self) -> Iterator[bytes]:
        """
        Yield blocks in order until the microphone is closed.

        Raises:
            DeviceError: The device was lost, and no other device could be opened.
        """
        with contextlib.suppress(ClosedError):
            while True:
                yield self.read()

    def close(self) -> None:
        """Stop recording and free the device. May be called twice and from any thread."""
        self._closed.set()
        with self._lock:
            self._stream.close()

    def _open(self, device: int | str | None) -> DeviceStream:
        chosen = choose_format("input", device, self.sample_rate_hz)
        self._wanted = chosen.lasting_name(device)
        ring = MicrophoneRing(
            chosen.sample_rate_hz * self._buffer_ms // 1000,
            chosen.channels,
            gate=None if self._speaker is None else self._speaker.gate,
            hangover_ms=self._hangover_ms,
        )
        ring.mute(self._paused)
        stream = DeviceStream("input", chosen, ring, self._latency_ms)
        self._device, self._ring = chosen.device, ring
        self._rate_hz = chosen.sample_rate_hz
        self._resampler = Resampler(self._rate_hz, self.sample_rate_hz)
        return stream

    def _mute(self, muted: bool) -> None:
        with self._lock:
            self._paused = muted
            self._ring.mute(muted)

    def _fetch(self, missing_bytes: int) -> int:
        """Read up to *missing_bytes* from the ring; return how many bytes were read."""
        if self._closed.is_set():
            raise ClosedError("this Microphone is closed")
        # Rounded up, so that the resampler gets input even if less than one sample is missing.
        frames = -(-missing_bytes * self._rate_hz // (SAMPLE_BYTES * self.sample_rate_hz))
        taken = self._resampler.feed(self._ring.read(frames))
        self._converted += taken
        return len(taken)

    def _wait(self, seconds: float, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the timeout passed before a block was recorded")
        self._closed.wait(min(seconds, left))
        event = None
        with self._lock:
            if not self._closed.is_set() and self._stream.is_gone():
                event = self._revive()
        if event is not None and self._on_change is not None:
            self._on_change(event)

    def _revive(self) -> DeviceChanged:
        """Open the device again, or the current default device."""
        old, old_ring, last_seen = self._device, self._ring, self._stream.last_seen
        self._stream.close()
        stats = old_ring.stats
        self._converted += self._resampler.feed(old_ring.read(stats.waiting_samples))
        self._converted += self._resampler.finish()
        self._resampler = Resampler(self._rate_hz, self.sample_rate_hz)
        self._stream = reopen_stream("input", lambda: self._open(self._wanted))
        self._earlier_dropped += stats.dropped_samples
        self._earlier_overflows += stats.overflows
        lost_ms = (time.monotonic() - last_seen) * 1000.0
        return DeviceChanged("input", old, self._device, lost_ms)
