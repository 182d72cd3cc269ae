"""
Provides the C callbacks that the thread of a sound device calls. The callbacks run no Python code
and never wait.

The callbacks have the types of PortAudio 19. PortAudio gets the callbacks as addresses, so this
module does not import PortAudio.

Locks: a :class:`MicrophoneRing` has one lock, which its readers acquire. The device's thread
acquires no lock. The other classes need no lock, since their functions in C are atomic.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._arguments import require_number
from inworld_sync.audio._memory import new_object, new_output
from inworld_sync.audio.meter import Level
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.taps import BlockReader, SampleTap
from inworld_sync.locks import make_lock
from inworld_sync.models.checks import require_whole

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
_MOST_WINDOW_MS = 3_600_000
_MOST_SAMPLES = 2**26
_MOST_CHANNELS = 32


def clock_ns() -> int:
    """Return the time on the clock of devices and :class:`~inworld_sync.audio.track.Track`."""
    return lib.iw_playout_clock_ns()


class StreamCallback(NamedTuple):
    """
    The addresses of the functions for a sound device, and of their argument.

    The object that returned the addresses must exist until the device has stopped.

    Attributes:
        function: A ``PaStreamCallback`` for 16-bit samples.
        finished: A ``PaStreamFinishedCallback``.
        user: The last argument of both functions.
    """

    function: int
    finished: int
    user: int


class SoundGate:
    """
    Records the time until which a speaker plays. The thread of a microphone reads this time.

    Thread safety: the threads of several devices may share a gate.
    """

    def __init__(self) -> None:
        self.pointer = new_object("gate", "a gate between speaker and microphone")


class _Called:
    """
    An object of the core that a device's thread calls.

    Attributes:
        callback: The addresses of the functions that the device calls.
    """

    def __init__(self, kind: str, called: str, *arguments: object) -> None:
        self._core = new_object(kind, called, *arguments)
        functions = [ffi.addressof(lib, f"iw_{kind}_{name}") for name in ("callback", "finished")]
        addresses = [int(ffi.cast("uintptr_t", each)) for each in (*functions, self._core)]
        self.callback: Final = StreamCallback(*addresses)


class SpeakerFeedStats(NamedTuple):
    """
    The statistics of a speaker device.

    Attributes:
        blocks: The number of calls of the callback.
        output_frames: Frames that were passed to the device, including silence.
        underflows: How many times the device had nothing to play.
        latency_ms: The time from the last callback until the audio of this callback is heard.
        finished: Whether the device has stopped.
    """

    blocks: int
    output_frames: int
    underflows: int
    latency_ms: float
    finished: bool

    @property
    def progress(self) -> int:
        """A count that increases with each callback."""
        return self.blocks


class SpeakerFeed(_Called):
    """
    Feeds one device from a mixer, and records when the audio is heard.

    Thread safety: any thread may call every method.
    """

    def __init__(
        self, mixer: Mixer, gate: SoundGate, *, channels: int, latency_ms: float, warm_up_ms: int
    ) -> None:
        """
        Prepare the feed of a device.

        Args:
            mixer: A mono mixer with 16-bit output and the sample rate of the device. No other
                reader may read the mixer until :meth:`detach`.
            gate: The gate that records the time until which the device plays.
            channels: The number of channels of the device, 1 to 32. All channels play the same
                audio.
            latency_ms: The time from a callback until the audio of this callback is heard. The
                value is used on systems that do not report this time.
            warm_up_ms: How much silence to play first, since devices may lose their first
                milliseconds.

        Raises:
            ConfigError: A value is out of range.
        """
        require_whole("channels", channels, 1, _MOST_CHANNELS)
        require_number("latency_ms", latency_ms, 0, _MOST_WINDOW_MS)
        require_whole("warm_up_ms", warm_up_ms, 0, _MOST_WINDOW_MS)
        # This reference keeps the gate alive, since C code uses the gate.
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

    def tap(self, tap: SampleTap) -> None:
        """
        Copy the audio of each block to a tap, from the next block on. May be called once.

        Only one feed at a time may write to a tap.
        """
        # This reference keeps the tap alive, since C code uses the tap.
        self._tap = tap
        lib.iw_speaker_tap(self._core, tap.pointer)

    def detach(self) -> None:
        """Stop reading the mixer. The device must have stopped before this call."""
        self._mixer.detach()

    def level(self, window_ms: float) -> Level:
        """Measure the audio that was heard in the last *window_ms*, in whole blocks."""
        require_number("window_ms", window_ms, 0, _MOST_WINDOW_MS)
        level = ffi.new("struct iw_sound_level *")
        now_ns = clock_ns()
        from_ns = max(now_ns - int(window_ms * _NS_PER_MS), 0)
        lib.iw_speaker_level(self._core, from_ns, now_ns, level)
        return Level(level.samples, level.peak, level.energy)

    @property
    def stats(self) -> SpeakerFeedStats:
        """The current statistics."""
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
    The statistics of a microphone.

    Attributes:
        captured_samples: Samples that were written to the ring.
        waiting_samples: Samples in the ring that were not read yet.
        dropped_samples: Samples that were lost because the ring was full.
        overflows: How many times the device itself lost audio.
        finished: Whether the device has stopped.
    """

    captured_samples: int
    waiting_samples: int
    dropped_samples: int
    overflows: int
    finished: bool

    @property
    def progress(self) -> int:
        """A count that increases with each callback."""
        return self.captured_samples + self.dropped_samples


class MicrophoneRing(_Called):
    """
    A ring buffer of recorded mono audio.

    Thread safety: any thread may call every method; the device's thread writes.
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
        Create an empty ring.

        Args:
            capacity_samples: The smallest capacity, 1 to 2**26.
            channels: The number of channels of the device, 1 to 32, which are mixed in equal parts.
            gate: The gate of a speaker. Silence is recorded while that speaker plays.
            hangover_ms: Silence is recorded for this time after the speaker stops.

        Raises:
            ConfigError: A value is out of range.
        """
        require_whole("capacity_samples", capacity_samples, 1, _MOST_SAMPLES)
        require_whole("channels", channels, 1, _MOST_CHANNELS)
        require_number("hangover_ms", hangover_ms, 0, _MOST_WINDOW_MS)
        self._gate = gate
        self._lock = make_lock()
        called = f"a ring of {capacity_samples!r} samples and {channels!r} channels"
        pointer = ffi.NULL if gate is None else gate.pointer
        hangover_ns = int(hangover_ms * _NS_PER_MS)
        super().__init__("microphone", called, capacity_samples, channels, pointer, hangover_ns)

    def read(self, samples: int) -> bytes:
        """Return up to *samples* recorded 16-bit little-endian samples, without waiting."""
        require_whole("samples", samples, 0, _MOST_SAMPLES)
        out = new_output(samples * SAMPLE_BYTES)
        with self._lock:
            taken = lib.iw_microphone_read(self._core, out, samples)
        return ffi.buffer(out, taken * SAMPLE_BYTES)[:]

    def blocks(self) -> BlockReader:
        """Return a reader of the times of all blocks. Positions do not count dropped samples."""
        return BlockReader(lib.iw_microphone_blocks, self._core)

    def level(self, window_ms: float) -> Level:
        """Measure the audio that was recorded in the last *window_ms*, even if it was not read."""
        require_number("window_ms", window_ms, 0, _MOST_WINDOW_MS)
        level = ffi.new("struct iw_sound_level *")
        from_ns = max(clock_ns() - int(window_ms * _NS_PER_MS), 0)
        lib.iw_microphone_level(self._core, from_ns, level)
        return Level(level.samples, level.peak, level.energy)

    def mute(self, muted: bool) -> None:
        """Record silence if *muted*, otherwise audio, from the next block of the device on."""
        lib.iw_microphone_mute(self._core, muted)

    @property
    def stats(self) -> MicrophoneStats:
        """The current statistics."""
        stats = ffi.new("struct iw_microphone_stats *")
        lib.iw_microphone_stats(self._core, stats)
        return MicrophoneStats(
            stats.captured_samples,
            stats.waiting_samples,
            stats.dropped_samples,
            stats.overflows,
            bool(stats.finished),
        )
