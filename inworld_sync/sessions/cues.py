"""
What happens at which moment of an utterance: words and sounds by the milliseconds before them.

Not thread-safe; the owner's lock guards it.
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
    Timed values in the order of their starts, each of which is due once.

    A value that comes after later ones is put in its place; if those were due already, it is due
    next.
    """

    def __init__(self) -> None:
        self._values: list[_T] = []
        self._starts: list[float] = []
        self._due: list[_T] = []
        self._reached_ms = float("-inf")

    def add(self, values: Iterable[_T]) -> None:
        """Add values of any times."""
        for value in values:
            at = bisect.bisect_right(self._starts, value.start_ms)
            self._values.insert(at, value)
            self._starts.insert(at, value.start_ms)
            if value.start_ms < self._reached_ms:
                self._due.append(value)

    def next_start_ms(self) -> float | None:
        """When the next value is due; None when all are told."""
        if self._due:
            return self._due[0].start_ms
        at = bisect.bisect_left(self._starts, self._reached_ms)
        return self._starts[at] if at < len(self._starts) else None

    def reach(self, position_ms: float) -> Iterator[_T]:
        """Give what begins before *position_ms* and was not given before."""
        if position_ms > self._reached_ms:
            first = bisect.bisect_left(self._starts, self._reached_ms)
            last = bisect.bisect_left(self._starts, position_ms)
            self._due += self._values[first:last]
            self._reached_ms = position_ms
        due, self._due = self._due, []
        return iter(due)

    def at(self, position_ms: float) -> _T | None:
        """Give what sounds at *position_ms*, and None between two and outside of all."""
        index = bisect.bisect_right(self._starts, position_ms) - 1
        if index < 0 or position_ms >= self._values[index].end_ms:
            return None
        return self._values[index]

    def before(self, position_ms: float) -> tuple[_T, ...]:
        """Give all that begin before *position_ms*."""
        return tuple(self._values[: bisect.bisect_left(self._starts, position_ms)])
