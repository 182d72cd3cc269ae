"""The lock of a connection, stream or session; a forked child cannot acquire it."""

from __future__ import annotations

import os
import weakref
from typing import ClassVar

from inworld_sync.locks import Condition
from inworld_sync.transport.fork_guard import ForkGuard

__all__ = ["Monitor"]


class Monitor(Condition):
    """
    The lock of a connection, stream or session, which further conditions share.

    In a forked child, entering the monitor raises. Otherwise the child could wait forever: the lock
    may have been held when the process forked, and a child has none of the threads that would
    release the lock.

    Args:
        what: The name of the object that the monitor guards, for the error.

    Attributes:
        message_bytes: The size of the message that the reader handles now, which is the size of its
            events; 0 if it handles none.
        has_full_queue: False if no mailbox and no queue of audio is full; then the reader need not
            check them. See ``base.py``.
        watchers: How many threads wait, or are about to wait, until a consumer takes events. Such a
            thread counts itself before it looks at a mailbox, because a consumer looks at this
            number without the monitor.
        in_child: Whether this process is a forked child of the process that made the monitor.
    """

    in_child: ClassVar[bool] = False

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self.message_bytes = 0
        self.has_full_queue = False
        self.watchers = 0
        self._fork_guard = ForkGuard()
        _monitors.add(self)

    # The class of a lock may accept no arguments.
    def __new__(cls, _: str) -> Monitor:  # noqa: D102
        return super().__new__(cls)

    def refuse(self) -> None:
        """
        Raise the error for a forked child.

        Raises:
            ClosedError: The current process is a forked child.
        """
        self._fork_guard.require(self._what)


class _MonitorOfParent(Monitor):
    """A monitor of the parent process, seen from a forked child."""

    in_child = True

    def __enter__(self) -> bool:
        self.refuse()
        raise AssertionError("only a monitor of the parent has this class")


_monitors: weakref.WeakSet[Monitor] = weakref.WeakSet()


def _refuse_monitors() -> None:
    # Changing the class costs nothing in the parent, where ``with`` calls the lock's own method.
    for monitor in _monitors:
        monitor.__class__ = _MonitorOfParent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse_monitors)
