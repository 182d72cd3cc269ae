"""Audio files: what is written by others is read as it was."""

from __future__ import annotations

import io
import struct
import sys
import threading
import wave

import numpy as np
import pytest
import soundfile

from inworld_sync.audio import files
from inworld_sync.audio.files import AudioFile, is_audio_file, open_file
from inworld_sync.errors import AudioError

RATE_HZ = 16_000
SAMPLES = np.rint(
    np.sin(np.arange(RATE_HZ) * 2 * np.pi * 440 / RATE_HZ) * 0.5 * 32768
).astype("<i2")  # fmt: skip
STEREO = np.stack([SAMPLES, SAMPLES // 2], axis=1)


def content_of(file):
    pcm = b"".join(bytes(block) for block in file)
    file.close()
    return np.frombuffer(pcm, "<i2").reshape(-1, file.channels)


def written(samples, **kind):
    place = io.BytesIO()
    if kind.get("subtype") in ("FLOAT", "DOUBLE"):
        samples = samples / 32768
    soundfile.write(place, samples, RATE_HZ, **kind)
    return place.getvalue()


def wav(samples, channels):
    """A file of the standard library."""
    place = io.BytesIO()
    with wave.open(place, "wb") as file:
        file.setparams((channels, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return place.getvalue()


# Kinds that soundfile writes, and how far a sample may be from what was written: none for the
# lossless ones, the step of 8 bits, that of G.711, and much for what is made for ears.
KINDS = {
    "WAV 16": ({"format": "WAV", "subtype": "PCM_16"}, 0),
    "WAV 24": ({"format": "WAV", "subtype": "PCM_24"}, 0),
    "WAV 32": ({"format": "WAV", "subtype": "PCM_32"}, 0),
    "WAV 8": ({"format": "WAV", "subtype": "PCM_U8"}, 256),
    "WAV float": ({"format": "WAV", "subtype": "FLOAT"}, 0),
    "WAV double": ({"format": "WAV", "subtype": "DOUBLE"}, 0),
    "WAV extensible": ({"format": "WAVEX", "subtype": "PCM_16"}, 0),
    "WAV mu-law": ({"format": "WAV", "subtype": "ULAW"}, 512),
    "WAV A-law": ({"format": "WAV", "subtype": "ALAW"}, 512),
    "AIFF": ({"format": "AIFF", "subtype": "PCM_16"}, 0),
    "AU": ({"format": "AU", "subtype": "PCM_16"}, 0),
    "FLAC": ({"format": "FLAC", "subtype": "PCM_16"}, 0),
    "Ogg Vorbis": ({"format": "OGG", "subtype": "VORBIS"}, 1500),
    "Ogg Opus": ({"format": "OGG", "subtype": "OPUS"}, 1500),
}


@pytest.mark.parametrize(("kind", "step"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("samples", [SAMPLES, STEREO], ids=["mono", "stereo"])
def test_kinds(kind, step, samples, tmp_path):
    """A file of any kind gives its samples, from its path and from its bytes."""
    content = written(samples, **kind)
    path = tmp_path / "call.audio"
    path.write_bytes(content)

    for place in (path, memoryview(content)):
        file = open_file(place)
        got = content_of(file)
        assert RATE_HZ == file.sample_rate_hz
        assert samples.reshape(RATE_HZ, -1).shape == got.shape
        difference = np.abs(got.astype(int) - samples.reshape(RATE_HZ, -1))
        # The ends of a file are where codecs for ears are worst.
        assert step >= (difference[1000:-1000] if step > 1000 else difference).max()
    assert is_audio_file(content[:64])


def test_mp3():
    """MP3 is read by soundfile: about as long, the same tone."""
    content = written(SAMPLES, format="MP3")

    file = open_file(memoryview(content))
    got = content_of(file)[:, 0] / 32768

    assert 0.1 > abs(len(got) / file.sample_rate_hz - 1)
    spectrum = np.abs(np.fft.rfft(got))
    assert 440 == pytest.approx(spectrum.argmax() * file.sample_rate_hz / len(got), abs=3)
    assert is_audio_file(content[:64])


def test_av():
    """M4A, which soundfile does not know, is read by PyAV."""
    import av

    place = io.BytesIO()
    with av.open(place, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(SAMPLES.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        for part in (frame, None):
            container.mux(stream.encode(part))
    content = place.getvalue()

    file = open_file(memoryview(content))
    got = content_of(file)[:, 0] / 32768

    assert (RATE_HZ, 1) == (file.sample_rate_hz, file.channels)
    assert 0.2 > abs(len(got) / RATE_HZ - 1)
    spectrum = np.abs(np.fft.rfft(got))
    assert 440 == pytest.approx(spectrum.argmax() * RATE_HZ / len(got), abs=3)
    assert is_audio_file(content[:64])


@pytest.mark.parametrize("channels", [1, 2])
def test_plain_wav_needs_no_library(channels, monkeypatch):
    """16-bit WAV is read without soundfile and PyAV."""
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "av", None)
    samples = STEREO if channels == 2 else SAMPLES

    got = content_of(open_file(memoryview(wav(samples, channels))))

    assert samples.reshape(-1, channels).tolist() == got.tolist()


@pytest.mark.parametrize("announced", [0, 0xFFFF_FFFF, 40_000])
def test_streamed_wav(announced):
    """A WAV file whose writer never came back to say its length is read to its end."""
    content = bytearray(wav(SAMPLES, 1))
    content[40:44] = struct.pack("<I", announced)

    assert len(SAMPLES) == len(content_of(open_file(memoryview(bytes(content)))))


def test_cut_wav():
    """A WAV file that was cut inside a frame gives its whole frames."""
    content = wav(STEREO, 2)[:-3]

    assert len(STEREO) - 1 == len(content_of(open_file(memoryview(content))))


@pytest.mark.parametrize(
    "content", [b"Dear diary, today I", b"\x00" * 100, b"RIFF", b"ID3" + b"\x00" * 50]
)
def test_no_audio(content, tmp_path):
    """What is no audio file is refused by name, with what each library says."""
    path = tmp_path / "diary.txt"
    path.write_bytes(content)

    with pytest.raises(AudioError, match=r"diary\.txt cannot be decoded \(soundfile: .*av: "):
        open_file(path)


def test_empty(tmp_path):
    """An empty file is called empty."""
    path = tmp_path / "call.wav"
    path.touch()

    with pytest.raises(AudioError, match=r"call\.wav is empty"):
        open_file(path)


def test_no_file(tmp_path):
    """A missing file is the system's error."""
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "call.wav")


def test_no_libraries(monkeypatch):
    """Without a library that knows the kind, the error says which would."""
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(AudioError, match="soundfile is not installed; av is not installed"):
        open_file(memoryview(written(SAMPLES, format="FLAC")))


def test_close_frees(tmp_path):
    """A closed file gives no more blocks, and may be closed again and deleted."""
    path = tmp_path / "call.wav"
    path.write_bytes(wav(SAMPLES, 1))
    file = open_file(path)
    blocks = iter(file)
    next(blocks)

    file.close()
    file.close()

    assert [] == list(blocks)
    path.unlink()


def test_freed_once():
    """A file closed twice is freed once."""
    freed = []
    file = AudioFile(iter(()), RATE_HZ, 1, lambda: freed.append(1))

    file.close()
    file.close()

    assert [1] == freed


def test_close_waits_for_the_block():
    """A file closed by another thread is freed after the block that is being read."""
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
    closer = threading.Thread(target=file.close)
    closer.start()
    may_go.set()
    reader.join(30)
    closer.join(30)

    assert ["read", "freed"] == order


# (first bytes, is a file): raw sound is not taken for one.
HEADS = [
    (b"", False),
    (b"RI", False),
    (bytes(64), False),
    (b"\xff\x7f\x00\x80", False),
    (b"\xff\xfb\x90\x00", True),
    (b"\x00\x00\x00\x20ftypM4A ", True),
]


@pytest.mark.parametrize(("head", "expected"), HEADS)
def test_heads(head, expected):
    """A file is known by its first bytes."""
    assert expected is is_audio_file(head)
