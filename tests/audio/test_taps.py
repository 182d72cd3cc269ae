"""A tap has every sample that a speaker played, and the times of the blocks."""

from __future__ import annotations

import struct

import pytest

from inworld_sync._native import ffi, lib
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.streams import MicrophoneRing, SoundGate, SpeakerFeed
from inworld_sync.audio.taps import BlockTime, SampleTap
from inworld_sync.errors import ConfigError

RATE_HZ = 8000
MS = 1_000_000  # in nanoseconds
OUTPUT_UNDERFLOW = 4
INPUT_OVERFLOW = 2


def samples(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


class Player:
    """A mixer that plays a ramp, with the feed of a device."""

    def __init__(self, tap: SampleTap) -> None:
        self.playout = Playout(RATE_HZ, output_format="f32")
        self.mixer = Mixer(RATE_HZ)
        self.mixer.add(self.playout)
        self.playout.push(samples(*range(1, 4001)), item=1, end=True)
        self.feed = self.new_feed(tap)

    def new_feed(self, tap: SampleTap, warm_up_ms: int = 0) -> SpeakerFeed:
        feed = SpeakerFeed(
            self.mixer, SoundGate(), channels=1, latency_ms=50, warm_up_ms=warm_up_ms
        )
        feed.tap(tap)
        return feed

    def play(self, frames: int, now_ns: int, *, flags: int = 0) -> bytes:
        out = ffi.new("uint8_t[]", frames * 2)
        if flags:
            user = ffi.cast("void *", self.feed.callback.user)
            lib.iw_speaker_callback(ffi.NULL, out, frames, ffi.NULL, flags, user)
        else:
            lib.iw_speaker_play(self.feed._core, out, frames, 50 * MS, now_ns)
        return ffi.buffer(out)[:]


def test_has_every_sample_and_its_time() -> None:
    """The tap has the samples that the device got, and the time at which each block is heard."""
    tap = SampleTap(1000)
    player = Player(tap)
    played = b"".join(player.play(80, at * 10 * MS) for at in range(1, 4))

    assert (0, played) == tap.read(0)
    assert (100, played[200:]) == tap.read(100)
    assert (240, b"") == tap.read(240)
    assert tap.end == 240
    reader = tap.blocks()
    assert [BlockTime(at * 80, (at * 10 + 60) * MS, 1, 1) for at in range(3)] == reader.read()
    assert [] == reader.read()


def test_forgets_old_samples() -> None:
    """If old samples are requested, the result begins with the oldest sample that is kept."""
    tap = SampleTap(100)
    player = Player(tap)
    played = b"".join(player.play(70, 1) for _ in range(20))
    position, pcm = tap.read(3)

    assert position + len(pcm) // 2 == tap.end == 1400
    assert len(pcm) // 2 >= 100
    assert played.endswith(pcm)


def test_another_device_and_a_gap() -> None:
    """A BlockTime counts the breaks and the devices so far. A new device is a break too."""
    tap = SampleTap(1000)
    player = Player(tap)
    player.play(80, 1)
    player.play(80, 2, flags=OUTPUT_UNDERFLOW)
    player.play(80, 3)
    player.feed.detach()
    player.feed = player.new_feed(tap)
    player.play(80, 4)

    assert [(0, 1, 1), (80, 2, 1), (160, 2, 1), (240, 3, 2)] == [
        (block.position, block.breaks, block.devices) for block in tap.blocks().read()
    ]


def test_a_speaker_that_plays_may_get_a_tap() -> None:
    """The tap begins with the first block after the call of tap()."""
    player = Player(SampleTap(10))
    player.feed.detach()
    feed = player.feed = SpeakerFeed(
        player.mixer, SoundGate(), channels=1, latency_ms=50, warm_up_ms=0
    )
    player.play(80, 1)
    tap = SampleTap(1000)
    feed.tap(tap)
    second = player.play(80, 2)

    assert (0, second) == tap.read(0)


def test_an_old_reader_gets_the_newest_blocks() -> None:
    """A reader that is late gets the times of the newest blocks, in order."""
    tap = SampleTap(100)
    player = Player(tap)
    reader = tap.blocks()
    for at in range(3000):
        player.play(1, at)
    positions = [block.position for block in reader.read()]

    assert positions == list(range(3000 - len(positions), 3000))
    assert len(positions) >= 1000


def test_times_of_recorded_blocks() -> None:
    """A microphone has the time of each block, and the number of breaks so far."""
    ring = MicrophoneRing(4)
    reader = ring.blocks()
    for at, flags in enumerate((0, INPUT_OVERFLOW, 0, 0)):
        lib.iw_microphone_record(ring._core, samples(1, 2), 2, flags, at * MS, at * MS)
    expected = [(0, 0, 1, 1), (2, MS, 2, 1), (4, 2 * MS, 2, 1), (4, 3 * MS, 3, 1)]

    assert expected == [tuple(block) for block in reader.read()]
    assert samples(1, 2, 1, 2) == ring.read(10)


@pytest.mark.parametrize("held", [0, 2**25 + 1, 1.0, True])
def test_size_is_checked(held: int) -> None:
    """A size out of range raises an error."""
    with pytest.raises(ConfigError, match="held_samples"):
        SampleTap(held)
