"""Audio input: every form of the same audio is converted to the same samples."""

from __future__ import annotations

import array
import contextlib
import io
import os
import pathlib
import threading

import numpy as np
import pytest

from inworld_sync.audio.source import AudioInput, open_recording, open_source
from inworld_sync.audio.wav import header
from inworld_sync.errors import AudioError, ClosedError, ConfigError
from inworld_sync.models.devices import AudioSource

RATE_HZ = 16_000
WAVE = np.sin(np.arange(3200) * 2 * np.pi * 440 / RATE_HZ) * 0.5
SAMPLES = np.rint(WAVE * 32768).astype("<i2")
PCM = SAMPLES.tobytes()
WAV = header(RATE_HZ, 1, len(PCM)) + PCM
STEREO = np.stack([SAMPLES, SAMPLES], axis=1)


def fed(chunk, channels=1):
    stream = AudioInput(RATE_HZ, RATE_HZ, channels)
    return stream.feed(chunk) + stream.finish()


def collected(source):
    return b"".join(source)


# Forms of the same mono audio, which are converted to the same samples.
FORMS = {
    "bytes": PCM,
    "bytearray": bytearray(PCM),
    "memoryview": memoryview(PCM),
    "memoryview with gaps": memoryview(np.repeat(np.frombuffer(PCM, np.uint8), 2).tobytes())[::2],
    "array of shorts": array.array("h", SAMPLES.tolist()),
    "int16": SAMPLES,
    "big-endian int16": SAMPLES.astype(">i2"),
    "int32": SAMPLES.astype("<i4") << 16,
    "big-endian int32": (SAMPLES.astype("<i4") << 16).astype(">i4"),
    "float32": (SAMPLES / 32768).astype(np.float32),
    "big-endian float32": (SAMPLES / 32768).astype(">f4"),
    "float64": SAMPLES / 32768,
    "big-endian float64": (SAMPLES / 32768).astype(">f8"),
    "array of floats": array.array("f", (SAMPLES / 32768).tolist()),
    "one column": SAMPLES.reshape(-1, 1),
    "one row": SAMPLES.reshape(1, -1),
    "two equal columns": STEREO,
    "two equal rows": STEREO.T,
    "two contiguous rows": np.ascontiguousarray(STEREO.T),
    "two columns of floats": STEREO / 32768,
    "two rows of floats": STEREO.T / 32768,
    "every second sample": np.repeat(SAMPLES, 2)[::2],
    "backwards": SAMPLES[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray(STEREO),
    "read-only": np.frombuffer(PCM, "<i2"),
}


@pytest.mark.parametrize("chunk", FORMS.values(), ids=FORMS)
def test_forms(chunk):
    """All forms of the same audio are converted to the same samples."""
    assert PCM == fed(chunk)


@pytest.mark.parametrize("chunk", FORMS.values(), ids=FORMS)
def test_forms_as_sources(chunk):
    """The forms that a stream accepts are also accepted as recordings."""
    source = open_source(chunk, to_hz=RATE_HZ, from_hz=RATE_HZ)

    assert isinstance(source, AudioSource)
    assert RATE_HZ == source.sample_rate_hz
    assert PCM == collected(source)


# (array, its 16-bit samples). The arrays have other types, or values that are rounded or clipped.
CONVERTED = {
    "uint8": (np.array([0, 128, 255], np.uint8), [-32768, 0, 32512]),
    "int32": (np.array([0x18000, 0x28000, -(2**31), 2**31 - 1], np.int32), [2, 2, -32768, 32767]),
    "float16": (np.array([0.5, -0.25, 1.0], np.float16), [16384, -8192, 32767]),
    "float64": (np.array([1.5 / 32768, 2.5 / 32768, 0.9999999]), [2, 2, 32767]),
    "loud": (np.array([1.5, -1.5]), [32767, -32768]),
}


@pytest.mark.parametrize(("chunk", "expected"), CONVERTED.values(), ids=CONVERTED)
def test_conversion(chunk, expected):
    """Samples are scaled, rounded and clipped to 16 bits."""
    assert np.array(expected, "<i2").tobytes() == fed(chunk)


@pytest.mark.parametrize("channels", [2, 3, 64])
def test_declared_channels(channels):
    """If the length of one axis is the declared number of channels, this axis has the channels."""
    frames = np.arange(5 * channels, dtype=np.int16).reshape(5, channels)

    for chunk in (frames, frames.T, frames.reshape(-1)):
        file = open_recording(chunk, sample_rate_hz=RATE_HZ, channels=channels)
        assert channels == file.channels
        assert frames.astype("<i2").tobytes() == collected(file)


# (shape, declared channels)
AMBIGUOUS = [((2, 2), 1), ((50, 2), 1), ((2, 64), 1), ((2, 2), 2), ((3, 3), 3)]


@pytest.mark.parametrize(("shape", "channels"), AMBIGUOUS)
def test_ambiguous_shape(shape, channels):
    """An array whose channels may be on either axis raises an error that says what to do."""
    chunk = np.zeros(shape, np.int16)

    with pytest.raises(AudioError, match=r"ambiguous.*pass the number of channels, or a one-dim"):
        fed(chunk, channels)
    with pytest.raises(AudioError, match="ambiguous"):
        open_source(chunk, from_hz=RATE_HZ, channels=channels)


def test_short_array_has_the_axis_order_of_the_stream():
    """A short array at the end of a stream has the same axis order as the arrays before it."""
    for turn in (np.asarray, np.transpose):
        chunks = [turn(STEREO[:3198]), turn(STEREO[3198:])]
        stream = AudioInput(RATE_HZ, RATE_HZ)

        assert PCM == b"".join(stream.feed(chunk) for chunk in chunks) + stream.finish()
        assert PCM == collected(open_source(iter(chunks), from_hz=RATE_HZ))


# (chunk, words of the error)
NOT_AUDIO = {
    "text": ("UklGRg==", "text of 8 characters"),
    "base64 as bytes": (b"UklGRiQAAABXQVZFZm10IBAAAAABAAEA" * 4, "base64 must be decoded"),
    "JSON": (b'{"audioChunk": {"content": "AAAA"}, "more": "and more, and even more"}', "JSON"),
    "None": (None, "NoneType"),
    "list": ([1, 2, 3], "list"),
    "int8": (np.zeros(4, np.int8), "int8"),
    "int64": (np.zeros(4, np.int64), "int64"),
    "uint16": (np.zeros(4, np.uint16), "uint16"),
    "complex": (np.zeros(4, np.complex64), "complex64"),
    "objects": (np.array([object()]), "object"),
    "one number": (np.float32(0.5), r"shape .*got \(\)"),
    "NaN": (np.array([0.0, float("nan")]), "nan at sample 1"),
    "infinity": (np.array([0.0, 1.0, float("-inf"), 0.0]), "-inf at sample 2"),
    "integers in floats": (np.array([0.0, 12_000.0]), "divide by 32768"),
    "three dimensions": (np.zeros((2, 2, 2), np.int16), r"\(2, 2, 2\)"),
    "many channels": (np.zeros((100, 100), np.int16), r"\(100, 100\)"),
}


@pytest.mark.parametrize(("chunk", "words"), NOT_AUDIO.values(), ids=NOT_AUDIO)
def test_not_audio(chunk, words):
    """A value that is not audio raises an error that describes the value."""
    with pytest.raises(AudioError, match=words):
        fed(chunk)


# Recordings in which each byte is a printable character: a constant, a constant with noise, and
# samples whose two bytes are equal.
_NOISE = np.random.default_rng(1).integers(0, 60, RATE_HZ)
OFFSETS = {
    "constant": np.full(RATE_HZ, 0x2020),
    "letters": np.full(RATE_HZ, 0x4141),
    "noise": 0x4130 + _NOISE,
    "braces": 0x2230 + _NOISE,
    "8 bits": (0x41 + _NOISE % 26) * 257,
}


@pytest.mark.parametrize("samples", OFFSETS.values(), ids=OFFSETS)
def test_offset_is_not_text(samples):
    """A recording with a DC offset is accepted as audio, in a file and as raw samples."""
    pcm = samples.astype("<i2").tobytes()

    assert pcm == fed(pcm)
    assert pcm == collected(open_source(pcm, from_hz=RATE_HZ))
    assert pcm == collected(open_source(header(RATE_HZ, 1, len(pcm)) + pcm))


def test_stereo():
    """Interleaved bytes of two channels are mixed. A frame may be cut between two chunks."""
    pcm = np.stack([SAMPLES, np.zeros_like(SAMPLES)], axis=1).tobytes()
    stream = AudioInput(RATE_HZ, RATE_HZ, channels=2)

    out = stream.feed(pcm[:1001]) + stream.feed(pcm[1001:]) + stream.finish()

    assert np.rint(SAMPLES / 2).astype("<i2").tobytes() == out


def test_wrong_channels():
    """An array raises an error if it has another number of channels than the stream."""
    with pytest.raises(AudioError, match=r"shape \(frames, 2\) or \(2, frames\), got \(3200, 1\)"):
        fed(SAMPLES.reshape(-1, 1), channels=2)


def test_cut_sample():
    """Bytes that end inside a sample raise an error in finish(), not in feed()."""
    stream = AudioInput(RATE_HZ, RATE_HZ)
    stream.feed(PCM[:-1])

    with pytest.raises(AudioError, match="the last sample is cut"):
        stream.finish()


def test_finished():
    """After finish(), feed() raises an error."""
    stream = AudioInput(RATE_HZ, RATE_HZ)
    stream.finish()

    with pytest.raises(ClosedError):
        stream.feed(PCM)


@pytest.mark.parametrize("empty", [b"", np.zeros(0), np.zeros((8, 0), np.int16), iter(()), [b""]])
def test_no_audio(empty):
    """Audio without samples is accepted. The source yields no samples."""
    assert b"" == collected(open_source(empty, to_hz=RATE_HZ, from_hz=RATE_HZ))


@pytest.mark.parametrize("kinds", [(bytes, np.array), (np.array, bytes)])
def test_mixed_blocks(kinds):
    """A source may yield blocks of bytes and blocks of arrays."""
    blocks = [
        kind(half) for kind, half in zip(kinds, (SAMPLES[:1600], SAMPLES[1600:]), strict=True)
    ]

    assert PCM == collected(open_source(iter(blocks), from_hz=RATE_HZ))


def test_rate():
    """A recording is converted to the requested sample rate."""
    source = open_source(PCM, to_hz=24_000, from_hz=16_000)

    assert 24_000 == source.sample_rate_hz
    assert len(PCM) * 3 // 2 == len(collected(source))


@pytest.mark.parametrize("audio", [PCM * 10, np.tile(SAMPLES, 10)], ids=["bytes", "array"])
def test_blocks(audio):
    """A recording is read in blocks of 100 ms."""
    blocks = list(open_source(audio, to_hz=RATE_HZ, from_hz=RATE_HZ))

    assert {3200} == {len(block) for block in blocks}


@pytest.mark.parametrize("audio", [PCM, SAMPLES, iter([PCM])], ids=["bytes", "array", "blocks"])
def test_unknown_rate(audio):
    """Raw samples without a rate raise an error that names the argument."""
    with pytest.raises(ConfigError, match=r"pass sample_rate_hz$"):
        open_source(audio, to_hz=RATE_HZ)


class DjangoUpload:
    """An upload object that yields lines when it is iterated."""

    name = "upload"

    def __init__(self, content):
        self._file = io.BytesIO(content)

    def read(self, size=-1):
        return self._file.read(size)

    def __iter__(self):
        yield from self._file


def framework_uploads(content, stack):
    from django.conf import settings
    from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
    from werkzeug.datastructures import FileStorage

    if not settings.configured:
        settings.configure()
    large = TemporaryUploadedFile("call", "audio/wav", len(content), None)
    stack.callback(large.close)
    large.write(content)
    large.seek(0)
    return {
        "Django": SimpleUploadedFile("call", content),
        "Django, large": large,
        "Flask": FileStorage(io.BytesIO(content), filename="call"),
    }


def piped(content, stack):
    """Return the reading end of a pipe, as an open file."""
    receive, send = os.pipe()

    def write():
        with open(send, "wb") as file:  # noqa: PTH123
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return stack.enter_context(open(receive, "rb"))  # noqa: PTH123


def all_forms(content, folder, stack):
    """Yield the content in every form that a recording may have."""
    path = folder / "call"
    path.write_bytes(content)
    fifo = folder / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    threading.Thread(target=fifo.write_bytes, args=(content,), daemon=True).start()
    behind = io.BytesIO(b"something else" + content)
    behind.seek(14)
    yield "text", str(path)
    yield "path", path
    yield "FIFO", fifo
    yield "device", f"/dev/fd/{piped(content, stack).fileno()}"
    yield "open file", stack.enter_context(path.open("rb"))
    yield "unbuffered file", stack.enter_context(path.open("rb", buffering=0))
    yield "pipe", piped(content, stack)
    yield "memory file", io.BytesIO(content)
    yield "file from its position", behind
    yield "upload", DjangoUpload(content)
    yield from framework_uploads(content, stack).items()
    yield "bytes", content
    yield "bytearray", bytearray(content)
    yield "memoryview", memoryview(content)
    yield "list of blocks", [content[:3], b"", content[3:1001], content[1001:]]
    yield "generator", (content[at : at + 777] for at in range(0, len(content), 777))


@pytest.mark.parametrize("content", [WAV, PCM], ids=["WAV", "raw"])
def test_every_form_of_content(content, tmp_path):
    """A recording returns the same samples in every form. Raw samples need a declared rate."""
    with contextlib.ExitStack() as stack:
        for form, audio in all_forms(content, tmp_path, stack):
            assert PCM == collected(open_source(audio, from_hz=RATE_HZ)), form


def test_open_file_stays_open():
    """A file that the caller has opened is not closed."""
    file = io.BytesIO(WAV)
    source = open_source(file)
    collected(source)
    source.close()

    assert not file.closed


def test_path_is_closed_at_its_end(tmp_path):
    """A file that was opened by its path is closed after its last block, even without close()."""
    path = tmp_path / "call.wav"
    path.write_bytes(WAV)

    assert PCM == collected(open_source(path))  # pytest fails if the file stays open


# (problem, function that makes the source, words of the error)
BAD_FILES = {
    "at its end": (lambda: _at_end(), r"call seek\(0\)"),
    "text": (lambda: io.StringIO("RIFF"), "binary mode"),
    "closed": (lambda: _closed(), "closed file"),
    "lines of text": (lambda: ["RIFF", "fmt"], "base64|text|str"),
    "a number among blocks": (lambda: [PCM, 5], "bytes or an array of int16.* got int"),
    "None among blocks": (lambda: [SAMPLES, None], "bytes or an array of int16.* got NoneType"),
    "number": (lambda: 5, "a path, a binary file, bytes"),
    "None": (lambda: None, "NoneType"),
    "NUL": (lambda: "call\0.wav", "NUL"),
    "base64": (lambda: "UklGR" * 2000, "base64 must be decoded"),
}


def _at_end():
    file = io.BytesIO()
    file.write(WAV)
    return file


def _closed():
    file = io.BytesIO(WAV)
    file.close()
    return file


@pytest.mark.parametrize(("make", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(make, words):
    """A source that cannot be read raises an error that says why."""
    with pytest.raises(AudioError, match=words):
        collected(open_source(make(), from_hz=RATE_HZ))


@pytest.mark.parametrize("form", [str, pathlib.Path])
def test_path(form, tmp_path):
    """A path may be a str or a Path."""
    path = tmp_path / "call.wav"
    path.write_bytes(WAV)

    assert PCM == collected(open_source(form(path), to_hz=RATE_HZ))
    with pytest.raises(FileNotFoundError):
        open_source(form(tmp_path / "none.wav"))


def test_raw_file(tmp_path):
    """A file of raw samples without a declared rate raises an error."""
    path = tmp_path / "call.pcm"
    path.write_bytes(PCM)

    assert PCM == collected(open_source(path, to_hz=RATE_HZ, from_hz=RATE_HZ))
    with pytest.raises(ConfigError, match=r"call\.pcm.*pass sample_rate_hz"):
        open_source(path, to_hz=RATE_HZ)


def test_live_pipe():
    """Raw samples of a pipe are returned as soon as they arrive."""
    receive, send = os.pipe()
    with open(receive, "rb") as file:  # noqa: PTH123
        os.write(send, PCM[:640])
        blocks = iter(open_source(file, from_hz=RATE_HZ))
        first = next(blocks)
        first += next(blocks)
        os.write(send, PCM[640:])
        os.close(send)

        assert PCM[:640] == first
        assert PCM[640:] == b"".join(blocks)


class Device:
    """A source that yields blocks until it is closed."""

    sample_rate_hz = 48_000

    def __init__(self):
        self.closed = threading.Event()

    def __iter__(self):
        while not self.closed.is_set():
            yield bytes(960)

    def close(self):
        self.closed.set()


def test_source():
    """A source with its own rate is converted. If the result is closed, so is the source."""
    device = Device()
    source = open_source(device, to_hz=16_000)

    blocks = iter(source)
    heard = b"".join(next(blocks) for _ in range(20))
    source.close()

    assert len(heard) % 2 == 0
    assert device.closed.is_set()
    assert [] == list(blocks)
