"""
Receives the audio track from the service.

The jitter buffer of aiortc drops about 100 ms of audio for each lost packet. So
:class:`IncomingAudio` replaces this jitter buffer.

Threads: everything here runs on the loop of the connection.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from typing import Protocol

from aiortc import RTCRtpReceiver

from inworld_sync.audio.opus_packets import OpusPackets

__all__ = ["IncomingAudio"]

_BLOCK_SECONDS = 0.02
_BLOCKS_PER_CHECK = 25
_SILENCE = bytes(1920)

# Before the first packet, the delay of audio is unknown. The service may send no packets during
# silence. Then the first packet of a reply is assumed to arrive at most this long after the end of
# the reply's text.
_UNKNOWN_DELAY_SECONDS = 3.0

# After a stall of the loop, the missed audio is delivered at once. After a stall longer than this,
# delivery continues from the present time.
_MAX_LATE_SECONDS = 5.0

# After a stall of the loop, packets wait in the socket. The loop needs a few passes to read one
# packet. If no packet was read during this many passes, no more packets wait.
_PASSES = 10
_MOST_PASSES = 5000

# The attribute with the jitter buffer of a receiver, in all versions of aiortc that the extra
# allows.
_BUFFER = "_RTCRtpReceiver__jitter_buffer"


class _Packet(Protocol):
    """The attributes of aiortc's packets that this module uses."""

    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


class IncomingAudio:
    """
    Decodes the packets of a track, and delivers its audio in real time.

    Args:
        deliver: Called every 20 ms. The arguments are 1920 bytes of 16-bit mono PCM of 48 kHz, and
            the time in seconds between the arrival and the delivery of audio. The audio is silence
            until the first packet.
        logger: Gets the errors of packets that cannot be decoded.
    """

    def __init__(self, deliver: Callable[[bytes, float], object], logger: logging.Logger) -> None:
        self._deliver = deliver
        self._packets = OpusPackets(logger)
        self._has_begun = False
        self._passes_without_packet = 0

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """
        Start to get the packets of a receiver.

        Raises:
            ImportError: The version of aiortc is unknown.
        """
        if not hasattr(receiver, _BUFFER):
            raise ImportError(
                "this version of aiortc is not supported: pip install -U 'inworld-sync[webrtc]'"
            )
        setattr(receiver, _BUFFER, self)

    def add(self, packet: _Packet) -> tuple[bool, None]:
        """Add a packet. aiortc calls this method. The result makes aiortc decode nothing."""
        self._packets.add(
            packet.ssrc,
            packet.sequence_number,
            packet.timestamp,
            packet.payload,
            time.monotonic(),
        )
        self._has_begun = True
        self._passes_without_packet = 0
        return False, None

    async def run(self) -> None:
        """Deliver audio until the task is cancelled."""
        # Silence is delivered until the first packet, so that responses end even without packets.
        while not self._has_begun:
            self._deliver(_SILENCE, _UNKNOWN_DELAY_SECONDS)
            await asyncio.sleep(_BLOCK_SECONDS)
        due, delay_seconds = time.monotonic(), 0.0
        for number in itertools.count():
            if time.monotonic() - due > _BLOCK_SECONDS:
                await self._read_waiting_packets()
            now = time.monotonic()
            if number % _BLOCKS_PER_CHECK == 0:
                delay_seconds = self._packets.delay_ms / 1000.0
            if now - due > _MAX_LATE_SECONDS:
                due = now
            self._deliver(self._packets.read(now), delay_seconds)
            due += _BLOCK_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _read_waiting_packets(self) -> None:
        """
        Let aiortc read the packets that have arrived during a stall. Otherwise the playout would
        conceal their audio.
        """
        passes = self._passes_without_packet = 0
        while self._passes_without_packet < _PASSES and passes < _MOST_PASSES:
            self._passes_without_packet += 1
            passes += 1
            await asyncio.sleep(0)

    def close(self) -> None:
        """Free the memory of the packets that wait."""
        self._packets.close()
