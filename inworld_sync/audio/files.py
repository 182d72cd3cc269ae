"""
Audio files, read block by block.

16-bit and G.711 WAV is read by the package itself, from a memory map; other kinds by soundfile,
and what that does not know (M4A, WebM, AMR) by PyAV, each where it is installed.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inworld_sync._native import ffi, lib
from inworld_sync.audio.g711 import decode_alaw, decode_ulaw
from inworld_sync.audio.pcm import s16_from_f32
from inworld_sync.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AudioFile", "is_audio_file", "open_file"]

_BLOCK_MS: Final = 100
# (offset, bytes): WAV and AIFF, Ogg, FLAC, MP3 with tags, AU, MP4, WebM, AMR.
_MAGIC: Final = (
    (0, b"RIFF"), (0, b"FORM"), (0, b"OggS"), (0, b"fLaC"), (0, b"ID3"), (0, b".snd"),
    (4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"#!AMR"),
)  # fmt: skip
# Frame heads of MPEG layer III without tags. As samples they would be -1025 and near it, so only
# a whole file is asked this, never a chunk.
_MP3_HEADS: Final = (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")


class AudioFile:
    """
    An open file: blocks of 16-bit little-endian interleaved samples, once.

    Its lock is held while a block is read, so that the file is never freed under a reader.

    Args:
        blocks: What iterating gives.
        sample_rate_hz: Frames a second.
        channels: Samples a frame.
        close: Frees the file.

    Thread safety:
        One thread iterates; :meth:`close` may be called from any.
    """

    def __init__(
        self,
        blocks: Iterator[Buffer],
        sample_rate_hz: int,
        channels: int,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self._blocks = blocks
        self._close = close
        self._lock = threading.Lock()
        self._closed = False

    def __iter__(self) -> Iterator[Buffer]:
        while True:
            with self._lock:
                block = None if self._closed else next(self._blocks, None)
            if block is None:
                return
            yield block

    def close(self) -> None:
        """Free the file; iterating ends. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close()


def is_audio_file(head: bytes) -> bool:
    """Whether *head*, the first bytes of something, begins a file of a known kind."""
    return head[:2] in _MP3_HEADS or any(
        head[at : at + len(magic)] == magic for at, magic in _MAGIC
    )


def open_file(place: Path | memoryview) -> AudioFile:
    """
    Open an audio file, given by its path or its content.

    Raises:
        AudioError: It is no audio file, or none that anything installed can decode.
        OSError: It cannot be read.
    """
    content, free = _map(place)
    file = _open_wav(content, free)
    if file is not None:
        return file
    free()
    failures = []
    for library, opener in (("soundfile", _open_soundfile), ("av", _open_av)):
        if importlib.util.find_spec(library) is None:
            failures.append(f"{library} is not installed")
            continue
        try:
            # Both read a path or a binary file.
            return opener(str(place) if isinstance(place, Path) else io.BytesIO(place))
        except _NotDecoded as error:
            failures.append(f"{library}: {error}")
    name = place.name if isinstance(place, Path) else f"a file of {len(place)} bytes"
    raise AudioError(
        f"{name} cannot be decoded ({'; '.join(failures)}): WAV is read without any library, "
        "FLAC, Ogg and MP3 need soundfile (pip install 'inworld-sync[files]'), M4A and WebM need av"
    )


class _NotDecoded(Exception):
    """A library does not know the format."""


def _map(place: Path | memoryview) -> tuple[memoryview, Callable[[], object]]:
    """The whole content without reading it, and what frees it."""
    if isinstance(place, memoryview):
        return place, lambda: None
    with place.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise AudioError(f"{place.name} is empty: an audio file was expected")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    content = memoryview(mapped)

    def free() -> None:
        content.release()
        mapped.close()

    return content, free


def _open_wav(content: memoryview, free: Callable[[], object]) -> AudioFile | None:
    """Open a WAV file of a kind that needs no library, else None."""
    found = ffi.new("struct iw_wav *")
    status = lib.iw_wav_find(found, ffi.from_buffer("uint8_t[]", content), len(content))
    decode = _DECODERS.get((found.format, found.sample_bits))
    if status != lib.IW_OK or decode is None or not found.channels or not found.sample_rate_hz:
        return None
    frame_bytes = found.channels * found.sample_bits // 8
    step = max(found.sample_rate_hz * _BLOCK_MS // 1000, 1) * frame_bytes
    start = found.data_offset_bytes
    end = start + found.data_bytes // frame_bytes * frame_bytes

    def blocks() -> Iterator[bytes]:
        for at in range(start, end, step):
            yield decode(bytes(content[at : min(at + step, end)]))

    return AudioFile(blocks(), found.sample_rate_hz, found.channels, free)


def _open_soundfile(place: str | io.BytesIO) -> AudioFile:
    import soundfile

    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        # After each block soundfile seeks to where it is already, which costs the MP3 decoder
        # its state and makes it complain on standard error.
        def seekable(self) -> bool:
            return False

    try:
        file = Forward(place)
    except soundfile.SoundFileError as error:
        raise _NotDecoded(error) from error
    step = max(file.samplerate * _BLOCK_MS // 1000, 1)

    def blocks() -> Iterator[bytes]:
        # As floats, since integers of a float file would not be scaled.
        while len(block := file.read(step, dtype="float32", always_2d=True)):
            yield s16_from_f32(block)  # pyright: ignore[reportArgumentType] - an array

    whole = _undamaged(blocks(), soundfile.SoundFileError)
    return AudioFile(whole, file.samplerate, file.channels, file.close)


def _open_av(place: str | io.BytesIO) -> AudioFile:
    import av
    from av.error import FFmpegError

    try:
        container = av.open(place, "r")
    except FFmpegError as error:
        raise _NotDecoded(error) from error
    if not container.streams.audio:
        container.close()
        raise _NotDecoded("no sound in it")
    stream = container.streams.audio[0]
    rate_hz = stream.rate

    def blocks() -> Iterator[bytes]:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
        for frame in itertools.chain(container.decode(stream), [None]):
            for part in resampler.resample(frame):
                yield bytes(part.planes[0])[: part.samples * 2]

    return AudioFile(_undamaged(blocks(), FFmpegError), rate_hz, 1, container.close)


def _undamaged(blocks: Iterator[bytes], damage: type[Exception]) -> Iterator[bytes]:
    """The blocks up to where a library cannot read on."""
    try:
        yield from blocks
    except damage as error:
        raise AudioError(f"the file is cut or damaged: {error}") from error


# By the format and the bits a sample that the header of a WAV file says.
_DECODERS: Final[dict[tuple[int, int], Callable[[bytes], bytes]]] = {
    (1, 16): bytes,
    (6, 8): decode_alaw,
    (7, 8): decode_ulaw,
}
