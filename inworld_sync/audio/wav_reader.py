"""
Reads the headers of WAV files (RIFF, RIFX, RF64, BW64 and W64), even from a pipe.

Sources: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0"; EBU Tech 3306
(RF64); ITU-R BS.2088 (BW64); Sony Pictures Digital, "Wave64"; Microsoft, "Multiple Channel Audio
Data and WAVE Files" (extensible).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from inworld_sync.audio.raw_formats import SampleDecoder, sample_decoder
from inworld_sync.audio.reader import ByteReader
from inworld_sync.errors import AudioError

__all__ = ["WavHeader", "is_wav", "read_wav_header"]

_W64_RIFF: Final = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_WAVE: Final = bytes.fromhex("77617665f3acd3118cd100c04f8edb8a")
# The identifiers of the other chunks begin with four letters, and then have these bytes.
_W64_CHUNK: Final = bytes.fromhex("f3acd3118cd100c04f8edb8a")

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_UNKNOWN: Final = 0xFFFF_FFFF
# How far to look for chunks if the length in the header is 0.
_LOOK_BYTES: Final = 64 * 1024
# A fmt chunk has 16 to 40 bytes. The chunks of rare codecs have some more bytes.
_MAX_FORMAT_BYTES: Final = 4096


class WavHeader(NamedTuple):
    """
    The format of a WAV file, whose samples are the next bytes of the reader.

    Attributes:
        sample_rate_hz: Frames per second.
        channels: Samples per frame.
        decoder: Converts the samples; None if the package cannot decode the format by itself.
        data_bytes: The number of bytes of samples; None if the samples continue to the end.
        encoding: The number of the encoding, for errors.
    """

    sample_rate_hz: int
    channels: int
    decoder: SampleDecoder | None
    data_bytes: int | None
    encoding: int


def is_wav(head: bytes) -> bool:
    """Return whether a file is a WAV file. *head* has its first 40 bytes, or the whole file."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return head[8:12] == b"WAVE"
    return head[:16] == _W64_RIFF and head[24:40] == _W64_WAVE


def read_wav_header(reader: ByteReader) -> WavHeader:
    """
    Read the header, up to the first sample.

    Raises:
        AudioError: The header is incomplete or impossible.
    """
    chunks = _W64(reader) if reader.peek(4) == b"riff" else _Riff(reader)
    body = None
    wide_bytes: int | None = None
    while True:
        name, size_bytes = chunks.next()
        if name == b"data":
            break
        if name == b"fmt ":
            body = chunks.body(size_bytes, _MAX_FORMAT_BYTES)
        elif name == b"ds64":
            _, wide_bytes = struct.unpack_from("<QQ", chunks.body(size_bytes, _LOOK_BYTES, 16))
        else:
            chunks.skip(size_bytes)
    if body is None or len(body) < 16:
        raise AudioError(f"{reader.name}: the WAV file has no format before its samples")
    length = wide_bytes if size_bytes == _UNKNOWN and wide_bytes is not None else size_bytes
    return _header(body, chunks.order, None if chunks.is_open(length) else length)


class _Riff:
    """The chunks of RIFF, RIFX, RF64 and BW64."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self.order = ">" if reader.read(12)[:4] == b"RIFX" else "<"

    def next(self) -> tuple[bytes, int]:
        """Return the name of the next chunk and the size of its body."""
        head = self._reader.read(8)
        if len(head) < 8:
            raise AudioError(f"{self._reader.name}: the WAV file has no samples")
        return head[:4], struct.unpack(self.order + "I", head[4:])[0]

    def body(self, size_bytes: int, most_bytes: int, least_bytes: int = 0) -> bytes:
        """Read the body of a chunk."""
        body = self._reader.read(size_bytes) if size_bytes <= most_bytes else b""
        if len(body) < max(least_bytes, min(size_bytes, 1)):
            raise AudioError(f"{self._reader.name}: the header of the WAV file is damaged")
        self._skip_pad(size_bytes)
        return body

    def skip(self, size_bytes: int) -> None:
        """Skip the body of a chunk."""
        self._reader.skip(size_bytes)
        self._skip_pad(size_bytes)

    def is_open(self, size_bytes: int) -> bool:
        """
        Return whether the samples continue to the end of the file. Then the length in the header is
        ignored.

        A program that writes to a pipe cannot correct the length later, and leaves 4 GiB or 0 in
        the header. But a length of 0 is right if other chunks follow.
        """
        if size_bytes:
            return size_bytes == _UNKNOWN
        at = 0
        while at < _LOOK_BYTES:
            head = self._reader.peek(at + 8)[at:]
            if len(head) < 8:
                return len(head) > 0
            if not all(0x20 <= letter < 0x7F for letter in head[:4]):
                return True
            step = struct.unpack(self.order + "I", head[4:])[0]
            at += 8 + step + step % 2
        return True

    def _skip_pad(self, size_bytes: int) -> None:
        # Some programs do not write the pad byte, which is 0. No name of a chunk begins with 0.
        if size_bytes % 2 and self._reader.peek(1) == b"\0":
            self._reader.skip(1)


class _W64(_Riff):
    """The chunks of W64, whose sizes have 64 bits and include the 24 bytes before the body."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self.order = "<"
        reader.skip(40)

    def next(self) -> tuple[bytes, int]:
        head = self._reader.read(24)
        if len(head) < 24:
            raise AudioError(f"{self._reader.name}: the W64 file has no samples")
        size_bytes = struct.unpack("<Q", head[16:])[0] - 24
        name = head[:4] if head[4:16] == _W64_CHUNK else b""
        if size_bytes < 0:
            if name != b"data":
                raise AudioError(f"{self._reader.name}: the header of the W64 file is damaged")
            size_bytes = 0
        return name, size_bytes

    def is_open(self, size_bytes: int) -> bool:
        return not 0 < size_bytes < 2**63

    def _skip_pad(self, size_bytes: int) -> None:
        self._reader.skip(-size_bytes % 8)


def _header(body: bytes, order: str, data_bytes: int | None) -> WavHeader:
    encoding, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from(order + "HHIIHH", body)
    if encoding == _EXTENSIBLE and len(body) >= 26:
        # The real encoding has an identifier. The first field of the identifier is the encoding's
        # number.
        (encoding,) = struct.unpack_from(order + "H", body, 24)
    decoder = None
    if channels and encoding in (_PCM, _FLOAT, _ALAW, _MULAW):
        # A sample may have fewer bits than its bytes can hold. Then the upper bits of the bytes
        # are used.
        width = frame_bytes // channels if frame_bytes % channels == 0 else 0
        width = width if width * 8 >= bits else (bits + 7) // 8
        decoder = _decoder(encoding, width, "be" if order == ">" else "le")
    return WavHeader(rate_hz, channels, decoder, data_bytes, encoding)


def _decoder(encoding: int, sample_bytes: int, order: str) -> SampleDecoder | None:
    names = {
        (_ALAW, 1): "alaw",
        (_MULAW, 1): "mulaw",
        (_PCM, 1): "u8",
        **{(_PCM, size): f"s{8 * size}{order}" for size in (2, 3, 4)},
        **{(_FLOAT, size): f"f{8 * size}{order}" for size in (4, 8)},
    }
    name = names.get((encoding, sample_bytes))
    return None if name is None else sample_decoder(name)
