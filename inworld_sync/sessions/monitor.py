"""One lock, the conditions on it, and the process that they belong to."""

from __future__ import annotations

import threading

from inworld_sync.transport.fork_guard import ForkGuard

__all__ = ["Monitor"]


class Monitor(threading.Condition):
    """
    A condition whose lock further conditions may share.

    Entering it in a forked child raises instead of waiting for ever: the lock may have been held
    when the process forked, and the threads that would change anything live in the parent.

    Args:
        what: What it guards, for the error.
    """

    def __init__(self, what: str) -> None:
        self._shared_lock = threading.RLock()
        super().__init__(self._shared_lock)
        self._what = what
        self._fork_guard = ForkGuard()

    @property
    def in_child(self) -> bool:
        """Whether this process is a forked child of the one that it belongs to."""
        return self._fork_guard.in_child

    def part(self) -> threading.Condition:
        """Another condition on the same lock, so that a notification wakes only whom it is for."""
        return threading.Condition(self._shared_lock)

    def __enter__(self) -> bool:
        self._fork_guard.require(self._what)
        return super().__enter__()
