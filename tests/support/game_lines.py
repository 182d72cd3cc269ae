"""Speech for tests of game engines. The speech is noise, so that no two parts are equal."""

from __future__ import annotations

import numpy as np

from inworld_sync import AudioEncoding, Speech
from inworld_sync.games import VoiceLine

__all__ = ["RATE_HZ", "line_of", "noise"]

RATE_HZ = 24000


def noise(seconds: float, seed: int = 1) -> bytes:
    """Return noise at 24 kHz. No sample is near 0, so a sample of 0 in played audio is a gap."""
    samples = np.random.default_rng(seed).integers(100, 20_000, round(seconds * RATE_HZ))
    signs = np.where(np.arange(len(samples)) // 40 % 2, 1, -1)
    return (samples * signs).astype("<i2").tobytes()


def line_of(pcm: bytes) -> VoiceLine:
    """Return a line that has begun to speak this audio, and needs no network."""
    return VoiceLine(None, Speech(pcm, AudioEncoding.PCM, RATE_HZ), start=True)
