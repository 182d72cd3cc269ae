"""Encoded audio that is sent unchanged, such as the bytes of a compressed file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from inworld_sync.audio.reader import ByteReader
from inworld_sync.audio.samples import raw_bytes
from inworld_sync.audio.source import TEXT_BYTES, refuse_text
from inworld_sync.errors import AudioError
from inworld_sync.models.devices import AudioSource

if TYPE_CHECKING:
    from inworld_sync.audio.samples import AudioData
    from inworld_sync.audio.source import AudioLike

__all__ = ["EncodedInput", "EncodedSource"]

# Half a second of MP3 at 64 kbit/s.
_BLOCK_BYTES = 4096


class EncodedInput:
    """
    Accepts the chunks of one live stream of encoded audio.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self) -> None:
        self._is_started = False

    def feed(self, chunk: AudioData) -> bytes:
        """
        Return the bytes of a chunk.

        Raises:
            AudioError: *chunk* is not bytes, or the stream begins with text instead of audio.
        """
        raw = raw_bytes(chunk)
        if raw is None:
            raise AudioError(
                f"encoded audio must be bytes, got {type(chunk).__name__}: samples are sent with "
                "the encoding LINEAR16"
            )
        if not self._is_started and len(raw):
            refuse_text(bytes(raw[:TEXT_BYTES]))
            self._is_started = True
        return bytes(raw)

    def finish(self) -> bytes:
        """Return no bytes, since no bytes are held back."""
        return b""


class EncodedSource:
    """
    The bytes of a recording, unchanged, block by block.

    Args:
        audio: A path, an open binary file (which is not closed), a pipe, an upload object, the
            bytes of a file, or an iterable of blocks of bytes.

    Raises:
        AudioError: *audio* is none of these.
        OSError: The file cannot be read.
    """

    def __init__(self, audio: AudioLike) -> None:
        self._reader = _reader_of(audio)

    def __iter__(self) -> Iterator[bytes]:
        checked = EncodedInput()
        while block := self._reader.read_some(_BLOCK_BYTES):
            yield checked.feed(block)

    def close(self) -> None:
        """Free the file."""
        self._reader.close()


def _reader_of(audio: AudioLike) -> ByteReader:
    if isinstance(audio, (str, os.PathLike)):
        return ByteReader.of_path(audio)
    raw = raw_bytes(audio)
    if raw is not None:
        return ByteReader.of_memory(raw)
    if hasattr(audio, "read"):
        return ByteReader.of_file(audio)
    if isinstance(audio, AudioSource) or not isinstance(audio, Iterable):
        raise AudioError(
            "encoded audio must be a path, a binary file, bytes or an iterable of bytes, got "
            f"{type(audio).__name__}: samples are sent with the encoding LINEAR16"
        )
    blocks = EncodedInput()
    return ByteReader.of_blocks(blocks.feed(each) for each in audio)
