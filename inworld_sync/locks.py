"""
Defines locks, conditions and events that stay usable when a signal handler raises an exception, and
when the process forks.

Python runs a signal handler on the main thread after a call has returned, at the start of a
function, at the end of an iteration of a loop, or inside a wait. If the handler raises, as for
Ctrl-C, the exception can occur at each of these points. So this package follows these rules:

- ``with`` enters the lock itself, whose ``__enter__`` is written in C: no handler runs between the
  acquisition and the block. The conditions of `threading` acquire their lock in a Python function,
  so an exception there would leave the lock held forever.
- Never call ``acquire``: a handler may run before the ``try`` that would release the lock.
- A statement that changes a state is inside the ``try`` whose ``finally`` or ``except`` changes the
  state back.

A fork copies the state of all locks, but only one thread. If another thread held a lock, no thread
of the child would ever release the lock. So this module makes all its locks free in a child. The
data that such a lock guards may be incomplete: each object either begins anew in the child or
refuses every call, see ``transport/fork_guard.py``.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

__all__ = ["Condition", "Event", "Mutex", "Part", "imports", "make_lock"]

_T = TypeVar("_T")

if TYPE_CHECKING:

    class _Lock:
        def __enter__(self) -> bool: ...
        def __exit__(self, *_: object) -> None: ...
        def _release_save(self) -> object: ...
        def _acquire_restore(self, state: object) -> None: ...
        def _is_owned(self) -> bool: ...
        def _at_fork_reinit(self) -> None: ...

else:
    # The class is `_thread.RLock`, or gevent's replacement for it.
    _Lock = type(threading.RLock())

# `_release` releases a lock that was acquired any number of times; `_acquire` acquires the lock
# again, the same number of times.
_release, _acquire = _Lock._release_save, _Lock._acquire_restore  # noqa: SLF001 - as threading does


# This lock is held while this package imports modules after the start of the program, and while the
# process forks. A forked child has only one thread. If another thread of the parent imported a
# module during the fork, the child would wait for that thread forever when the child imports the
# same module.
imports = threading.RLock()

# The functions that run before a fork run in the reverse order of their registration. `logging`
# registers a function that acquires the lock of `logging`. That function must run after the
# function of this module, because an import may need the lock of `logging`. So `logging` must
# register its function first.
logging.getLogger("inworld_sync")

_plain_locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()
_conditions: weakref.WeakSet[Condition] = weakref.WeakSet()


# Whether a fork has turned the garbage collector off.
_has_stopped_gc = False


def _stop_gc() -> None:
    global _has_stopped_gc
    # A signal handler may fork during a fork.
    if gc.isenabled():
        _has_stopped_gc = True
        gc.disable()


def _continue_gc() -> None:
    global _has_stopped_gc
    if _has_stopped_gc:
        _has_stopped_gc = False
        gc.enable()


def _begin_in_child() -> None:
    # An object of libavfilter has threads of its own, which do not exist in the child. If the child
    # freed the object, the child would wait for these threads forever. aiortc has such objects. So
    # the child keeps the garbage of its parent.
    if "av" in sys.modules:
        gc.freeze()
    for lock in _plain_locks:
        cast("_Lock", lock)._at_fork_reinit()  # noqa: SLF001 - as threading does
    for condition in _conditions:
        # The thread that forks exists in the child too, and releases its locks there.
        if not condition._is_owned():  # noqa: SLF001
            condition._at_fork_reinit()  # noqa: SLF001
    _continue_gc()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=imports.acquire, after_in_parent=imports.release, after_in_child=imports.release
    )
    os.register_at_fork(
        before=_stop_gc, after_in_parent=_continue_gc, after_in_child=_begin_in_child
    )


def make_lock() -> threading.Lock:
    """
    Return a lock that is not reentrant, and that is free in a forked child.

    No thread may fork while the thread holds the lock. So no code of the user may run meanwhile,
    and a signal handler may fork only if its child does not return from the handler.
    """
    lock = threading.Lock()
    _plain_locks.add(lock)
    return lock


class Part:
    """
    Threads that wait for one kind of change. The caller of every method holds the lock.

    Args:
        whole: The lock. A condition passes None, because the condition itself is the lock.

    Attributes:
        waiters: The locks of the threads that wait, in order. If no thread waits,
            :meth:`notify_all` need not be called.
    """

    def __init__(self, whole: Condition | None = None) -> None:
        super().__init__()
        self._whole = whole
        self.waiters: dict[threading.Lock, None] = {}

    def wait(self, timeout: float | None = None) -> bool:
        """
        Release the lock, wait for a notification, and acquire the lock again.

        Args:
            timeout: The longest wait in seconds; None waits without a limit.

        Returns:
            False if *timeout* seconds passed.
        """
        seconds = -1.0 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        lock = cast("_Lock", self._whole or self)
        waiter, saved = threading.Lock(), list[object]()
        waiter.acquire()
        try:
            self.waiters[waiter] = None
            # One call in C releases the lock and stores its state. With two calls, a handler
            # could run before the state is stored.
            saved.extend(map(_release, (lock,)))
            return waiter.acquire(timeout=seconds)
        finally:
            try:
                # Unlike acquire(), this call cannot be interrupted.
                for state in saved:
                    _acquire(lock, state)
            finally:
                self.waiters.pop(waiter, None)

    def wait_for(self, is_reached: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until *is_reached* returns True; return False if *timeout* seconds passed."""
        until = None if timeout is None else time.monotonic() + timeout
        while not is_reached():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.wait(left)
        return True

    def notify(self) -> None:
        """Wake up one thread that waits."""
        for waiter in self.waiters:
            # If an exception prevents the deletion, the next call finds this waiter unlocked and
            # skips this waiter.
            if waiter.locked():
                waiter.release()
            del self.waiters[waiter]
            return

    def notify_all(self) -> None:
        """Wake up all threads that wait."""
        while self.waiters:
            self.notify()


class Condition(Part, _Lock):
    """
    A reentrant lock, and threads that wait for a change. ``with`` holds the lock.

    This class has the methods of :class:`threading.Condition` that the package uses. In a forked
    child, the lock is free, unless the thread that forked holds the lock.
    """

    def __init__(self) -> None:
        super().__init__()
        _conditions.add(self)

    def run_unlocked(self, function: Callable[[], _T]) -> _T:
        """Release the lock, call *function*, and acquire the lock again; return the result."""
        saved: list[object] = []
        try:
            saved.extend(map(_release, (self,)))
            return function()
        finally:
            for state in saved:
                _acquire(self, state)

    def part(self) -> Part:
        """Return another condition that has the same lock and separate notifications."""
        return Part(self)


class Mutex:
    """A lock that is not reentrant. A thread can wait for this lock with a timeout."""

    def __init__(self) -> None:
        self._released = Condition()
        self._owner: object | None = None

    @contextmanager
    def hold(self, timeout: float | None = None) -> Iterator[bool]:
        """Hold the lock in a ``with`` block; yield False if *timeout* seconds passed."""
        owner = object()
        try:
            with self._released:
                is_free = self._released.wait_for(lambda: self._owner is None, timeout)
                if is_free:
                    self._owner = owner
            yield is_free
        finally:
            # Python runs no signal handler between the acquisition and the assignment.
            if self._owner is owner:
                self._owner = None
            with self._released:
                self._released.notify()


class Event:
    """A flag that threads can wait for, as :class:`threading.Event`."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether :meth:`set` was called."""
        return self._is_set

    def set(self) -> None:
        """Set the flag, and wake up all threads that wait for the flag."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set; return False if *timeout* seconds passed."""
        with self._changed:
            return self._changed.wait_for(self.is_set, timeout)
