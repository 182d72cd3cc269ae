"""
Decodes every format in every form, and compares the samples with the samples that ffmpeg decodes.

A form is the kind of object that has the recording, such as a path, an open file, bytes or a pipe.
ffmpeg writes each file, and decodes the file to 64-bit floats. This module rounds the floats to 16
bits, because ffmpeg itself would cut off the lower bits.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from inworld_sync.audio.source import AudioLike, open_recording

SECONDS = 3.0
LEAST_SNR_DB = 60.0

Frames = npt.NDArray[np.int16]


@attrs.frozen
class Format:
    """A format, and the options with which ffmpeg writes it."""

    name: str
    suffix: str
    options: str
    rate_hz: int = 44100
    channels: int = 2
    # How many samples one frame of the codec has; 0 for a lossless format.
    frame: int = 0
    raw_format: str | None = None
    least_snr_db: float = LEAST_SNR_DB


FORMATS = (
    Format("WAV, 8 bit", "wav", "-c:a pcm_u8"),
    Format("WAV, 16 bit", "wav", "-c:a pcm_s16le"),
    Format("WAV, 24 bit", "wav", "-c:a pcm_s24le"),
    Format("WAV, 32 bit", "wav", "-c:a pcm_s32le"),
    Format("WAV, float", "wav", "-c:a pcm_f32le"),
    Format("WAV, double", "wav", "-c:a pcm_f64le"),
    Format("WAV, mu-law", "wav", "-c:a pcm_mulaw", 8000),
    Format("WAV, A-law", "wav", "-c:a pcm_alaw", 8000),
    Format("WAV, six channels (extensible)", "wav", "-c:a pcm_s24le", 48000, 6),
    Format("WAV, MS ADPCM", "wav", "-c:a adpcm_ms", frame=2048),
    Format("WAV, GSM", "wav", "-c:a libgsm_ms", 8000, 1, frame=320),
    # ffmpeg 5 rounds the steps of the codec differently from ffmpeg 8 and libsndfile.
    Format("WAV, IMA ADPCM", "wav", "-c:a adpcm_ima_wav", frame=2048, least_snr_db=55),
    Format("RF64", "wav", "-c:a pcm_s16le -rf64 always"),
    Format("W64", "w64", "-c:a pcm_s16le"),
    Format("AIFF, 16 bit", "aiff", "-c:a pcm_s16be"),
    Format("AIFF, 24 bit", "aiff", "-c:a pcm_s24be"),
    Format("AU, mu-law", "au", "-c:a pcm_mulaw", 8000, 1),
    Format("CAF", "caf", "-c:a pcm_s16be"),
    Format("FLAC, 16 bit", "flac", "-c:a flac -sample_fmt s16"),
    Format("FLAC, 24 bit", "flac", "-c:a flac -sample_fmt s32"),
    Format("ALAC in M4A", "m4a", "-c:a alac"),
    Format("raw, 16 bit", "pcm", "-f s16le", 8000, 2, 0, "s16le"),
    Format("raw, 16 bit big-endian", "raw", "-f s16be", 8000, 1, 0, "s16be"),
    Format("raw, 24 bit", "s24", "-f s24le", 48000, 2, 0, "s24le"),
    Format("raw, float", "f32", "-f f32le", 48000, 1, 0, "f32le"),
    Format("raw, mu-law", "ul", "-f mulaw", 8000, 1, 0, "mulaw"),
    Format("raw, A-law", "al", "-f alaw", 8000, 2, 0, "alaw"),
    Format("MP3, 128 kbit/s", "mp3", "-c:a libmp3lame -b:a 128k", frame=1152),
    Format("MP3, variable rate", "mp3", "-c:a libmp3lame -q:a 4", frame=1152),
    Format("MP3, MPEG 2", "mp3", "-c:a libmp3lame -b:a 64k", 22050, frame=1152),
    Format("MP3, MPEG 2.5", "mp3", "-c:a libmp3lame -b:a 24k", 8000, 1, frame=1152),
    Format("MP2", "mp2", "-c:a mp2 -b:a 192k", frame=1152),
    Format("AAC (ADTS)", "aac", "-c:a aac -b:a 128k", frame=1024),
    Format("AAC in M4A", "m4a", "-c:a aac -b:a 128k", frame=1024),
    Format("Vorbis in Ogg", "ogg", "-c:a libvorbis -q:a 4", frame=2048),
    Format("Opus in Ogg", "opus", "-c:a libopus -b:a 64k", 48000, frame=960),
    Format("Opus in WebM", "webm", "-c:a libopus -b:a 64k", 48000, frame=960),
    Format("Vorbis in WebM", "webm", "-c:a libvorbis -q:a 4", frame=2048),
    Format("WMA", "wma", "-c:a wmav2 -b:a 128k", frame=2048),
)


def signal(rate_hz: int, channels: int) -> npt.NDArray[np.float64]:
    """Return a tone with rising frequency, and noise. The tone and noise differ in each channel."""
    at = np.arange(round(rate_hz * SECONDS)) / rate_hz
    noise = np.random.default_rng(1)
    columns = []
    for number in range(channels):
        end_hz = rate_hz / 8
        sweep = np.sin(2 * np.pi * (150 + 40 * number + end_hz / SECONDS / 2 * at) * at)
        columns.append(0.4 * sweep + 0.02 * noise.standard_normal(len(at)))
    return np.stack(columns, axis=1)


def written(each: Format, folder: Path) -> Path:
    """Write a file with ffmpeg. Return its path."""
    path = folder / f"{FORMATS.index(each)}.{each.suffix}"
    source = ["-f", "f64le", "-ar", str(each.rate_hz), "-ac", str(each.channels), "-i", "-"]
    ffmpeg(*source, *each.options.split(), str(path), data=signal(each.rate_hz, each.channels))
    return path


def reference(each: Format, path: Path) -> Frames:
    """Return the samples that ffmpeg decodes."""
    declared = each.options.split() if each.raw_format else []
    if declared:
        declared += ["-ar", str(each.rate_hz), "-ac", str(each.channels)]
    decoded = ffmpeg(*declared, "-i", str(path), "-f", "f64le", "-")
    samples = np.frombuffer(decoded, "<f8").reshape(-1, each.channels)
    return np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)


def ffmpeg(*arguments: str, data: npt.NDArray[np.float64] | None = None) -> bytes:
    command = ["ffmpeg", "-hide_banner", "-v", "error", "-y", *arguments]
    content = None if data is None else data.tobytes()
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout


# The forms of one recording.


@contextmanager
def as_path(path: Path) -> Iterator[AudioLike]:
    yield path


@contextmanager
def as_file(path: Path) -> Iterator[AudioLike]:
    with path.open("rb") as file:
        yield file


@contextmanager
def as_bytes(path: Path) -> Iterator[AudioLike]:
    yield path.read_bytes()


@contextmanager
def as_memory_file(path: Path) -> Iterator[AudioLike]:
    yield io.BytesIO(path.read_bytes())


@contextmanager
def as_blocks(path: Path) -> Iterator[AudioLike]:
    content = path.read_bytes()
    yield (content[at : at + 1001] for at in range(0, len(content), 1001))


@contextmanager
def as_pipe(path: Path) -> Iterator[AudioLike]:
    receive, send = os.pipe()

    def write() -> None:
        with os.fdopen(send, "wb") as pipe:
            pipe.write(path.read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(receive, "rb") as pipe:
        yield pipe
    writer.join()


FORMS: dict[str, Callable[[Path], Any]] = {
    "path": as_path,
    "file": as_file,
    "bytes": as_bytes,
    "BytesIO": as_memory_file,
    "blocks": as_blocks,
    "pipe": as_pipe,
}


def read(each: Format, audio: AudioLike) -> Frames:
    """Return the samples that the package decodes."""
    declared: dict[str, Any] = {}
    if each.raw_format:
        declared = {"sample_rate_hz": each.rate_hz, "channels": each.channels}
        declared["raw_format"] = each.raw_format
    file = open_recording(audio, **declared)
    content = b"".join(bytes(block) for block in file)
    file.close()
    if (file.sample_rate_hz, file.channels) != (each.rate_hz, each.channels):
        raise ValueError(f"{each.name}: got {file.sample_rate_hz} Hz, {file.channels} channels")
    return np.frombuffer(content, "<i2").reshape(-1, each.channels)


def compared(each: Format, found: Frames, wanted: Frames) -> tuple[str, bool]:
    """Return a cell of the table, and whether the goal is met."""
    if np.array_equal(found, wanted):
        return "exact", True
    if not each.frame:
        return "DIFFERENT", False
    missing = abs(len(found) - len(wanted))
    snr_db = snr(found, wanted, 0)
    if snr_db < each.least_snr_db:
        snr_db = max(snr(found, wanted, shift) for shift in range(-each.frame, each.frame + 1))
    is_met = missing <= each.frame and snr_db >= each.least_snr_db
    length = f", {len(found) - len(wanted):+d} samples" if missing else ""
    return f"{'exact' if snr_db > 300 else f'{snr_db:.0f} dB'}{length}", is_met


def snr(found: Frames, wanted: Frames, shift: int) -> float:
    """
    Return the signal-to-noise ratio of *found* in dB, if *found* is *shift* samples late.

    The noise is the difference from *wanted*.
    """
    a, b = found[max(0, shift) :, 0], wanted[max(0, -shift) :, 0]
    size = min(len(a), len(b))
    # A tenth of the samples is enough to reject a wrong shift.
    probe = size if shift == 0 else size // 10
    difference = _power(a[:probe].astype(np.float64) - b[:probe])
    ratio_db = _decibels(_power(b[:probe].astype(np.float64)), difference)
    if shift == 0 or ratio_db < LEAST_SNR_DB / 2:
        return ratio_db
    return _decibels(_power(b[:size].astype(np.float64)), _power(a[:size] - b[:size].astype(float)))


def _power(samples: npt.NDArray[np.float64]) -> float:
    return float(np.dot(samples, samples))


def _decibels(power: float, noise: float) -> float:
    return 10 * np.log10(max(power, 1.0) / max(noise, 1e-100))


def measure() -> bool:
    """Print the table. Return whether all goals are met."""
    met = True
    print(f"| format | {' | '.join(FORMS)} |")
    print(f"|---|{'---|' * len(FORMS)}")
    with tempfile.TemporaryDirectory() as folder:
        for each in FORMATS:
            path = written(each, Path(folder))
            wanted = reference(each, path)
            cells = []
            for form in FORMS.values():
                with form(path) as audio:
                    cell, is_met = compared(each, read(each, audio), wanted)
                cells.append(cell)
                met &= is_met
            print(f"| {each.name} | {' | '.join(cells)} |", flush=True)
    goal = f"lossless formats exact, lossy formats {LEAST_SNR_DB:.0f} dB (IMA ADPCM 55 dB)"
    print(f"\n{goal}: {'met' if met else 'NOT MET'}\n")
    return met
