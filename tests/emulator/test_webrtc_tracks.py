"""The emulator gets the audio of the client's track in order, even if packets arrive late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from inworld_sync.emulator.rtc.tracks import InputTrack

from support.opus_tone import FRAME, RATE_HZ, opus_tone

PATIENCE_SECONDS = 20.0
PACKETS = opus_tone(50)


class Track:
    """An input track, and the audio that the session has received from this track."""

    def __init__(self) -> None:
        self.pcm = b""
        receiver: Any = SimpleNamespace()
        self.track = InputTrack(receiver, self._add)

    def _add(self, pcm: bytes) -> None:
        assert pcm
        self.pcm += pcm

    @property
    def samples(self) -> np.ndarray[Any, Any]:
        return np.frombuffer(self.pcm, "<i2")

    def add(self, numbers: Sequence[int], shift: int = 0) -> None:
        """
        Add packets. Their timestamps are *shift* samples later than those of packets without a
        pause.
        """
        for number in numbers:
            packet = SimpleNamespace(
                ssrc=1,
                sequence_number=number,
                timestamp=number * FRAME + shift,
                payload=PACKETS[number],
            )
            self.track.add(packet)

    def run_until(self, samples: int) -> None:
        """Run the track until the session has this many samples, and then for 0.1 s more."""

        async def run() -> None:
            task = asyncio.ensure_future(self.track.run())
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(self.samples) < samples and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            task.cancel()

        asyncio.run(run())


def test_packets_that_arrive_at_once() -> None:
    """
    If all packets arrive at once, no audio is missing, and no silence is inserted.
    """
    one, other = Track(), Track()
    for number in range(50):
        one.add([number])
    other.add([*range(9, -1, -1), *range(10, 50)])

    assert len(one.samples) == 50 * FRAME
    # Packet 9 arrives first and begins the stream, so packets 0 to 8 are not played.
    assert len(other.samples) == 41 * FRAME


def test_a_lost_packet() -> None:
    """The audio after a lost packet waits for this packet, for at most 200 ms."""
    track = Track()
    track.add([*range(10), *range(11, 20)])
    assert len(track.samples) == 10 * FRAME

    track.run_until(20 * FRAME)
    assert len(track.samples) == 20 * FRAME
    track.add([10])
    track.add(range(20, 50))
    assert len(track.samples) == 50 * FRAME


def test_a_client_that_sends_no_silence() -> None:
    """If no packet is lost, a gap in the timestamps becomes silence."""
    track = Track()
    track.add(range(10))
    track.add(range(10, 20), shift=RATE_HZ * 4 // 10)

    samples = track.samples
    assert len(samples) == 20 * FRAME + RATE_HZ * 4 // 10
    assert not samples[10 * FRAME : 10 * FRAME + RATE_HZ * 4 // 10].any()


def test_a_pause() -> None:
    """
    If no packet arrives for half a second or longer, the session gets half a second of silence.
    """
    track = Track()
    track.add(range(10))
    track.run_until(10 * FRAME + RATE_HZ // 2)
    assert len(track.samples) == 10 * FRAME + RATE_HZ // 2
    assert not track.samples[10 * FRAME :].any()

    track.add(range(10, 20), shift=RATE_HZ * 5)
    assert len(track.samples) == 20 * FRAME + RATE_HZ // 2
