"""Converts audio in the formats of a realtime session to whole samples and to 16-bit PCM."""

from __future__ import annotations

from inworld_sync.audio import g711, pcm
from inworld_sync.models.realtime import AlawFormat, AudioFormat, Float32Format, MulawFormat

__all__ = ["WholeSamples", "pcm_of"]


def pcm_of(audio: bytes | bytearray | memoryview, audio_format: AudioFormat) -> memoryview:
    """Convert whole samples of a format to 16-bit little-endian PCM of the same sample rate."""
    if isinstance(audio_format, MulawFormat):
        return memoryview(g711.decode_ulaw(audio))
    if isinstance(audio_format, AlawFormat):
        return memoryview(g711.decode_alaw(audio))
    if isinstance(audio_format, Float32Format):
        return memoryview(pcm.s16_from_f32(audio))
    return memoryview(audio).cast("B")


class WholeSamples:
    """
    Returns the audio of items in whole samples, although a message may end inside a sample.

    Thread safety: one thread at a time may use an object.
    """

    def __init__(self) -> None:
        self._item_id = ""
        self._sample_bytes = 1
        self._rest = b""

    def feed(self, item_id: str, audio: bytes, sample_bytes: int) -> bytes:
        """
        Add the next bytes of an item and return all whole samples.

        Args:
            item_id: The item. When another item begins, an incomplete sample of the previous item
                is dropped.
            audio: The next bytes of the item.
            sample_bytes: The size of one sample.
        """
        if item_id != self._item_id or sample_bytes != self._sample_bytes:
            self._item_id, self._sample_bytes, self._rest = item_id, sample_bytes, b""
        if not self._rest and len(audio) % sample_bytes == 0:
            return audio
        audio = self._rest + audio
        size_bytes = len(audio) // sample_bytes * sample_bytes
        self._rest = audio[size_bytes:]
        return audio[:size_bytes]
