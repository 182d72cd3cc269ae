"""
Defines the table of the requests that a service has not answered yet. Each connection or session
has one such table.

An entry leaves the table in exactly one of these ways:

=================  =============================================================================
``resolve_by_id``  the service answered the request, and named the request's id
``resolve_only``   the service answered without an id, and only one entry of the kind is pending
``contradict``     a later message proves that the request is no longer pending
``cancel``         the client no longer waits for the answer
``expire``         the deadline of the request has passed
=================  =============================================================================

The table has no clock: callers pass times of one monotonic clock, in seconds.

Thread safety: none; the owner guards a table with the monitor of its connection or session.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import attrs

__all__ = ["Pending", "PendingTable"]

K = TypeVar("K", bound=Hashable)


@attrs.define(eq=False)
class Pending(Generic[K]):
    """
    One request that was sent.

    Attributes:
        kind: The kind of request, such as a member of an enum.
        key: The id by which the answer may name the request; None if the request has no id.
        sent_at: When the request was sent, in seconds.
        deadline: When the client stops waiting for the answer, in seconds; infinity for never. The
            owner may move the deadline.
    """

    kind: K
    key: str | None
    sent_at: float
    deadline: float = math.inf


class PendingTable(Generic[K]):
    """
    The pending requests, in the order in which they were sent.

    >>> table = PendingTable[str]()
    >>> entry = table.add("response", "resp-1", sent_at=0.0, deadline=15.0)
    >>> table.expire(now=10.0)
    []
    >>> table.resolve_by_id("resp-1") is entry
    True
    >>> table.resolve_by_id("resp-1") is None
    True
    """

    def __init__(self) -> None:
        self._entries: dict[Pending[K], None] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Pending[K]]:
        return iter(self._entries)

    def __contains__(self, entry: object) -> bool:
        return entry in self._entries

    def add(
        self, kind: K, key: str | None = None, *, sent_at: float, deadline: float = math.inf
    ) -> Pending[K]:
        """Record a request that is being sent, and return its entry."""
        entry = Pending(kind, key, sent_at, deadline)
        self._entries[entry] = None
        return entry

    def of_kind(self, kind: K) -> list[Pending[K]]:
        """Return the entries of a kind, the oldest first."""
        return [entry for entry in self._entries if entry.kind == kind]

    def resolve_by_id(self, key: str | None, kind: K | None = None) -> Pending[K] | None:
        """
        Remove and return the oldest entry with this id, or return None if there is none.

        Args:
            key: The id of the entry.
            kind: The kind, if requests of several kinds have this id.
        """
        if key is None:
            return None
        found = (e for e in self._entries if e.key == key and kind in (None, e.kind))
        return self._remove(next(found, None))

    def resolve_only(self, kind: K) -> Pending[K] | None:
        """Remove and return the only entry of a kind; return None if there are none or several."""
        found = self.of_kind(kind)
        return self._remove(found[0]) if len(found) == 1 else None

    def contradict(self, kind: K, *, sent_before: float = math.inf) -> list[Pending[K]]:
        """Remove and return the entries of a kind whose ``sent_at`` is before *sent_before*."""
        return self._remove_all([e for e in self.of_kind(kind) if e.sent_at < sent_before])

    def cancel(self, entry: Pending[K]) -> bool:
        """Remove an entry; return whether it was still pending."""
        if entry not in self._entries:
            return False
        self._remove(entry)
        return True

    def expire(self, now: float) -> list[Pending[K]]:
        """Remove and return the entries whose deadline is not after *now*, the oldest first."""
        return self._remove_all([entry for entry in self._entries if entry.deadline <= now])

    def next_deadline(self) -> float:
        """Return the earliest deadline, in seconds; infinity if there is none."""
        return min((entry.deadline for entry in self._entries), default=math.inf)

    def clear(self, key: str | None = None) -> list[Pending[K]]:
        """Remove and return all entries. With *key*, do this only for the entries with this id."""
        return self._remove_all([e for e in self._entries if key in (None, e.key)])

    def _remove_all(self, entries: list[Pending[K]]) -> list[Pending[K]]:
        for entry in entries:
            del self._entries[entry]
        return entries

    def _remove(self, entry: Pending[K] | None) -> Pending[K] | None:
        if entry is not None:
            del self._entries[entry]
        return entry
