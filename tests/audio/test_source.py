"""Audio in: every form of the same sound becomes the same samples, and nonsense is refused."""

from __future__ import annotations

import array
import pathlib
import threading

import numpy as np
import pytest

from inworld_sync.audio.source import AudioInput, open_source
from inworld_sync.audio.wav import header
from inworld_sync.errors import AudioError, ClosedError, ConfigError
from inworld_sync.models.devices import AudioSource

RATE_HZ = 16_000
WAVE = np.sin(np.arange(3200) * 2 * np.pi * 440 / RATE_HZ) * 0.5
SAMPLES = np.rint(WAVE * 32768).astype("<i2")
PCM = SAMPLES.tobytes()


def fed(chunk, channels=1):
    stream = AudioInput(RATE_HZ, RATE_HZ, channels)
    return stream.feed(chunk) + stream.finish()


def collected(source):
    return b"".join(source)


# Forms of the same mono sound.
FORMS = {
    "bytes": PCM,
    "bytearray": bytearray(PCM),
    "memoryview": memoryview(PCM),
    "array of shorts": array.array("h", SAMPLES.tolist()),
    "int16": SAMPLES,
    "big-endian int16": SAMPLES.astype(">i2"),
    "bytes of numpy": np.frombuffer(PCM, np.uint8),
    "float32": (SAMPLES / 32768).astype(np.float32),
    "float64": SAMPLES / 32768,
    "float16 of few levels": (SAMPLES // 4096 * 4096 / 32768).astype(np.float16),
    "array of floats": array.array("f", (SAMPLES / 32768).tolist()),
    "one column": SAMPLES.reshape(-1, 1),
    "two equal columns": np.stack([SAMPLES, SAMPLES], axis=1),
    "two columns of floats": np.stack([SAMPLES, SAMPLES], axis=1) / 32768,
    "every second sample": np.repeat(SAMPLES, 2)[::2],
    "Fortran order": np.asfortranarray(np.stack([SAMPLES, SAMPLES], axis=1)),
    "read-only": np.frombuffer(PCM, "<i2"),
}


@pytest.mark.parametrize("chunk", FORMS.values(), ids=FORMS)
def test_forms(chunk):
    """Whatever holds the samples, the same samples come out."""
    coarse = getattr(chunk, "dtype", None) == np.float16
    expected = (SAMPLES // 4096 * 4096).tobytes() if coarse else PCM

    assert expected == fed(chunk)


@pytest.mark.parametrize("chunk", FORMS.values(), ids=FORMS)
def test_forms_as_sources(chunk):
    """The same forms are sources, given their rate."""
    source = open_source(chunk, to_hz=RATE_HZ, from_hz=RATE_HZ)
    coarse = getattr(chunk, "dtype", None) == np.float16

    assert isinstance(source, AudioSource)
    assert RATE_HZ == source.sample_rate_hz
    assert (SAMPLES // 4096 * 4096).tobytes() if coarse else PCM == collected(source)


# (chunk, words of the error): what cannot be sound.
NONSENSE = {
    "text": ("UklGRg==", "text of 8 characters"),
    "base64 as bytes": (b"UklGRiQAAABXQVZFZm10IBAAAAABAAEA" * 4, "bytes of text"),
    "JSON": (b'{"audioChunk": {"content": "AAAA"}, "more": "and more, and even more"}', "text"),
    "None": (None, "NoneType"),
    "list": ([1, 2, 3], "list"),
    "int32": (np.zeros(4, np.int32), "int32"),
    "uint16": (np.zeros(4, np.uint16), "uint16"),
    "complex": (np.zeros(4, np.complex64), "complex64"),
    "objects": (np.array([object()]), "object"),
    "NaN": (np.array([0.0, float("nan")]), "nan at sample 1"),
    "infinity": (np.array([[0.0, 1.0], [float("-inf"), 0.0]]), "-inf at sample 2"),
    "integers in floats": (np.array([0.0, 12_000.0]), "divide by 32768"),
    "three dimensions": (np.zeros((2, 2, 2), np.int16), r"\(2, 2, 2\)"),
}


@pytest.mark.parametrize(("chunk", "words"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense(chunk, words):
    """What cannot be sound is refused, and the error says what came."""
    with pytest.raises(AudioError, match=words):
        fed(chunk)


def test_loud_floats():
    """Floats a little beyond full scale are clipped."""
    assert np.array([32767, -32768], "<i2").tobytes() == fed(np.array([1.5, -1.5]))


def test_short_text_may_be_sound():
    """A few bytes that could be letters are sound."""
    assert b"Hi" == fed(b"Hi")


def test_stereo():
    """Interleaved bytes of two channels are mixed; a frame may be cut between chunks."""
    pcm = np.stack([SAMPLES, -SAMPLES], axis=1).tobytes()
    stream = AudioInput(RATE_HZ, RATE_HZ, channels=2)

    out = stream.feed(pcm[:1001]) + stream.feed(pcm[1001:]) + stream.finish()

    assert bytes(len(PCM)) == out


def test_wrong_channels():
    """An array with another number of channels than the stream is refused."""
    with pytest.raises(AudioError, match=r"shape \(frames, 2\), got \(3200, 1\)"):
        fed(SAMPLES.reshape(-1, 1), channels=2)


def test_cut_sample():
    """Bytes that end inside a sample are refused at the end, not before."""
    stream = AudioInput(RATE_HZ, RATE_HZ)
    stream.feed(PCM[:-1])

    with pytest.raises(AudioError, match="the last sample is cut"):
        stream.finish()


def test_finished():
    """After the end nothing can be fed."""
    stream = AudioInput(RATE_HZ, RATE_HZ)
    stream.finish()

    with pytest.raises(ClosedError):
        stream.feed(PCM)


def test_nothing():
    """No bytes are no sound, and no error."""
    assert b"" == fed(b"")
    assert b"" == collected(open_source(b"", to_hz=RATE_HZ, from_hz=RATE_HZ))


def test_rate():
    """A source converts to the rate that is wanted."""
    source = open_source(PCM, to_hz=24_000, from_hz=16_000)

    assert 24_000 == source.sample_rate_hz
    assert len(PCM) * 3 // 2 == len(collected(source))


def test_blocks():
    """A source comes in blocks of about 100 ms."""
    blocks = list(open_source(PCM * 10, to_hz=RATE_HZ, from_hz=RATE_HZ))

    assert {3200} == {len(block) for block in blocks}


@pytest.mark.parametrize("audio", [PCM, SAMPLES], ids=["bytes", "array"])
def test_unknown_rate(audio):
    """Raw sound without a rate is refused, and the error names the argument."""
    with pytest.raises(ConfigError, match=r"pass sample_rate_hz$"):
        open_source(audio, to_hz=RATE_HZ)


@pytest.mark.parametrize("form", [str, pathlib.Path])
def test_path(form, tmp_path):
    """A path may be a text or a path."""
    path = tmp_path / "call.wav"
    path.write_bytes(header(RATE_HZ, 1, len(PCM)) + PCM)

    assert PCM == collected(open_source(form(path), to_hz=RATE_HZ))


def test_file_in_memory():
    """The bytes of a file are told from raw sound."""
    content = header(RATE_HZ, 1, len(PCM)) + PCM

    assert PCM == collected(open_source(content, to_hz=RATE_HZ))


def test_raw_file(tmp_path):
    """A file of raw samples needs its rate."""
    path = tmp_path / "call.pcm"
    path.write_bytes(PCM)

    assert PCM == collected(open_source(path, to_hz=RATE_HZ, from_hz=RATE_HZ))
    with pytest.raises(ConfigError, match=r"call\.pcm"):
        open_source(path, to_hz=RATE_HZ)


class Device:
    """A source that gives blocks until it is closed."""

    sample_rate_hz = 48_000

    def __init__(self):
        self.closed = threading.Event()

    def __iter__(self):
        while not self.closed.is_set():
            yield bytes(960)

    def close(self):
        self.closed.set()


def test_source():
    """Another source is converted, and closed with the one made of it."""
    device = Device()
    source = open_source(device, to_hz=16_000)

    blocks = iter(source)
    heard = b"".join(next(blocks) for _ in range(20))
    source.close()

    assert len(heard) % 2 == 0
    assert device.closed.is_set()
    assert [] == list(blocks)
