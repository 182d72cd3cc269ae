"""
Keeps the words or phonemes of an utterance, ordered by their start times.

Thread safety: none; the owner's lock guards the cues.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Cues"]


class _Timed(Protocol):
    @property
    def start_ms(self) -> float: ...
    @property
    def end_ms(self) -> float: ...


_T = TypeVar("_T", bound=_Timed)


class Cues(Generic[_T]):
    """
    Values with a start and an end. Each value becomes due once, when the position passes its start.

    Values may be added in any order. If the position has already passed the start of a new value,
    the next call of :meth:`reach` returns this value.

    Attributes:
        next_ms: :meth:`reach` returns a value only for a position after this one.
    """

    def __init__(self) -> None:
        self._values: list[_T] = []
        self._starts: list[float] = []
        self._due: list[_T] = []
        self._reached_ms = float("-inf")
        self.next_ms = float("inf")

    def add(self, values: Iterable[_T]) -> None:
        """Add values, in any order."""
        for value in values:
            at = bisect.bisect_right(self._starts, value.start_ms)
            self._values.insert(at, value)
            self._starts.insert(at, value.start_ms)
            if value.start_ms < self._reached_ms:
                self._due.append(value)
                self.next_ms = float("-inf")
            else:
                self.next_ms = min(self.next_ms, value.start_ms)

    def next_start_ms(self) -> float | None:
        """Return the start of the next value that becomes due, or None if no value is left."""
        if self._due:
            return self._due[0].start_ms
        return self.next_ms if self.next_ms < float("inf") else None

    def reach(self, position_ms: float) -> Iterator[_T]:
        """
        Return the values that start before *position_ms* and were not yet returned.

        A position that is lower than an earlier position counts as the earlier position.
        """
        if position_ms <= self.next_ms:
            return iter(())
        first = bisect.bisect_left(self._starts, self._reached_ms)
        self._reached_ms = max(self._reached_ms, position_ms)
        last = bisect.bisect_left(self._starts, self._reached_ms)
        self._due += self._values[first:last]
        self.next_ms = self._starts[last] if last < len(self._starts) else float("inf")
        due, self._due = self._due, []
        return iter(due)

    def at(self, position_ms: float) -> _T | None:
        """Return the value at *position_ms*, or None if no value lasts at this position."""
        index = bisect.bisect_right(self._starts, position_ms) - 1
        if index < 0 or position_ms >= self._values[index].end_ms:
            return None
        return self._values[index]

    def before(self, position_ms: float) -> tuple[_T, ...]:
        """Return all values that start before *position_ms*."""
        return tuple(self._values[: bisect.bisect_left(self._starts, position_ms)])
