"""
Whether an STT service has sent everything about a stream.

The service sends its usage once, after ``closeStream``, and leaves the connection open. Two other
ends are possible: it closes the connection without the usage, or it sends the usage while a turn
has no final transcript. Either is unconfirmed the first time: the audio that no final transcript
covers is sent again on another connection. The second time it is accepted.
"""

from __future__ import annotations

import enum
import time
from typing import Final

from inworld_sync.errors import ConnectionLost, RemoteProtocolError
from inworld_sync.models.events import StreamEnded
from inworld_sync.wire.stt_turns import TurnLog

__all__ = ["Completion", "CompletionState", "is_regular_close"]

# How long a final transcript may come after the usage.
_AFTER_USAGE_SECONDS: Final = 1.0


class CompletionState(enum.Enum):
    """How complete the transcript is."""

    PENDING = enum.auto()
    UNCONFIRMED = enum.auto()
    COMPLETE = enum.auto()


class Completion:
    """
    Follows the end of one stream; the stream's monitor guards it.

    Attributes:
        close_sent: Whether ``closeStream`` was sent on this connection.
        is_accepted: Whether the caller accepts the transcript as it is.
    """

    def __init__(self) -> None:
        self.close_sent = False
        self.is_accepted = False
        self._usage_at: float | None = None
        self._is_confirming = False

    def handle_usage(self) -> None:
        """Handle the arrival of the usage."""
        if self.close_sent:
            self._usage_at = time.monotonic()

    def handle_progress(self) -> None:
        """Handle progress of the transcript: an unconfirmed end after it has to be confirmed."""
        self._is_confirming = False

    def restart(self, *, is_confirming: bool) -> None:
        """Begin with another connection, which confirms an end or replaces a lost connection."""
        self.close_sent = False
        self._usage_at = None
        self._is_confirming = is_confirming

    def state(self, log: TurnLog, ended: StreamEnded | None) -> CompletionState:
        """
        Return the state, by the turns and by how the connection ended, if it did.

        Raises:
            RemoteProtocolError: The final transcript of a turn is missing, the second time too.
        """
        if self.is_accepted:
            return CompletionState.COMPLETE
        if not self.close_sent:
            return CompletionState.PENDING
        if self._usage_at is None:
            if ended is None or not is_regular_close(ended) or log.is_open:
                return CompletionState.PENDING
        elif not log.is_open:
            return CompletionState.COMPLETE
        elif ended is None and time.monotonic() - self._usage_at <= _AFTER_USAGE_SECONDS:
            return CompletionState.PENDING
        if not self._is_confirming:
            return CompletionState.UNCONFIRMED
        if log.has_words:
            raise RemoteProtocolError(
                "expected the final transcript of the last turn, got the usage: the pcm of this "
                "error's partial is the audio to transcribe again"
            )
        return CompletionState.COMPLETE


def is_regular_close(ended: StreamEnded) -> bool:
    """Whether the service closed a connection without reporting an error."""
    return (
        ended.by == "server"
        and ended.code in (1000, 1001)
        and isinstance(ended.error, (ConnectionLost, type(None)))
    )
