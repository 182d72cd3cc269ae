"""
Decodes the Opus packets of an RTP stream. Packets may be late, lost or in the wrong order.

An Opus decoder needs the packets in order. So a packet that arrives too early waits a moment for
the packets before it. If a packet is lost, the next packet may have a copy of the lost packet.
Without a copy, the Opus decoder itself generates the missing audio: the decoder continues the
speech from its own state, so that the audio of the next packet continues the generated audio.

- :class:`OpusStream` is for a recognizer. It returns the audio as soon as the audio is in order.
- :class:`OpusPackets` is for a listener. It adds a playout in live mode, which adapts its delay to
  the network.

This module needs PyAV. Thread safety: none; only one thread may use an object.
"""

from __future__ import annotations

import logging
from typing import Final

import attrs

from inworld_sync.audio.opus_decoder import RATE_HZ, new_decoder
from inworld_sync.audio.playout import Playout

__all__ = ["DecodedAudio", "OpusPackets", "OpusStream"]

BLOCK_MS: Final = 20
_BLOCK_BYTES: Final = RATE_HZ * BLOCK_MS // 1000 * 2
_SAMPLE_BYTES: Final = 2

# For a listener, a packet that arrives too early waits this long for the packets before it.
_REORDER_SECONDS: Final = 0.06

# If the sequence number jumps by more than this, the sender has begun a new stream.
_MAX_JUMP: Final = 1000

# A longer loss is not replaced at all: the decoder would fade to silence, and the copy of the last
# packet alone is too short to be understood.
_MOST_REPLACED_SAMPLES: Final = RATE_HZ * 120 // 1000

_TIMESTAMPS: Final = 0xFFFFFFFF


@attrs.frozen
class DecodedAudio:
    """
    The audio of one packet. If packets before this packet were lost, the audio that replaces them
    comes first.

    Attributes:
        timestamp: The RTP timestamp of the first sample.
        pcm: 16-bit mono PCM of 48000 Hz.
        is_first: Whether this audio begins a new stream. Then *timestamp* does not continue the
            timestamps of the previous stream.
    """

    timestamp: int
    pcm: bytes = attrs.field(repr=False)
    is_first: bool = False


@attrs.frozen
class _Packet:
    timestamp: int
    payload: bytes
    arrived: float


class OpusStream:
    """
    Decodes the packets of one stream in order.

    Args:
        logger: Gets the errors of packets that cannot be decoded.
        wait: How long a packet that arrives too early waits for the packets before it, in seconds.
    """

    def __init__(self, logger: logging.Logger, wait: float) -> None:
        self._logger = logger
        self._wait = wait
        self._source: int | None = None
        # The sequence number and the timestamp at which the next audio is expected.
        self._next = self._end = 0
        self._is_first = True
        # Whether packets before the next packet are lost.
        self._has_lost = False
        self._decoder = new_decoder(logger)
        # The packets that wait for an earlier packet, by sequence number.
        self._early: dict[int, _Packet] = {}

    def add(
        self, source: int, sequence: int, timestamp: int, payload: bytes, now: float
    ) -> list[DecodedAudio]:
        """
        Add a packet when it arrives, and return the audio that is in order now.

        Args:
            source: The synchronization source (SSRC). Another source begins a new stream.
            sequence: The sequence number, modulo 2**16.
            timestamp: The timestamp at 48000 Hz, modulo 2**32.
            payload: The Opus packet; may be empty.
            now: The time in seconds, on a clock of the caller.
        """
        ahead = (sequence - self._next) & 0xFFFF
        if source != self._source or _MAX_JUMP < ahead < 0x10000 - _MAX_JUMP:
            self._early.clear()
            self._decoder = new_decoder(self._logger)
            self._is_first, self._has_lost = True, False
            self._source, self._next, ahead = source, sequence, 0
        if ahead <= _MAX_JUMP:  # otherwise the packet is late, and its audio is replaced already
            self._early[sequence] = _Packet(timestamp, payload, now)
        return self.due(now)

    def due(self, now: float) -> list[DecodedAudio]:
        """Return the audio that does not wait for earlier packets any more."""
        found: list[DecodedAudio] = []
        while self._early:
            packet = self._early.pop(self._next, None)
            if packet is None:
                if now - min(each.arrived for each in self._early.values()) < self._wait:
                    break
                self._has_lost = True
            elif packet.payload and (audio := self._decoded(packet)) is not None:
                found.append(audio)
            self._next = (self._next + 1) & 0xFFFF
        return found

    def _decoded(self, packet: _Packet) -> DecodedAudio | None:
        """Return the audio of a packet; None if it cannot be decoded."""
        try:
            replaced = self._decoder.replace_lost(self._lost_samples(packet), packet.payload)
            pcm = self._decoder.decode(packet.payload)
        except ValueError as error:
            self._logger.debug("a packet of audio was not decoded: %s", error)
            self._has_lost = True
            return None
        self._has_lost = False
        self._end = (packet.timestamp + len(pcm) // _SAMPLE_BYTES) & _TIMESTAMPS
        is_first, self._is_first = self._is_first, False
        start = (packet.timestamp - len(replaced) // _SAMPLE_BYTES) & _TIMESTAMPS
        return DecodedAudio(start, replaced + pcm, is_first)

    def _lost_samples(self, following: _Packet) -> int:
        """Return the length of the lost audio to replace before a packet."""
        if not self._has_lost or self._is_first:
            return 0
        missing = (following.timestamp - self._end) & _TIMESTAMPS
        return missing if missing <= _MOST_REPLACED_SAMPLES else 0


class OpusPackets:
    """
    Decodes the packets of one stream, and returns the audio for a listener in blocks of 20 ms.

    Args:
        logger: Gets the errors of packets that cannot be decoded.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._stream = OpusStream(logger, _REORDER_SECONDS)
        self._playout = _new_playout()

    @property
    def delay_ms(self) -> float:
        """The current delay from the arrival of audio to its :meth:`read`, in milliseconds."""
        return self._playout.stats().target_delay_ms + BLOCK_MS

    def add(self, source: int, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """
        Add a packet when it arrives; see :meth:`OpusStream.add`.

        Args:
            source: The synchronization source.
            sequence: The sequence number.
            timestamp: The timestamp.
            payload: The Opus packet.
            now: The monotonic time in seconds.
        """
        self._push(self._stream.add(source, sequence, timestamp, payload, now), now)

    def read(self, now: float) -> bytes:
        """
        Return the next 20 ms of audio, 16-bit mono PCM of 48000 Hz. Call this method every 20 ms.

        Args:
            now: The monotonic time in seconds.
        """
        self._push(self._stream.due(now), now)
        block = bytearray(_BLOCK_BYTES)
        self._playout.read(block, now_ns=_nanoseconds(now))
        return bytes(block)

    def close(self) -> None:
        """Free the memory."""
        self._playout.close()

    def _push(self, pieces: list[DecodedAudio], now: float) -> None:
        for each in pieces:
            if each.is_first:
                self._playout.close()
                self._playout = _new_playout()
            self._playout.push(each.pcm, timestamp=each.timestamp, now_ns=_nanoseconds(now))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _new_playout() -> Playout:
    return Playout(RATE_HZ, mode="live", capacity_ms=20_000)
