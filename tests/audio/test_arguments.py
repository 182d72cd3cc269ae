"""Wrong arguments of the audio functions and of the devices raise an InworldError."""

from __future__ import annotations

import gc
import io
import math

import numpy as np
import pytest

from inworld_sync.audio import base64, g711, levels, masking, meter, mix, pcm
from inworld_sync.audio.frame import FrameBuilder, FrameForm, build_frame
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.source import open_recording
from inworld_sync.audio.split import Splitter
from inworld_sync.audio.streams import MicrophoneRing
from inworld_sync.audio.track import Track
from inworld_sync.audio.wav import WavWriter, header, strip_riff
from inworld_sync.devices import NullSpeaker, WavSink, WavSource
from inworld_sync.devices.playout_sink import PlayoutSink
from inworld_sync.errors import AudioError, ConfigError

HUGE = [2**31, 2**63, 2**64, 2**70, -(2**70), 10**400, 1e300]
NOT_FINITE = [math.nan, math.inf, -math.inf]
OTHER_TYPES = ["16000", None, [], {}, b"1", True, 1j, object()]
# Values that are not accepted where a small integer is expected.
NOT_WHOLE = [*HUGE, *NOT_FINITE, *OTHER_TYPES, -1, 0.5]
# Values that are not accepted where a number of a usual size is expected.
NOT_A_NUMBER = [*HUGE[1:], *NOT_FINITE, *OTHER_TYPES]
NOT_A_TIME = [*HUGE[1:], *NOT_FINITE, *(each for each in OTHER_TYPES if each is not None), 0.5, -1]
NOT_BYTES = ["text", "\ud800", None, 5, [1], object(), memoryview(b"abcd")[::2]]
NOT_AUDIO = ["text", "\ud800", None, 5, [1], object(), np.zeros(2, complex), np.zeros((2, 2))]
NOT_AN_OUTPUT = [*NOT_BYTES, b"read-only", np.frombuffer(bytes(64), "<i2")]


def playout(**settings):
    return Playout(16000, output_format="f32", **settings)


def mixed(**level):
    mixer, voice = Mixer(16000), playout()
    try:
        mixer.add(voice, **level)
    finally:
        mixer.close()
        voice.close()


def on_playout(call):
    def run(value):
        made = Playout(16000)
        try:
            made.push(bytes(3200), item="a")
            call(made, value)
        finally:
            made.close()

    return run


def on_sink(call):
    def run(value):
        with NullSpeaker(16000) as speaker:
            speaker.pause()
            call(speaker, value)

    return run


CALLS = {
    "base64.decode": (base64.decode, [*NOT_BYTES[1:], "é", "\ud800AAA"]),
    "base64.decode_into": (lambda v: base64.decode_into("AAAA", v), NOT_AN_OUTPUT),
    "base64.encode": (base64.encode, NOT_BYTES),
    "base64.encode_into": (lambda v: base64.encode_into(b"abc", v), NOT_AN_OUTPUT),
    "masking.mask": (lambda v: masking.mask(v, b"abcd"), NOT_BYTES),
    "masking.mask, key": (lambda v: masking.mask(b"a", v), [*NOT_BYTES, b"abc", bytearray(4)]),
    "masking.mask, offset": (
        lambda v: masking.mask(b"a", b"abcd", v),
        [2**64, 2**70, -1, 0.5, *NOT_FINITE, *OTHER_TYPES],
    ),
    "build_frame, opcode": (lambda v: build_frame(v, b""), [16, *(set(NOT_WHOLE[:9])), "1", None]),
    "build_frame, payload": (lambda v: build_frame(1, v), NOT_BYTES),
    "FrameBuilder, head": (lambda v: FrameBuilder(v, ""), ["\ud800", None, 5]),
    "FrameBuilder, form": (lambda v: FrameBuilder("", "", v), ["s16", None, [], 99]),
    "FrameBuilder.build": (FrameBuilder("", "").build, NOT_AUDIO),
    "FrameBuilder.build of floats": (
        FrameBuilder("", "", FrameForm.S16_FROM_F32).build,
        [*NOT_AUDIO, b"abc"],
    ),
    "g711.encode_ulaw": (g711.encode_ulaw, [*NOT_AUDIO, b"abc"]),
    "g711.decode_alaw": (g711.decode_alaw, [*NOT_BYTES, np.zeros(4, "<i2")]),
    "g711.decode_alaw_into": (lambda v: g711.decode_alaw_into(b"a", v), NOT_AN_OUTPUT[:-1]),
    "levels.force_level": (levels.force_level, ["none", 5, [], b"scalar", 1.5]),
    "meter.measure": (meter.measure, [*NOT_AUDIO, b"abc"]),
    "mix.gain, factor": (lambda v: mix.gain(bytes(4), v), [10**400, *NOT_FINITE, *OTHER_TYPES]),
    "mix.mix": (lambda v: mix.mix(bytes(4), v), [*NOT_AUDIO, b"abc", bytes(2)]),
    "pcm.s16_from_f32": (pcm.s16_from_f32, [*NOT_AUDIO, b"abc"]),
    "SampleCarry": (pcm.SampleCarry, [0, 0.5, -1, *NOT_FINITE, *OTHER_TYPES]),
    "SampleCarry.feed": (pcm.SampleCarry().feed, NOT_BYTES),
    "Resampler, from_hz": (lambda v: Resampler(v, 16000), NOT_WHOLE),
    "Resampler, channels": (lambda v: Resampler(16000, 16000, v), NOT_WHOLE),
    "Resampler.feed": (Resampler(16000, 16000).feed, NOT_AUDIO),
    "open_recording, rate": (
        lambda v: open_recording(bytes(4), sample_rate_hz=v),
        [each for each in NOT_WHOLE if each is not None],
    ),
    "open_recording, channels": (
        lambda v: open_recording(bytes(4), sample_rate_hz=8000, channels=v),
        NOT_WHOLE,
    ),
    "Splitter": (Splitter, ["", "a..b", "a\0b", "\ud800", "é", None, 5, "x" * 600]),
    "Splitter.split": (Splitter("a").split, NOT_BYTES),
    "Splitter.split_into": (
        lambda v: Splitter("a").split_into(b'{"a":"AAAA"}', v),
        NOT_AN_OUTPUT[:-1],
    ),
    "wav.header, rate": (header, [0, *NOT_WHOLE]),
    "wav.header, channels": (lambda v: header(8000, v), [0, 2**15, *NOT_WHOLE[1:]]),
    "wav.header, size": (
        lambda v: header(8000, 1, v),
        [each for each in NOT_WHOLE[1:] if each is not None],
    ),
    "wav.strip_riff": (strip_riff, NOT_BYTES),
    "WavWriter": (lambda v: WavWriter(v, 8000), [None, 5, [], object(), "a\0b"]),
    "WavWriter.write": (lambda v: WavWriter(io.BytesIO(), 8000).write(v), NOT_AUDIO),
    **{
        f"Playout, {name}": (
            lambda v, name=name: Playout(**{"sample_rate_hz": 16000, name: v}),
            bad,
        )
        for name, bad in {
            "sample_rate_hz": NOT_WHOLE,
            "channels": NOT_WHOLE,
            "min_delay_ms": NOT_WHOLE,
            "max_delay_ms": NOT_WHOLE,
            "start_ms": [each for each in NOT_WHOLE if each is not None],
            "capacity_ms": NOT_WHOLE,
            "fade_ms": NOT_WHOLE,
            "mode": ["fast", None, 5, []],
            "profile": ["fast", None, 5, []],
            "input_format": ["s24", None, 5, []],
            "output_format": ["s24", None, 5, []],
        }.items()
    },
    "Playout.push": (on_playout(lambda p, v: p.push(v)), [*NOT_AUDIO, b"abc"]),
    "Playout.push, item": (on_playout(lambda p, v: p.push(b"", item=v)), [[], {}]),
    "Playout.push, now_ns": (on_playout(lambda p, v: p.push(b"", now_ns=v)), NOT_A_TIME),
    "Playout.push, timestamp": (
        on_playout(lambda p, v: p.push(b"", timestamp=v)),
        [0.5, *NOT_FINITE, *(each for each in OTHER_TYPES if each is not None)],
    ),
    "Playout.read": (on_playout(lambda p, v: p.read(v)), [*NOT_AN_OUTPUT, bytearray(3)]),
    "Playout.read, now_ns": (on_playout(lambda p, v: p.read(bytearray(2), now_ns=v)), NOT_A_TIME),
    "Playout.numpy": (on_playout(lambda p, v: p.numpy(v)), NOT_WHOLE),
    "Playout.mark": (on_playout(lambda p, v: p.mark("a", v, "tag")), [2**60, -1, *NOT_A_NUMBER]),
    "Playout.mark, item": (on_playout(lambda p, v: p.mark(v, 1, "tag")), [[], {}]),
    "Playout.clear": (on_playout(lambda p, v: p.clear(latency_ms=v)), [-1, *NOT_A_NUMBER]),
    "Playout.position_ms": (
        on_playout(lambda p, v: p.position_ms("a", latency_ms=v)),
        [-1, *NOT_A_NUMBER],
    ),
    "Playout.position_ms, item": (on_playout(lambda p, v: p.position_ms(v)), [[], {}]),
    "Playout.position_ms, track": (
        on_playout(lambda p, v: p.position_ms("a", track=v)),
        [5, "track", object()],
    ),
    "Playout.poll, now_ns": (on_playout(lambda p, v: p.poll(now_ns=v)), NOT_A_TIME),
    "Mixer": (Mixer, NOT_WHOLE),
    "Mixer, attack_ms": (lambda v: Mixer(16000, attack_ms=v), NOT_WHOLE),
    "Mixer.add": (lambda v: Mixer(16000).add(v), [None, 5, "playout", object()]),
    "Mixer.add, gain": (lambda v: mixed(gain=v), [4.1, -0.1, *NOT_A_NUMBER]),
    "Mixer.add, duck_db": (lambda v: mixed(duck_db=v), [101, -0.1, *NOT_A_NUMBER]),
    "Mixer.add, priority": (lambda v: mixed(priority=v), NOT_WHOLE),
    "Mixer.unheard_frames": (lambda v: Mixer(16000).unheard_frames(v), NOT_A_TIME),
    "Track": (Track, NOT_WHOLE),
    "Track.heard_frames": (lambda v: Track(16000).heard_frames(v), NOT_A_TIME),
    "Track.position_frames": (lambda v: Track(16000).position_frames(v), NOT_A_TIME),
    "MicrophoneRing": (MicrophoneRing, [0, *NOT_WHOLE]),
    "MicrophoneRing.read": (lambda v: MicrophoneRing(160).read(v), NOT_WHOLE),
    "MicrophoneRing.level": (lambda v: MicrophoneRing(160).level(v), [-1, *NOT_A_NUMBER]),
    "NullSpeaker": (NullSpeaker, NOT_WHOLE),
    "NullSpeaker, buffer_ms": (lambda v: NullSpeaker(buffer_ms=v), NOT_WHOLE),
    "NullSpeaker.write": (on_sink(lambda s, v: s.write(v)), [*NOT_AUDIO, b"abc"]),
    "NullSpeaker.write, timeout": (
        on_sink(lambda s, v: s.write(b"", timeout=v)),
        ["5", [], True, math.nan],
    ),
    "NullSpeaker.drain": (on_sink(lambda s, v: s.drain(timeout=v)), ["5", [], True, math.nan]),
    "PlayoutSink": (PlayoutSink, [None, 5, "playout", object()]),
    "PlayoutSink, latency_ms": (
        on_playout(lambda p, v: PlayoutSink(p, latency_ms=v)),
        [-1, *NOT_A_NUMBER],
    ),
    "PlayoutSink, track": (on_playout(lambda p, v: PlayoutSink(p, track=v)), [5, "track"]),
    "WavSink": (WavSink, [None, 5, [], "a\0b"]),
    "WavSink, rate": (lambda v: WavSink(io.BytesIO(), v), NOT_WHOLE),
    "WavSource": (WavSource, [None, 5, "a\0b", io.StringIO("a")]),
    "WavSource, block_ms": (
        lambda v: WavSource(bytes(4), sample_rate_hz=8000, block_ms=v),
        [0, *NOT_WHOLE],
    ),
}


@pytest.mark.parametrize(("call", "values"), CALLS.values(), ids=CALLS)
def test_wrong_arguments(call, values):
    """Every wrong argument raises an AudioError or a ConfigError."""
    for value in values:
        with pytest.raises((AudioError, ConfigError)):
            call(value)
            pytest.fail(f"accepted {value!r}")


def test_longest_timeouts():
    """A timeout may be infinite, huge, negative, 0 or None."""
    with NullSpeaker(16000) as speaker:
        for timeout in (math.inf, 1e300, -1, 0, None):
            speaker.write(b"", timeout=timeout)
            speaker.drain(timeout=timeout)


def test_far_marks():
    """A mark far after the end of an item is reported at the end of the item, and not before."""
    made = Playout(16000)
    made.mark("a", 1e9, "far")
    made.push(bytes(3200), item="a")
    made.read(bytearray(1600))

    assert "far" not in [event.tag for event in made.poll()]
    made.end("a")
    made.read(bytearray(3200))
    assert "far" in [event.tag for event in made.poll()]
    made.close()


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_garbage_collected_mixer(in_a_cycle):
    """If a mixer is garbage-collected without close(), its playouts can be read again."""
    mixer, made = Mixer(16000), playout()
    mixer.add(made)
    if in_a_cycle:
        mixer.itself = mixer
    del mixer
    gc.collect()

    assert made.read(bytearray(64)) == 0
    other = Mixer(16000)
    other.add(made)
    other.close()
    made.close()


def test_closed_mixer_is_collected():
    """If a closed mixer is garbage-collected, its former playouts stay in their new mixer."""
    mixer, made = Mixer(16000), playout()
    mixer.add(made)
    mixer.close()
    other = Mixer(16000)
    other.add(made)
    del mixer
    gc.collect()

    with pytest.raises(Exception, match="only one thread or device may read"):
        made.read(bytearray(64))
    other.close()
    made.close()
