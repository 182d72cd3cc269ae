"""Audio in the formats of a realtime session: in whole samples, and as 16-bit PCM."""

from __future__ import annotations

from inworld_sync.audio import g711, pcm
from inworld_sync.models.realtime import AlawFormat, AudioFormat, Float32Format, MulawFormat

__all__ = ["WholeSamples", "pcm_of"]


def pcm_of(audio: bytes | bytearray | memoryview, audio_format: AudioFormat) -> memoryview:
    """Turn whole samples of a format into 16-bit little-endian PCM of the same rate."""
    if isinstance(audio_format, MulawFormat):
        return memoryview(g711.decode_ulaw(audio))
    if isinstance(audio_format, AlawFormat):
        return memoryview(g711.decode_alaw(audio))
    if isinstance(audio_format, Float32Format):
        return memoryview(pcm.s16_from_f32(audio))
    return memoryview(audio).cast("B")


class WholeSamples:
    """
    Turns the audio of items into whole samples; a message may end inside a sample.

    Thread safety: one thread at a time.
    """

    def __init__(self) -> None:
        self._item_id = ""
        self._sample_bytes = 1
        self._rest = b""

    def feed(self, item_id: str, audio: bytes, sample_bytes: int) -> bytes:
        """
        Return the whole samples that are there with the next bytes of an item.

        Args:
            item_id: The item; the cut sample of an item is dropped when another one begins.
            audio: Its next bytes.
            sample_bytes: Of one sample.
        """
        if item_id != self._item_id or sample_bytes != self._sample_bytes:
            self._item_id, self._sample_bytes, self._rest = item_id, sample_bytes, b""
        if not self._rest and len(audio) % sample_bytes == 0:
            return audio
        audio = self._rest + audio
        size_bytes = len(audio) // sample_bytes * sample_bytes
        self._rest = audio[size_bytes:]
        return audio[:size_bytes]
