"""
Recognizes MPEG audio (MP3) and AAC in ADTS by the chain of their frames, since these formats have
no signature.

Each frame begins with 11 or 12 set bits, and its header has the length of the frame. Raw samples
can look like one header, but not like several headers at the right distances.

Sources: ISO/IEC 11172-3 and 13818-3 (layers I to III), the common extension "MPEG 2.5", and
ISO/IEC 13818-7 (ADTS).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["mpeg_format"]

_FRAMES: Final = 3
_HEADER_BYTES: Final = 7
# The bitrates in kbit/s by index, for each version of MPEG (1 or 2) and layer (I to III).
_BITRATES: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ: Final = (44100, 48000, 32000)


def mpeg_format(peek: Callable[[int], bytes], *, is_whole: bool = True) -> str | None:
    """
    Return the format of the frames with which a recording begins: ``MP3``, ``AAC`` or None.

    Args:
        peek: A function that gets a number of bytes, and returns that many bytes from the start of
            the recording, or fewer if the recording is shorter.
        is_whole: Whether *peek* can return the whole recording. If it cannot, one header is enough.
    """
    for name, length_of, constant_bits in (
        ("MP3", _mp3_frame_bytes, 0xFFFE0C00),
        ("AAC", _adts_frame_bytes, 0xFFF6FC00),
    ):
        at, frames, kind = 0, 0, 0
        while frames < _FRAMES:
            header = peek(at + _HEADER_BYTES)[at:]
            if len(header) < _HEADER_BYTES:
                break
            found = int.from_bytes(header[:4], "big") & constant_bits
            size_bytes = length_of(header)
            if not size_bytes or (frames and found != kind):
                frames = 0
                break
            at, frames, kind = at + size_bytes, frames + 1, found
        is_exact = not is_whole or len(peek(at + 1)) == at
        head = peek(68)
        # A cycle of four bytes, such as constant stereo samples, may look like frames.
        if frames >= (1 if is_exact else 2) and head[:64] != head[4:]:
            return name
    return None


def _mp3_frame_bytes(header: bytes) -> int:
    """Return the length of a frame, or 0 if *header* is not a header."""
    version = {0b11: 1, 0b10: 2, 0b00: 2.5}.get(header[1] >> 3 & 3)
    layer = 4 - (header[1] >> 1 & 3)
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    is_sync = header[0] == 0xFF and header[1] >= 0xE0
    if not is_sync or version is None or layer == 4 or rate == 3 or bitrate in (0, 15):
        return 0
    bits = _BITRATES[1 if version == 1 else 2, layer][bitrate - 1] * 1000
    rate_hz = _RATES_HZ[rate] // (1 if version == 1 else 2 if version == 2 else 4)
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate_hz + padding) * 4
    return (72 if layer == 3 and version != 1 else 144) * bits // rate_hz + padding


def _adts_frame_bytes(header: bytes) -> int:
    """Return the length of a frame, or 0 if *header* is not a header."""
    is_header = header[0] == 0xFF and header[1] & 0xF6 == 0xF0 and header[2] >> 2 & 15 < 13
    size_bytes = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size_bytes if is_header and size_bytes > _HEADER_BYTES else 0
