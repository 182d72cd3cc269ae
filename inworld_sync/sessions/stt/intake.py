"""
What happens when more audio is given than can wait to be sent.

Lock rule: the stream's monitor is held by whoever calls; waiting for room releases it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

import attrs

from inworld_sync.errors import DeadlineExceeded
from inworld_sync.models import checks
from inworld_sync.sessions.stt.rate import ChunkRate
from inworld_sync.sessions.stt.tape import Tape
from inworld_sync.transport.deadline import Deadline

__all__ = ["DeliverySettings", "Intake", "Overflow"]

Overflow: TypeAlias = Literal["block", "raise", "drop_oldest"]

# Waits are cut into pieces so that Ctrl-C reaches a thread that waits on Windows too.
_LONGEST_WAIT_SECONDS: Final = 1.0


@attrs.frozen(kw_only=True)
class DeliverySettings:
    """
    How one stream is sent.

    Attributes:
        rate: Gives turns to send.
        overflow: What happens when more is given than can wait.
        max_waiting_bytes: How much can.
        max_reconnects: Attempts in a row without any progress of the transcript.
        keeps_events: Whether anybody will take events; kept for nobody they would pile up.
    """

    rate: ChunkRate
    overflow: Overflow = attrs.field(validator=checks.one_of(get_args(Overflow)))
    max_waiting_bytes: int = attrs.field(validator=checks.whole(1, 1 << 40, " bytes"))
    max_reconnects: int = attrs.field(validator=checks.whole(0, 1_000_000))
    keeps_events: bool = True


class Intake:
    """
    Puts audio on a tape of which only so much may wait.

    Args:
        tape: Where it goes.
        room: Notified when something was sent, and when the stream ends.
        settings: What to do when it is full, and when it is.
        require_open: Raises when no more audio is taken.

    Attributes:
        dropped_samples: What was dropped.
    """

    def __init__(
        self,
        tape: Tape,
        room: threading.Condition,
        settings: DeliverySettings,
        require_open: Callable[[], None],
    ) -> None:
        self.dropped_samples = 0
        self._tape = tape
        self._room = room
        self._overflow = settings.overflow
        self._limit = settings.max_waiting_bytes
        self._require_open = require_open

    def put(self, pcm: bytes | memoryview, timeout: float | None) -> None:
        """
        Take whole samples.

        A piece that is larger than all that may wait is let in when nothing waits.

        Raises:
            DeadlineExceeded: There was no room; nothing was taken.
        """
        self._require_open()
        if self._overflow != "drop_oldest":
            self._await_room(len(pcm), 0.0 if self._overflow == "raise" else timeout)
        self._tape.append(pcm)
        if self._overflow == "drop_oldest" and self._tape.unsent_bytes > self._limit:
            self.dropped_samples += self._tape.drop_oldest(self._tape.unsent_bytes - self._limit)

    def _await_room(self, size_bytes: int, timeout: float | None) -> None:
        tape = self._tape
        deadline = Deadline(timeout, "waiting for room for audio")
        while tape.unsent_bytes and tape.unsent_bytes + size_bytes > self._limit:
            left = deadline.remaining()
            if left == 0.0:
                raise DeadlineExceeded(
                    f"no room for {size_bytes} bytes of audio: {tape.unsent_bytes} wait to be "
                    f"sent, and max_waiting_bytes is {self._limit}"
                )
            wait = _LONGEST_WAIT_SECONDS if left is None else min(left, _LONGEST_WAIT_SECONDS)
            self._room.wait(wait)
            self._require_open()
