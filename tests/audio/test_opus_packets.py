"""Opus packets that are late, lost or in the wrong order become continuous audio."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from inworld_sync.audio.opus_packets import OpusPackets, OpusStream

from support.opus_tone import FRAME, HZ, RATE_HZ, opus_tone as opus

SOURCE = 7
# The monotonic clock of the test.
BEGIN = 1000.0
# A sequence number, the time of arrival in seconds from the start, and the packet.
Arrival = tuple[int, float, bytes]


def received(
    arrivals: Sequence[Arrival], seconds: float, first: int = 0, source: int = SOURCE
) -> np.ndarray[Any, Any]:
    """Return the audio of packets that arrive at the given times."""
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


def decoded(numbers: Sequence[int], packets: Sequence[bytes], wait: int = 5) -> list[Any]:
    """Return the audio of a stream. One packet arrives in each step, in the given order."""
    stream = OpusStream(logging.getLogger("test"), wait)
    found: list[Any] = []
    for step, number in enumerate(numbers):
        found += stream.add(SOURCE, number, number * FRAME, packets[number], step)
    for step in range(len(numbers), len(numbers) + wait + 1):
        found += stream.due(step)
    return found


def test_order_of_a_stream() -> None:
    """The order of arrival has no effect if each packet is at most *wait* packets too early."""
    packets = opus(50)
    right = decoded(range(50), packets)
    wrong = decoded([*range(10), 12, 14, 11, 10, 13, *range(15, 50)], packets)

    assert b"".join(each.pcm for each in right) == b"".join(each.pcm for each in wrong)
    assert [each.is_first for each in right] == [True] + 49 * [False]


def test_lost_packets_of_a_stream() -> None:
    """
    The decoder continues a tone where packets are lost. The audio has no gap, and is
    as long as the audio of all packets.
    """
    lost = {12, 23, 24, 35, 36, 37}
    found = decoded([each for each in range(50) if each not in lost], opus(50))

    end = 0
    for each in found:
        assert each.timestamp == end
        end += len(each.pcm) // 2
    samples = np.frombuffer(b"".join(each.pcm for each in found), "<i2").astype(float)
    assert len(samples) == 50 * FRAME == end
    assert loud_seconds(samples) == 1.0
    assert purity(samples[24 * FRAME // 2 :]) > 0.98


def test_a_long_loss() -> None:
    """A loss of more than 120 ms is not concealed. The timestamps show the gap."""
    found = decoded([*range(10), *range(30, 40)], opus(40))

    assert [each.timestamp for each in found] == [
        number * FRAME for number in (*range(10), *range(30, 40))
    ]


def test_a_new_source_begins_a_new_stream() -> None:
    """If another source sends packets, their audio is decoded from the first packet on."""
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
