"""
Detects that an object is used in a forked child of the process that created the object.

This file counts forks. Comparing two counts costs a tenth of ``os.getpid()``, and a connection
compares counts for every message.
"""

from __future__ import annotations

import os

from inworld_sync.errors import ClosedError

__all__ = ["ForkGuard"]

_generation = 0


class ForkGuard:
    """Remembers the process in which it was created."""

    __slots__ = ("_generation", "_pid")

    def __init__(self) -> None:
        self._pid, self._generation = os.getpid(), _generation

    @property
    def in_child(self) -> bool:
        """True in a forked child of the process that created this object."""
        return _generation != self._generation

    def require(self, what: str) -> None:
        """
        Raise an error in a forked child.

        Args:
            what: The object, for the error message.

        Raises:
            ClosedError: The current process is a forked child.
        """
        if _generation != self._generation:
            raise ClosedError(
                f"{what} was opened by process {self._pid} and cannot be used "
                f"in its forked child {os.getpid()}; open a new one in the child"
            )


def _forked() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
