"""
Audio in the formats of a realtime session, in whole samples and as 16-bit PCM.

Thread safety: each object belongs to one stream, one thread at a time.
"""

from __future__ import annotations

from inworld_sync.audio import g711, pcm
from inworld_sync.audio.pcm import SampleCarry
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
    """Gives whole samples of a response's sound, whose messages may be cut anywhere."""

    def __init__(self) -> None:
        self._item_id = ""
        self._sample_bytes = 1
        self._carry = SampleCarry(1)

    def feed(self, item_id: str, audio: bytes, audio_format: AudioFormat) -> memoryview:
        """Take the next bytes of an item; an item that is left does not leave half a sample."""
        sample_bytes = audio_format.bytes_per_sample
        if (item_id, sample_bytes) != (self._item_id, self._sample_bytes):
            self._item_id, self._sample_bytes = item_id, sample_bytes
            self._carry = SampleCarry(sample_bytes)
        return self._carry.feed(audio)
