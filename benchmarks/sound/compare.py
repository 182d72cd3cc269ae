"""Compares a recording with the played samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Match", "find", "match"]

_KEY = 64
_SEARCH = 48000


class Match(NamedTuple):
    """
    A recording compared with its original.

    Attributes:
        start: The index of the first common sample in the recording; -1 if there is none.
        exact: How many samples of the original are in the recording, in order.
        missing: How many samples of the original are not in the recording.
        breaks: How many times the recording stops matching the original.
        extra: How many samples of the recording, between matching samples, are not in the original.
        reached: The index in the original after the last common sample.
        end: The index in the recording after the last common sample.
    """

    start: int
    exact: int
    missing: int
    breaks: int
    extra: int
    reached: int
    end: int


def find(recording: npt.NDArray[np.int16], key: npt.NDArray[np.int16], start: int = 0) -> int:
    """Search *key* in the recording from *start* on. Return its index, or -1 if it is not found."""
    at = recording[start:].tobytes().find(key.tobytes())
    while at >= 0 and at % 2:
        at = recording[start:].tobytes().find(key.tobytes(), at + 1)
    return -1 if at < 0 else start + at // 2


def match(recording: npt.NDArray[np.int16], original: npt.NDArray[np.int16]) -> Match:
    """Compare a recording with the original. Gaps in the recording or the original are skipped."""
    place = int(np.flatnonzero(original)[0])  # leading silence would match anywhere
    exact, breaks, extra = place, 0, 0
    missing, start = _resume(recording, 0, original, place, len(recording))
    if start < 0:
        return Match(-1, 0, len(original), 1, 0, 0, 0)
    at, place = start, place + missing
    while place < len(original) and at < len(recording):
        run = _common(recording[at:], original[place:])
        exact, at, place = exact + run, at + run, place + run
        if place >= len(original):
            break
        breaks += 1
        skipped, shift = _resume(recording, at, original, place, _SEARCH)
        if skipped < 0:
            missing += len(original) - place
            break
        missing, extra = missing + skipped, extra + shift
        at, place = at + shift, place + skipped
    return Match(start, exact, missing, breaks, extra, place, at)


def _common(one: npt.NDArray[np.int16], other: npt.NDArray[np.int16]) -> int:
    length = min(len(one), len(other))
    differing = np.flatnonzero(one[:length] != other[:length])
    return int(differing[0]) if len(differing) else length


def _resume(
    recording: npt.NDArray[np.int16],
    at: int,
    original: npt.NDArray[np.int16],
    place: int,
    within: int,
) -> tuple[int, int]:
    """
    Return how many samples of the original and of the recording are before the next match.

    If there is no match within *within* samples of the recording, return (-1, 0).
    """
    window = recording[at : at + within]
    for skipped in range(0, min(len(original) - place, _SEARCH), _KEY // 2):
        key = original[place + skipped : place + skipped + _KEY]
        if len(key) < 8 or not key.any():
            continue
        found = find(window, key)
        if found >= 0:
            return skipped, found
    return -1, 0
