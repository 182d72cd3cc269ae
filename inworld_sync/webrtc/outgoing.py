"""
Implements the audio track from the user to the service.

A track sends a packet every 20 ms, also while the user is silent. So blocks of audio wait in a
queue. While the queue is empty, the track sends silence. The track encodes the audio itself. aiortc
would encode it on the loop's thread for name lookups, where a slow lookup would delay the audio.

Lock rule: ``_changed`` guards the queue. Nothing else is called while this lock is held.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from inworld_sync.errors import DeadlineExceeded
from inworld_sync.locks import Condition
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline

__all__ = ["OutgoingTrack"]

_RATE_HZ = 48000
_PACKET_SECONDS = 0.02
_PACKET_SAMPLES = 960
_PACKET_BYTES = 2 * _PACKET_SAMPLES

# After silence, audio starts when this many packets are queued, or after the time of this many
# packets. Otherwise each block of a microphone that is a little late would cause a gap.
_START_PACKETS = 3
_START_BYTES = _START_PACKETS * _PACKET_BYTES

# How much audio may wait to be sent. A longer queue would only delay the user's speech.
_CAPACITY_BYTES = 25 * _PACKET_BYTES

# If the loop stalls for at most this time, the audio that was queued meanwhile is sent at once.
# After a longer stall, this audio would only be late. Silence is not sent at once, because the
# silence would separate the audio before the stall from the audio that is queued next.
_MAX_LATE_SECONDS = 2.0

_TIME_BASE = fractions.Fraction(1, _RATE_HZ)
_BITS_PER_SECOND = 48_000

# The assumed time from the sending of a packet until the service has decoded it.
_SETTLE_SECONDS = 0.3


class OutgoingTrack(MediaStreamTrack):
    """
    Sends 16-bit mono PCM of 48 kHz.

    Thread safety: the loop calls :meth:`recv`; any thread may call the other methods except those
    of the base class.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._changed = Condition()
        self._queue = bytearray()
        self._is_over = False
        self._is_silent = True
        self._waited = 0
        self._due = 0.0
        self._samples = 0
        self._encoder = _new_encoder()

    def put(self, pcm: bytes, deadline: Deadline) -> bool:
        """
        Wait while the queue is full, and then queue audio.

        Returns:
            False if the track has ended.

        Raises:
            DeadlineExceeded: There was no room in time; nothing was queued.
        """
        with self._changed:
            while len(self._queue) >= _CAPACITY_BYTES and not self._is_over:
                if deadline.expired:
                    raise DeadlineExceeded(
                        "the audio track had no room in time: send no faster than in real time; "
                        "otherwise the connection has stalled"
                    )
                self._changed.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
            if self._is_over:
                return False
            self._queue += pcm
            return True

    def settle(self, *, drop: bool, deadline: Deadline) -> None:
        """
        Wait until all audio was sent, and until the service has probably received this audio.

        Args:
            drop: Whether to drop the audio that was not sent.
            deadline: The deadline for the whole wait.
        """
        with self._changed:
            if drop:
                self._queue.clear()
            while self._queue and not self._is_over and not deadline.expired:
                self._changed.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
            until = time.monotonic() + deadline.at_most(_SETTLE_SECONDS)
            while not self._is_over and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def end(self) -> None:
        """End the track, so that waiting threads return. Any thread may call this method."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    async def recv(self) -> av.Packet[Any]:
        """Return the next packet, at the time when it has to be sent."""
        while not self._is_over:
            now = time.monotonic()
            self._due = self._next_due(now)
            await asyncio.sleep(max(0.0, self._due - now))
            self._due += _PACKET_SECONDS
            self._samples += _PACKET_SAMPLES
            # The first call returns no packet, because the encoder looks ahead.
            for packet in self._encoder.encode(self._next_frame()):
                packet.pts, packet.time_base = self._samples, _TIME_BASE
                return packet
        raise MediaStreamError

    def _next_due(self, now: float) -> float:
        """Return when the next packet is due."""
        late = now - self._due
        if late > _MAX_LATE_SECONDS:
            return now
        with self._changed:
            # The thread that queues audio has probably stalled too, and gets some time to continue.
            is_starved = late > _PACKET_SECONDS and not self._queue
        return now + _PACKET_SECONDS if is_starved else self._due

    def _next_frame(self) -> av.AudioFrame:
        frame = av.AudioFrame(format="s16", layout="mono", samples=_PACKET_SAMPLES)
        frame.planes[0].update(self._next())
        frame.sample_rate, frame.pts, frame.time_base = _RATE_HZ, self._samples, _TIME_BASE
        return frame

    def _next(self) -> bytes:
        with self._changed:
            if not self._queue:
                self._is_silent, self._waited = True, 0
            elif self._is_silent:
                self._waited += 1
                self._is_silent = len(self._queue) < _START_BYTES and self._waited <= _START_PACKETS
            if self._is_silent:
                return bytes(_PACKET_BYTES)
            packet = bytes(self._queue[:_PACKET_BYTES])
            del self._queue[:_PACKET_BYTES]
            self._changed.notify_all()
            return packet.ljust(_PACKET_BYTES, b"\0")


def _new_encoder() -> av.AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = _RATE_HZ, "s16", "mono"
    encoder.bit_rate, encoder.time_base = _BITS_PER_SECOND, _TIME_BASE
    # Each packet has a low-quality copy of the previous packet (in-band FEC), also if the service's
    # SDP does not ask for copies: a decoder without FEC ignores the copies.
    encoder.options = {"application": "voip", "fec": "1", "packet_loss": "5"}
    return encoder
