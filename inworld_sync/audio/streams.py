"""
The C side of sound devices: what a device's own thread calls, without Python and without waiting.

The callbacks have the types of PortAudio 19, and are handed over as addresses, so nothing of
PortAudio is needed here.

Lock rule: a :class:`MicrophoneRing` has one lock, taken by its readers; the device's thread takes
none. The others need none, since what anybody may call of them is atomic in C.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._memory import new_object, new_output
from inworld_sync.audio.meter import Level
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.pcm import SAMPLE_BYTES

__all__ = [
    "MicrophoneRing",
    "MicrophoneStats",
    "SoundGate",
    "SpeakerFeed",
    "SpeakerFeedStats",
    "StreamCallback",
    "clock_ns",
]

_NS_PER_MS = 1_000_000


def clock_ns() -> int:
    """The clock of devices' threads, and of :class:`~inworld_sync.audio.track.Track`."""
    return lib.iw_playout_clock_ns()


class StreamCallback(NamedTuple):
    """
    What a sound device needs to call, as addresses.

    Whoever hands it to a device keeps the object that it came from alive until the device stops.

    Attributes:
        function: A ``PaStreamCallback`` for 16-bit samples.
        finished: A ``PaStreamFinishedCallback``.
        user: What both get as their last argument.
    """

    function: int
    finished: int
    user: int


class SoundGate:
    """
    Tells a microphone's thread until when a speaker beside it sounds.

    Thread safety: has nothing to call; shared by devices' threads.
    """

    def __init__(self) -> None:
        self.pointer = new_object("gate", "a gate between speaker and microphone")


class _Called:
    """
    An object of the core that a device's thread calls.

    Attributes:
        callback: What the device calls.
    """

    def __init__(self, kind: str, called: str, *arguments: object) -> None:
        self._core = new_object(kind, called, *arguments)
        functions = [ffi.addressof(lib, f"iw_{kind}_{name}") for name in ("callback", "finished")]
        addresses = [int(ffi.cast("uintptr_t", each)) for each in (*functions, self._core)]
        self.callback: Final = StreamCallback(*addresses)


class SpeakerFeedStats(NamedTuple):
    """
    A speaker device's figures.

    Attributes:
        blocks: Calls of the callback.
        output_frames: All that was handed to the device, silence too.
        underflows: Times that the device had nothing to play.
        latency_ms: From the last callback to the ear.
        finished: The device has stopped by itself or by command.
    """

    blocks: int
    output_frames: int
    underflows: int
    latency_ms: float
    finished: bool

    @property
    def progress(self) -> int:
        """A count that grows with each callback."""
        return self.blocks


class SpeakerFeed(_Called):
    """
    Feeds one device from a mixer, and knows when what it gives is heard.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self, mixer: Mixer, gate: SoundGate, *, channels: int, latency_ms: float, warm_up_ms: int
    ) -> None:
        """
        Prepare to feed.

        Args:
            mixer: Mono, 16-bit output, of the device's rate; nobody else reads it until
                :meth:`detach`.
            gate: Learns until when the device sounds.
            channels: Of the device, 1 to 32; all of them play the same.
            latency_ms: From the callback to the ear, for hosts that do not tell it.
            warm_up_ms: Silence at first, since devices swallow their first few milliseconds.

        Raises:
            AudioError: A value is out of its range.
        """
        # Kept alive with this object, since C works on it.
        self._gate = gate
        config = ffi.new(
            "struct iw_speaker_config *",
            {
                "sample_rate_hz": mixer.sample_rate_hz,
                "channels": channels,
                "latency_ns": int(latency_ms * _NS_PER_MS),
                "warm_up_frames": mixer.sample_rate_hz * warm_up_ms // 1000,
            },
        )
        _, address = mixer.attach()
        self._mixer = mixer
        core = ffi.cast("struct iw_mixer *", address)
        called = f"a speaker of {mixer.sample_rate_hz} Hz and {channels!r} channels"
        try:
            super().__init__("speaker", called, core, gate.pointer, config)
        except BaseException:
            mixer.detach()
            raise

    def detach(self) -> None:
        """Give the mixer back. The device must have stopped."""
        self._mixer.detach()

    def level(self, window_ms: float) -> Level:
        """How loud the last *window_ms* that were heard are, by blocks of the device."""
        level = ffi.new("struct iw_sound_level *")
        now_ns = clock_ns()
        from_ns = max(now_ns - int(window_ms * _NS_PER_MS), 0)
        lib.iw_speaker_level(self._core, from_ns, now_ns, level)
        return Level(level.samples, level.peak, level.energy)

    @property
    def stats(self) -> SpeakerFeedStats:
        """Figures of this moment."""
        stats = ffi.new("struct iw_speaker_stats *")
        lib.iw_speaker_stats(self._core, stats)
        return SpeakerFeedStats(
            stats.blocks,
            stats.output_frames,
            stats.underflows,
            stats.latency_ns / _NS_PER_MS,
            bool(stats.finished),
        )


class MicrophoneStats(NamedTuple):
    """
    A microphone's figures.

    Attributes:
        captured_samples: Put into the ring so far.
        waiting_samples: Of them, not yet read.
        dropped_samples: Heard while the ring was full, and lost.
        overflows: Times that the device lost sound before it came here.
        finished: The device has stopped by itself or by command.
    """

    captured_samples: int
    waiting_samples: int
    dropped_samples: int
    overflows: int
    finished: bool

    @property
    def progress(self) -> int:
        """A count that grows with each callback."""
        return self.captured_samples + self.dropped_samples


class MicrophoneRing(_Called):
    """
    What a microphone heard and nobody read yet, mono.

    Thread safety: every method may be called from any thread; the device's thread writes.
    """

    def __init__(
        self,
        capacity_samples: int,
        channels: int = 1,
        *,
        gate: SoundGate | None = None,
        hangover_ms: int = 0,
    ) -> None:
        """
        Make an empty ring.

        Args:
            capacity_samples: At least so many fit, 1 to 2**26.
            channels: What the device gives, 1 to 32, mixed to one in equal parts.
            gate: While its speaker sounds, silence is heard.
            hangover_ms: And for so long after it.

        Raises:
            AudioError: A value is out of its range.
        """
        self._gate = gate
        self._lock = threading.Lock()
        called = f"a ring of {capacity_samples!r} samples and {channels!r} channels"
        pointer = ffi.NULL if gate is None else gate.pointer
        hangover_ns = hangover_ms * _NS_PER_MS
        super().__init__("microphone", called, capacity_samples, channels, pointer, hangover_ns)

    def read(self, samples: int) -> bytes:
        """Take up to so many samples of what waits, at once; 16-bit little-endian."""
        out = new_output(samples * SAMPLE_BYTES)
        with self._lock:
            taken = lib.iw_microphone_read(self._core, out, samples)
        return ffi.buffer(out, taken * SAMPLE_BYTES)[:]

    def level(self, window_ms: float) -> Level:
        """How loud what the device gave in the last *window_ms* is, read or not."""
        level = ffi.new("struct iw_sound_level *")
        from_ns = max(clock_ns() - int(window_ms * _NS_PER_MS), 0)
        lib.iw_microphone_level(self._core, from_ns, level)
        return Level(level.samples, level.peak, level.energy)

    def mute(self, muted: bool) -> None:
        """Hear silence from the device's next block on, or sound again."""
        lib.iw_microphone_mute(self._core, muted)

    @property
    def stats(self) -> MicrophoneStats:
        """Figures of this moment."""
        stats = ffi.new("struct iw_microphone_stats *")
        lib.iw_microphone_stats(self._core, stats)
        return MicrophoneStats(
            stats.captured_samples,
            stats.waiting_samples,
            stats.dropped_samples,
            stats.overflows,
            bool(stats.finished),
        )
