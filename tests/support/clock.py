"""Time that a test moves."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """Stands in for the ``time`` module of one module: no time passes unless a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
