"""Makes the tones of telephone keys (DTMF, ITU-T Q.23) as audio."""

from __future__ import annotations

import array
import math
import sys

from inworld_sync.errors import ConfigError
from inworld_sync.telephony.codec import KEYS

__all__ = ["key_tones"]

_LOW_HZ = (697, 770, 852, 941)
_HIGH_HZ = (1209, 1336, 1477, 1633)
_ROWS = ("123A", "456B", "789C", "*0#D")

# All receivers detect tones of 100 ms with pauses of 100 ms.
_TONE_MS = 100
_PAUSE_MS = 100
_WAIT_MS = {"w": 500, "W": 1000}

_MAX_KEYS = 100

# Each of the two tones has this amplitude, about -9 dB of full scale.
_LEVEL = 11000
_FADE_MS = 2


def key_tones(digits: str, sample_rate_hz: int = 8000) -> bytes:
    """
    Return the tones of keys as 16-bit little-endian PCM.

    Args:
        digits: ``0`` to ``9``, ``A`` to ``D``, ``*`` and ``#``; ``w`` is a pause of 0.5 s and ``W``
            a pause of 1 s.
        sample_rate_hz: Samples per second, 8000 or more.

    Raises:
        ConfigError: *digits* is empty, has another character, or has more than 100 characters.
    """
    require_digits(digits)
    samples = array.array("h")
    for digit in digits:
        if digit in _WAIT_MS:
            samples.extend([0] * (sample_rate_hz * _WAIT_MS[digit] // 1000))
        else:
            samples.extend(_tone(digit.upper(), sample_rate_hz))
            samples.extend([0] * (sample_rate_hz * _PAUSE_MS // 1000))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def require_digits(digits: str) -> None:
    """Raise ConfigError if a text is not a sequence of keys and pauses."""
    if not digits or any(digit.upper() not in KEYS and digit not in _WAIT_MS for digit in digits):
        raise ConfigError(f"digits must be 0-9, A-D, *, #, w and W, got {digits!r:.100}")
    if len(digits) > _MAX_KEYS:
        raise ConfigError(f"digits must have at most {_MAX_KEYS} keys, got {len(digits)}")


def _tone(digit: str, rate_hz: int) -> list[int]:
    row = next(index for index, keys in enumerate(_ROWS) if digit in keys)
    low_hz, high_hz = _LOW_HZ[row], _HIGH_HZ[_ROWS[row].index(digit)]
    count, fade = rate_hz * _TONE_MS // 1000, rate_hz * _FADE_MS // 1000
    samples = []
    for index in range(count):
        at = 2 * math.pi * index / rate_hz
        level = _LEVEL * min(1.0, index / fade, (count - 1 - index) / fade)
        samples.append(round(level * (math.sin(low_hz * at) + math.sin(high_hz * at))))
    return samples
