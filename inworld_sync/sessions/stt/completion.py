"""
Decides whether an STT service has sent the whole transcript of a stream, and how long the stream
waits for the rest.

The service sends its usage once, after ``closeStream``, and leaves the connection open. A stream
ends in one of these ways:

==================================================  ==============================================
the usage arrives, and no turn is open              the transcript is complete
the usage arrives, and a turn is open               the audio is sent again once, then the
                                                    transcript is accepted if the open turn has no
                                                    words, otherwise the stream ends with an error
the service closes the connection without an error  the audio is sent again once, then the
                                                    transcript is accepted if the audio has no
                                                    speech without an answer
nothing arrives until the deadline                  the transcript is accepted if no turn is open
                                                    and no speech is without an answer, otherwise
                                                    the stream ends with an error
==================================================  ==============================================
"""

from __future__ import annotations

import enum
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from inworld_sync.errors import (
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    RemoteProtocolError,
)
from inworld_sync.models.events import InvalidMessage, StreamEnded, UnknownEvent
from inworld_sync.models.stt import SttUsage
from inworld_sync.wire.stt_turns import SttEvent, TurnLog

__all__ = ["Completion", "CompletionState", "is_regular_close"]

# A final transcript may come up to this long after the usage.
_AFTER_USAGE_SECONDS: Final = 1.0

# After this process was stopped, the reader has this time to read the messages in the socket.
_CATCH_UP_SECONDS: Final = 1.0

# If the service closes with another code, such as 1001 (going away), the service has not finished,
# and the stream reconnects.
_NORMAL_CLOSURE: Final = 1000

# Speech that is shorter may be noise, which the service rightly ignores.
_LEAST_SPEECH_MS: Final = 1000.0


class CompletionState(enum.Enum):
    """The completeness of the transcript."""

    PENDING = enum.auto()
    UNCONFIRMED = enum.auto()
    COMPLETE = enum.auto()


@attrs.frozen
class _TurnEnd:
    """An ``end_turn`` that was sent and that the service has not answered."""

    position_ms: float
    sent_at: float
    timeout: float


class Completion:
    """
    Follows the end of one stream; the stream's monitor guards this object.

    Args:
        log: The turns of the stream.
        unanswered_ms: Returns the length in milliseconds of the speech that the service has not
            answered. The argument is a position in milliseconds. Only speech before this position
            counts; None means all audio.
        can_repeat: Whether the audio can be sent again. If not, the transcript is known to be
            complete only when the usage arrives.

    Attributes:
        close_sent: Whether ``closeStream`` was sent on this connection.
        heard_at: Time of the latest progress of the transcript, or of the connection's start, on
            the monotonic clock.
        timeout: The longest time without progress after the end of the audio, in seconds; None
            before the end.
        is_accepted: Whether the transcript was accepted at the deadline.
    """

    def __init__(
        self,
        log: TurnLog,
        unanswered_ms: Callable[[float | None], float],
        *,
        can_repeat: bool = True,
    ) -> None:
        self.close_sent = False
        self.heard_at = time.monotonic()
        self.timeout: float | None = None
        self.is_accepted = False
        self._log = log
        self._unanswered_ms = unanswered_ms
        self._can_repeat = can_repeat
        self._latest: SttEvent | None = None
        self._usage_at: float | None = None
        self._is_confirming = False
        self._turn_ends: deque[_TurnEnd] = deque()
        self._not_before = -math.inf

    def handle(self, event: SttEvent, emitted: Sequence[SttEvent]) -> None:
        """Handle an event after the turns have handled it; *emitted* are the events for users."""
        # A repeated, unknown or unreadable message is no progress.
        is_known = not isinstance(event, (InvalidMessage, UnknownEvent))
        if emitted and emitted[-1] != self._latest and is_known:
            self._latest = emitted[-1]
            self.heard_at = time.monotonic()
        if isinstance(event, SttUsage) and self.close_sent:
            self._usage_at = time.monotonic()
        if (answer := self._log.answer) is not None:
            while self._turn_ends and self._turn_ends[0].position_ms <= answer.until_ms:
                self._turn_ends.popleft()

    def handle_progress(self) -> None:
        """Record progress. After progress, the end of the transcript must be confirmed again."""
        self._is_confirming = False

    def handle_turn_end(self, position_ms: float, timeout: float) -> None:
        """Record that the end of a turn was sent."""
        self._turn_ends.append(_TurnEnd(position_ms, time.monotonic(), timeout))

    def check_repeat(self, cause: InworldError) -> None:
        """
        Raise an error unless the audio that was sent can be sent again on another connection.

        Raises:
            InworldError: The audio is encoded; the error is *cause*, which ended the connection.
        """
        if self._can_repeat:
            return
        if not isinstance(cause, ConnectionLost):
            raise cause
        raise ConnectionLost(
            f"{cause}; encoded audio cannot be sent again from the middle: begin another stream",
            code=cause.code,
            reason=cause.reason,
        ) from cause.__cause__

    def restart(self, *, is_confirming: bool) -> None:
        """Continue on another connection, to confirm the end or to replace a lost connection."""
        self.close_sent = False
        self.heard_at = time.monotonic()
        self._usage_at = None
        self._is_confirming = is_confirming
        self._turn_ends.clear()

    def state(self, ended: StreamEnded | None) -> CompletionState:
        """
        Return the state, which depends on the turns and on *ended*, the end of the connection.
        *ended* is None while the connection is open.

        Raises:
            RemoteProtocolError: The final transcript of a turn is missing. If the audio can be sent
                again, it was already sent a second time.
            ConnectionLost: The connection was closed without the usage, and there is speech without
                an answer. If the audio can be sent again, it was already sent a second time.
        """
        log = self._log
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
        if not self._is_confirming and self._can_repeat:
            return CompletionState.UNCONFIRMED
        if log.has_words:
            raise RemoteProtocolError(
                "expected the final transcript of the last turn, got the usage: transcribe the "
                "remaining audio again, which is in error.partial"
            )
        if self._usage_at is None and (missing := self.missing()):
            times = " twice" if self._can_repeat else ""
            raise ConnectionLost(f"the service closed the connection{times}, but {missing}")
        return CompletionState.COMPLETE

    # Deadlines.

    def begin_end(self, timeout: float) -> None:
        """Begin the end of the stream, because the audio has ended."""
        if self.timeout is None:
            self.heard_at = time.monotonic()
        self.timeout = timeout

    def deadline(self, sent_at: float) -> float:
        """
        Return the next deadline; infinity if no message of the service is due.

        Args:
            sent_at: Time of the latest audio message, on the monotonic clock.
        """
        if self.timeout is not None:
            return max(max(self.heard_at, sent_at) + self.timeout, self._not_before)
        if not self._turn_ends:
            return math.inf
        oldest = self._turn_ends[0]
        return max(max(self.heard_at, oldest.sent_at) + oldest.timeout, self._not_before)

    def postpone(self, deadline: float, *, has_unread: bool) -> bool:
        """
        Move a deadline that has passed, if the answer of the service may wait in the socket.

        Args:
            deadline: The deadline, which is checked every second. If the deadline passed more than
                about a second ago, the process was stopped.
            has_unread: Whether bytes wait in the socket. If so, the deadline moves. It moves
                only once for this reason.

        Returns:
            Whether the deadline has moved.
        """
        now = time.monotonic()
        is_behind = has_unread and deadline != self._not_before
        if now - deadline <= _CATCH_UP_SECONDS and not is_behind:
            return False
        self._not_before = now + _CATCH_UP_SECONDS
        return True

    def expire(self) -> None:
        """
        Handle a deadline that has passed.

        At the end of the stream, the transcript is accepted if it is complete.

        Raises:
            DeadlineExceeded: A final transcript is missing.
        """
        if self.timeout is not None:
            missing, timeout, of = self.missing(), self.timeout, "last audio"
        else:
            oldest = self._turn_ends[0]
            missing, timeout, of = self.missing(oldest.position_ms), oldest.timeout, "end of a turn"
        if self.timeout is not None and not self.close_sent:
            missing = missing or "not all audio was sent"
        if missing:
            raise DeadlineExceeded(
                f"the service sent nothing new within {timeout:g} s after the {of}, but {missing}"
            )
        if self.timeout is not None:
            self.is_accepted = True
        else:
            self._turn_ends.popleft()

    def missing(self, until_ms: float | None = None) -> str:
        """
        Return the missing part of the transcript, as text for an error. The text is empty if the
        transcript is complete.

        Args:
            until_ms: The position up to which audio is checked; None means all audio.
        """
        if self._log.is_unfinished:
            return "the last turn has no final transcript"
        if not self._can_repeat and until_ms is None and self._usage_at is None:
            return "the usage, the proof that all encoded audio was transcribed, is missing"
        speech_ms = self._unanswered_ms(until_ms)
        if speech_ms >= _LEAST_SPEECH_MS:
            return f"{speech_ms / 1000:.1f} s of speech have no final transcript"
        return ""


def is_regular_close(ended: StreamEnded) -> bool:
    """Return whether the service closed a connection without reporting an error."""
    return (
        ended.by == "server"
        and ended.code == _NORMAL_CLOSURE
        and isinstance(ended.error, (ConnectionLost, type(None)))
    )
