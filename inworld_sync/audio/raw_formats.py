"""
Decodes raw samples from files without a header and from containers such as WAV.

The formats have the names that ffmpeg uses. For example, ``s24le`` has signed samples of 24 bits,
little-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

from inworld_sync.audio.g711 import decode_alaw, decode_ulaw
from inworld_sync.audio.pcm import swap_bytes
from inworld_sync.audio.samples import contiguous_samples
from inworld_sync.errors import ConfigError

__all__ = ["RawFormat", "SampleDecoder", "format_of_suffix", "sample_decoder"]

RawFormat: TypeAlias = Literal[
    "s16le", "s16be", "u8", "s8", "s24le", "s24be", "s32le", "s32be",
    "f32le", "f32be", "f64le", "f64be", "mulaw", "alaw",
]  # fmt: skip

# Suffixes of files without a header, as telephone systems and sound programs use them.
_SUFFIXES: Final[dict[str, RawFormat]] = {
    **dict.fromkeys((".pcm", ".raw", ".s16", ".s16le", ".sw", ".sln"), "s16le"),
    **dict.fromkeys((".ul", ".ulaw", ".mulaw", ".pcmu"), "mulaw"),
    **dict.fromkeys((".al", ".alaw", ".pcma"), "alaw"),
    **dict.fromkeys((".s24", ".s24le"), "s24le"),
    **dict.fromkeys((".s32", ".s32le"), "s32le"),
    **dict.fromkeys((".f32", ".f32le"), "f32le"),
    **dict.fromkeys((".f64", ".f64le"), "f64le"),
    ".s16be": "s16be",
    ".u8": "u8",
    ".s8": "s8",
}


class SampleDecoder(NamedTuple):
    """
    Converts raw samples to 16 bits.

    Attributes:
        sample_bytes: The size of one sample.
        decode: Converts whole samples to 16-bit little-endian PCM.
    """

    sample_bytes: int
    decode: Callable[[bytes], bytes]


def format_of_suffix(suffix: str) -> RawFormat | None:
    """Return the raw format of files with this suffix; None if the suffix is not known."""
    return _SUFFIXES.get(suffix.lower())


def sample_decoder(raw_format: str) -> SampleDecoder:
    """
    Return the decoder of a raw format.

    Raises:
        ConfigError: The format is unknown.
    """
    found = _DECODERS.get(raw_format) if isinstance(raw_format, str) else None
    if found is None:
        raise ConfigError(f"raw_format must be one of {', '.join(_DECODERS)}, got {raw_format!r}")
    return found


def _of_array(dtype: str) -> SampleDecoder:
    def decode(data: bytes) -> bytes:
        import numpy as np

        return bytes(contiguous_samples(np.frombuffer(data, dtype), "s16"))

    return SampleDecoder(int(dtype[-1]), decode)


def _of_24_bits(*, big_endian: bool) -> SampleDecoder:
    def decode(data: bytes) -> bytes:
        import numpy as np

        samples = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(samples), 4), np.uint8)
        wide[:, 1:] = samples[:, ::-1] if big_endian else samples
        return bytes(contiguous_samples(wide.view("<i4").reshape(-1), "s16"))

    return SampleDecoder(3, decode)


def _decode_s8(data: bytes) -> bytes:
    import numpy as np

    return bytes((np.frombuffer(data, np.int8).astype("<i2") << 8).tobytes())


_DECODERS: Final = {
    "s16le": SampleDecoder(2, bytes),
    "s16be": SampleDecoder(2, swap_bytes),
    "u8": _of_array("u1"),
    "s8": SampleDecoder(1, _decode_s8),
    "s24le": _of_24_bits(big_endian=False),
    "s24be": _of_24_bits(big_endian=True),
    "s32le": _of_array("<i4"),
    "s32be": _of_array(">i4"),
    "f32le": _of_array("<f4"),
    "f32be": _of_array(">f4"),
    "f64le": _of_array("<f8"),
    "f64be": _of_array(">f8"),
    "mulaw": SampleDecoder(1, decode_ulaw),
    "alaw": SampleDecoder(1, decode_alaw),
}
