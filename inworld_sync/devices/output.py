"""
Implements the output device that plays a mixer. A lost device is opened again.

Locks: ``changed`` guards every field here and every field of the inputs that share the device, and
serializes the writers of the inputs' playouts. ``changed`` is held while a device opens.
``changed`` is released during a wait on ``changed`` and while ``on_change`` runs. A thread that
holds ``changed`` may acquire the locks of the mixer, of its playouts and of PortAudio.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from inworld_sync.audio.meter import Level
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.streams import SoundGate, SpeakerFeed, clock_ns
from inworld_sync.audio.taps import SampleTap
from inworld_sync.devices.portaudio import DeviceStream, Format, choose_format, reopen_stream
from inworld_sync.errors import ClosedError
from inworld_sync.locks import Condition
from inworld_sync.models.devices import DeviceChanged, DeviceInfo

__all__ = ["OutputDevice"]

# This many seconds of played audio are held for microphones, as many as the echo canceller holds.
_TAPPED_SECONDS = 10
# A stream begins with this much silence, because PulseAudio may lose its first 5 ms.
_WARM_UP_MS = 10


class OutputDevice:
    """
    Plays a mono mixer on a sound device, in C.

    Thread safety: the caller of every method holds ``changed``.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        device: int | str | None,
        latency_ms: float,
        on_change: Callable[[DeviceChanged], object] | None,
    ) -> None:
        """
        Open the device and start it; see :class:`~inworld_sync.Speaker`.

        Raises:
            ConfigError: No device or several devices have this name.
            DeviceError: There is no device, the device cannot be opened, or a library is not
                installed (sounddevice or PortAudio).
        """
        self.changed = Condition()
        self.gate = SoundGate()
        # The time of closing on the clock of Track; None before the device is closed.
        self.closed_ns: int | None = None
        self._latency_ms = latency_ms
        self._on_change = on_change
        chosen = choose_format("output", device, sample_rate_hz)
        self._wanted = chosen.lasting_name(device)
        self.rate_hz = chosen.sample_rate_hz
        self.mixer = Mixer(self.rate_hz)
        self.info: DeviceInfo = chosen.device
        self.feed: SpeakerFeed | None = None
        self._tap: SampleTap | None = None
        self._stream = self._open(chosen)

    def level(self, window_ms: float) -> Level:
        """Measure the last *window_ms* of heard audio. The result is empty without a device."""
        return Level() if self.feed is None else self.feed.level(window_ms)

    def open_tap(self) -> SampleTap:
        """Return the tap with the audio that the device plays. The first call creates the tap."""
        if self._tap is None:
            self._tap = SampleTap(self.rate_hz * _TAPPED_SECONDS)
            if self.feed is not None:
                self.feed.tap(self._tap)
        return self._tap

    def require_open(self) -> None:
        """Raise `ClosedError` if the device is closed."""
        if self.closed_ns is not None:
            raise ClosedError("this Speaker is closed")

    def wait(self, seconds: float) -> None:
        """
        Open the device again if it was lost. Then wait for a change, for at most *seconds*.

        Raises:
            ClosedError: The device was closed during the wait.
            DeviceError: The device was lost, and no other device could be opened.
        """
        if self.feed is None or self._stream.is_gone():
            self._revive()
        self.changed.wait(seconds)
        if self.closed_ns is not None:
            raise ClosedError("this Speaker was closed while a thread waited for it")

    def wait_for_blocks(self, blocks: int, seconds: float) -> None:
        """Wait until the device has requested *blocks* more blocks, for at most *seconds*."""
        if self.feed is None:
            return
        feed, deadline = self.feed, time.monotonic() + seconds
        enough = feed.stats.blocks + blocks
        while feed.stats.blocks < enough and (left := deadline - time.monotonic()) > 0:
            self.changed.wait(min(left, 0.002))

    def close(self) -> None:
        """Stop at once and free the device. Audio in the buffer is lost. May be called once."""
        self.closed_ns = clock_ns()
        self._stream.close()
        if self.feed is not None:
            self.feed.detach()
        self.mixer.close()
        self.changed.notify_all()

    def _open(self, chosen: Format) -> DeviceStream:
        feed = SpeakerFeed(
            self.mixer,
            self.gate,
            channels=chosen.channels,
            latency_ms=self._latency_ms,
            warm_up_ms=_WARM_UP_MS,
        )
        if self._tap is not None:
            feed.tap(self._tap)
        try:
            stream = DeviceStream("output", chosen, feed, self._latency_ms)
        except BaseException:
            feed.detach()
            raise
        self.info, self.feed = chosen.device, feed
        return stream

    def _revive(self) -> None:
        """Open the lost device again. If no device was chosen, open the present default device."""
        old = self.info
        lost_frames = 0
        if self.feed is not None:
            lost_frames = self.mixer.unheard_frames()
            self._stream.close()
            self.feed.detach()
            self.feed = None
        self._stream = reopen_stream("output", self._open_again)
        if self._on_change is not None:
            event = DeviceChanged("output", old, self.info, lost_frames * 1000.0 / self.rate_hz)
            on_change = self._on_change
            self.changed.run_unlocked(lambda: on_change(event))

    def _open_again(self) -> DeviceStream:
        return self._open(choose_format("output", self._wanted, self.rate_hz, exactly=True))
