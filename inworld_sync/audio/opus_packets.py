"""
Decodes the Opus packets of an RTP stream. Packets may be late, lost or in the wrong order.

An Opus decoder needs the packets in order. So a packet that arrives too early waits a moment for
the packets before it. A playout in live mode then conceals missing audio, and adapts its delay to
the network.

This module needs PyAV. Thread safety: none; only one thread may use an object.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from inworld_sync.audio.playout import Playout

if TYPE_CHECKING:
    import av
    import av.error

__all__ = ["OpusPackets"]

RATE_HZ: Final = 48000
BLOCK_MS: Final = 20
_BLOCK_BYTES: Final = RATE_HZ * BLOCK_MS // 1000 * 2

# A packet that arrives too early waits this long for the packets before it.
_REORDER_SECONDS: Final = 0.06

# If the sequence number jumps by more than this, the sender has begun a new stream.
_MAX_JUMP: Final = 1000


class OpusPackets:
    """
    The packets of one stream, and its audio as 16-bit mono PCM of 48000 Hz.

    Args:
        logger: Gets the errors of packets that cannot be decoded.
    """

    def __init__(self, logger: logging.Logger) -> None:
        import av
        import av.error

        self._av = av
        self._logger = logger
        self._playout = _new_playout()
        self._decoder = _new_decoder()
        self._source: int | None = None
        self._next = 0
        # Packets that wait for an earlier packet, by sequence number: timestamp, payload, time of
        # arrival.
        self._early: dict[int, tuple[int, bytes, float]] = {}

    @property
    def delay_ms(self) -> float:
        """The present time between the arrival of audio and its :meth:`read`, in milliseconds."""
        return self._playout.stats().target_delay_ms + BLOCK_MS

    def add(self, source: int, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """
        Add a packet when it arrives.

        Args:
            source: The synchronization source (SSRC). Another source begins a new stream.
            sequence: The sequence number, modulo 2**16.
            timestamp: The timestamp at 48000 Hz, modulo 2**32.
            payload: The Opus packet; may be empty.
            now: The monotonic time in seconds.
        """
        ahead = (sequence - self._next) & 0xFFFF
        if source != self._source or _MAX_JUMP < ahead < 0x10000 - _MAX_JUMP:
            self._begin()
            self._source, self._next, ahead = source, sequence, 0
        if ahead <= _MAX_JUMP:  # otherwise the packet is late, and its audio is concealed already
            self._early[sequence] = timestamp, payload, now
            self._decode_due(now)

    def read(self, now: float) -> bytes:
        """
        Return the next 20 ms of audio; call it every 20 ms.

        Args:
            now: The monotonic time in seconds.
        """
        self._decode_due(now)
        block = bytearray(_BLOCK_BYTES)
        self._playout.read(block, now_ns=_nanoseconds(now))
        return bytes(block)

    def close(self) -> None:
        """Free the memory."""
        self._playout.close()

    def _begin(self) -> None:
        """
        Forget the present stream, because the next stream has other sequence numbers and
        timestamps.
        """
        self._early.clear()
        if self._source is not None:
            self._playout.close()
            self._playout, self._decoder = _new_playout(), _new_decoder()

    def _decode_due(self, now: float) -> None:
        """Decode the packets in order, and stop before a missing packet that may still arrive."""
        while self._early:
            found = self._early.pop(self._next, None)
            if found is not None:
                self._decode(found[0], found[1], now)
            elif now - min(arrived for _, _, arrived in self._early.values()) < _REORDER_SECONDS:
                return
            self._next = (self._next + 1) & 0xFFFF

    def _decode(self, timestamp: int, payload: bytes, now: float) -> None:
        if not payload:
            return
        try:
            frames = self._decoder.decode(self._av.Packet(payload))
        except self._av.error.FFmpegError as error:
            self._logger.debug("a packet of audio was not decoded: %s", error)
            return
        pcm = b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in frames)
        self._playout.push(pcm, timestamp=timestamp, now_ns=_nanoseconds(now))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _new_playout() -> Playout:
    return Playout(RATE_HZ, mode="live", capacity_ms=20_000)


def _new_decoder() -> av.AudioCodecContext:
    import av

    decoder = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", RATE_HZ
    return decoder
