"""
Defines the lock of a connection, stream or session, and the class of the threads that must not wait
for a message. A forked child cannot acquire the lock.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import ClassVar

from inworld_sync.errors import LocalProtocolError
from inworld_sync.locks import Condition
from inworld_sync.transport.fork_guard import ForkGuard

__all__ = ["Monitor", "SessionThread", "require_may_wait"]


class SessionThread(threading.Thread):
    """
    A reader, a writer or an executor. Messages of the service are handled only while these threads
    run.

    Some code of the user runs on these threads, such as an observer. If this code waited for a
    message, the message could never be handled.
    """


def require_may_wait(doing: str) -> None:
    """
    Refuse to wait on a thread that has to handle the messages of the service.

    Args:
        doing: The wait, for the error, such as "waiting for an event".

    Raises:
        LocalProtocolError: The current thread is a :class:`SessionThread`.
    """
    thread = threading.current_thread()
    if isinstance(thread, SessionThread):
        raise LocalProtocolError(
            f"{doing} is not possible on the thread {thread.name}, which handles the messages of "
            "the service and must not wait: call it on another thread"
        )


class Monitor(Condition):
    """
    The lock of a connection, stream or session. Further conditions can share this lock.

    In a forked child, entering the monitor raises an error. Otherwise the child could wait forever:
    the lock may have been held when the process forked, and a child has none of the threads that
    would release the lock.

    Args:
        what: The name of the object that the monitor guards, for the error.

    Attributes:
        message_bytes: The size of the message that the reader handles now; 0 if there is none. Each
            event of this message has this size.
        has_full_queue: False if no mailbox and no queue of audio is full. Then the reader does not
            check the mailboxes and queues. See ``base.py``.
        watchers: How many threads wait, or are about to wait, until a consumer takes events. A
            thread increments this number before it checks a mailbox, because a consumer reads the
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

    # The ``__new__`` of the base class may accept no arguments.
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
    """The class that the monitors of the parent process get in a forked child."""

    in_child = True

    def __enter__(self) -> bool:
        self.refuse()
        raise AssertionError("only a monitor of the parent has this class")


_monitors: weakref.WeakSet[Monitor] = weakref.WeakSet()


def _refuse_monitors() -> None:
    # The class is changed only in the child, so that ``with`` in the parent calls the method of the
    # lock directly.
    for monitor in _monitors:
        monitor.__class__ = _MonitorOfParent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse_monitors)
