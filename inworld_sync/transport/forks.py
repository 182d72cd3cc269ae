"""
How often this process came about by a fork, so that what is inherited can tell.

Comparing a number costs a tenth of asking the system for the process, which a link would do for
every message.
"""

from __future__ import annotations

import os

__all__ = ["generation"]

_generation = 0


def generation() -> int:
    """Give a number that differs between a process and those forked from it."""
    return _generation


def _forked() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
