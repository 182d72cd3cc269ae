"""
Gives the audio of a carrier that sends no timestamps its place in the stream.

Such a carrier sends audio in real time, and sends nothing while there is no audio, for example if
packets from the phone are lost. The position of a piece is the number of samples before it, plus
the gaps. A late piece does not show a gap: if this process stalls, the pieces wait in the socket,
and the later pieces then arrive at once. So a gap counts only if all pieces of the next two seconds
are late too.

This module has no clock and no lock. The owner passes the time and serializes the calls.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["Arrivals", "PlacedAudio"]

# A piece is placed after the pieces of this time have been seen.
_WATCHED_SECONDS = 2.0

# The time between two pieces counts at most this long, because nothing is seen while the process
# stalls.
_MOST_STEP_SECONDS = 0.04

# A shorter gap is ignored. Gaps of a carrier are frames of 20 ms. At the end of a call, two seconds
# of further pieces are missing, so only a gap that is longer than most stalls counts.
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
        received: How many samples have arrived before it.
        began: When the stream has begun at the latest if there was no gap before this piece.
        watched: For how long pieces had been seen when it arrived.
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
        rate_hz: Samples a second.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._received = 0
        self._watched = 0.0
        self._arrived: float | None = None
        self._pieces: deque[_Piece] = deque()
        # The values of ``began`` that are less than those of all later pieces, in order. So the
        # first value is the least one of all pieces.
        self._least: deque[float] = deque()
        self._began: float | None = None
        self._gap_seconds = 0.0

    def add(self, pcm: bytes, now: float) -> list[PlacedAudio]:
        """Add a piece that has just arrived, and return the pieces whose place is known now."""
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
        """Return the other pieces, since no more pieces follow."""
        return self._placed(self._watched, _LAST_GAP_SECONDS)

    def _placed(self, until: float, least_gap_seconds: float) -> list[PlacedAudio]:
        """Return the pieces that arrived up to a time of :attr:`_watched`."""
        found = []
        while self._pieces and self._pieces[0].watched <= until:
            piece, least = self._pieces.popleft(), self._least[0]
            if piece.began == least:
                self._least.popleft()
            began = least if self._began is None else self._began
            gap_seconds = least - began - self._gap_seconds
            if gap_seconds > least_gap_seconds:
                self._gap_seconds += gap_seconds
            # If this is negative, the first pieces were late, and the stream began earlier.
            self._began = began + min(gap_seconds, 0.0)
            position = piece.received + round(self._gap_seconds * self._rate_hz)
            found.append(PlacedAudio(piece.pcm, position, piece.arrived))
        return found
