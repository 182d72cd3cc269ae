"""A clock whose time a test sets."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """
    Replaces the module ``time`` in one module. The time changes only when the test changes it.
    """

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
