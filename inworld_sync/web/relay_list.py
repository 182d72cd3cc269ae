"""
Keeps the list of this process's relays, so that a program can end all conversations.

Lock rule: ``_changed`` guards the list. No method of a relay is called while ``_changed`` is held.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from inworld_sync.locks import Condition
from inworld_sync.models.checks import require_seconds
from inworld_sync.transport.deadline import LONGEST_TIMEOUT_SECONDS

__all__ = ["ListedRelay", "drain_relays", "listed"]


class ListedRelay(Protocol):
    """The part of a relay that this module uses."""

    def drain(self) -> None:
        """End the conversation, so that the page connects again."""
        ...


_changed = Condition()
_relays: list[ListedRelay] = []


def drain_relays(timeout: float) -> int:
    """
    End all conversations of this process, for example before a deployment.

    The pages connect again after a short time, so another process must accept their connections.

    Args:
        timeout: The most seconds to wait for the end of all conversations.

    Returns:
        The number of conversations that have not ended.
    """
    require_seconds("timeout", timeout, is_zero_allowed=True)
    until = time.monotonic() + min(timeout, LONGEST_TIMEOUT_SECONDS)
    with _changed:
        relays = list(_relays)
    for relay in relays:
        relay.drain()
    with _changed:
        _changed.wait_for(lambda: not _relays, max(0.0, until - time.monotonic()))
        return len(_relays)


@contextlib.contextmanager
def listed(relay: ListedRelay) -> Iterator[None]:
    """Keep a relay in the list while the block runs."""
    try:
        with _changed:
            _relays.append(relay)
        yield
    finally:
        with _changed:
            if relay in _relays:
                _relays.remove(relay)
            _changed.notify_all()
