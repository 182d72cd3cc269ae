"""
Has the audio track from the service to the user.

The jitter buffer of aiortc drops about 100 ms of audio for each lost packet. So
:class:`IncomingAudio` takes its place: it decodes the packets in order, and a playout conceals what
is lost and adapts its delay to the network.

Threads: everything here runs on the loop of the connection.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from typing import Protocol

import av
from aiortc import RTCRtpReceiver

from inworld_sync.audio.playout import Playout

__all__ = ["IncomingAudio"]

_RATE_HZ = 48000
_BLOCK_SECONDS = 0.02
_BLOCK_BYTES = 1920
_BLOCKS_PER_CHECK = 25

# A packet that arrives before an earlier one waits this long for the earlier packet.
_REORDER_SECONDS = 0.06

# After a longer jump of the sequence numbers, the sender has begun anew.
_MAX_JUMP = 1000

# If the loop was stalled for longer, the missed audio is skipped.
_MAX_LATE_SECONDS = 0.5

# The jitter buffer of a receiver, in the versions of aiortc that the extra allows.
_BUFFER = "_RTCRtpReceiver__jitter_buffer"


class _Packet(Protocol):
    """What is used of a packet of aiortc."""

    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


class IncomingAudio:
    """
    Decodes the packets of a track, and delivers its audio in real time.

    Args:
        deliver: Called every 20 ms with 1920 bytes of 16-bit mono PCM of 48 kHz, from the first
            packet on, and with the seconds from the arrival of audio until its delivery.
        logger: Gets the errors of packets that cannot be decoded.
    """

    def __init__(self, deliver: Callable[[bytes, float], object], logger: logging.Logger) -> None:
        self._deliver = deliver
        self._logger = logger
        self._playout = Playout(_RATE_HZ, mode="live", capacity_ms=20_000)
        self._decoder = _new_decoder()
        self._source: int | None = None
        self._next = 0
        # Packets that wait for an earlier one, and when they arrived, by sequence number.
        self._early: dict[int, tuple[_Packet, float]] = {}
        self._has_begun = asyncio.Event()

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """
        Get the packets of a receiver.

        Raises:
            ImportError: The version of aiortc is unknown.
        """
        if not hasattr(receiver, _BUFFER):
            raise ImportError(
                "this version of aiortc is not supported: pip install -U 'inworld-sync[webrtc]'"
            )
        setattr(receiver, _BUFFER, self)

    def add(self, packet: _Packet) -> tuple[bool, None]:
        """Take a packet. aiortc calls it, and decodes nothing because of the result."""
        now = time.monotonic()
        ahead = (packet.sequence_number - self._next) & 0xFFFF
        if packet.ssrc != self._source or _MAX_JUMP < ahead < 0x10000 - _MAX_JUMP:
            self._early.clear()
            self._source, self._next, ahead = packet.ssrc, packet.sequence_number, 0
        if ahead <= _MAX_JUMP:  # otherwise the packet is late
            self._early[packet.sequence_number] = packet, now
            self._decode_due(now)
        self._has_begun.set()
        return False, None

    async def run(self) -> None:
        """Deliver audio until the task is cancelled."""
        await self._has_begun.wait()
        due = time.monotonic()
        for number in itertools.count():
            now = time.monotonic()
            if number % _BLOCKS_PER_CHECK == 0:
                delay_seconds = self._playout.stats().target_delay_ms / 1000.0 + _BLOCK_SECONDS
            if now - due > _MAX_LATE_SECONDS:
                due = now
            self._decode_due(now)
            block = bytearray(_BLOCK_BYTES)
            self._playout.read(block)
            self._deliver(bytes(block), delay_seconds)
            due += _BLOCK_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Free the playout."""
        self._playout.close()

    def _decode_due(self, now: float) -> None:
        """Decode the packets in order, until one is missing that may still arrive."""
        while self._early:
            found = self._early.pop(self._next, None)
            if found is not None:
                self._decode(found[0])
            elif now - min(arrived for _, arrived in self._early.values()) < _REORDER_SECONDS:
                return
            self._next = (self._next + 1) & 0xFFFF

    def _decode(self, packet: _Packet) -> None:
        if not packet.payload:
            return
        try:
            frames = self._decoder.decode(av.Packet(packet.payload))
        except av.FFmpegError as error:
            self._logger.debug("a packet of audio was not decoded: %s", error)
            return
        pcm = b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in frames)
        self._playout.push(pcm, timestamp=packet.timestamp)


def _new_decoder() -> av.AudioCodecContext:
    decoder = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", _RATE_HZ
    return decoder
