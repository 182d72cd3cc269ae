"""
Defines the audio formats of calls, and the conversion between a call and a realtime session.

If both formats are equal, the audio is not changed. Otherwise the audio is decoded, resampled and
encoded.
"""

from __future__ import annotations

from typing import Literal

import attrs

from inworld_sync.audio import g711
from inworld_sync.audio.formats import pcm_of
from inworld_sync.audio.resample import Resampler
from inworld_sync.models.checks import require_whole
from inworld_sync.models.realtime import AlawFormat, AudioFormat, MulawFormat, PcmFormat

__all__ = ["ALAW", "MULAW", "CallFormat", "FromCall", "ToCall"]

_MAX_HZ = 192_000

# The bytes of silence. A-law has no zero; 0xD5 is its smallest positive sample.
_SILENCE = {"mulaw": b"\xff", "alaw": b"\xd5", "pcm": b"\x00"}


@attrs.frozen
class CallFormat:
    """
    The audio format of one direction of a call; always mono.

    Attributes:
        encoding: ``mulaw``, ``alaw``, or ``pcm`` for 16-bit little-endian samples.
        sample_rate_hz: Samples per second, 8000 to 192000; 8000 for ``mulaw`` and ``alaw``.
    """

    encoding: Literal["mulaw", "alaw", "pcm"]
    sample_rate_hz: int = 8000

    def __attrs_post_init__(self) -> None:
        highest_hz = _MAX_HZ if self.encoding == "pcm" else 8000
        require_whole("sample_rate_hz", self.sample_rate_hz, 8000, highest_hz)

    @property
    def bytes_per_sample(self) -> int:
        """The size of a sample in bytes, 1 or 2."""
        return 2 if self.encoding == "pcm" else 1

    def bytes_of(self, milliseconds: float) -> int:
        """Return how many bytes this duration has, rounded down to whole samples."""
        return int(self.sample_rate_hz * milliseconds / 1000) * self.bytes_per_sample

    def ms_of(self, size_bytes: int) -> float:
        """Return how many milliseconds audio of this size lasts."""
        return size_bytes / self.bytes_per_sample * 1000.0 / self.sample_rate_hz

    def silence(self, size_bytes: int) -> bytes:
        """Return silence of this size."""
        return _SILENCE[self.encoding] * size_bytes

    def decode(self, audio: bytes) -> bytes:
        """Return 16-bit little-endian PCM of the same sample rate."""
        if self.encoding == "mulaw":
            return g711.decode_ulaw(audio)
        return g711.decode_alaw(audio) if self.encoding == "alaw" else audio

    def encode(self, pcm: bytes) -> bytes:
        """Return audio of this format for 16-bit PCM of the same sample rate."""
        if self.encoding == "mulaw":
            return g711.encode_ulaw(pcm)
        return g711.encode_alaw(pcm) if self.encoding == "alaw" else pcm

    def equals(self, other: AudioFormat | None) -> bool:
        """Return whether audio in a format of a session needs no conversion."""
        if self.encoding == "mulaw":
            return isinstance(other, MulawFormat)
        if self.encoding == "alaw":
            return isinstance(other, AlawFormat)
        return isinstance(other, PcmFormat) and other.sample_rate_hz == self.sample_rate_hz

    def __str__(self) -> str:
        return f"{self.encoding} at {self.sample_rate_hz} Hz"


MULAW = CallFormat("mulaw")
ALAW = CallFormat("alaw")


class ToCall:
    """
    Converts one item of a session to the format of a call, piece by piece.

    Args:
        source: The format of the item.
        target: The format of the call.
    """

    def __init__(self, source: AudioFormat, target: CallFormat) -> None:
        self._source, self._target = source, target
        self.is_unchanged = target.equals(source)
        self._resampler = Resampler(source.sample_rate_hz, target.sample_rate_hz)

    def feed(self, audio: bytes) -> bytes:
        """Convert whole samples."""
        if self.is_unchanged:
            return audio
        return self._target.encode(self._resampler.feed(pcm_of(audio, self._source)))

    def finish(self) -> bytes:
        """Return the rest of the item."""
        return b"" if self.is_unchanged else self._target.encode(self._resampler.finish())


class FromCall:
    """
    Decides how a caller's audio is sent to a session.

    Args:
        source: The format of the call.
    """

    def __init__(self, source: CallFormat) -> None:
        self._source = source

    def convert(self, audio: bytes, target: AudioFormat | None) -> tuple[bytes, bool]:
        """
        Return audio for ``send_audio``, and whether this audio already has the session's input
        format.

        Otherwise, the returned audio is PCM of the call's sample rate, and the session converts the
        audio.
        """
        if self._source.equals(target):
            return audio, True
        return self._source.decode(audio), False
