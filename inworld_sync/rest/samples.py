"""Converts recordings for a voice clone to files that the service accepts."""

from __future__ import annotations

import os
from typing import Final

from inworld_sync.audio import wav
from inworld_sync.audio.files import format_of
from inworld_sync.audio.reader import ByteReader
from inworld_sync.audio.samples import is_array, raw_bytes
from inworld_sync.audio.source import AudioLike, open_source
from inworld_sync.errors import AudioError
from inworld_sync.models.devices import AudioSource

__all__ = ["MAX_SAMPLE_BYTES", "audio_file", "reader_of"]

# Source: the service's guide to voice cloning, size of a file.
MAX_SAMPLE_BYTES: Final = 4 * 1024 * 1024

# The service documents these formats. Other formats are converted to WAV.
_ACCEPTED: Final = ("WAV", "MP3")


def audio_file(audio: AudioLike, name: str, sample_rate_hz: int | None, channels: int) -> bytes:
    """
    Return a recording as a WAV or MP3 file.

    A WAV or MP3 file is returned unchanged. All other audio becomes 16-bit mono WAV at its own
    sample rate.

    Args:
        audio: As for ``iw.stt.transcribe``.
        name: The name of the argument, for the messages of errors.
        sample_rate_hz: The sample rate of raw samples and arrays.
        channels: The number of channels of raw samples.

    Raises:
        AudioError: *audio* is not audio, has no samples, or is larger than the service accepts.
        ConfigError: *sample_rate_hz* is missing, or an argument is out of range.
        OSError: The file cannot be read.
    """
    reader = reader_of(audio)
    if reader is None:
        return _as_wav(audio, name, sample_rate_hz, channels)
    try:
        content = reader.read(MAX_SAMPLE_BYTES + 1)
        name = f"{name} ({reader.name})" if isinstance(audio, (str, os.PathLike)) else name
        if len(content) > MAX_SAMPLE_BYTES:
            raise _too_large(name, len(content) + (reader.left_bytes or 0))
    finally:
        reader.close()
    if not content:
        raise AudioError(f"{name} is empty (0 bytes): pass a recording of 3 to 30 s of speech")
    kind = format_of(ByteReader.of_memory(content), may_be_raw=sample_rate_hz is not None)
    if kind is None and sample_rate_hz is None:
        raise AudioError(
            f"{name} is not in a known audio format ({len(content)} bytes): pass a WAV or MP3 "
            "file; raw samples need sample_rate_hz"
        )
    if kind == "MP3":
        return content
    # WAV files are read too, so that a file without samples is found before the request.
    converted = _as_wav(content, name, sample_rate_hz, channels)
    return content if kind in _ACCEPTED else converted


def reader_of(audio: object) -> ByteReader | None:
    """Return a reader of the bytes of a file; None for arrays, blocks and sources."""
    if isinstance(audio, (str, os.PathLike)):
        return ByteReader.of_path(audio)
    if isinstance(audio, AudioSource) or is_array(audio):
        return None
    content = raw_bytes(audio)
    if content is not None:
        return ByteReader.of_memory(content)
    return ByteReader.of_file(audio) if hasattr(audio, "read") else None


def _as_wav(audio: AudioLike, name: str, sample_rate_hz: int | None, channels: int) -> bytes:
    source = open_source(audio, from_hz=sample_rate_hz, channels=channels)
    try:
        pcm = bytearray()
        for block in source:
            pcm += block
            if len(pcm) + wav.HEADER_BYTES > MAX_SAMPLE_BYTES:
                raise _too_large(name, len(pcm) + wav.HEADER_BYTES)
    finally:
        source.close()
    if not pcm:
        raise AudioError(f"{name} has no audio in it: pass a recording of 3 to 30 s of speech")
    return wav.header(source.sample_rate_hz, 1, len(pcm)) + bytes(pcm)


def _too_large(name: str, size_bytes: int) -> AudioError:
    return AudioError(
        f"{name} may have at most {MAX_SAMPLE_BYTES} bytes (4 MB), got at least {size_bytes}: the "
        "service uses the first 30 s at most, so cut the recording or save it as MP3"
    )
