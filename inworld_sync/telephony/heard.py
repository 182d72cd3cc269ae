"""
Implements the clock that counts how much audio a caller has heard.

A position is a number of samples since the beginning of the call's audio. A run begins when audio
is sent to an empty queue of the carrier. A carrier plays audio no faster than in real time. So the
earliest time at which a sample is played is the beginning of the run plus the sample's time in the
run. A mark that returns, or the length of the carrier's queue, shows how much later the sample is
played. The clock measures this delay. Between two reports, the clock computes the position from the
time.

This module does not read the time, and has no lock and no thread. The owner passes the time and
serializes the calls.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

import attrs

__all__ = ["HeardClock", "Reports"]

# How a carrier reports the audio that it has played: by returning marks, by the length of its queue
# when the client requests this length, or not at all.
Reports: TypeAlias = Literal["marks", "queue", "none"]

# The time between two marks, or between two requests for the length of the queue.
_REPORT_SECONDS = 0.2

# If a mark returns before its audio can have been played, the carrier has emptied its queue. Such a
# mark does not count. The tolerance is 0.04 s plus 0.1 % of the time in the run, because the clocks
# of both sides differ.
_EARLY_SECONDS = 0.04
_DRIFT = 0.001

# If a mark has not returned this long after its audio should have been played, the mark is lost.
_LOST_SECONDS = 2.0

_MAX_DELAY_SECONDS = 5.0
_PREFIX = "iw"

# A longer name is not the name of a mark that this side has sent.
_MAX_NAME = 40


@attrs.define
class _Run:
    """Audio that is played without a pause: its first position, and the time when sending began."""

    position: int
    began: float


class HeardClock:
    """
    Counts how much of the audio that was sent has been heard.

    Args:
        rate_hz: Samples per second.
        delay: The assumed time in seconds from sending to hearing, until the delay is measured.
        reports: How the carrier reports the audio that it has played.

    Attributes:
        sent: How many samples were sent.
        generation: How often the audio was cleared.
        early: How many reports came too early. Such reports do not count.
        stale: How many reports belong to an earlier generation or to an unknown mark. Such reports
            do not count.
        delay: The time in seconds from sending to hearing, as it was assumed or measured last.
    """

    def __init__(self, rate_hz: int, delay: float, reports: Reports) -> None:
        self._rate_hz = rate_hz
        self._reports = reports
        self.delay = delay
        self.sent = 0
        self.generation = 0
        self.early = self.stale = 0
        self._runs: deque[_Run] = deque()
        # The positions of the marks that have not returned, and the position of the latest mark.
        self._marks: deque[int] = deque()
        self._marked = 0
        # The unanswered requests for the length of the queue, as (generation, position).
        self._requests: deque[tuple[int, int]] = deque()
        self._requested_at = 0.0
        # The caller has heard at least this many samples.
        self._heard = 0

    def due(self) -> float | None:
        """Return the earliest time at which the next sample can be played; None without a run."""
        if not self._runs:
            return None
        run = self._runs[-1]
        return run.began + (self.sent - run.position) / self._rate_hz

    def send(self, samples: int, now: float) -> None:
        """Record that audio is sent."""
        due = self.due()
        if due is None or now >= due:
            self._runs.append(_Run(self.sent, now))
            # A run is needed until its last sample has been heard.
            while len(self._runs) > 1 and self._runs[1].position <= self._heard:
                self._runs.popleft()
        self.sent += samples

    def heard(self, now: float) -> int:
        """Return how many samples were heard."""
        position = min(self._played(now - self.delay), self.sent)
        if self._marks and not self._is_overdue(now):
            position = min(position, self._marks[0])
        self._heard = max(self._heard, position)
        return self._heard

    def is_drained(self, now: float) -> bool:
        """Return whether all audio that was sent has been heard, and all marks have returned."""
        return self.heard(now) >= self.sent and (not self._marks or self._is_overdue(now))

    def clear(self, now: float) -> int:
        """Record that the carrier drops the unheard audio. Return how many samples were heard."""
        heard = self.heard(now)
        self.generation += 1
        self._marks.clear()
        self._runs.clear()
        self._heard = self._marked = self.sent
        return heard

    # Reports of the carrier.

    def is_report_due(self, now: float, *, is_last: bool) -> bool:
        """Return whether to request a report now. *is_last* means that no more audio is queued."""
        if self._reports == "marks":
            unmarked = self.sent - self._marked
            return unmarked > 0 and (is_last or unmarked >= _REPORT_SECONDS * self._rate_hz)
        return (
            self._reports == "queue"
            and now - self._requested_at >= _REPORT_SECONDS
            and self.heard(now) < self.sent
        )

    def request_report(self, now: float) -> str:
        """Record that a report is requested, and return the name of the mark."""
        if self._reports == "marks":
            self._marked = self.sent
            self._marks.append(self.sent)
        else:
            self._requests.append((self.generation, self.sent))
            self._requested_at = now
        return f"{_PREFIX}:{self.generation}:{self.sent}"

    def handle_mark(self, name: str, now: float) -> int | None:
        """
        Record that a mark has returned.

        Returns:
            The position up to which the audio was heard; None if the mark does not count.
        """
        prefix, _, rest = name.partition(":")
        generation, _, position = rest.partition(":")
        if prefix != _PREFIX or len(rest) > _MAX_NAME:
            return None
        if not (generation.isdecimal() and position.isdecimal()):
            return None
        if int(generation) != self.generation or int(position) not in self._marks:
            self.stale += 1
            return None
        while self._marks and self._marks[0] <= int(position):
            self._marks.popleft()
        return self._report(int(position), now)

    def handle_queue(self, samples: int, now: float) -> int | None:
        """
        Handle the answer to the oldest request: *samples* were in the queue at that time.

        Returns:
            As for :meth:`handle_mark`.
        """
        if not self._requests:
            return None
        generation, position = self._requests.popleft()
        if generation != self.generation:
            self.stale += 1
            return None
        return self._report(max(position - samples, 0), now)

    def _report(self, position: int, now: float) -> int | None:
        """Record that the audio up to a position was played. Return None if the report is early."""
        run = self._run_of(position)
        if run is None:
            return None
        played_at = run.began + (position - run.position) / self._rate_hz
        tolerance = _EARLY_SECONDS + _DRIFT * (played_at - run.began)
        if now + tolerance < played_at:
            self.early += 1
            return None
        self.delay = min(max(now - played_at, 0.0), _MAX_DELAY_SECONDS)
        self._heard = max(self._heard, position)
        return position

    def _played(self, at: float) -> int:
        """Return how many samples can have been played until a time."""
        end = self.sent
        for run in reversed(self._runs):
            if at >= run.began:
                return min(end, run.position + round((at - run.began) * self._rate_hz))
            end = run.position
        return min(end, self._heard)

    def _run_of(self, position: int) -> _Run | None:
        """Return the run with the sample before a position."""
        for run in reversed(self._runs):
            if run.position < position:
                return run
        return None

    def _is_overdue(self, now: float) -> bool:
        due = self.due()
        return due is not None and now >= due + self.delay + _LOST_SECONDS
