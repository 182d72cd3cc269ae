r"""
A context as its connection knows it: what was asked of the service, and what the service says.

Locks: :meth:`ContextCore.follow` and :meth:`ContextCore.end_interrupted` belong to the connection,
which holds its monitor. The other methods may be called from any thread and hold no lock of their
own; what they send keeps its order by the lock of :class:`~inworld_sync.TtsContext`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from inworld_sync.errors import ClosedError, InworldError, ServiceError, error_from_status
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.tts import (
    ContextClosed,
    ContextConfig,
    ContextCreated,
    ContextUpdated,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.tts.assembler import Assembler
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Contexts

if TYPE_CHECKING:
    from inworld_sync.sessions.tts.line import TtsLine

__all__ = ["ContextCore", "ContextEvent", "silent"]

ContextEvent: TypeAlias = (
    AudioChunk | ContextClosed | ContextCreated | ContextUpdated | FlushCompleted | UnknownEvent
)

# A service that says nothing for so long has begun all that it has, whatever it counted.
_QUIET_SECONDS = 0.5

_INTERRUPTED = StreamEnded("client", reason="interrupted")


class ContextCore:
    """
    One context on a line.

    Args:
        line: Carries it.
        context_id: Unique on the line.
        config: What was asked for.
        stream: Its events, under the line's monitor.

    Attributes:
        id: As *context_id*.
        config: As above.
        stream: As above.
        usage: What the service has counted so far, summed.
        was_answered: Whether the service has said anything about it but that it failed.
    """

    def __init__(
        self,
        line: TtsLine,
        context_id: str,
        config: ContextConfig,
        stream: EventStream[ContextEvent],
    ) -> None:
        self.id = context_id
        self.config = config
        self.stream = stream
        self.usage = TtsUsage()
        self.was_answered = False
        self._line = line
        self._assembler = Assembler(context_id, config.audio)
        self._active_at = time.monotonic()
        self._sent_characters = 0

    @property
    def was_interrupted(self) -> bool:
        """Whether this side has ended it before its time."""
        return self.stream.ended is _INTERRUPTED

    @property
    def was_reused(self) -> bool:
        """Whether the line was not made for it."""
        return self._line.is_reused

    def send_text(self, text: str, *, flush: bool = False, timeout: float | None = None) -> None:
        """Queue text, and with *flush* have it spoken as one generation."""
        self.command(lambda contexts: contexts.send_text(self.id, text, flush=flush), timeout)
        self._sent_characters += len(text)
        self._active_at = time.monotonic()

    def command(self, make: Callable[[Contexts], str], timeout: float | None = None) -> None:
        """
        Queue a command of this context.

        Raises:
            InworldError: It has ended, by the error that it ended with.
        """
        if self.stream.ended is not None:
            self.stream.raise_end()
            raise ClosedError(f"context {self.id!r} has ended, create another")
        self._line.command(make, timeout)

    def close(self) -> None:
        """Have the service speak the rest and end it."""
        if self.stream.ended is None:
            self._line.close_context(self.id)

    def interrupt(self) -> None:
        """End it and drop what is on its way; waits for nothing."""
        self._line.drop(self)

    def abandon(self) -> None:
        """Interrupt one that the service does not answer; its line takes no further ones."""
        self._line.drop(self)
        self._line.distrust()

    def wait_for_room(self, max_characters: int, max_bytes: int) -> bool:
        """
        Wait until the service has begun to speak what it has and its audio is taken.

        Args:
            max_characters: Sent and not begun.
            max_bytes: Come and not taken.

        Returns:
            False if the context has ended.
        """
        self._line.wait_until(
            lambda: (
                self.stream.ended is not None
                or (
                    self.stream.waiting_bytes < max_bytes
                    and (
                        self._sent_characters - self.usage.characters < max_characters
                        or self._is_quiet
                    )
                )
            )
        )
        return self.stream.ended is None

    @property
    def _is_quiet(self) -> bool:
        # The service need not count every character, so its count alone must not hold text back.
        return time.monotonic() - self._active_at > _QUIET_SECONDS

    # The line's side; its monitor is held.

    def end_interrupted(self) -> None:
        """End the stream where it stands and drop what was not taken."""
        self.stream.end(_INTERRUPTED)
        self.stream.discard()

    def follow(self, message: tts.ContextMessage, *, was_closing: bool) -> None:
        """
        Follow one message about this context.

        Args:
            message: What the service said.
            was_closing: Whether it had been asked to close the context.
        """
        self.was_answered |= not isinstance(message, tts.ContextFault)
        self._active_at = time.monotonic()
        if isinstance(message, tts.AudioReceived):
            self._receive_audio(message)
        elif isinstance(message, tts.ContextFault):
            error = error_from_status(message.code, message.message, message.details)
            self.stream.end(StreamEnded("server", reason=error.message, error=error))
        elif isinstance(message, tts.Unreadable):
            self.stream.end(StreamEnded("client", reason="unreadable message", error=message.error))
        else:
            if isinstance(message, FlushCompleted):
                self._assembler.generation_ended()
            self.stream.append(cast("ContextEvent", message))
            if isinstance(message, ContextClosed):
                self.stream.end(self._closed(was_closing=was_closing))

    def _receive_audio(self, message: tts.AudioReceived) -> None:
        try:
            chunk = self._assembler.chunk(message)
        except InworldError as error:
            self.stream.end(StreamEnded("client", reason="unreadable audio", error=error))
            return
        if message.usage is not None:
            self.usage = TtsUsage(
                self.usage.characters + message.usage.characters,
                message.usage.model or self.usage.model,
            )
        self.stream.append(chunk, len(chunk.data))

    def _closed(self, *, was_closing: bool) -> StreamEnded:
        if not was_closing:
            error = ServiceError(
                "the service closed the context before it was asked to", retryable=True
            )
            return StreamEnded("server", reason="closed", error=error)
        return StreamEnded("client", reason="closed", error=self._incomplete())

    def _incomplete(self) -> InworldError | None:
        if self._sent_characters and not self._assembler.received_bytes:
            return silent(self._sent_characters)
        try:
            self._assembler.finish()
        except InworldError as error:
            return error
        return None


def silent(characters: int) -> ServiceError:
    """Make the error of text that was not spoken."""
    return ServiceError(
        f"the service ended the utterance without audio for {characters} characters of text",
        retryable=True,
    )
