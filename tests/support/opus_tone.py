"""Opus packets with a tone, and a look into Opus packets."""

from __future__ import annotations

import fractions
import math
from typing import Any

import av
import numpy as np

__all__ = ["FRAME", "HZ", "RATE_HZ", "has_copy", "opus_tone"]

RATE_HZ = 48000
FRAME = 960
HZ = 440.0


def opus_tone(count: int, *, silent: int = 0) -> list[bytes]:
    """
    Return *count* packets with 20 ms of a tone, followed by *silent* packets with 20 ms of silence.
    """
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = RATE_HZ, "s16", "mono"
    packets: list[bytes] = []
    for number in range(count + silent + 1):
        times = np.arange(number * FRAME, (number + 1) * FRAME) / RATE_HZ
        level = 8000 if number < count else 0
        samples = (level * np.sin(2 * math.pi * HZ * times)).astype("<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, number * FRAME
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets[: count + silent]


def has_copy(packet: bytes) -> bool:
    """
    Return whether a packet with 20 ms of mono audio has a copy of the packet before it. The header
    of the SILK layer has one bit for voice activity, and then one bit for the copy (RFC 6716,
    section 4.2.3). Configurations from 16 on have no SILK layer (section 3.1).
    """
    return packet[0] >> 3 < 16 and len(packet) > 1 and bool(packet[1] & 0x40)
