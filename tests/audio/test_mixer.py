"""A mixer plays several playouts on one device: sum, gains, ducking, tracks and readers."""

from __future__ import annotations

import itertools
import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from inworld_sync import _native
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import PlayoutEventKind
from inworld_sync.errors import AudioError, ClosedError, ConfigError, LocalProtocolError

from support.playing import PER_MS, RATE_HZ, counting

BLOCK_MS = 10


def steady(ms: int, level: float, item: str = "item") -> Playout:
    """Return a playout with *ms* of samples that all have the same level."""
    playout = Playout(RATE_HZ, output_format="f32")
    pcm = struct.pack("<h", round(level * 32768)) * (ms * PER_MS)
    assert playout.push(pcm, item=item, end=True)
    return playout


def read(mixer: Mixer, ms: int) -> np.ndarray:
    """Read *ms* of the mix in blocks, and return the samples as floats."""
    out = np.empty(ms * PER_MS, np.float32)
    for start in range(0, len(out), BLOCK_MS * PER_MS):
        mixer.read(out[start : start + BLOCK_MS * PER_MS])
    return out


def test_one_voice_is_unchanged() -> None:
    """The mix of a single playout with gain 1 is the audio of the playout."""
    mixer = Mixer(RATE_HZ)
    playout = Playout(RATE_HZ, output_format="f32")
    playout.push(counting(0, 1000), item="a", end=True)
    mixer.add(playout)
    out = bytearray(2000)

    sound = mixer.read(out)

    assert sound == 1000
    assert counting(0, 1000) == out


def test_voices_are_added() -> None:
    """The mix is the sum of the playouts, each with its gain."""
    mixer = Mixer(RATE_HZ, output_format="f32")
    mixer.add(steady(100, 0.25))
    mixer.add(steady(50, 0.5), gain=0.5)

    out = read(mixer, 120)

    assert {0.5} == set(out[: 50 * PER_MS])
    assert {0.25} == set(out[50 * PER_MS : 100 * PER_MS])
    assert {0.0} == set(out[100 * PER_MS :])


@pytest.mark.parametrize(("output_format", "loudest"), [("s16", 32767), ("f32", 1.0)])
def test_sum_is_clipped(output_format: str, loudest: float) -> None:
    """A sum beyond full scale is clipped."""
    mixer = Mixer(RATE_HZ, output_format=output_format)
    for _ in range(3):
        mixer.add(steady(10, 0.75))
    out = np.empty(10 * PER_MS, np.int16 if output_format == "s16" else np.float32)

    mixer.read(out)

    assert {loudest} == set(out.tolist())


def test_stereo() -> None:
    """Each channel is mixed separately."""
    mixer = Mixer(RATE_HZ, 2, output_format="f32")
    for left, right in ((8192, 0), (8192, -16384)):
        playout = Playout(RATE_HZ, 2, output_format="f32")
        playout.push(struct.pack("<2h", left, right) * 16, end=True)
        mixer.add(playout)
    out = np.empty((16, 2), np.float32)

    mixer.read(out)

    assert [0.5, -0.5] == out[7].tolist()


def test_level_changes_without_a_step() -> None:
    """The gain changes in a linear ramp. A ramp takes 30 ms from 1 to 0, and 300 ms from 0 to 1."""
    mixer = Mixer(RATE_HZ, output_format="f32")
    playout = steady(1000, 0.5)
    mixer.add(playout)
    read(mixer, 20)

    mixer.adjust(playout, gain=0.0)
    down = read(mixer, 40)
    mixer.adjust(playout, gain=1.0)
    up = read(mixer, 310)

    assert np.all(np.diff(down) <= 0)
    assert down[28 * PER_MS] > 0 == down[31 * PER_MS]
    assert np.all(np.diff(up) >= 0)
    assert up[295 * PER_MS] < 0.5 == up[305 * PER_MS]


def test_higher_priority_ducks() -> None:
    """While another voice plays, and 250 ms longer, a voice with lower priority is softer."""
    mixer = Mixer(RATE_HZ, output_format="f32")
    mixer.add(steady(2000, 0.25), duck_db=14)
    voice = Playout(RATE_HZ, output_format="f32")
    mixer.add(voice, priority=1)

    before = read(mixer, 100)
    voice.push(bytes(2 * 200 * PER_MS), item="voice", end=True)
    during = read(mixer, 200)
    after = read(mixer, 600)

    assert {0.25} == set(before)
    assert np.allclose(during[30 * PER_MS :], 0.25 * 10**-0.7)
    assert np.allclose(after[: 240 * PER_MS], 0.25 * 10**-0.7)
    assert np.allclose(after[-10 * PER_MS :], 0.25)


# (attack, release) in ms.
TIMES = [(1, 1), (50, 20), (200, 1000)]


@pytest.mark.parametrize(("attack_ms", "release_ms"), TIMES)
def test_duration_of_ramps(attack_ms: int, release_ms: int) -> None:
    """Any decrease of the gain takes attack_ms, and any increase takes release_ms."""
    mixer = Mixer(RATE_HZ, output_format="f32", attack_ms=attack_ms, release_ms=release_ms)
    playout = steady(3000, 0.5)
    mixer.add(playout, gain=0.6)
    read(mixer, 20)

    mixer.adjust(playout, gain=0.5)
    down = read(mixer, attack_ms + 10)
    mixer.adjust(playout, gain=0.9)
    up = read(mixer, release_ms + 10)

    # Rounding may move the end of a ramp by one frame.
    assert abs(np.argmax(down <= down[-1]) - attack_ms * PER_MS) <= 1 + attack_ms * PER_MS // 1000
    assert abs(np.argmax(up >= up[-1]) - release_ms * PER_MS) <= 1 + release_ms * PER_MS // 1000
    assert np.allclose(np.diff(up[: release_ms * PER_MS]), 0.2 / (release_ms * PER_MS), atol=1e-6)


def test_ducking_continues_for_hold_ms() -> None:
    """Ducking continues during a pause of the voice if the pause is shorter than hold_ms."""
    mixer = Mixer(RATE_HZ, output_format="f32", attack_ms=10, release_ms=10, hold_ms=100)
    mixer.add(steady(2000, 0.25), duck_db=20)
    voice = Playout(RATE_HZ, output_format="f32")
    mixer.add(voice, priority=1)
    voice.push(bytes(2 * 50 * PER_MS), item="voice", end=True)

    out = read(mixer, 300)

    assert np.allclose(out[20 * PER_MS : 150 * PER_MS], 0.025)
    assert np.allclose(out[170 * PER_MS :], 0.25)


def test_adjusting_keeps_other_settings() -> None:
    """Settings of a playout that are not passed to adjust() are unchanged."""
    mixer = Mixer(RATE_HZ, output_format="f32", attack_ms=1, release_ms=1)
    low, voice = steady(1000, 0.25), steady(1000, 0.5)
    mixer.add(low, gain=0.5, duck_db=20, priority=1)
    mixer.add(voice, gain=0.0, priority=2)
    assert np.allclose(read(mixer, 10)[-1], 0.0125)

    mixer.adjust(low, gain=1.0)
    assert np.allclose(read(mixer, 10)[-1], 0.025)
    mixer.adjust(voice, priority=0)
    assert np.allclose(read(mixer, 300)[-1], 0.25)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.sampled_from([0.0, 0.25, 1.0, 1.5])), max_size=8),
    st.lists(st.integers(1, 2500), min_size=1, max_size=12),
)
def test_mix_is_the_sum(sounds: list[tuple[int, float]], sizes: list[int]) -> None:
    """The mix is the sum of the playouts for any audio, gains and read sizes."""
    mixer = Mixer(RATE_HZ, output_format="f32")
    total = np.zeros(4000)
    playouts = []
    for number, (frames, gain) in enumerate(sounds):
        samples = np.random.default_rng(number).integers(-8000, 8000, 4000).astype("<i2")
        playout = Playout(RATE_HZ, output_format="f32", time_scaling=False)
        playout.push(samples[:frames].tobytes(), item=number, end=True)
        playouts.append((playout, mixer.add(playout, gain=gain), frames))
        total[:frames] += gain * samples[:frames] / 32768
    out = np.zeros(4000, np.float32)
    done = 0
    for size in itertools.cycle(sizes):
        size = min(size, len(out) - done)
        mixer.read(out[done : done + size], now_ns=done * 62_500)
        done += size
        for number, (playout, track, frames) in enumerate(playouts):
            played = min(done, frames)
            assert played == track.taken_frames == track.heard_frames(done * 62_500)
            assert played / PER_MS == playout.position_ms(number)
        if done == len(out):
            break

    assert np.allclose(np.clip(total, -1, 1), out, atol=1e-6)


def test_track_counts_heard_frames() -> None:
    """Between two reads, the count of heard frames follows the clock, up to the last read frame."""
    mixer = Mixer(RATE_HZ)
    track = mixer.add(steady(100, 0.25))
    start_ns = 1_000_000_000
    mixer.read(bytearray(2 * 50 * PER_MS), now_ns=start_ns)

    assert track.heard_frames(start_ns) == 0
    assert track.heard_frames(start_ns + 20_000_000) == 20 * PER_MS
    assert track.heard_frames(start_ns + 80_000_000) == 50 * PER_MS == track.taken_frames
    assert mixer.unheard_frames(start_ns + 20_000_000) == 30 * PER_MS


def test_marks_before_a_pause_are_reported_in_time() -> None:
    """
    A mark is reported when its position is heard, even if a pause of the device follows.

    With latency_ms instead of a track, the last marks would be reported only when more audio plays.
    """
    mixer = Mixer(RATE_HZ)
    playout = steady(50, 0.25)
    track = mixer.add(playout)
    playout.mark("item", 45, "late")
    out = bytearray(2 * 50 * PER_MS)
    mixer.read(out, now_ns=0)
    mixer.read(out, now_ns=50_000_000)

    def tags(now_ms: float) -> list[object]:
        events = playout.poll(track=track, now_ns=round(now_ms * 1e6))
        return [event.tag for event in events if event.kind is PlayoutEventKind.MARK]

    assert [] == tags(44.9)
    assert ["late"] == tags(45.1)
    assert [] == tags(1000)


def test_position_by_track_follows_a_clear() -> None:
    """After a clear, the position of the next item begins at the first sample of the item."""
    mixer = Mixer(RATE_HZ)
    playout = steady(200, 0.25, "first")
    track = mixer.add(playout)
    out = bytearray(2 * 20 * PER_MS)
    mixer.read(out, now_ns=0)
    assert playout.clear()["first"].heard_ms == 25
    playout.push(counting(0, 100 * PER_MS), item="second", end=True)
    playout.mark("second", 10, "mark")
    mixer.read(out, now_ns=20_000_000)

    # The fade of 5 ms is played before the item.
    start = 200 * PER_MS
    expected = {10: 10 * PER_MS, 25: start, 30: start + 5 * PER_MS, 40: start + 15 * PER_MS}
    assert expected == {ms: track.position_frames(ms * 1_000_000) for ms in expected}
    marks = [event.tag for event in playout.poll(track=track, now_ns=34_900_000)]
    assert "mark" not in marks
    assert "mark" in [event.tag for event in playout.poll(track=track, now_ns=35_100_000)]


def test_track_after_its_mixer_was_closed() -> None:
    """A track still returns its count after the mixer was closed."""
    with Mixer(RATE_HZ) as mixer:
        track = mixer.add(steady(10, 0.25))
        mixer.read(bytearray(2 * 10 * PER_MS), now_ns=0)

    assert track.heard_frames() == 10 * PER_MS


def test_same_priority_does_not_duck() -> None:
    """Playouts with the same priority do not duck each other."""
    mixer = Mixer(RATE_HZ, output_format="f32")
    mixer.add(steady(50, 0.25), duck_db=100)
    mixer.add(steady(50, 0.25), duck_db=100)

    assert {0.5} == set(read(mixer, 50))


def test_each_playout_keeps_its_position() -> None:
    """A mixer reads several playouts. Each playout counts its items and is cleared separately."""
    mixer = Mixer(RATE_HZ)
    voice, signal = steady(200, 0.25, "voice"), steady(50, 0.25, "signal")
    mixer.add(voice)
    mixer.add(signal)
    mixer.read(bytearray(2 * 30 * PER_MS))

    assert voice.position_ms("voice") == 30
    assert signal.position_ms("signal") == 30
    assert voice.clear()["voice"].heard_ms == 35
    mixer.read(bytearray(2 * 20 * PER_MS))
    assert signal.position_ms("signal") == 50


def test_removed_playout_can_be_read_again() -> None:
    """A removed playout is not part of the mix any more, and can be read again."""
    mixer = Mixer(RATE_HZ, output_format="f32")
    playout = steady(100, 0.25)
    mixer.add(playout)
    read(mixer, 50)

    mixer.remove(playout)

    assert {0.0} == set(read(mixer, 10))
    assert {0.25} == set(playout.numpy(50 * PER_MS).tolist())


def test_remove_during_reads() -> None:
    """Playouts may be added and removed while a device reads. No playout is freed during a read."""
    mixer = Mixer(RATE_HZ)
    stop = threading.Event()

    def pull() -> None:
        out = bytearray(2 * BLOCK_MS * PER_MS)
        while not stop.is_set():
            mixer.read(out)

    thread = threading.Thread(target=pull)
    thread.start()
    try:
        for _ in range(200):
            with steady(20, 0.25) as playout:
                mixer.add(playout)
                mixer.remove(playout)
    finally:
        stop.set()
        thread.join(timeout=30)

    assert not thread.is_alive()


def test_device_reads_by_address() -> None:
    """A C callback with the two addresses of a mixer reads the mix."""
    mixer = Mixer(RATE_HZ)
    mixer.add(steady(10, 0.25))
    function, argument = mixer.attach()
    ffi = _native.ffi
    pull = ffi.cast("size_t (*)(void *, uint8_t *, size_t, uint64_t)", function)
    out = ffi.new("uint8_t[]", 2 * 160)

    sound = pull(ffi.cast("void *", argument), out, 160, 0)
    with pytest.raises(LocalProtocolError, match="only one thread or device may read a mixer"):
        mixer.read(bytearray(2))
    with pytest.raises(LocalProtocolError, match="stop the device and call detach"):
        mixer.close()
    mixer.detach()

    assert sound == 160
    assert struct.pack("<h", 8192) * 160 == ffi.buffer(out)[:]


# Settings of a playout that a mono mixer of 16 kHz does not accept.
UNFIT = [(24000, 1, "f32"), (16000, 2, "f32"), (16000, 1, "s16")]


@pytest.mark.parametrize(("rate_hz", "channels", "output_format"), UNFIT)
def test_playout_must_fit(rate_hz: int, channels: int, output_format: str) -> None:
    """A playout raises an error if its rate, channels or format are not those of the mixer."""
    playout = Playout(rate_hz, channels, output_format=output_format)

    with pytest.raises(
        ConfigError, match="the playout must have f32 output at 16000 Hz with 1 channels"
    ):
        Mixer(RATE_HZ).add(playout)


# (settings, part of the error's message)
BAD_LEVELS = [({"gain": 4.1}, "got 4.1"), ({"gain": float("nan")}, "got nan")]
BAD_LEVELS += [({"duck_db": -0.1}, "-0.1"), ({"priority": -1}, "priority must be 0 to 1000")]


@pytest.mark.parametrize(("level", "message"), BAD_LEVELS)
def test_bad_levels(level: dict[str, float], message: str) -> None:
    """A gain or priority out of range raises an error, and the playout is not added."""
    playout = steady(10, 0.25)

    with pytest.raises(ConfigError, match=message):
        Mixer(RATE_HZ).add(playout, **level)
    playout.close()


def test_eight_playouts_are_the_limit() -> None:
    """A ninth playout raises an error. It can be added after another playout was removed."""
    mixer = Mixer(RATE_HZ)
    playouts = [steady(10, 0.01) for _ in range(9)]
    for playout in playouts[:8]:
        mixer.add(playout)

    with pytest.raises(LocalProtocolError, match="has 8 playouts already: remove one of them"):
        mixer.add(playouts[8])
    mixer.remove(playouts[3])
    mixer.add(playouts[8])


def test_playout_has_one_reader() -> None:
    """A playout in a mixer cannot be read or closed, and cannot be added to another mixer."""
    mixer = Mixer(RATE_HZ)
    playout = steady(10, 0.25)
    mixer.add(playout)

    with pytest.raises(LocalProtocolError, match="only one thread or device may read a playout"):
        mixer.add(playout)
    with pytest.raises(LocalProtocolError, match="only one thread or device may read a playout"):
        playout.read(bytearray(4))
    with pytest.raises(LocalProtocolError, match="stop the device and call detach"):
        playout.close()


def test_unknown_playout() -> None:
    """A playout that is not in the mixer cannot be changed or removed."""
    with pytest.raises(LocalProtocolError, match=r"the mixer does not have .*: add it first"):
        Mixer(RATE_HZ).remove(steady(10, 0.25))


@pytest.mark.parametrize(("rate_hz", "channels"), [(7999, 1), (16000, 3)])
def test_bad_mixer(rate_hz: int, channels: int) -> None:
    """A mixer and a playout accept the same ranges of sample rates and channels."""
    with pytest.raises(ConfigError, match=r"sample_rate_hz must be|channels must be"):
        Mixer(rate_hz, channels)


def test_bad_format_and_cut_frames() -> None:
    """An unknown format and a buffer with a cut frame raise an error."""
    with pytest.raises(ConfigError, match="output_format must be one of s16, f32"):
        Mixer(RATE_HZ, output_format="s24")
    with pytest.raises(AudioError, match="a frame has 2 bytes, got a buffer of 3"):
        Mixer(RATE_HZ).read(bytearray(3))


def test_closed_mixer() -> None:
    """close() frees the playouts. Every later call raises an error that says what to do."""
    playout = steady(10, 0.25)
    with Mixer(RATE_HZ) as mixer:
        mixer.add(playout)
    mixer.close()

    assert playout.read(bytearray(4)) == 1
    for call in (
        lambda: mixer.add(playout),
        lambda: mixer.remove(playout),
        lambda: mixer.adjust(playout, gain=1),
        lambda: mixer.read(bytearray(2)),
        mixer.attach,
    ):
        with pytest.raises(ClosedError, match="the mixer is closed"):
            call()
