"""Arrays as audio: all functions convert the samples of an array by the same rules."""

from __future__ import annotations

import io

import numpy as np
import pytest

from inworld_sync.audio import g711, meter, mix, pcm
from inworld_sync.audio.frame import FrameBuilder, FrameForm
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.wav import HEADER_BYTES, WavWriter
from inworld_sync.devices import NullSpeaker, WavSink
from inworld_sync.devices.playout_sink import PlayoutSink
from inworld_sync.errors import AudioError

# Multiples of 256, which all types of arrays represent exactly.
SAMPLES = (np.arange(320) * 37 % 256 - 128).astype("<i2") * 256
PCM = SAMPLES.tobytes()
FLOATS = (SAMPLES / 32768).astype("<f4")

ARRAYS = {
    "int16": SAMPLES,
    "big-endian int16": SAMPLES.astype(">i2"),
    "int32": SAMPLES.astype("<i4") << 16,
    "uint8": (SAMPLES // 256 + 128).astype(np.uint8),
    "float16": FLOATS.astype(np.float16),
    "float32": FLOATS,
    "big-endian float32": FLOATS.astype(">f4"),
    "float64": FLOATS.astype("<f8"),
    "column": SAMPLES.reshape(-1, 1),
    "row": SAMPLES.reshape(1, -1),
    "row of floats": FLOATS.astype("<f8").reshape(1, -1),
    "every second": np.repeat(SAMPLES, 2)[::2],
    "every second float": np.repeat(FLOATS, 2)[::2],
    "typed memoryview": memoryview(FLOATS),
}


def into(function, size_bytes):
    def call(audio):
        out = bytearray(size_bytes)
        assert function(audio, out) == size_bytes
        return bytes(out)

    return call


def pushed(input_format):
    def call(audio):
        playout = Playout(16000, input_format=input_format)
        playout.push(audio, end=True)
        out = bytearray(len(PCM))
        playout.read(out)
        playout.close()
        return bytes(out)

    return call


def written(audio):
    file = io.BytesIO()
    with WavWriter(file, 16000) as writer:
        writer.write(audio)
    return file.getvalue()[HEADER_BYTES:]


def sunk(audio):
    file = io.BytesIO()
    with WavSink(file, 16000) as sink:
        sink.write(audio)
    return file.getvalue()[HEADER_BYTES:]


def sunk_in_a_playout(audio):
    playout = Playout(16000)
    with PlayoutSink(playout) as sink:
        sink.write(audio)
        sink.end()
        out = bytearray(len(PCM))
        playout.read(out)
    playout.close()
    return bytes(out)


def heard(audio):
    with NullSpeaker(16000) as speaker:
        speaker.pause()
        speaker.write(audio)
        return speaker._missing()


def resampled(audio):
    resampler = Resampler(16000, 16000)
    return resampler.feed(audio) + resampler.finish()


FUNCTIONS = {
    "s16_from_f32": (pcm.s16_from_f32, FLOATS.tobytes()),
    "s16_from_f32_into": (into(pcm.s16_from_f32_into, len(PCM)), FLOATS.tobytes()),
    "f32_from_s16": (pcm.f32_from_s16, PCM),
    "f32_from_s16_into": (into(pcm.f32_from_s16_into, 2 * len(PCM)), PCM),
    "swap_bytes": (pcm.swap_bytes, PCM),
    "encode_ulaw": (g711.encode_ulaw, PCM),
    "encode_alaw_into": (into(g711.encode_alaw_into, len(PCM) // 2), PCM),
    "measure": (meter.measure, PCM),
    "gain": (lambda audio: mix.gain(audio, 0.5), PCM),
    "gain_into": (into(lambda audio, out: mix.gain_into(audio, 0.5, out), len(PCM)), PCM),
    "mix": (lambda audio: mix.mix(audio, audio), PCM),
    "mix_into": (into(lambda audio, out: mix.mix_into(PCM, audio, out), len(PCM)), PCM),
    "Playout of s16": (pushed("s16"), PCM),
    "Playout of f32": (pushed("f32"), FLOATS.tobytes()),
    "WavWriter": (written, PCM),
    "WavSink": (sunk, PCM),
    "PlayoutSink": (sunk_in_a_playout, PCM),
    "NullSpeaker": (heard, PCM),
    "Resampler": (resampled, PCM),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize(("function", "raw"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_arrays(function, raw, array):
    """An array gives the same result as the bytes of the same samples."""
    assert function(raw) == function(array)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize(
    ("form", "raw"),
    [
        (FrameForm.BYTES, PCM),
        (FrameForm.S16_FROM_F32, FLOATS.tobytes()),
        (FrameForm.ULAW_FROM_S16, PCM),
        (FrameForm.ALAW_FROM_S16, PCM),
    ],
)
def test_frames(form, raw, array, monkeypatch):
    """An array and the bytes of the same samples give frames with the same audio."""
    monkeypatch.setattr("inworld_sync.audio.frame._random_bytes", bytes)
    builder = FrameBuilder('{"audio":"', '"}', form)
    if form is FrameForm.BYTES and array.itemsize == 1:
        raw = bytes(array)  # mu-law and A-law bytes are sent unchanged

    assert builder.build(raw) == builder.build(array)


def test_precision():
    """A float64 is rounded once, to 16 bits. There is no earlier rounding to float32."""
    value = (0.5 + 2**-30) / 32768

    assert np.array([1, -1], "<i2").tobytes() == written(np.array([value, -value]))


def test_not_a_number():
    """s16_from_f32() replaces NaN by 0 and clips infinities, for every float type."""
    for kind in ("<f4", ">f4", "<f8", "<f2"):
        floats = np.array([np.nan, np.inf, -np.inf, 0.5], kind)
        assert np.array([0, 32767, -32768, 16384], "<i2").tobytes() == pcm.s16_from_f32(floats)


@pytest.mark.parametrize("sink", [sunk, sunk_in_a_playout, heard])
def test_sinks_refuse_invalid_samples(sink):
    """A sink raises an error for NaN, and for integer values in a float array."""
    for floats, words in ((np.array([0.0, np.nan]), "finite"), (np.array([900.0]), "divide by")):
        with pytest.raises(AudioError, match=words):
            sink(floats)


def test_stereo():
    """A stereo playout accepts both axis orders. A mono playout mixes the two channels."""
    stereo = np.stack([SAMPLES, SAMPLES // 2], axis=1)
    for array in (stereo, stereo.T, stereo / 32768, np.ascontiguousarray(stereo.T)):
        playout = Playout(16000, 2)
        playout.push(array, end=True)
        assert np.array_equal(stereo, playout.numpy(320))
        playout.close()
    assert PCM == pushed("s16")(np.stack([SAMPLES, SAMPLES], axis=1))


# Values that no function accepts as samples.
NOT_SAMPLES = ["text", None, 5, [0.5], np.zeros(4, np.int64), np.zeros((2, 2), "<i2"), {}]


@pytest.mark.parametrize("audio", NOT_SAMPLES, ids=repr)
@pytest.mark.parametrize("function", [each for each, _ in FUNCTIONS.values()], ids=FUNCTIONS)
def test_not_samples(function, audio):
    """A value that is neither bytes nor an array of samples raises an AudioError."""
    with pytest.raises(AudioError):
        function(audio)


def test_codes_are_bytes():
    """G.711 decoding accepts an array of bytes. An array of wider items raises an error."""
    codes = np.arange(256).astype(np.uint8)

    assert g711.decode_ulaw(bytes(codes)) == g711.decode_ulaw(codes)
    with pytest.raises(AudioError, match="mu-law audio must be bytes"):
        g711.decode_ulaw(SAMPLES)
