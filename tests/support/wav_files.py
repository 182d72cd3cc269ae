"""WAV files that are read with the standard library."""

from __future__ import annotations

import os
import wave
from typing import BinaryIO, NamedTuple

__all__ = ["Wav", "read_wav"]


class Wav(NamedTuple):
    pcm: bytes
    sample_rate_hz: int
    channels: int


def read_wav(source: str | os.PathLike[str] | BinaryIO) -> Wav:
    """Read a whole WAV file with 16-bit samples."""
    with wave.open(source if hasattr(source, "read") else os.fspath(source), "rb") as file:
        assert file.getsampwidth() == 2
        return Wav(file.readframes(file.getnframes()), file.getframerate(), file.getnchannels())
