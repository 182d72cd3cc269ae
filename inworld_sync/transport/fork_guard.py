"""
Which process something belongs to, so that what a forked child inherits can tell.

Forks are counted, for comparing a number costs a tenth of asking the system for the process, which
a link would do for every message.
"""

from __future__ import annotations

import os

from inworld_sync.errors import ClosedError

__all__ = ["ForkGuard"]

_generation = 0


class ForkGuard:
    """The process that something belongs to: the one that it was made in."""

    __slots__ = ("_generation", "_pid")

    def __init__(self) -> None:
        self._pid, self._generation = os.getpid(), _generation

    @property
    def in_child(self) -> bool:
        """Whether this process is a forked child of it."""
        return _generation != self._generation

    def require(self, what: str) -> None:
        """
        Go on only in the process itself.

        Raises:
            ClosedError: This is a forked child; *what* cannot be used in it.
        """
        if _generation != self._generation:
            raise ClosedError(
                f"{what} was opened by process {self._pid} and cannot be used "
                f"in its forked child {os.getpid()}; open one in each process"
            )


def _forked() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
