"""
Implements the two audio tracks of a call.

This module encodes Opus itself, which takes less than 1 ms for each packet. aiortc would pass each
packet to a pool of threads, which the emulator would have to end too.
"""

from __future__ import annotations

import asyncio
import fractions
import logging
import time
from collections.abc import Callable
from typing import Protocol

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from inworld_sync.audio.opus_packets import DecodedAudio, OpusStream
from inworld_sync.emulator.realtime.formats import TRACK_FORMAT

__all__ = ["InputTrack", "OutputTrack"]

_logger = logging.getLogger("inworld_sync.emulator")

_RATE_HZ = TRACK_FORMAT.sample_rate_hz
_FRAME_SAMPLES = _RATE_HZ // 50
_TIME_BASE = fractions.Fraction(1, _RATE_HZ)
_BITS_PER_SECOND = 48_000
# A packet that arrives too early waits for the packets before it, for at most _REORDER_STEPS steps
# of 20 ms. If no packet arrives for _PAUSE_STEPS steps, the client has paused. A longer pause adds
# _PAUSE_STEPS steps of silence too, not more. The track counts steps and reads no clock: while the
# process stalls, packets wait in the socket, and with a clock they would count as lost.
_STEP_SECONDS = 0.02
_REORDER_STEPS = 10
_PAUSE_STEPS = 25
_PAUSE_SAMPLES = _PAUSE_STEPS * _FRAME_SAMPLES
# The attribute with the jitter buffer of aiortc's receiver. aiortc has no public way to get the
# packets.
_BUFFER = "_RTCRtpReceiver__jitter_buffer"
# If the loop was blocked for longer than this, the output track does not send the missed packets.
_MAX_LATE_SECONDS = 5.0


class _Packet(Protocol):
    """The attributes of aiortc's packets that this module uses."""

    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


class OutputTrack(MediaStreamTrack):
    """
    The track of the replies: Opus packets of 20 ms in real time.

    Attributes:
        source: A function that returns the next bytes of 16-bit mono samples. If *source* is None,
            silence is sent.

    Thread safety: only the thread of the event loop uses this object.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.source: Callable[[int], bytes] | None = None
        self._encoder = av.CodecContext.create("libopus", "w")
        self._encoder.sample_rate = _RATE_HZ
        self._encoder.format = "s16"
        self._encoder.layout = "mono"
        self._encoder.bit_rate = _BITS_PER_SECOND
        self._encoder.options = {"application": "voip"}
        self._encoder.time_base = _TIME_BASE
        self._due = 0.0
        self._samples = 0

    def add_copies(self) -> None:
        """
        Add a copy of each packet, with less quality, to the next packet (in-band FEC). Call this
        method before the first :meth:`recv`.
        """
        self._encoder.options = {"application": "voip", "fec": "1", "packet_loss": "5"}

    async def recv(self) -> av.Packet[av.AudioStream]:
        """Wait until the next packet is due, and return it."""
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            now = time.monotonic()
            if self._due < now - _MAX_LATE_SECONDS:
                self._due = now
            await asyncio.sleep(max(0.0, self._due - now))
            self._due += _FRAME_SAMPLES / _RATE_HZ
            packets = self._encoder.encode(self._frame())
            self._samples += _FRAME_SAMPLES
            if packets:
                packet = packets[0]
                packet.pts, packet.time_base = self._samples, _TIME_BASE
                return packet

    def _frame(self) -> av.AudioFrame:
        size = 2 * _FRAME_SAMPLES
        pcm = bytes(size) if self.source is None else self.source(size)
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = _RATE_HZ
        frame.pts, frame.time_base = self._samples, _TIME_BASE
        return frame


class InputTrack:
    """
    The track of the client. This class replaces the jitter buffer of aiortc, which drops about 100
    ms of audio for each lost packet.

    The session needs all audio, but not at a fixed rate. So the timestamps of the packets, and not
    a clock, decide where audio belongs. If audio arrives late, it is still complete.

    Args:
        receiver: The receiver of the track.
        handle: Called with the track's audio in ``TRACK_FORMAT``, as soon as the audio is in order.

    Thread safety: only the thread of the event loop uses this object.
    """

    def __init__(self, receiver: RTCRtpReceiver, handle: Callable[[bytes], object]) -> None:
        self._handle = handle
        self._stream = OpusStream(_logger, _REORDER_STEPS)
        self._steps = 0
        # How many steps ago the last packet arrived; None before the first packet.
        self._idle_steps: int | None = None
        # The timestamp that follows the last audio that was delivered.
        self._end = 0
        setattr(receiver, _BUFFER, self)

    def add(self, packet: _Packet) -> tuple[bool, None]:
        """Handle a packet. aiortc calls this method. The result makes aiortc decode nothing."""
        pieces = self._stream.add(
            packet.ssrc, packet.sequence_number, packet.timestamp, packet.payload, self._steps
        )
        self._idle_steps = 0
        self._deliver(pieces)
        return False, None

    async def run(self) -> None:
        """Handle pauses, and audio that waited for lost packets, until the task is cancelled."""
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            self._steps += 1
            self._deliver(self._stream.due(self._steps))
            if self._idle_steps is not None:
                self._idle_steps += 1
                if self._idle_steps == _PAUSE_STEPS:
                    self._handle(bytes(2 * _PAUSE_SAMPLES))

    def _deliver(self, pieces: list[DecodedAudio]) -> None:
        for each in pieces:
            missing = (each.timestamp - self._end) & 0xFFFFFFFF
            # A client that sends nothing while its user is silent leaves gaps. A gap longer than
            # _PAUSE_SAMPLES is a pause, and `run` has already added its silence.
            if 0 < missing <= _PAUSE_SAMPLES and not each.is_first:
                self._handle(bytes(2 * missing))
            self._handle(each.pcm)
            self._end = (each.timestamp + len(each.pcm) // 2) & 0xFFFFFFFF
