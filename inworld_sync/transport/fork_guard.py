"""
Detects that an object is used in a forked child of the process that created the object.

A fork marks all guards in the child. So the check, which a connection does for every message, reads
only one attribute.
"""

from __future__ import annotations

import os
import weakref

from inworld_sync.errors import ClosedError

__all__ = ["ForkGuard"]


class ForkGuard:
    """
    Records whether the current process is the process in which the guard was created.

    Attributes:
        in_child: True in a forked child of the process that created this object.
    """

    __slots__ = ("__weakref__", "_pid", "in_child")

    def __init__(self) -> None:
        self._pid, self.in_child = os.getpid(), False
        _guards.add(self)

    def require(self, what: str) -> None:
        """
        Raise an error in a forked child.

        Args:
            what: The object, for the error message.

        Raises:
            ClosedError: The current process is a forked child.
        """
        if self.in_child:
            raise ClosedError(
                f"{what} was opened by process {self._pid} and cannot be used "
                f"in its forked child {os.getpid()}; open a new one in the child"
            )


_guards: weakref.WeakSet[ForkGuard] = weakref.WeakSet()


def _forked() -> None:
    for guard in _guards:
        guard.in_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
