"""A clock whose time a test sets."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """Replaces the ``time`` module of one module. Its time changes only if the test changes it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
