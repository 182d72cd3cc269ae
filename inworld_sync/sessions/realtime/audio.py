"""
Sound of a realtime session, between what users hold and the format that was agreed on.

Thread safety: each object belongs to one stream, one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

from inworld_sync.audio import g711, pcm
from inworld_sync.audio.pcm import SampleCarry
from inworld_sync.audio.source import AudioData, AudioInput
from inworld_sync.models.realtime import AlawFormat, AudioFormat, Float32Format, MulawFormat

__all__ = ["InputBlocks", "WholeSamples", "pcm_of"]

# The service advises 100 to 200 ms for one message, and takes no more than 50 messages a second.
_BLOCK_MS = 100


def pcm_of(audio: bytes | bytearray | memoryview, audio_format: AudioFormat) -> memoryview:
    """Turn whole samples of a format into 16-bit little-endian PCM of the same rate."""
    if isinstance(audio_format, MulawFormat):
        return memoryview(g711.decode_ulaw(audio))
    if isinstance(audio_format, AlawFormat):
        return memoryview(g711.decode_alaw(audio))
    if isinstance(audio_format, Float32Format):
        return memoryview(pcm.s16_from_f32(audio))
    return memoryview(audio).cast("B")


def _encoded(samples: memoryview, audio_format: AudioFormat) -> bytes:
    if isinstance(audio_format, MulawFormat):
        return g711.encode_ulaw(samples)
    if isinstance(audio_format, AlawFormat):
        return g711.encode_alaw(samples)
    if isinstance(audio_format, Float32Format):
        return pcm.f32_from_s16(samples)
    return bytes(samples)


class InputBlocks:
    """
    Turns what a user sends into blocks of 100 ms in the session's input format.

    Args:
        audio_format: The session's.
        from_hz: Samples a second of what is fed.
        channels: Samples a frame of what is fed; mixed to one.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(self, audio_format: AudioFormat, from_hz: int, channels: int) -> None:
        self.made_for = (audio_format, from_hz, channels)
        self._format = audio_format
        self._input = AudioInput(from_hz, audio_format.rate_hz, channels)
        self._block_bytes = audio_format.rate_hz * _BLOCK_MS // 1000 * 2
        self._held = bytearray()

    def feed(self, audio: AudioData) -> Iterator[bytes]:
        """
        Take a chunk and give the blocks that are whole with it.

        Raises:
            AudioError: It is no sound, see :meth:`AudioInput.feed`; nothing of it was taken.
        """
        self._held += self._input.feed(audio)
        return self._blocks()

    def finish(self) -> Iterator[bytes]:
        """
        Give the rest as a last, shorter block; nothing can be fed after it.

        Raises:
            AudioError: The last sample was cut; what is whole is given all the same by a second
                call.
        """
        self._held += self._input.finish()
        return self._blocks(last=True)

    def _blocks(self, *, last: bool = False) -> Iterator[bytes]:
        while len(self._held) >= self._block_bytes or (last and self._held):
            block = bytes(self._held[: self._block_bytes])
            del self._held[: self._block_bytes]
            yield _encoded(memoryview(block), self._format)


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
