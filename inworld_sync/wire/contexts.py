r"""
Keeps the contexts of one TTS connection, with the allowed commands and the effect of each answer.

:class:`Contexts` has all contexts of a connection, and the requests that the service has not
answered yet. :class:`ContextProgress` counts the sent text and the received audio of one context,
and reports how the context ended.

Each context is in one state. The client sends the commands; the service sends the answers::

    state      create  text, flush, update  close    closed answer, fault 5 or 8  other answers
    -          OPEN    error                -        -                            -
    OPEN       error   OPEN                 CLOSING  -                            OPEN
    CLOSING    error   error                CLOSING  -                            CLOSING

A context is closing while its close is pending. A closing context counts against the limit until it
has left the table, since the service still has this context. After a fault other than 5 (not found)
and 8 (limit), the service still has the context too. The owner then closes the context, so that the
user learns that text was lost.

Deadlines: the service must confirm a context within ``create_timeout``. While a flush, an update or
a close is pending, the service must send a message about the context at least every
``message_timeout``. At other times there is no deadline, since the service may wait for more text.

Thread safety: none; the owner guards both classes with the monitor of the connection. This module
has no clock. The owner passes times of the monotonic clock, in seconds.
Source: Inworld TTS WebSocket reference; fault behavior from captures of September 2026.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from inworld_sync.errors import (
    ContextLimitError,
    DeadlineExceeded,
    LocalProtocolError,
    ServiceError,
    error_from_status,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.tts import (
    ContextClosed,
    ContextConfig,
    ContextUpdated,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.wire import tts
from inworld_sync.wire.pending import Pending, PendingTable

__all__ = ["Command", "ContextProgress", "ContextRequest", "Contexts", "Expired", "no_audio_error"]

# After these faults, the service does not have the context and sends no contextClosed.
_GONE_CODES = frozenset({5, 8})


class ContextRequest(enum.Enum):
    """A command that the service answers. The value is the text for the command in errors."""

    CREATE = "the creation of the context"
    FLUSH = "a flush"
    UPDATE = "an update"
    CLOSE = "the closing of the context"


_Pending: TypeAlias = "Pending[ContextRequest]"


@attrs.frozen
class Command:
    """
    A command that was allowed and recorded in the table.

    Attributes:
        context_id: The id of the context.
        message: The message to send.
        characters: The number of characters of the text in the message.
        request: The entry of the command in the table; None if the service does not answer the
            command.
    """

    context_id: str
    message: str
    characters: int = 0
    request: _Pending | None = None


@attrs.frozen
class Expired:
    """
    A context that was removed from the table because the service did not answer in time.

    Attributes:
        context_id: The id of the context.
        error: The error, which names the request that was not answered.
        close: The message that closes the context on the service; None if this message was
            already sent.
    """

    context_id: str
    error: DeadlineExceeded
    close: str | None


class Contexts:
    """The contexts of one connection."""

    def __init__(self, limit: int = tts.MAX_CONTEXTS) -> None:
        self._limit = limit
        self._held: dict[str, ContextProgress] = {}
        self._pending: PendingTable[ContextRequest] = PendingTable()
        # The messages that close contexts, until they are sent. A signal handler can raise an
        # exception between a close and the sending of its message. Then the next close sends it.
        self._unsent: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, context_id: object) -> bool:
        return context_id in self._held

    @property
    def free(self) -> int:
        """How many more contexts may be created now."""
        return self._limit - len(self._held)

    @property
    def closing(self) -> int:
        """How many contexts are closing. Each of them makes room for another context soon."""
        return len(self._pending.of_kind(ContextRequest.CLOSE))

    def is_closing(self, context_id: str) -> bool:
        """Return whether a context is closing."""
        return any(e.key == context_id for e in self._pending.of_kind(ContextRequest.CLOSE))

    def create(
        self, context_id: str, config: ContextConfig, progress: ContextProgress, now: float
    ) -> Command:
        """
        Open a context.

        Raises:
            LocalProtocolError: The id is in use.
            ContextLimitError: The connection has as many contexts as the service allows.
        """
        if context_id in self._held:
            raise LocalProtocolError(f"context {context_id!r} exists, choose another id")
        if self.free <= 0:
            raise ContextLimitError(
                f"a connection holds at most {self._limit} contexts, close one or open another"
                " connection",
                code=8,
            )
        message = tts.create(context_id, config)
        self._held[context_id] = progress
        request = self._pending.add(
            ContextRequest.CREATE, context_id, sent_at=now, deadline=now + progress.create_timeout
        )
        return Command(context_id, message, request=request)

    def send_text(self, context_id: str, text: str, now: float, *, flush: bool = False) -> Command:
        """Send text to an open context. With *flush*, the text is one generation."""
        progress = self._open(context_id, "accept text")
        message = tts.send_text(context_id, text, flush=flush)
        progress.sent_characters += len(text)
        progress.sent_at = now
        request = self._ask(ContextRequest.FLUSH, context_id, progress, now) if flush else None
        return Command(context_id, message, len(text), request)

    def flush(self, context_id: str, now: float) -> Command:
        """Make the service speak the text that an open context has."""
        progress = self._open(context_id, "flush")
        # It is not known whether the service answers a flush without text.
        request = (
            self._ask(ContextRequest.FLUSH, context_id, progress, now)
            if progress.has_unspoken_text
            else None
        )
        return Command(context_id, tts.flush_context(context_id), request=request)

    def update(self, context_id: str, changes: Mapping[str, object], now: float) -> Command:
        """Change settings of an open context."""
        progress = self._open(context_id, "change its settings")
        message = tts.update_config(context_id, changes)
        request = self._ask(ContextRequest.UPDATE, context_id, progress, now)
        return Command(context_id, message, request=request)

    def close(self, context_id: str, now: float) -> None:
        """End a context. The owner sends the message :meth:`unsent_close`."""
        progress = self._held.get(context_id)
        if progress is not None and not self.is_closing(context_id):
            self._unsent[context_id] = tts.close_context(context_id)
            self._ask(ContextRequest.CLOSE, context_id, progress, now)

    def interrupt(self, context_id: str, now: float) -> None:
        """
        End a context and drop the text that was not spoken, even after :meth:`close`.

        The owner sends the message :meth:`unsent_close`.
        """
        if context_id in self._held:
            self.close(context_id, now)
            self._unsent[context_id] = tts.cancel_context(context_id)

    def unsent_close(self, context_id: str) -> str | None:
        """
        Return the message that ends a context.

        Returns:
            The message to send; None if the context is open, the message was sent, or the service
            ended the context.
        """
        return self._unsent.get(context_id)

    def close_sent(self, context_id: str, message: str) -> None:
        """Record that a message that ends a context was sent; a newer message is still unsent."""
        if self._unsent.get(context_id) is message:
            self._unsent.pop(context_id, None)

    def cancel(self, command: Command) -> None:
        """Undo a command whose message was not sent."""
        if command.request is not None:
            self._pending.cancel(command.request)
            if command.request.kind is ContextRequest.CREATE:
                self._remove(command.context_id)
        progress = self._held.get(command.context_id)
        if progress is not None:
            progress.sent_characters -= command.characters

    def handle(self, context_id: str, message: tts.TtsMessage, now: float) -> bool:
        """Handle a message about a context; return whether the service has dropped the context."""
        progress = self._held.get(context_id)
        if progress is None:
            return False
        if progress.heard_at == -math.inf:
            # Any message about the context shows that the service has handled its creation.
            self._pending.resolve_by_id(context_id, ContextRequest.CREATE)
        progress.heard_at = now
        if isinstance(message, tts.AudioReceived):
            return False
        if isinstance(message, FlushCompleted):
            self._pending.resolve_by_id(context_id, ContextRequest.FLUSH)
        elif isinstance(message, ContextUpdated):
            self._pending.resolve_by_id(context_id, ContextRequest.UPDATE)
        elif isinstance(message, ContextClosed) or (
            isinstance(message, tts.ContextFault) and message.code in _GONE_CODES
        ):
            self._remove(context_id)
            return True
        return False

    def expire(self, now: float) -> list[Expired]:
        """Remove the contexts for which a deadline has passed, and return them."""
        self._postpone()
        closing = {request.key for request in self._pending.of_kind(ContextRequest.CLOSE)}
        expired: list[Expired] = []
        for request in self._pending.expire(now):
            context_id = str(request.key)
            progress = self._held.get(context_id)
            if progress is None:
                # Another request of the context has expired too.
                continue
            close = self._unsent.get(context_id)
            if context_id not in closing:
                close = tts.close_context(context_id)
            self._remove(context_id)
            expired.append(Expired(context_id, progress.deadline_error(request.kind), close))
        return expired

    def next_deadline(self) -> float:
        """Return the earliest deadline, in seconds; infinity if no answer is pending."""
        self._postpone()
        return self._pending.next_deadline()

    def _postpone(self) -> None:
        """Move the deadlines of contexts about which the service has sent a message."""
        for request in self._pending:
            progress = self._held.get(str(request.key))
            if progress is not None and request.kind is not ContextRequest.CREATE:
                since = max(request.sent_at, progress.heard_at)
                request.deadline = since + progress.message_timeout

    def _ask(
        self, kind: ContextRequest, context_id: str, progress: ContextProgress, now: float
    ) -> _Pending:
        progress.flushed_characters = progress.sent_characters
        return self._pending.add(
            kind, context_id, sent_at=now, deadline=now + progress.message_timeout
        )

    def _remove(self, context_id: str) -> None:
        self._held.pop(context_id, None)
        self._pending.clear(context_id)
        self._unsent.pop(context_id, None)

    def _open(self, context_id: str, what: str) -> ContextProgress:
        progress = self._held.get(context_id)
        if progress is not None and not self.is_closing(context_id):
            return progress
        now = "gone" if progress is None else "closing"
        raise LocalProtocolError(
            f"context {context_id!r} is {now} and cannot {what}; create another"
        )


class ContextProgress:
    """
    Tracks the progress of one context by the sent text and the service's answers.

    Args:
        create_timeout: The largest number of seconds until the service confirms the context;
            infinity for no limit.
        message_timeout: The largest number of seconds without a message about the context while an
            answer is pending.

    Attributes:
        sent_characters: Characters of all text that was sent.
        sent_at: When text was sent last, in seconds.
        flushed_characters: The value of *sent_characters* at the latest flush, update or close.
        received_bytes: Bytes of all audio that was received, after decoding.
        heard_at: When the latest message was received, in seconds.
        usage: The characters that the service has counted so far.
        was_answered: Whether the service has sent any message about the context, except faults.
    """

    __slots__ = (
        "_generation_characters",
        "_spoken_characters",
        "create_timeout",
        "flushed_characters",
        "heard_at",
        "message_timeout",
        "received_bytes",
        "sent_at",
        "sent_characters",
        "usage",
        "was_answered",
    )

    def __init__(self, create_timeout: float = math.inf, message_timeout: float = math.inf) -> None:
        self.create_timeout = create_timeout
        self.message_timeout = message_timeout
        self.sent_characters = self.flushed_characters = 0
        self.sent_at = self.heard_at = -math.inf
        self.received_bytes = 0
        self.usage = TtsUsage()
        self.was_answered = False
        # The largest number of characters that the present and the earlier generations can have
        # together. This is the number of characters that were sent when the first audio of the
        # present generation arrived.
        self._generation_characters: int | None = None
        self._spoken_characters = 0

    @property
    def has_unspoken_text(self) -> bool:
        """Whether some of the sent text is certainly in no flush and no complete generation."""
        return self.sent_characters > max(self.flushed_characters, self._spoken_characters)

    def deadline_error(self, request: ContextRequest) -> DeadlineExceeded:
        """Return the error for a request that was not answered in time."""
        if request is ContextRequest.CREATE:
            return DeadlineExceeded(
                f"the service did not answer {request.value} within {self.create_timeout:g} s"
            )
        return DeadlineExceeded(
            f"the service did not answer {request.value}: it sent no message about the context for "
            f"{self.message_timeout:g} s"
        )

    def handle_audio(self, size_bytes: int, usage: TtsUsage | None) -> None:
        """Count one message with audio."""
        self.was_answered = True
        self.received_bytes += size_bytes
        if size_bytes and self._generation_characters is None:
            self._generation_characters = self.sent_characters
        if usage is not None:
            self.usage = TtsUsage(
                self.usage.characters + usage.characters, usage.model or self.usage.model
            )

    def handle(self, message: tts.ContextMessage, *, was_closing: bool) -> StreamEnded | None:
        """
        Handle a message without audio.

        Args:
            message: A message about this context.
            was_closing: Whether the client had already closed the context.

        Returns:
            How the context ended with this message; None if the context continues.
        """
        if isinstance(message, tts.ContextFault):
            error = error_from_status(message.code, message.message, message.details)
            return StreamEnded("server", reason=error.message, error=error)
        self.was_answered = True
        if isinstance(message, tts.Unreadable):
            return StreamEnded("client", reason="unreadable message", error=message.error)
        if isinstance(message, FlushCompleted):
            spoken = self._generation_characters
            self._spoken_characters = self.sent_characters if spoken is None else spoken
            self._generation_characters = None
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
    """Return the error for an utterance for which the service sent no audio."""
    return ServiceError(
        f"the service ended the utterance without audio for {characters} characters of text",
        retryable=True,
    )
