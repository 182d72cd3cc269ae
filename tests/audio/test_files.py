"""
Recordings are read from files. A file returns the same samples in every form of input.

Lossless files are compared with the samples that were written. Lossy files are compared with the
output of ffmpeg's decoders. The test calls these decoders through PyAV, and compares float samples.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from inworld_sync.audio import g711
from inworld_sync.audio.files import AudioFile, is_audio_file, open_file
from inworld_sync.audio.source import open_recording
from inworld_sync.audio.wav import header
from inworld_sync.errors import AudioError, ConfigError

RATE_HZ = 16_000
_TIMES = np.arange(RATE_HZ) / RATE_HZ
SAMPLES = np.rint((np.sin(_TIMES * 2 * np.pi * (300 + 200 * _TIMES)) * 0.4) * 32768).astype("<i2")
STEREO = np.stack([SAMPLES, SAMPLES // 2], axis=1)


def chunk(name, body, order="<"):
    return name + struct.pack(order + "I", len(body)) + body + b"\0" * (len(body) % 2)


def fmt(encoding, bits, channels=1, order="<", *, frame_bytes=None, extensible=False):
    frame_bytes = frame_bytes or channels * bits // 8
    numbers = (channels, RATE_HZ, RATE_HZ * frame_bytes, frame_bytes, bits)
    body = struct.pack(order + "HHIIHH", 0xFFFE if extensible else encoding, *numbers)
    if extensible:
        guid = struct.pack(order + "HHH", encoding, 0, 16) + bytes.fromhex("800000aa00389b71")
        body += struct.pack(order + "HHI", 22, bits, 0) + guid
    return chunk(b"fmt ", body, order)


def riff(*chunks, magic=b"RIFF", order="<"):
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack(order + "I", len(body)) + body


def w64(encoding, bits, data):
    ends = bytes.fromhex("f3acd3118cd100c04f8edb8a")

    def part(name, body):
        return name + ends + struct.pack("<Q", 24 + len(body)) + body + bytes(-len(body) % 8)

    body = fmt(encoding, bits)[8:]
    content = part(b"fmt ", body) + part(b"LIST", b"abc") + part(b"data", data) + part(b"tags", b"")
    head = bytes.fromhex("726966662e91cf11a5d628db04c10000")
    return head + struct.pack("<Q", 40 + len(content)) + b"wave" + ends + content


def rf64(data, size_bytes, magic=b"RF64"):
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, size_bytes, 0, 0))
    data = b"data" + struct.pack("<I", 0xFFFFFFFF) + data
    return magic + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + ds64 + fmt(1, 16) + data


def s24(samples):
    return (samples.astype("<i4") << 8).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def streamed(size_bytes, data):
    """Return a file whose header has a wrong length, because its writer could not seek."""
    return riff(fmt(1, 16), b"data" + struct.pack("<I", size_bytes) + data)


def of_codes(codes, decode):
    return np.frombuffer(decode(codes), "<i2")


PCM = SAMPLES.tobytes()
FLOATS = SAMPLES / 32768
TAGS = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"talk")) + chunk(b"id3 ", b"\x7f" * 99)
DATA = chunk(b"data", PCM)
CODES = np.arange(RATE_HZ).astype(np.uint8).tobytes()
U8 = (np.arange(RATE_HZ) % 256).astype(np.uint8)

# WAV files, and the samples that each file must return.
WAVS = {
    "16 bits": (riff(fmt(1, 16), DATA), SAMPLES),
    "stereo": (riff(fmt(1, 16, 2), chunk(b"data", STEREO.tobytes())), STEREO),
    "8 bits": (riff(fmt(1, 8), chunk(b"data", U8.tobytes())), (U8.astype("<i2") - 128) << 8),
    "24 bits": (riff(fmt(1, 24), chunk(b"data", s24(SAMPLES))), SAMPLES),
    "24 of 32 bits": (
        riff(fmt(1, 24, frame_bytes=4), chunk(b"data", (SAMPLES.astype("<i4") << 16).tobytes())),
        SAMPLES,
    ),
    "32 bits": (riff(fmt(1, 32), chunk(b"data", (SAMPLES.astype("<i4") << 16).tobytes())), SAMPLES),
    "float": (riff(fmt(3, 32), chunk(b"data", FLOATS.astype("<f4").tobytes())), SAMPLES),
    "double": (riff(fmt(3, 64), chunk(b"data", FLOATS.tobytes())), SAMPLES),
    "mu-law": (
        riff(fmt(7, 8), chunk(b"data", CODES)),
        np.frombuffer(g711.decode_ulaw(CODES), "<i2"),
    ),
    "A-law": (
        riff(fmt(6, 8), chunk(b"data", CODES)),
        np.frombuffer(g711.decode_alaw(CODES), "<i2"),
    ),
    "extensible": (riff(fmt(1, 16, extensible=True), DATA), SAMPLES),
    "extensible float": (
        riff(fmt(3, 32, extensible=True), chunk(b"data", FLOATS.astype("<f4").tobytes())),
        SAMPLES,
    ),
    "RIFX": (
        riff(
            fmt(1, 16, order=">"),
            chunk(b"data", SAMPLES.astype(">i2").tobytes(), ">"),
            magic=b"RIFX",
            order=">",
        ),
        SAMPLES,
    ),
    "RIFX float": (
        riff(
            fmt(3, 32, order=">"),
            chunk(b"data", FLOATS.astype(">f4").tobytes(), ">"),
            magic=b"RIFX",
            order=">",
        ),
        SAMPLES,
    ),
    "RF64": (rf64(PCM, len(PCM)) + TAGS, SAMPLES),
    "BW64": (rf64(PCM, len(PCM), b"BW64") + TAGS, SAMPLES),
    "RF64 of unknown length": (rf64(PCM, 0), SAMPLES),
    "W64": (w64(1, 16, PCM), SAMPLES),
    "W64, 24 bits": (w64(1, 24, s24(SAMPLES)), SAMPLES),
    "tags before the data": (riff(TAGS, fmt(1, 16), TAGS, DATA), SAMPLES),
    "tags after the data": (riff(fmt(1, 16), DATA, TAGS), SAMPLES),
    "odd bytes after the data": (riff(fmt(1, 16), DATA) + b"\x7fgarbage" * 9, SAMPLES),
    "ID3v1 after the data": (riff(fmt(1, 16), DATA) + b"TAG" + bytes(125), SAMPLES),
    "length of 0": (streamed(0, PCM), SAMPLES),
    "length of 4 GiB": (streamed(0xFFFFFFFF, PCM), SAMPLES),
    "length of 2 GiB": (streamed(0x7FFFF000, PCM), SAMPLES),
    "no samples": (riff(fmt(1, 16), chunk(b"data", b"")), SAMPLES[:0]),
    "no samples but tags": (riff(fmt(1, 16), chunk(b"data", b""), TAGS), SAMPLES[:0]),
    "cut in a sample": (riff(fmt(1, 16), DATA)[:-1], SAMPLES[:-1]),
    "cut in a frame": (riff(fmt(1, 16, 2), chunk(b"data", STEREO.tobytes()))[:-3], STEREO[:-1]),
}


def of_soundfile(samples=SAMPLES, rate_hz=RATE_HZ, **kind):
    place = io.BytesIO()
    if kind.get("subtype") in ("FLOAT", "DOUBLE"):
        samples = samples / 32768
    soundfile.write(place, samples, rate_hz, **kind)
    return place.getvalue()


# Lossless files that soundfile has written, and the samples that each file must return.
LOSSLESS = {
    "AIFF": (of_soundfile(format="AIFF", subtype="PCM_16"), SAMPLES),
    "AIFF, 24 bits": (of_soundfile(format="AIFF", subtype="PCM_24"), SAMPLES),
    "AIFF, stereo": (of_soundfile(STEREO, format="AIFF", subtype="PCM_16"), STEREO),
    "AIFC": (of_soundfile(format="AIFF", subtype="FLOAT"), SAMPLES),
    "AU": (of_soundfile(format="AU", subtype="PCM_16"), SAMPLES),
    "AU, mu-law": (
        of_soundfile(format="AU", subtype="ULAW"),
        of_codes(of_soundfile(format="AU", subtype="ULAW")[-RATE_HZ:], g711.decode_ulaw),
    ),
    "CAF": (of_soundfile(format="CAF", subtype="PCM_16"), SAMPLES),
    "CAF, float": (of_soundfile(format="CAF", subtype="FLOAT"), SAMPLES),
    "CAF, 32 bits": (of_soundfile(format="CAF", subtype="PCM_32"), SAMPLES),
    "FLAC": (of_soundfile(format="FLAC", subtype="PCM_16"), SAMPLES),
    "FLAC, 24 bits": (of_soundfile(format="FLAC", subtype="PCM_24"), SAMPLES),
    "FLAC, stereo": (of_soundfile(STEREO, format="FLAC", subtype="PCM_16"), STEREO),
    "NIST": (of_soundfile(format="NIST", subtype="PCM_16"), SAMPLES),
    "W64 of soundfile": (of_soundfile(format="W64", subtype="PCM_16"), SAMPLES),
    "RF64 of soundfile": (of_soundfile(format="RF64", subtype="PCM_16"), SAMPLES),
}


def of_av(container_format, codec, rate_hz=RATE_HZ, channels=1, muxer=None, **options):
    """Return a file that ffmpeg has encoded."""
    import av

    place = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(place, "w", format=container_format, options=muxer) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout, options=options)
        samples = np.repeat(SAMPLES, channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(
            stream.codec_context.format.name, layout, rate_hz, stream.codec_context.frame_size
        )
        for part in itertools.chain(resampler.resample(frame), resampler.resample(None), [None]):
            container.mux(stream.encode(part))
    return place.getvalue()


def tagged(content):
    """Put an ID3 tag with a picture and a Latin-1 title before a file, and a tag after the file."""
    title = b"TIT2" + struct.pack(">IH", 5, 0) + b"\0caf\xe9"
    picture = b"APIC" + struct.pack(">IH", 30_000, 0) + bytes(30_000)
    body = title + picture
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + body + content + b"TAG" + b"x" * 125


# Lossy files, by the name of the format.
LOSSY = {
    "MP3": of_av("mp3", "libmp3lame"),
    "MP3, 8 kHz": of_av("mp3", "libmp3lame", 8000),
    "MP3, 44.1 kHz, stereo": of_av("mp3", "libmp3lame", 44100, 2),
    "MP3, VBR": of_av("mp3", "libmp3lame", 44100, q="4"),
    "MP3 with tags": tagged(of_av("mp3", "libmp3lame")),
    "MP3 without a header": of_av(
        "mp3", "libmp3lame", muxer={"write_xing": "0", "id3v2_version": "0"}
    ),
    "MP3 of soundfile": of_soundfile(rate_hz=24000, format="MP3"),
    "MP2": of_av("mp2", "mp2"),
    "ADTS": of_av("adts", "aac"),
    "M4A": of_av("mp4", "aac"),
    "M4A, stereo": of_av("mp4", "aac", 44100, 2),
    "Ogg Vorbis": of_soundfile(format="OGG", subtype="VORBIS"),
    "Ogg Opus": of_av("ogg", "libopus", 48000),
    "Ogg Opus of soundfile": of_soundfile(format="OGG", subtype="OPUS"),
    "WebM": of_av("webm", "libopus", 48000, 2),
}


def samples_of(file):
    pcm = b"".join(bytes(block) for block in file)
    file.close()
    return np.frombuffer(pcm, "<i2").reshape(-1, file.channels)


def forms_of(content, folder):
    """Yield the content as a path, bytes, a file in memory, a pipe, and a generator of pieces."""
    path = folder / "call"
    path.write_bytes(content)
    yield path
    yield content
    yield io.BytesIO(content)
    receive, send = os.pipe()

    def write():
        with open(send, "wb") as file:  # noqa: PTH123
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    with open(receive, "rb") as pipe:  # noqa: PTH123
        yield pipe
    yield (content[at : at + 1000] for at in range(0, len(content), 1000))


@pytest.mark.parametrize(
    ("content", "expected"), (WAVS | LOSSLESS).values(), ids=(WAVS | LOSSLESS).keys()
)
def test_lossless(content, expected, tmp_path):
    """A lossless file returns exactly its samples, in every form of input."""
    for form in forms_of(content, tmp_path):
        file = open_recording(form)
        got = samples_of(file)

        assert RATE_HZ == file.sample_rate_hz
        assert np.array_equal(expected.reshape(-1, file.channels), got), type(form)
    assert is_audio_file(content[:64])


def decoded_by_ffmpeg(content):
    import av

    with av.open(io.BytesIO(content), metadata_errors="replace") as container:
        frames = [
            frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
            if frame.format.is_packed
            else frame.to_ndarray().T
            for frame in container.decode(audio=0)
        ]
        rate_hz = container.streams.audio[0].codec_context.sample_rate
    samples = np.concatenate(frames).astype(float)
    return (samples / 32768 if frames[0].dtype.kind == "i" else samples), rate_hz


def snr_db(reference, got):
    """Return the signal-to-noise ratio in dB, after the signals were aligned."""
    size = min(len(reference), len(got))
    padded = 2 ** int(np.ceil(np.log2(2 * size)))
    spectra = [np.fft.rfft(each[:size, 0], padded) for each in (reference, got)]
    shift = int(np.fft.irfft(spectra[0] * spectra[1].conj(), padded).argmax())
    shift = shift - padded if shift > padded // 2 else shift
    reference, got = reference[max(shift, 0) :], got[max(-shift, 0) :]
    size = min(len(reference), len(got))
    # Decoders return different samples at the start and at the end of the signal.
    reference, got = reference[2500 : size - 2500], got[2500 : size - 2500]
    return 10 * np.log10((reference**2).sum() / max(((reference - got) ** 2).sum(), 1e-30))


@pytest.mark.parametrize("content", LOSSY.values(), ids=LOSSY)
def test_lossy(content, tmp_path):
    """A lossy file returns the length and samples of ffmpeg's decoder, in every form of input."""
    reference, rate_hz = decoded_by_ffmpeg(content)
    results = []
    for form in forms_of(content, tmp_path):
        file = open_recording(form)
        results.append(samples_of(file))

        assert rate_hz == file.sample_rate_hz
    assert all(np.array_equal(results[0], each) for each in results[1:])
    assert reference.shape[1] == results[0].shape[1]
    assert abs(len(reference) - len(results[0])) <= 1152
    assert snr_db(reference, results[0] / 32768) > 60


@pytest.mark.parametrize(
    "name", ["MP3", "MP3, VBR", "MP3 with tags", "MP3, 8 kHz", "Ogg Vorbis", "Ogg Opus"]
)
def test_lossy_by_soundfile(name, monkeypatch):
    """Without PyAV, soundfile decodes MP3 and Ogg."""
    reference, _ = decoded_by_ffmpeg(LOSSY[name])
    monkeypatch.setitem(sys.modules, "av", None)

    got = samples_of(open_recording(LOSSY[name]))

    assert abs(len(reference) - len(got)) <= 2 * 1152
    assert snr_db(reference, got / 32768) > 60


@pytest.mark.parametrize("name", ["AIFF, 24 bits", "CAF, float", "FLAC", "FLAC, 24 bits", "NIST"])
def test_lossless_by_av(name, monkeypatch):
    """Without soundfile, PyAV decodes lossless files without an error in any sample."""
    content, expected = LOSSLESS[name]
    monkeypatch.setitem(sys.modules, "soundfile", None)

    assert np.array_equal(expected.reshape(RATE_HZ, -1), samples_of(open_recording(content)))


@pytest.mark.parametrize(("content", "expected"), WAVS.values(), ids=WAVS)
def test_wav_needs_no_library(content, expected, monkeypatch):
    """WAV files are decoded without soundfile and PyAV."""
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "av", None)

    assert np.array_equal(expected.reshape(-1), samples_of(open_recording(content)).reshape(-1))


def test_rounding():
    """Samples of 24 and 32 bits are rounded to the nearest 16-bit value, and halves to even."""
    values = [0x17F, 0x180, 0x181, 0x280, -0x180, 0x7FFFFF]
    wide = np.array(values, "<i4")
    expected = [1, 2, 2, 2, -2, 32767]

    for content in (
        riff(
            fmt(1, 24), chunk(b"data", (wide << 8).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes())
        ),
        riff(fmt(1, 32), chunk(b"data", (wide << 8).tobytes())),
        of_soundfile(wide << 8, format="FLAC", subtype="PCM_24"),
    ):
        assert expected == samples_of(open_recording(content))[:, 0].tolist()


def test_rare_wav():
    """A WAV encoding that the package cannot decode is decoded by a library, also from a pipe."""
    content = of_soundfile(format="WAV", subtype="IMA_ADPCM")

    for form in (content, iter([content[:100], content[100:]])):
        got = samples_of(open_recording(form))[:RATE_HZ, 0] / 32768
        assert np.abs(got - FLOATS).mean() < 0.01


# For each raw format: the bytes of the samples, and the suffixes of files that have this format.
RAW = {
    "s16le": (PCM, (".pcm", ".raw", ".sln")),
    "s16be": (SAMPLES.astype(">i2").tobytes(), (".s16be",)),
    "s24le": (s24(SAMPLES), (".s24",)),
    "s32le": ((SAMPLES.astype("<i4") << 16).tobytes(), (".s32",)),
    "s32be": ((SAMPLES.astype("<i4") << 16).astype(">i4").tobytes(), ()),
    "f32le": (FLOATS.astype("<f4").tobytes(), (".f32",)),
    "f32be": (FLOATS.astype(">f4").tobytes(), ()),
    "f64le": (FLOATS.tobytes(), (".f64",)),
    "f64be": (FLOATS.astype(">f8").tobytes(), ()),
    "s24be": (
        (SAMPLES.astype("<i4") << 8).astype(">i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes(),
        (),
    ),
}


@pytest.mark.parametrize(("raw_format", "content", "suffixes"), [(k, *v) for k, v in RAW.items()])
def test_raw(raw_format, content, suffixes, tmp_path):
    """The declared format, or the suffix of the file, selects how raw samples are decoded."""
    given = {"sample_rate_hz": RATE_HZ, "raw_format": raw_format}

    assert PCM == b"".join(open_recording(content, **given))
    for suffix in suffixes:
        path = tmp_path / f"call{suffix}"
        path.write_bytes(content)
        assert PCM == b"".join(open_recording(path, sample_rate_hz=RATE_HZ))


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_telephone_files(law, tmp_path):
    """Any bytes without a header are decoded as G.711 if the format or the suffix says so."""
    decode = g711.decode_ulaw if law == "mulaw" else g711.decode_alaw
    for codes in (CODES, b"\xff\xfb\x90\x00" * 4000, b"\xff" * 8000, b"A" * 8000):
        path = tmp_path / ("call.ul" if law == "mulaw" else "call.al")
        path.write_bytes(codes)
        by_suffix = open_recording(path, sample_rate_hz=8000)
        declared = open_recording(codes, sample_rate_hz=8000, raw_format=law)
        assert decode(codes) == b"".join(by_suffix) == b"".join(declared)


def test_raw_samples_are_not_mp3():
    """Raw samples whose first bytes look like an MP3 header are decoded as raw samples."""
    rng = np.random.default_rng(7)
    for samples in (
        np.tile(np.array([-1025, 0x6490], "<i2"), 4000),
        np.full(8000, -1, "<i2"),
        np.concatenate([[-1025, 0x0090], rng.integers(-20000, 20000, 8000)]),
        np.concatenate([[-3585, 0x0050], rng.integers(-9, 9, 8000)]),
    ):
        pcm = samples.astype("<i2").tobytes()
        assert pcm == b"".join(open_recording(pcm, sample_rate_hz=RATE_HZ))


@pytest.mark.parametrize("raw_format", ["pcm", "", 16, ["s16le"]])
def test_unknown_raw_format(raw_format):
    """An unknown raw format raises an error with the list of formats."""
    with pytest.raises(ConfigError, match=r"raw_format must be one of s16le, s16be, .*mulaw, alaw"):
        open_recording(PCM, sample_rate_hz=RATE_HZ, raw_format=raw_format)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("diary.txt", b"Dear diary, today I"),
        ("zeros.dat", bytes(100)),
        ("call.wav", b"RIFF"),
        ("call.mp3", b"\0" * 50),
    ],
)
def test_unknown_format(name, content, tmp_path):
    """A file whose format is unknown raises an error with the name of the file."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(
        AudioError, match=rf"{name}.*(not in a known audio format|cannot be decoded)"
    ):
        open_recording(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (riff(fmt(1, 16)), "has no samples"),
        (riff(DATA), "no format before its samples"),
        (riff(fmt(1, 16)[:20]), "has no samples|damaged"),
        (riff(chunk(b"fmt ", bytes(16)), DATA), "1 to 64 channels, got 0 Hz"),
        (riff(fmt(1, 16, 65), DATA), "got 16000 Hz and 65 channels"),
        (b"ID3\x03" + bytes(60), "cannot be decoded"),
        (b"fLaC" + bytes(60), "cannot be decoded"),
        (LOSSY["M4A"][:400], "cannot be decoded"),
    ],
)
def test_damaged(content, words):
    """A damaged file raises an error that says what is wrong."""
    with pytest.raises(AudioError, match=words):
        open_recording(content)


def test_damaged_in_the_middle():
    """A file whose middle cannot be decoded raises an error, so no audio is left out silently."""
    content = bytearray(LOSSLESS["FLAC"][0])
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)

    with pytest.raises(AudioError, match="cut or damaged"):
        samples_of(open_recording(bytes(content)))


def test_empty(tmp_path):
    """The error for an empty file says that the file is empty."""
    path = tmp_path / "call.wav"
    path.touch()

    with pytest.raises(AudioError, match=r"call\.wav is empty"):
        open_recording(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LOSSLESS["FLAC"][0], r"soundfile or av .*inworld-sync\[files\].*inworld-sync\[media\]"),
        (LOSSY["MP3"], r"av or soundfile .*inworld-sync\[media\].*inworld-sync\[files\]"),
        (LOSSY["M4A"], r"\(M4A\) needs av to be decoded: pip install 'inworld-sync\[media\]'$"),
        (of_soundfile(format="WAV", subtype="IMA_ADPCM"), r"\(WAV\) needs soundfile or av"),
    ],
)
def test_missing_library(content, words, monkeypatch):
    """If no library for a format is installed, the error names the extras with such a library."""
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(AudioError, match=words):
        open_recording(content)


def test_frames(tmp_path):
    """The number of frames is known for WAV and other lossless files if the input can seek."""
    for content in (WAVS["stereo"][0], WAVS["length of 0"][0], LOSSLESS["FLAC"][0]):
        assert RATE_HZ == open_recording(content).frames
    assert open_recording(LOSSY["MP3"]).frames is None
    assert open_recording(iter([WAVS["length of 0"][0]])).frames is None


def test_close_frees(tmp_path):
    """A closed file yields no more blocks. It may be closed again, and may be deleted."""
    path = tmp_path / "call.wav"
    path.write_bytes(WAVS["16 bits"][0])
    file = open_recording(path)
    blocks = iter(file)
    next(blocks)

    file.close()
    file.close()

    assert [] == list(blocks)
    path.unlink()


def test_freed_once():
    """The decoder of a file is freed once, even if the file is closed twice or after its end."""
    freed = []
    for read in (False, True):
        file = AudioFile(iter(()), RATE_HZ, 1, lambda: freed.append(1))
        if read:
            assert [] == list(file)
        file.close()
        file.close()

    assert [1, 1] == freed


def test_close_during_a_read():
    """close() does not wait for a block that is being read. The file is freed after this block."""
    reading, may_go, order = threading.Event(), threading.Event(), []

    def blocks():
        reading.set()
        assert may_go.wait(30)
        order.append("read")
        yield b"\x00\x00"

    file = AudioFile(blocks(), RATE_HZ, 1, lambda: order.append("freed"))
    reader = threading.Thread(target=list, args=(file,))
    reader.start()
    assert reading.wait(30)
    file.close()
    assert [] == order
    may_go.set()
    reader.join(30)

    assert ["read", "freed"] == order


# (first bytes, whether they are the start of an audio file)
HEADS = [
    (b"", False),
    (b"RI", False),
    (bytes(64), False),
    (b"\xff\x7f\x00\x80" * 4, False),
    (b"\xff\xfb\x90\x00" + bytes(60), True),
    (b"\x00\x00\x00\x20ftypM4A ", True),
]


@pytest.mark.parametrize(("head", "expected"), HEADS)
def test_heads(head, expected):
    """An audio file is recognized by its first bytes. Raw samples are not recognized as a file."""
    assert expected is is_audio_file(head)


def test_open_file():
    """A file in memory can be opened as a recording."""
    assert np.array_equal(SAMPLES, samples_of(open_file(memoryview(WAVS["16 bits"][0])))[:, 0])


# The script reads the recording that is named on the command line. The first number that it prints
# is the duration in seconds. The second number says by how many KiB the largest memory use of the
# process has increased after the first minute of the recording.
_MEASURE = """
import resource, sys
from inworld_sync.audio.source import open_source

def memory_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

samples, first = 0, None
for block in open_source(sys.argv[1], from_hz=8000, to_hz=8000):
    samples += len(block) // 2
    if first is None and samples >= 60 * 8000:
        first = memory_kib()
print(samples / 8000, memory_kib() - first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "suffix",
    [".raw", ".wav", *(pytest.param(each, marks=pytest.mark.slow) for each in (".mp3", ".flac"))],
)
def test_three_hours(suffix, tmp_path):
    """Reading three hours of a recording needs at most 16 MiB more than reading one minute."""
    path, seconds = tmp_path / f"call{suffix}", 3 * 3600
    if suffix in (".raw", ".wav"):
        with path.open("wb") as file:
            if suffix == ".wav":
                file.write(header(8000, 1, seconds * 16000))
            file.truncate(file.tell() + seconds * 16000)
    elif suffix == ".mp3":
        # Repeat one second of whole frames.
        frames = of_av("mp3", "libmp3lame", 8000, muxer={"write_xing": "0", "id3v2_version": "0"})
        path.write_bytes(frames * (seconds * 8000 // len(samples_of(open_recording(frames)))))
    else:
        with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC", subtype="PCM_16") as file:
            for _ in range(seconds // 60):
                file.write(np.zeros(60 * 8000, np.int16))

    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, timeout=280
    )
    assert not done.returncode, done.stderr
    length, growth_kib = map(float, done.stdout.split())

    assert length == pytest.approx(seconds, rel=0.1)
    assert growth_kib < 16 * 1024
