"""A disturbance loses, repeats, delays and reorders the messages of a scripted service."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable

__all__ = ["Disturbance"]

# How many of 100 messages have each fault. The other messages are sent unchanged.
_FAULTS = {"lost": 10, "repeated": 7, "delayed": 7, "reordered": 7}

# The largest number of later messages that are sent before a delayed message.
_LONGEST_DELAY_MESSAGES = 12


class Disturbance:
    """
    Decides with seeded random numbers which messages of a history have a fault.

    All connections of a history share one disturbance.

    Args:
        seed: The same seed makes the same decisions for the same messages.

    Attributes:
        counts: How many messages had each fault.

    Thread safety: any thread may use this object.
    """

    def __init__(self, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._is_calm = False
        # The delayed messages. Each entry has the count of messages that must be sent before the
        # delayed message, and the function that sends the delayed message.
        self._delayed: list[tuple[int, Callable[[], None]]] = []

    def calm(self) -> None:
        """Apply no more faults. Delayed messages are sent before the next message."""
        with self._lock:
            self._is_calm = True

    def forward(self, send: Callable[[], None]) -> None:
        """
        Send a message, or apply the fault that the random number selects.

        Args:
            send: Sends the message.
        """
        for action in self._actions(send):
            if action is send:
                action()
            else:
                # A message that was delayed may belong to a connection that has ended.
                with contextlib.suppress(OSError):
                    action()

    def _actions(self, send: Callable[[], None]) -> list[Callable[[], None]]:
        with self._lock:
            if self._is_calm:
                late = [action for _, action in self._delayed]
                self._delayed.clear()
                return [*late, send]
            fault = self._draw()
            self.counts[fault or "sent"] += 1
            if fault == "lost":
                return self._due([])
            if fault == "repeated":
                return self._due([send, send])
            if fault == "delayed":
                self._delayed.append((self._random.randint(2, _LONGEST_DELAY_MESSAGES), send))
                return self._due([])
            if fault == "reordered":
                self._delayed.append((1, send))
                return []
            return self._due([send])

    def _draw(self) -> str | None:
        number = self._random.randrange(100)
        for fault, share in _FAULTS.items():
            if number < share:
                return fault
            number -= share
        return None

    def _due(self, actions: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """Append the delayed messages that must be sent now."""
        waiting = [(count - 1, action) for count, action in self._delayed]
        self._delayed = [(count, action) for count, action in waiting if count > 0]
        return actions + [action for count, action in waiting if count <= 0]
