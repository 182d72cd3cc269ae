r"""
The contexts of one TTS connection: which commands are allowed, and the effect of each answer.

:class:`Contexts` has the states of all contexts of a connection. :class:`ContextProgress` counts
what was sent to one context and what was received for it, and says how the context ended.

Each context is in one state. The client sends the commands; the service sends the answers::

    state      create  text, flush, update  close    closed answer, fault 5 or 8  other answers
    -          OPEN    error                -        -                            -
    OPEN       error   OPEN                 CLOSING  -                            OPEN
    CLOSING    error   error                CLOSING  -                            CLOSING

A context counts against the limit until it has left the table, since the service still holds it.
After a fault other than 5 (not found) and 8 (limit) the service still holds the context. The owner
closes it, because text was lost and continuing would hide that.

Thread safety: none; the owner guards both classes with the monitor of the connection.
Source: Inworld TTS WebSocket reference; fault behavior from captures of September 2026.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from inworld_sync.errors import (
    ContextLimitError,
    LocalProtocolError,
    ServiceError,
    error_from_status,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.tts import ContextClosed, ContextConfig, TtsUsage
from inworld_sync.wire import tts

__all__ = ["ContextProgress", "ContextState", "Contexts", "no_audio_error"]

# After these the service holds no such context and never sends contextClosed for it.
_GONE_CODES = frozenset({5, 8})


class ContextState(enum.Enum):
    """The state of a context between ``create`` and the last message of the service about it."""

    OPEN = enum.auto()
    CLOSING = enum.auto()


class Contexts:
    """
    The contexts of one connection.

    The methods for commands return the message to send.
    """

    def __init__(self, limit: int = tts.MAX_CONTEXTS) -> None:
        self._limit = limit
        self._states: dict[str, ContextState] = {}

    def __len__(self) -> int:
        return len(self._states)

    @property
    def free(self) -> int:
        """How many more contexts may be created now."""
        return self._limit - len(self._states)

    @property
    def closing(self) -> int:
        """How many are closing, so that another context can be created soon."""
        return sum(state is ContextState.CLOSING for state in self._states.values())

    def state(self, context_id: str) -> ContextState | None:
        """Return the state of a context; None if the connection does not hold it."""
        return self._states.get(context_id)

    def create(self, context_id: str, config: ContextConfig) -> str:
        """
        Open a context.

        Raises:
            LocalProtocolError: The id is in use.
            ContextLimitError: The connection holds as many contexts as the service allows.
        """
        if context_id in self._states:
            raise LocalProtocolError(f"context {context_id!r} exists, choose another id")
        if self.free <= 0:
            raise ContextLimitError(
                f"a connection holds at most {self._limit} contexts, close one or open another"
                " connection",
                code=8,
            )
        message = tts.create(context_id, config)
        self._states[context_id] = ContextState.OPEN
        return message

    def send_text(self, context_id: str, text: str, *, flush: bool = False) -> str:
        """Send text to an open context."""
        self._require_open(context_id, "accept text")
        return tts.send_text(context_id, text, flush=flush)

    def flush(self, context_id: str) -> str:
        """Have an open context speak the text that it has."""
        self._require_open(context_id, "flush")
        return tts.flush_context(context_id)

    def update(self, context_id: str, changes: Mapping[str, object]) -> str:
        """Change settings of an open context."""
        self._require_open(context_id, "change its settings")
        return tts.update_config(context_id, changes)

    def close(self, context_id: str) -> str | None:
        """End a context; return None if it is closing already or the service ended it."""
        if self._states.get(context_id) is not ContextState.OPEN:
            return None
        self._states[context_id] = ContextState.CLOSING
        return tts.close_context(context_id)

    def forget(self, context_id: str) -> None:
        """Remove a context whose ``create`` was not sent."""
        self._states.pop(context_id, None)

    def handle(self, message: tts.TtsMessage) -> bool:
        """Handle an answer; return whether the service no longer holds its context."""
        if isinstance(message, ContextClosed):
            return self._states.pop(message.context_id, None) is not None
        if isinstance(message, tts.ContextFault) and message.code in _GONE_CODES:
            return self._states.pop(message.context_id, None) is not None
        return False

    def _require_open(self, context_id: str, what: str) -> None:
        state = self._states.get(context_id)
        if state is ContextState.OPEN:
            return
        now = "gone" if state is None else "closing"
        raise LocalProtocolError(
            f"context {context_id!r} is {now} and cannot {what}; create another"
        )


class ContextProgress:
    """
    The progress of one context: the sent text and the service's answers.

    Attributes:
        sent_characters: Characters of all text that was sent.
        received_bytes: Bytes of all audio that was received, after decoding.
        usage: What the service has counted so far, summed.
        was_answered: Whether the service has sent any message about it, except faults.
    """

    __slots__ = ("received_bytes", "sent_characters", "usage", "was_answered")

    def __init__(self) -> None:
        self.sent_characters = 0
        self.received_bytes = 0
        self.usage = TtsUsage()
        self.was_answered = False

    def handle_audio(self, size_bytes: int, usage: TtsUsage | None) -> None:
        """Count one message with audio."""
        self.was_answered = True
        self.received_bytes += size_bytes
        if usage is not None:
            self.usage = TtsUsage(
                self.usage.characters + usage.characters, usage.model or self.usage.model
            )

    def handle(self, message: tts.ContextMessage, *, was_closing: bool) -> StreamEnded | None:
        """
        Handle a message without audio.

        Args:
            message: About this context.
            was_closing: Whether the client had closed the context before.

        Returns:
            How the context ended with this message; None if it continues.
        """
        if isinstance(message, tts.ContextFault):
            error = error_from_status(message.code, message.message, message.details)
            return StreamEnded("server", reason=error.message, error=error)
        self.was_answered = True
        if isinstance(message, tts.Unreadable):
            return StreamEnded("client", reason="unreadable message", error=message.error)
        if not isinstance(message, ContextClosed):
            return None
        if not was_closing:
            error = ServiceError(
                "the service closed the context before it was asked to", retryable=True
            )
            return StreamEnded("server", reason="closed", error=error)
        if self.sent_characters and not self.received_bytes:
            error = no_audio_error(self.sent_characters)
            return StreamEnded("client", reason="closed", error=error)
        return StreamEnded("client", reason="closed")


def no_audio_error(characters: int) -> ServiceError:
    """Return the error for text for which the service sent no audio."""
    return ServiceError(
        f"the service ended the utterance without audio for {characters} characters of text",
        retryable=True,
    )
