"""Opus packets that are late, lost or in the wrong order become continuous audio."""

from __future__ import annotations

import fractions
import logging
import math
import random
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import pytest

from inworld_sync.audio.opus_packets import OpusPackets

FRAME = 960
RATE_HZ = 48000
HZ = 440.0
SOURCE = 7
# The monotonic clock of the test.
BEGIN = 1000.0
# A sequence number, the time of arrival in seconds from the start, and the packet.
Arrival = tuple[int, float, bytes]


def opus(count: int, *, silent: int = 0) -> list[bytes]:
    """Return packets with 20 ms of a tone each. The last *silent* packets have silence."""
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


def received(
    arrivals: Sequence[Arrival], seconds: float, first: int = 0, source: int = SOURCE
) -> np.ndarray[Any, Any]:
    """Return the audio of packets that arrive at these times."""
    waiting = sorted(arrivals, key=lambda each: each[1])
    packets = OpusPackets(logging.getLogger("test"))
    blocks = []
    for number in range(round(seconds * 50)):
        now = BEGIN + number * 0.02
        while waiting and BEGIN + waiting[0][1] <= now:
            sequence, at, payload = waiting.pop(0)
            place = (first + sequence) & 0xFFFF
            stamp = (first + sequence) * FRAME & 0xFFFFFFFF
            packets.add(source, place, stamp, payload, BEGIN + at)
        blocks.append(packets.read(now))
    packets.close()
    return np.frombuffer(b"".join(blocks), "<i2").astype(float)


def loud_seconds(samples: np.ndarray[Any, Any]) -> float:
    blocks = np.abs(samples.reshape(-1, FRAME)).max(axis=1)
    return float((blocks > 1000).sum() * 0.02)


def purity(samples: np.ndarray[Any, Any]) -> float:
    """Return the share of the energy that has the frequency of the tone."""
    loud = samples[np.flatnonzero(np.abs(samples) > 1000)[0] :][: RATE_HZ // 2]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud)))) ** 2
    around = round(HZ * len(loud) / RATE_HZ)
    return float(spectrum[around - 4 : around + 5].sum() / spectrum.sum())


def in_time(packets: Sequence[bytes]) -> list[Arrival]:
    return [(number, number * 0.02, each) for number, each in enumerate(packets)]


@pytest.mark.parametrize("first", [0, 65500, 2**32 // FRAME - 20])
def test_packets_in_time(first: int) -> None:
    """All audio is decoded, even if sequence numbers and timestamps wrap around."""
    samples = received(in_time(opus(50, silent=30)), 1.5, first)

    assert loud_seconds(samples) == pytest.approx(1.0, abs=0.06)
    assert purity(samples) > 0.99


def test_packets_in_the_wrong_order() -> None:
    """If two packets arrive in the wrong order, the audio is the same as in the right order."""
    arrivals = in_time(opus(50, silent=30))
    for number in range(0, 50, 5):
        (first, at, one), (second, later, two) = arrivals[number : number + 2]
        arrivals[number : number + 2] = [(first, later, one), (second, at, two)]
    samples = received(arrivals, 1.5)

    assert loud_seconds(samples) == pytest.approx(1.0, abs=0.06)
    assert purity(samples) > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_lost_and_late_packets(seed: int) -> None:
    """With 5 % loss and delays of 0 to 60 ms, at most 20 ms of two seconds are silent."""
    numbers = random.Random(seed)
    arrivals = [
        (number, at + numbers.uniform(0, 0.06), each)
        for number, at, each in in_time(opus(100))
        if numbers.random() > 0.05
    ]
    samples = received(arrivals, 2.6)
    quiet = np.abs(samples.reshape(-1, FRAME)).max(axis=1) < 500
    inside = np.flatnonzero(~quiet)

    assert quiet[inside[0] : inside[-1]].sum() <= 1
    assert purity(samples) > 0.9


def test_a_new_source_begins_a_new_stream() -> None:
    packets = OpusPackets(logging.getLogger("test"))
    for source, first in ((1, 500), (2, 40_000)):
        for number, payload in enumerate(opus(20)):
            at = BEGIN + number * 0.02
            packets.add(source, first + number, number * FRAME, payload, at)
            block = packets.read(at)
        assert np.abs(np.frombuffer(block, "<i2").astype(int)).max() > 1000
    packets.close()


def test_packets_that_cannot_be_decoded(caplog: pytest.LogCaptureFixture) -> None:
    """An invalid packet is logged, and the audio continues. An empty packet is skipped."""
    caplog.set_level("DEBUG")
    arrivals = in_time(opus(50))
    arrivals[20] = (*arrivals[20][:2], b"\xff")
    arrivals[30] = (*arrivals[30][:2], b"")
    samples = received(arrivals, 1.5)

    assert loud_seconds(samples) > 0.9
    assert "was not decoded" in caplog.text
