"""The tests call the C callbacks of devices with chosen blocks, times and latencies."""

from __future__ import annotations

import struct

import pytest

from inworld_sync._native import ffi, lib
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.streams import MicrophoneRing, SoundGate, SpeakerFeed
from inworld_sync.errors import ConfigError, LocalProtocolError

RATE_HZ = 8000
BLOCK = 80  # 10 ms
MS = 1_000_000  # in nanoseconds

# The callback's flags, from portaudio.h.
INPUT_OVERFLOW = 2
OUTPUT_UNDERFLOW = 4


def samples(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


# 100 ms of samples. No sample is zero, and all samples differ.
RAMP = samples(*range(1, 801))


class Device:
    """Calls the callback as a sound device does, with the times that a test chooses."""

    def __init__(self, owner: SpeakerFeed | MicrophoneRing, channels: int = 1) -> None:
        self.owner = owner
        self.user = ffi.cast("void *", owner.callback.user)
        self.channels = channels
        self.time = ffi.new("struct iw_stream_time *", [0.0, 0.0, 0.0])

    def play(self, frames: int = BLOCK, *, ahead_s: float = 0.05, flags: int = 0) -> bytes:
        """Request a block that is heard *ahead_s* seconds from now."""
        self.time.current_time, self.time.output_time = 100.0, 100.0 + ahead_s
        out = ffi.new("uint8_t[]", frames * 2 * self.channels)
        assert 0 == lib.iw_speaker_callback(ffi.NULL, out, frames, self.time, flags, self.user)
        return ffi.buffer(out)[:]

    def deliver(self, pcm: bytes, *, age_s: float = 0.0, flags: int = 0) -> None:
        """Deliver a block whose first sample was recorded *age_s* seconds ago."""
        self.time.current_time, self.time.input_time = 100.0, 100.0 - age_s
        frames = len(pcm) // 2 // self.channels
        assert 0 == lib.iw_microphone_callback(pcm, ffi.NULL, frames, self.time, flags, self.user)


class Source:
    """A playout in a mixer, with its track."""

    def __init__(self, **settings: int) -> None:
        self.playout = Playout(RATE_HZ, output_format="f32", **settings)
        self.mixer = Mixer(RATE_HZ)
        self.track = self.mixer.add(self.playout)

    def feed(self, *, channels: int = 1, warm_up_ms: int = 0) -> SpeakerFeed:
        """Return the feed of a speaker that plays the mixer."""
        return SpeakerFeed(
            self.mixer, SoundGate(), channels=channels, latency_ms=50, warm_up_ms=warm_up_ms
        )


@pytest.fixture
def source() -> Source:
    source = Source()
    assert source.playout.push(RAMP, item=1, end=True)
    return source


def play_at(speaker: SpeakerFeed, frames: int, *, now_ns: int, latency_ns: int) -> None:
    out = ffi.new("uint8_t[]", frames * 2)
    lib.iw_speaker_play(speaker._core, out, frames, latency_ns, now_ns)


# ---- speaker ---------------------------------------------------------------------------------


def test_plays_every_sample(source: Source) -> None:
    """A device gets every sample in order, in blocks of any size. Then it gets silence."""
    device = Device(source.feed())

    played = b"".join(device.play(frames) for frames in (1, 79, 500, 300))

    assert RAMP + bytes(2 * 80) == played


def test_all_channels_play_the_same(source: Source) -> None:
    """A device with several channels gets each sample on each channel."""
    device = Device(source.feed(channels=3), channels=3)

    assert samples(1, 1, 1, 2, 2, 2) == device.play(2)


def test_warms_up_with_silence(source: Source) -> None:
    """The audio starts after warm_up_ms of silence, and no sample is lost."""
    device = Device(source.feed(warm_up_ms=15))

    assert bytes(2 * BLOCK) == device.play()
    assert bytes(BLOCK) + RAMP[:BLOCK] == device.play()


def test_audio_counts_after_the_latency(source: Source) -> None:
    """A sample counts as heard after the latency of the device, not when the device reads it."""
    speaker = source.feed()
    play_at(speaker, 400, now_ns=1000 * MS, latency_ns=60 * MS)

    # (time in ms after the callback, count of heard samples). From 60 ms on, 8 samples are heard
    # per ms.
    expected = {0: 0, 59: 0, 60: 0, 61: 8, 85: 200, 110: 400, 5000: 400}

    assert expected == {ms: source.track.heard_frames((1000 + ms) * MS) for ms in expected}
    assert source.track.taken_frames == 400


def test_a_clock_that_is_corrected_is_followed(source: Source) -> None:
    """The latency of each block is the latency that the device reports with the block."""
    speaker = source.feed()
    play_at(speaker, 400, now_ns=1000 * MS, latency_ns=60 * MS)
    play_at(speaker, 400, now_ns=1050 * MS, latency_ns=70 * MS)

    assert 400 == source.track.heard_frames(1115 * MS)
    assert 440 == source.track.heard_frames(1125 * MS)


def test_silence_is_not_counted(source: Source) -> None:
    """The count of heard samples does not change while there is nothing to play."""
    speaker = source.feed()
    play_at(speaker, 1000, now_ns=1000 * MS, latency_ns=0)
    play_at(speaker, 1000, now_ns=1125 * MS, latency_ns=0)
    assert source.playout.push(RAMP, item=2, end=True)
    play_at(speaker, 400, now_ns=1250 * MS, latency_ns=0)

    assert 400 == source.track.heard_frames(1050 * MS)
    assert 800 == source.track.heard_frames(1100 * MS) == source.track.heard_frames(1250 * MS)
    assert 1000 == source.track.heard_frames(1275 * MS)


def test_the_count_survives_its_memory(source: Source) -> None:
    """A track keeps the times of a few seconds only, but its count includes all heard samples."""
    speaker = source.feed()
    for block in range(3000):
        play_at(speaker, 1, now_ns=(1000 + block) * MS, latency_ns=0)

    assert 800 == source.track.heard_frames(10_000 * MS)


def test_a_clear_is_final(source: Source) -> None:
    """After a clear, the device gets only a short fade, which heard_ms already includes."""
    device = Device(source.feed())
    device.play()
    cleared = source.playout.clear()[1]
    device.play()
    device.play()

    assert source.track.taken_frames == round(cleared.heard_ms * RATE_HZ / 1000)
    assert BLOCK < source.track.taken_frames <= BLOCK + 40


def test_stretched_audio_counts_source_samples() -> None:
    """If time scaling stretches audio, the count is in samples of the source."""
    source = Source(start_ms=20)
    speaker = source.feed()
    device = Device(speaker)
    for start in range(0, len(RAMP), 320):
        assert source.playout.push(RAMP[start : start + 320], item=1)
        for _ in range(4):
            device.play(40)
    source.playout.end(1)
    for _ in range(20):
        device.play(40)

    assert 800 == source.track.taken_frames


def test_latency_is_that_of_the_stream_times(source: Source) -> None:
    """The stream times of a block give the latency. For impossible times, latency_ms is used."""
    speaker = source.feed()
    device = Device(speaker)

    device.play(ahead_s=0.125)
    assert 125.0 == pytest.approx(speaker.stats.latency_ms)
    # The output time is 0, shortly before the current time, far in the future, or not a number.
    for ahead_s in (-100.0, -0.001, 1e6, float("nan")):
        device.play(ahead_s=ahead_s)
        assert 50.0 == speaker.stats.latency_ms


def test_underflows_are_counted(source: Source) -> None:
    """An underflow of the device is counted, and no sample is lost."""
    speaker = source.feed()
    device = Device(speaker)
    device.play()
    device.play(flags=OUTPUT_UNDERFLOW)

    assert speaker.stats.underflows == 1
    assert speaker.stats.blocks == 2
    assert 2 * BLOCK == speaker.stats.output_frames


def test_a_stopped_device_is_detected(source: Source) -> None:
    """The statistics show that the thread of the device has ended."""
    speaker = source.feed()
    before = speaker.stats.finished
    lib.iw_speaker_finished(ffi.cast("void *", speaker.callback.user))

    assert (before, speaker.stats.finished) == (False, True)


def test_one_device_reads_a_mixer(source: Source) -> None:
    """A second reader of a mixer raises an error until the first reader detaches."""
    first = source.feed()
    with pytest.raises(LocalProtocolError):
        source.feed()
    first.detach()

    assert samples(1) == Device(source.feed()).play(1)


def test_level_of_heard_audio(source: Source) -> None:
    """The meter measures the blocks that are heard in the given time, and no later blocks."""
    speaker = source.feed()
    for block in range(4):
        play_at(speaker, BLOCK, now_ns=(1000 + 10 * block) * MS, latency_ns=30 * MS)

    def peak_between(from_ms: int, until_ms: int) -> tuple[int, int]:
        level = ffi.new("struct iw_sound_level *")
        lib.iw_speaker_level(speaker._core, from_ms * MS, until_ms * MS, level)
        return level.samples, level.peak

    # The peak increases by 80 per block. The first block is heard from 1030 ms on.
    assert (0, 0) == peak_between(1000, 1030)
    assert (80, 80) == peak_between(1000, 1040)
    assert (160, 240) == peak_between(1045, 1060)
    assert (80, 320) == peak_between(1060, 2000)
    assert (0, 0) == peak_between(1070, 2000)


# ---- microphone ------------------------------------------------------------------------------


def test_returns_every_sample() -> None:
    """Every recorded sample is read once and in order, for any block sizes."""
    ring = MicrophoneRing(1000)
    device = Device(ring)
    got = b""
    for start in range(0, len(RAMP), 322):
        device.deliver(RAMP[start : start + 322])
        got += ring.read(100)

    assert RAMP == got + ring.read(1000)
    assert ring.read(1) == b""


def test_wraps_around() -> None:
    """A ring that was filled and emptied many times still returns the samples in order."""
    ring = MicrophoneRing(8)
    device = Device(ring)
    for start in range(100):
        device.deliver(samples(start, start + 1, start + 2))
        assert samples(start, start + 1, start + 2) == ring.read(8)


def test_dropped_samples_are_counted() -> None:
    """A slow reader gets the oldest samples. Samples that do not fit into the ring are counted."""
    ring = MicrophoneRing(4)
    device = Device(ring)
    device.deliver(samples(1, 2, 3))
    device.deliver(samples(4, 5, 6))
    stats = ring.stats

    assert (4, 4, 2) == (stats.captured_samples, stats.waiting_samples, stats.dropped_samples)
    assert samples(1, 2, 3, 4) == ring.read(10)


def test_channels_are_mixed() -> None:
    """The channels of a device are mixed in equal parts, without overflow."""
    ring = MicrophoneRing(8, channels=2)
    Device(ring, channels=2).deliver(samples(100, 300, -32768, -32768, 32767, 32767))

    assert samples(200, -32768, 32767) == ring.read(8)


def test_muted_is_silence() -> None:
    """While the microphone is muted, silence is recorded. Earlier audio can still be read."""
    ring = MicrophoneRing(8)
    device = Device(ring)
    device.deliver(samples(1, 2))
    ring.mute(True)
    device.deliver(samples(3, 4))
    ring.mute(False)
    device.deliver(samples(5, 6))

    assert samples(1, 2, 0, 0, 5, 6) == ring.read(8)


def test_overflows_of_the_device_are_counted() -> None:
    """If the device reports that audio was lost before the callback, the overflow is counted."""
    ring = MicrophoneRing(8)
    Device(ring).deliver(samples(1), flags=INPUT_OVERFLOW)

    assert ring.stats.overflows == 1


def test_a_device_without_input_is_silent() -> None:
    """A callback without an input buffer, which PortAudio allows, records silence."""
    ring = MicrophoneRing(8)
    user = ffi.cast("void *", ring.callback.user)
    lib.iw_microphone_callback(ffi.NULL, ffi.NULL, 2, ffi.NULL, 0, user)

    assert bytes(4) == ring.read(8)


def test_is_muted_while_the_speaker_plays(source: Source) -> None:
    """Silence is recorded while a speaker plays audio, and for the hangover after the audio."""
    gate = SoundGate()
    speaker = SpeakerFeed(source.mixer, gate, channels=1, latency_ms=50, warm_up_ms=0)
    ring = MicrophoneRing(8, gate=gate, hangover_ms=600_000)
    microphone = Device(ring)

    microphone.deliver(samples(1))
    Device(speaker).play()
    microphone.deliver(samples(2))

    assert samples(1, 0) == ring.read(8)


def test_records_again_after_the_hangover(source: Source) -> None:
    """Audio is recorded again after the hangover, even if the speaker plays silence."""
    gate = SoundGate()
    speaker = SpeakerFeed(source.mixer, gate, channels=1, latency_ms=50, warm_up_ms=0)
    ring = MicrophoneRing(8, gate=gate)
    now_ns = lib.iw_playout_clock_ns()
    play_at(speaker, 800, now_ns=now_ns - 5000 * MS, latency_ns=0)
    play_at(speaker, 800, now_ns=now_ns + 5000 * MS, latency_ns=0)
    microphone = Device(ring)

    microphone.deliver(samples(1))
    microphone.deliver(samples(2), age_s=4.95)

    assert samples(1, 0) == ring.read(8)


# (capacity, channels): no capacity, too much capacity, no channel, too many channels.
BAD_RINGS = [(0, 1), (2**26 + 1, 1), (1, 0), (1, 33)]


@pytest.mark.parametrize(("capacity", "channels"), BAD_RINGS)
def test_ring_limits(capacity: int, channels: int) -> None:
    """A ring with an argument out of range raises an error."""
    with pytest.raises(ConfigError):
        MicrophoneRing(capacity, channels)
