"""
G.711 by table, made from the formulas of the recommendation.

Source: ITU-T G.711, tables 1 and 2, as the reference code of G.191 computes them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["alaw_from_s16", "mulaw_from_s16"]


def mulaw_from_s16(pcm: bytes) -> bytes:
    """Encode 16-bit little-endian samples as mu-law, one byte a sample."""
    return bytes(_mulaw_table()[np.frombuffer(pcm, "<i2").view("<u2")])


def alaw_from_s16(pcm: bytes) -> bytes:
    """Encode 16-bit little-endian samples as A-law, one byte a sample."""
    return bytes(_alaw_table()[np.frombuffer(pcm, "<i2").view("<u2")])


def _all_samples() -> NDArray[np.int64]:
    """Return every 16-bit sample at the place of its unsigned twin."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int64)


@functools.cache
def _mulaw_table() -> NDArray[np.uint8]:
    samples = _all_samples()
    # 14 bits, one's complement for negative ones, a bias of 33 and a ceiling.
    magnitude = np.where(samples < 0, ((~samples) >> 2) + 33, (samples >> 2) + 33)
    magnitude = np.minimum(magnitude, 0x1FFF)
    segment = np.floor(np.log2(magnitude)).astype(np.int64) - 5
    low = 0xF - ((magnitude >> (segment + 1)) & 0xF)
    code = ((7 - segment) << 4) | low
    table: NDArray[np.uint8] = np.where(samples < 0, code, code | 0x80).astype(np.uint8)
    return table


@functools.cache
def _alaw_table() -> NDArray[np.uint8]:
    samples = _all_samples()
    # 12 bits, one's complement for negative ones.
    magnitude = np.where(samples < 0, ~samples, samples) >> 4
    exponent = np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int64) - 4
    linear = magnitude < 32
    steps = np.where(linear, 0, exponent)
    mantissa = (magnitude >> np.where(linear, 0, steps)) & 0xF
    code = np.where(linear, magnitude, ((steps + 1) << 4) | mantissa)
    signed = np.where(samples < 0, code, code | 0x80)
    table: NDArray[np.uint8] = (signed ^ 0x55).astype(np.uint8)
    return table
