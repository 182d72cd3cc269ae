"""
When an STT service has told everything about a stream.

It tells its usage once, after ``closeStream``, and leaves the connection open. What else it might
do, such as closing instead or leaving a turn without its end, is believed when it comes twice: the
first time the audio that is not covered is sent again on another connection.
"""

from __future__ import annotations

import enum
import time
from typing import Final

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.events import StreamEnded
from inworld_sync.sessions.stt.retry import is_regular
from inworld_sync.wire.stt_turns import TurnLog

__all__ = ["Ending", "Verdict"]

# A final transcript that comes after the usage is waited for so long.
_AFTER_USAGE_SECONDS: Final = 1.0


class Verdict(enum.Enum):
    """What may follow."""

    GOING_ON = enum.auto()
    DOUBTFUL = enum.auto()
    COMPLETE = enum.auto()


class Ending:
    """
    Follows the end of one stream; its owner's monitor guards it.

    Attributes:
        close_sent: Whether the service knows that no more audio comes.
        is_settled: Whether what has come will do.
    """

    def __init__(self) -> None:
        self.close_sent = False
        self.is_settled = False
        self._usage_at: float | None = None
        self._is_doubted = False

    def note_usage(self) -> None:
        """Take note that the usage has come."""
        if self.close_sent:
            self._usage_at = time.monotonic()

    def note_progress(self) -> None:
        """Take note that the transcript has got further."""
        self._is_doubted = False

    def restart(self, *, is_doubted: bool) -> None:
        """Begin with another connection, because of a doubt or because the last one was lost."""
        self.close_sent = False
        self._usage_at = None
        self._is_doubted = is_doubted

    def verdict(self, log: TurnLog, ended: StreamEnded | None) -> Verdict:
        """
        Judge by the turns, and by how the connection ended if it did.

        Raises:
            RemoteProtocolError: The end of a turn is missing, also after a doubt.
        """
        if self.is_settled:
            return Verdict.COMPLETE
        if not self.close_sent:
            return Verdict.GOING_ON
        if self._usage_at is None:
            if ended is None or not is_regular(ended) or log.is_open:
                return Verdict.GOING_ON
        elif not log.is_open:
            return Verdict.COMPLETE
        elif ended is None and time.monotonic() - self._usage_at <= _AFTER_USAGE_SECONDS:
            return Verdict.GOING_ON
        if not self._is_doubted:
            return Verdict.DOUBTFUL
        if log.has_words:
            raise RemoteProtocolError(
                "expected the final transcript of the last turn, got the usage: transcribe what is "
                "left, the pcm of this error's partial"
            )
        return Verdict.COMPLETE
