"""
Has the two audio tracks of a call. Opus is encoded here rather than by aiortc, whose encoder uses
a pool of threads.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import AsyncIterator, Callable

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from inworld_sync.emulator.realtime.formats import TRACK_FORMAT

__all__ = ["OutputTrack", "received_audio"]

_RATE_HZ = TRACK_FORMAT.sample_rate_hz
_FRAME_SAMPLES = _RATE_HZ // 50
_TIME_BASE = fractions.Fraction(1, _RATE_HZ)
_BITS_PER_SECOND = 48_000
# A longer gap between two packets is a pause of the sender, not a loss.
_MAX_GAP_SAMPLES = _RATE_HZ
# If the loop was blocked for longer than this, the track continues from now.
_MAX_LATE_SECONDS = 1.0


class OutputTrack(MediaStreamTrack):
    """
    The track of the replies: Opus packets of 20 ms in real time.

    Attributes:
        source: Returns the next bytes of 16-bit mono samples; None for silence.

    Thread safety: the thread of the event loop.
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


async def received_audio(track: MediaStreamTrack) -> AsyncIterator[bytes]:
    """Yield the audio of a client's track in ``TRACK_FORMAT``. Silence replaces lost packets."""
    expected: int | None = None
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if not isinstance(frame, av.AudioFrame):
            continue
        samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
        pcm: bytes = samples.mean(axis=1).astype("<i2").tobytes()
        if frame.pts is not None:
            gap = 0 if expected is None else frame.pts - expected
            if 0 < gap <= _MAX_GAP_SAMPLES:
                pcm = bytes(2 * gap) + pcm
            expected = frame.pts + frame.samples
        yield pcm
