"""Speech is encoded as MP3, Ogg Opus and FLAC files."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import soundfile

from inworld_sync.audio.file_encoder import encode_file
from inworld_sync.audio.files import open_file
from inworld_sync.errors import AudioError
from inworld_sync.models.tts import SAMPLE_RATES_HZ, AudioEncoding

KINDS = {AudioEncoding.MP3: "MP3", AudioEncoding.OGG_OPUS: "OGG", AudioEncoding.FLAC: "FLAC"}


def chirp(rate_hz: int, seconds: float = 1.5) -> np.ndarray:
    at = np.arange(round(rate_hz * seconds)) / rate_hz
    return np.rint(12_000 * np.sin(2 * np.pi * (200 * at + 300 * at**2))).astype("<i2")


def without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.parametrize("library", ["soundfile", "av"])
@pytest.mark.parametrize("rate_hz", SAMPLE_RATES_HZ)
@pytest.mark.parametrize("encoding", KINDS)
def test_round_trip(
    monkeypatch: pytest.MonkeyPatch, library: str, rate_hz: int, encoding: AudioEncoding
) -> None:
    """With either library, a file has the right encoding, duration and loudness."""
    samples = chirp(rate_hz)
    with monkeypatch.context() as patched:
        without(patched, "av" if library == "soundfile" else "soundfile")
        content = encode_file(samples.tobytes(), rate_hz, encoding)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        assert (KINDS[encoding], 1) == (file.format, file.channels)
    decoded = open_file(content)
    found = np.frombuffer(b"".join(bytes(block) for block in decoded), "<i2")

    if encoding is AudioEncoding.FLAC:
        assert np.array_equal(samples, found)
        return
    assert decoded.sample_rate_hz >= rate_hz
    seconds = len(found) / decoded.sample_rate_hz
    # Encoders add less than two frames at each end.
    assert 1.5 <= seconds < 1.7
    assert np.std(found) == pytest.approx(np.std(samples), rel=0.1)


@pytest.mark.slow
def test_long_opus() -> None:
    """Ten minutes of audio are encoded completely."""
    pcm = chirp(16_000, 10).tobytes() * 60
    content = encode_file(pcm, 16_000, AudioEncoding.OGG_OPUS)

    assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(600, abs=0.1)


@pytest.mark.parametrize("encoding", KINDS)
def test_no_audio(encoding: AudioEncoding) -> None:
    """Encoding no samples raises an error that names the encoding."""
    with pytest.raises(AudioError, match=encoding.value):
        encode_file(b"", 24_000, encoding)


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """If neither library is installed, the error names the extras to install."""
    without(monkeypatch, "soundfile", "av")
    with pytest.raises(AudioError, match=r"inworld-sync\[files\].*inworld-sync\[media\]"):
        encode_file(bytes(2), 24_000, AudioEncoding.MP3)
