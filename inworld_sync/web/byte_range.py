"""Reads the header ``Range`` of a request; see RFC 9110, section 14."""

from __future__ import annotations

import re

__all__ = ["asks_part", "byte_range"]

# The pattern matches one range. A server may ignore a request for several ranges, and browsers send
# no such requests for audio.
_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)
# This length is greater than every number that the pattern accepts.
_ENDLESS = 10**19


def asks_part(header: str) -> bool:
    """Return whether a ``Range`` header requests less than the whole file."""
    return byte_range(header, _ENDLESS) not in (None, (0, _ENDLESS))


def byte_range(header: str, length_bytes: int) -> tuple[int, int] | None:
    """
    Return the position of the first byte of a range, and the position after its last byte.

    Both numbers are equal if no byte of the file is in the range. The result is None if the header
    is missing or malformed. In this case, the caller must ignore the header.
    """
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, length_bytes - int(match[2])), length_bytes
    start = int(match[1])
    end = min(length_bytes, int(match[2]) + 1) if match[2] else length_bytes
    if match[2] and int(match[2]) < start:
        return None
    return (start, end) if start < length_bytes else (length_bytes, length_bytes)
