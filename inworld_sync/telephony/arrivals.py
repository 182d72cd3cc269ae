"""
Finds the position of audio in the stream of a carrier that sends no timestamps.

Such a carrier sends audio in real time. It sends nothing while it has no audio, for example if
packets from the phone are lost. The position of a piece is the number of samples that arrived
before the piece, plus the lengths of the gaps in samples. One late piece does not prove a gap: if
this process stalls, pieces wait in the socket, and then all of them arrive at once. So a gap counts
only if all pieces of the next two seconds are late too.

This module has no clock and no lock. The owner passes the time and serializes the calls.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["Arrivals", "PlacedAudio"]

# The position of a piece is decided when later pieces have been watched for this long.
_WATCHED_SECONDS = 2.0

# If the time between two pieces is longer, only this much counts as watched, because the process
# may have stalled between the pieces.
_MOST_STEP_SECONDS = 0.04

# Shorter gaps are ignored. A real gap lasts at least one frame, which is 20 ms. The second value is
# the limit for the last pieces of a call: no later pieces can confirm a gap before these pieces, so
# the gap must be longer than most stalls.
_GAP_SECONDS = 0.015
_LAST_GAP_SECONDS = 2.0

_SAMPLE_BYTES = 2


@attrs.frozen
class PlacedAudio:
    """Audio, the position of its first sample in the stream, and when the audio arrived."""

    pcm: bytes = attrs.field(repr=False)
    position: int
    arrived: float


@attrs.frozen
class _Piece:
    """
    A piece that is not placed yet.

    Attributes:
        received: How many samples had arrived before this piece.
        began: The latest possible beginning of the stream, if there was no gap before this piece.
        watched: For how many seconds pieces had been watched when this piece arrived.
    """

    pcm: bytes = attrs.field(repr=False)
    arrived: float
    received: int
    began: float
    watched: float


class Arrivals:
    """
    The pieces of one stream.

    Args:
        rate_hz: The sample rate of the audio in Hz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._received = 0
        self._watched = 0.0
        self._arrived: float | None = None
        self._pieces: deque[_Piece] = deque()
        # The values of ``began`` of the waiting pieces, in order. A value that is greater than a
        # later value is left out, so the first value is the least.
        self._least: deque[float] = deque()
        self._began: float | None = None
        self._gap_seconds = 0.0

    def add(self, pcm: bytes, now: float) -> list[PlacedAudio]:
        """Add a piece that has just arrived, and return the pieces whose position is now known."""
        if self._arrived is not None:
            self._watched += min(max(now - self._arrived, 0.0), _MOST_STEP_SECONDS)
        self._arrived = now
        received, self._received = self._received, self._received + len(pcm) // _SAMPLE_BYTES
        began = now - self._received / self._rate_hz
        self._pieces.append(_Piece(pcm, now, received, began, self._watched))
        while self._least and self._least[-1] > began:
            self._least.pop()
        self._least.append(began)
        return self._placed(self._watched - _WATCHED_SECONDS, _GAP_SECONDS)

    def finish(self) -> list[PlacedAudio]:
        """Return the pieces that are not placed yet. No more pieces may follow."""
        return self._placed(self._watched, _LAST_GAP_SECONDS)

    def _placed(self, until: float, least_gap_seconds: float) -> list[PlacedAudio]:
        """Place and return the pieces whose ``watched`` is at most *until*."""
        found = []
        while self._pieces and self._pieces[0].watched <= until:
            piece, least = self._pieces.popleft(), self._least[0]
            if piece.began == least:
                self._least.popleft()
            began = least if self._began is None else self._began
            gap_seconds = least - began - self._gap_seconds
            if gap_seconds > least_gap_seconds:
                self._gap_seconds += gap_seconds
            # If the gap is negative, the first pieces were late, and the stream began earlier.
            self._began = began + min(gap_seconds, 0.0)
            position = piece.received + round(self._gap_seconds * self._rate_hz)
            found.append(PlacedAudio(piece.pcm, position, piece.arrived))
        return found
