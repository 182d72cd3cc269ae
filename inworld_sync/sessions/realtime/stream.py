"""
The events of a realtime session, of which nobody need take any.

A session lives long, and much of what it tells is known by other ways. So events that nobody
waits for are kept in part only, the newest: those before the first consumer, and those between
two iterations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from inworld_sync.sessions.dispatch import EventStream

__all__ = ["SessionStream"]

E = TypeVar("E")

MAX_UNCLAIMED_EVENTS = 256
MAX_UNCLAIMED_BYTES = 4 * 1024 * 1024


class SessionStream(EventStream[E]):
    """
    An :class:`EventStream` that forgets what nobody has asked for.

    Lock rule: as its base; ``unclaimed`` and ``_iterating`` belong to the monitor.

    Attributes:
        unclaimed: How many events were forgotten.
    """

    unclaimed = 0
    _iterating = 0

    def append(self, event: E, size_bytes: int = 0) -> None:
        """Give an event to every consumer, or keep it for the first."""
        super().append(event, size_bytes)
        mailbox = self._backlog
        if mailbox is None and not self._iterating:
            mailbox = self._pull
        while mailbox is not None and (
            len(mailbox.events) > MAX_UNCLAIMED_EVENTS
            or mailbox.waiting_bytes > MAX_UNCLAIMED_BYTES
        ):
            _, forgotten_bytes = mailbox.events.popleft()
            mailbox.waiting_bytes -= forgotten_bytes
            self.unclaimed += 1

    def events(self, timeout: float | None = None) -> Iterator[E]:
        """Iterate over the events; see :meth:`EventStream.events`."""
        return self._iterated(super().events(timeout))

    def _iterated(self, events: Iterator[E]) -> Iterator[E]:
        with self._changed:
            self._iterating += 1
        try:
            yield from events
        finally:
            with self._changed:
                self._iterating -= 1
