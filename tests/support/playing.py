"""A playout with a simulated clock, and audio for it."""

from __future__ import annotations

import math
import struct
from collections.abc import Hashable
from typing import Any

from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import PlayoutPart, PlayoutPartKind, PushResult

RATE_HZ = 16000
PER_MS = RATE_HZ // 1000


def counting(first: int, count: int) -> bytes:
    """
    Return *count* samples from index *first*. The value of a sample is its index + 1, modulo 30000.
    """
    return struct.pack(f"<{count}h", *(1 + (first + k) % 30000 for k in range(count)))


def tone(ms: int, hz: float = 200.0, rate_hz: int = RATE_HZ, level: float = 0.3) -> bytes:
    """Return a sine wave. Time scaling and concealment can repeat its periods."""
    samples = (
        round(32767 * level * math.sin(2 * math.pi * hz * k / rate_hz))
        for k in range(rate_hz * ms // 1000)
    )
    return b"".join(struct.pack("<h", sample) for sample in samples)


def samples_of(pcm: bytes | bytearray) -> list[int]:
    """Return the values of 16-bit samples."""
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


class Player:
    """Pushes and reads audio in simulated time. Records the output and the parts of the output."""

    def __init__(self, **settings: Any) -> None:
        self.playout = Playout(RATE_HZ, **settings)
        self.now_ms = 1000.0
        self.output = bytearray()
        self.parts: list[PlayoutPart] = []

    @property
    def now_ns(self) -> int:
        return round(self.now_ms * 1e6)

    def push(self, pcm: bytes, item: Hashable = "item", **more: Any) -> PushResult:
        """Push audio at the present time."""
        return self.playout.push(pcm, item=item, now_ns=self.now_ns, **more)

    def read(self, ms: float, block_ms: float = 10) -> bytes:
        """Read *ms* of audio in blocks while the time passes. Return the audio."""
        begin = len(self.output)
        left = round(ms * PER_MS)
        while left > 0:
            frames = min(left, round(block_ms * PER_MS))
            out = bytearray(2 * frames)
            self.playout.read(out, now_ns=self.now_ns)
            assert sum(part.output_frames for part in self.playout.parts()) == frames
            self.output += out
            self.parts += self.playout.parts()
            self.now_ms += frames / PER_MS
            left -= frames
        return bytes(self.output[begin:])

    def frames(self, *kinds: PlayoutPartKind) -> int:
        """Return how many frames of the output so far have these kinds."""
        return sum(part.output_frames for part in self.parts if part.kind in kinds)

    def played_ranges(self) -> list[tuple[int, int]]:
        """Return the positions at which each played part starts and ends in the source."""
        return [
            (part.position_frames, part.position_frames + part.source_frames)
            for part in self.parts
            if part.kind is PlayoutPartKind.PLAYED
        ]
