r"""
One voice on a TTS connection: text in, events with audio out.

Lock rule: ``_order`` is held while a command is made and queued, so that what several threads
send keeps the order in which they called; it is taken before the connection's monitor, never after
it. ``_reading`` guards what :meth:`TtsContext.read_audio` left of a chunk, and is taken before the
monitor too. :meth:`TtsContext.interrupt` takes the monitor alone, so that no stalled ``send``
delays it. What the service says is followed on the reader, with the monitor held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
    ServiceError,
    error_from_status,
)
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.tts import (
    ContextClosed,
    ContextConfig,
    ContextCreated,
    ContextUpdated,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.sessions.dispatch import EventStream, Subscription
from inworld_sync.sessions.tts.speech import Assembler, AudioChunk
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Contexts
from inworld_sync.wire.text import is_blank, require_text, split_text

if TYPE_CHECKING:
    from types import TracebackType

    from inworld_sync.sessions.tts.connection import TtsConnection

__all__ = ["ContextEvent", "TtsContext"]

ContextEvent: TypeAlias = (
    AudioChunk | ContextClosed | ContextCreated | ContextUpdated | FlushCompleted | UnknownEvent
)

F = TypeVar("F", bound=Callable[..., object])

# The service speaks by itself once it holds its default threshold of 1000 characters, which would
# bring one more FlushCompleted than say() asked for.
_SAID_CHARACTERS = tts.MAX_TEXT_CHARACTERS - 1

# A service that says nothing for so long has begun all that it has, whatever it counted.
_QUIET_SECONDS = 0.5

_INTERRUPTED = StreamEnded("client", reason="interrupted")


class TtsContext:
    """
    One voice speaking on a connection: text goes in, events with audio come out.

    Made by :meth:`TtsConnection.context`. Iterate over it for its events, until :meth:`close`
    was called and all audio has come; or add handlers with :meth:`on`, or queues with
    :meth:`subscribe`. Leaving a ``with`` block closes the context.

    Thread safety: every method may be called from any thread.

    Attributes:
        id: Unique on the connection.
        config: What was asked for.
    """

    def __init__(
        self,
        connection: TtsConnection,
        context_id: str,
        config: ContextConfig,
        stream: EventStream[ContextEvent],
    ) -> None:
        self.id = context_id
        self.config = config
        self._connection = connection
        self._order = threading.Lock()
        self._reading = threading.Lock()
        self._stream = stream
        self._assembler = Assembler(context_id, config.audio)
        self._usage = TtsUsage()
        self._answered = False
        self._active_at = time.monotonic()
        self._sent_characters = 0
        self._sent_plainly = False
        self._said_pieces = 0
        self._taken_pieces = 0
        self._turn: object = None
        self._taken_ms = 0.0
        self._rest = memoryview(b"")

    # Speaking.

    def send(self, text: str, *, split: bool = True, timeout: float | None = None) -> None:
        """
        Give text to speak; it may be a part of a sentence.

        After this, call :meth:`flush` to have it spoken at once, or :meth:`close` if it was the
        last.

        Args:
            text: Not blank; cut into pieces that the service takes.
            split: False sends it as it is; the service refuses more than 2000 characters.
            timeout: Seconds to wait while earlier messages have not left; None takes
                ``send_timeout``.

        Raises:
            ConfigError: It is not a str, or blank, or holds half of a surrogate pair.
            LocalProtocolError: The context was closed, or used with :meth:`say`.
            TransportError: The connection is lost or stalled.
        """
        require_text(text)
        pieces = split_text(text, tts.MAX_TEXT_CHARACTERS) if split else [text]
        with self._order:
            if self._said_pieces:
                raise LocalProtocolError("send() after say() would make the end of say() unknown")
            self._sent_plainly = True
            for piece in pieces:
                self._say(piece, timeout=timeout)

    def flush(self) -> None:
        """Have all text that was sent spoken now; a :class:`FlushCompleted` follows its audio."""
        with self._order:
            self._command(lambda contexts: contexts.flush(self.id))

    def say(self, text: str, *, timeout: float | None = 30.0) -> Iterator[AudioChunk]:
        """
        Speak a text and yield its audio, keeping the context open for the next.

        It is sent with the first step of the iteration, and ends the iteration of an earlier call:
        what that left untaken is skipped.

        Args:
            text: Not blank, of any length.
            timeout: The most seconds to wait for each event.

        Raises:
            LocalProtocolError: The service may speak this context's text before it is asked to,
                because of ``auto_mode``, ``buffer_char_threshold`` or :meth:`send`; then the end
                of a text cannot be known before the context closes. Or another call of this method
                has taken over.
            ServiceError: The service gave no audio for it.
        """
        require_text(text)
        if self.config.auto_mode or self.config.buffer_char_threshold is not None:
            raise LocalProtocolError(
                "say() needs a context without auto_mode and buffer_char_threshold, since the end "
                "of a text is known by the flush that it asks for"
            )
        # Text and flush in one message leave the service no time to flush by itself between
        # them, so that one FlushCompleted comes for every piece.
        pieces = [p for p in split_text(text, _SAID_CHARACTERS) if not is_blank(p)]
        return self._said(pieces, timeout)

    def _said(self, pieces: list[str], timeout: float | None) -> Iterator[AudioChunk]:
        turn = object()
        with self._order:
            if self._sent_plainly:
                raise LocalProtocolError("say() after send() could not know the end of its text")
            self._turn = turn
            first = self._said_pieces
            for piece in pieces:
                self._say(piece, flush=True)
                self._said_pieces += 1
            last = self._said_pieces
        size_bytes = 0
        events = self._stream.events(timeout)
        while self._taken_pieces < last and (event := next(events, None)) is not None:
            if isinstance(event, FlushCompleted):
                self._taken_pieces += 1
            elif isinstance(event, AudioChunk) and self._taken_pieces >= first:
                size_bytes += len(event.data)
                yield self._took(event)
                if self._turn is not turn:
                    raise LocalProtocolError("another say() on this context has taken over")
        if not size_bytes and self._stream.ended is not _INTERRUPTED:
            raise _silent(sum(map(len, pieces)))

    def update(self, changes: Mapping[str, object]) -> None:
        """
        Change settings of the living context, by their names on the wire.

        The service speaks what it has first and answers with :class:`ContextUpdated`.
        Documented for the voice, the temperature and the audio, not for the model. Audio in
        another form than the context was made with would not be recognised: leave that alone.
        """
        if not isinstance(changes, Mapping):
            raise ConfigError(f"changes must be a mapping of names to values, got {changes!r}")
        with self._order:
            self._command(lambda contexts: contexts.update(self.id, changes))

    def close(self) -> None:
        """
        Say that no more text follows; what was sent is still spoken.

        Iteration ends when its audio has come. May be called twice, and after the connection has
        ended.
        """
        with self._order:
            if self._stream.ended is None:
                self._connection.close_context(self.id)

    def interrupt(self) -> float:
        """
        Stop: close the context and drop its audio, also what is still on its way.

        It waits for nothing, neither the service nor another thread's :meth:`send`.

        Returns:
            How many milliseconds of audio iteration had taken, which is what a player of yours
            was given. What was *heard* is known to :meth:`~inworld_sync.Playback.interrupt`.
        """
        self._connection.drop(self)
        return self._taken_ms

    def abandon(self) -> None:
        """Interrupt a context that does not answer; its connection takes no further ones."""
        self._connection.drop(self)
        self._connection.distrust()

    def _say(self, text: str, *, flush: bool = False, timeout: float | None = None) -> None:
        self._command(lambda contexts: contexts.send_text(self.id, text, flush=flush), timeout)
        self._sent_characters += len(text)
        self._active_at = time.monotonic()

    def _command(self, make: Callable[[Contexts], str], timeout: float | None = None) -> None:
        """Send a command of this context; ``_order`` is held."""
        ended = self._stream.ended
        if ended is not None:
            self._stream.raise_end()
            raise ClosedError(f"context {self.id!r} has ended, create another")
        self._connection.command(make, timeout)

    def wait_for_room(self, max_characters: int, max_bytes: int) -> bool:
        """
        Wait until the service has begun to speak what it has and its audio is taken.

        Args:
            max_characters: Sent and not begun.
            max_bytes: Come and not taken.

        Returns:
            False if the context has ended.
        """
        self._connection.wait_until(
            lambda: (
                self._stream.ended is not None
                or (
                    self._stream.waiting_bytes < max_bytes
                    and (
                        self._sent_characters - self._usage.characters < max_characters
                        or self._is_quiet
                    )
                )
            )
        )
        return self._stream.ended is None

    @property
    def _is_quiet(self) -> bool:
        # The service need not count every character, so its count alone must not hold text back.
        return time.monotonic() - self._active_at > _QUIET_SECONDS

    # Listening.

    def __iter__(self) -> Iterator[ContextEvent]:
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[ContextEvent]:
        """
        Iterate over the context's events until it is closed and all its audio has come.

        Args:
            timeout: The most seconds to wait for each event; None waits for ever.

        Raises:
            DeadlineExceeded: No event came in time; iterating again goes on where it stopped.
            InworldError: The context ended before its work was done.
        """
        for event in self._stream.events(timeout):
            yield self._took(event) if isinstance(event, AudioChunk) else event

    def audio(self, timeout: float | None = 30.0) -> Iterator[AudioChunk]:
        """Iterate over the audio alone; see :meth:`events`."""
        for event in self.events(timeout):
            if isinstance(event, AudioChunk):
                yield event

    def on(self, kind: type | str, handler: F) -> F:
        """Call *handler* with every event of a class; see :meth:`EventStream.on`."""
        return self._stream.on(kind, handler)

    def subscribe(self, maxsize: int | None = None) -> Subscription[ContextEvent]:
        """Open a queue of events of its own; see :meth:`EventStream.subscribe`."""
        return self._stream.subscribe(maxsize)

    def poll(self, budget_ms: float = 2.0) -> int:
        """Run handlers on this thread; see :meth:`EventStream.poll`."""
        return self._stream.poll(budget_ms)

    def read_audio(self, buffer: bytearray | memoryview) -> int:
        """
        Fill a buffer with the samples that are there, for a game loop; never waits.

        It takes from the same place in the stream as iteration does.

        Args:
            buffer: Writable; its length in bytes must be even.

        Returns:
            How many bytes were written from the start; the rest is left as it was. 0 means that
            all was read if :attr:`ended` was set before the call.

        Raises:
            InworldError: The context ended before its work was done, and all else was read.
            AudioError: The encoding is compressed.
        """
        out = memoryview(buffer).cast("B")
        if len(out) % 2:
            raise ConfigError(f"buffer must hold whole 16-bit samples, got {len(out)} bytes")
        written = 0
        with self._reading:
            while written < len(out):
                if not self._rest and not self._take_rest(first=not written):
                    break
                count = min(len(self._rest), len(out) - written)
                out[written : written + count] = self._rest[:count]
                self._rest = self._rest[count:]
                written += count
        return written

    def _take_rest(self, *, first: bool) -> bool:
        """Take the next chunk with samples; False if none is there."""
        try:
            for event in self._stream.events(0.0):
                if isinstance(event, AudioChunk) and event.data:
                    self._rest = self._took(event).pcm
                    return True
        except DeadlineExceeded:
            return False
        except InworldError:
            # Samples that were read before it must reach the caller; the next call raises.
            if first:
                raise
        return False

    def _took(self, chunk: AudioChunk) -> AudioChunk:
        self._taken_ms += chunk.duration_ms or 0.0
        return chunk

    # State.

    @property
    def ended(self) -> StreamEnded | None:
        """How the context ended, None while it lives."""
        return self._stream.ended

    @property
    def usage(self) -> TtsUsage:
        """What the service has counted so far, summed over the context."""
        return self._usage

    @property
    def waiting_bytes(self) -> int:
        """What has come and was not taken yet."""
        return self._stream.waiting_bytes

    @property
    def handler_errors(self) -> int:
        """How often a handler raised."""
        return self._stream.handler_errors

    @property
    def was_answered(self) -> bool:
        """Whether the service has said anything about this context but that it failed."""
        return self._answered

    @property
    def was_reused(self) -> bool:
        """Whether the connection was not made for this context."""
        return self._connection.is_reused

    def __enter__(self) -> TtsContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.interrupt()

    def __repr__(self) -> str:
        return f"<TtsContext {self.id} {self.config.voice} ended={self.ended}>"

    # The connection's side; its monitor is held.

    @property
    def stream(self) -> EventStream[ContextEvent]:
        """The context's events, for the connection that feeds it."""
        return self._stream

    def end_interrupted(self) -> None:
        """End the stream where it stands and drop what was not taken."""
        self._stream.end(_INTERRUPTED)
        self._stream.discard()

    def receive(self, message: tts.TtsMessage, *, was_closing: bool) -> None:
        """
        Follow one message about this context.

        Args:
            message: What the service said.
            was_closing: Whether it had been asked to close the context.
        """
        self._answered |= not isinstance(message, tts.ContextFault)
        self._active_at = time.monotonic()
        if isinstance(message, tts.AudioReceived):
            self._receive_audio(message)
        elif isinstance(message, tts.ContextFault):
            error = error_from_status(message.code, message.message, message.details)
            self._stream.end(StreamEnded("server", reason=error.message, error=error))
        elif isinstance(message, tts.Unreadable):
            self._stream.end(
                StreamEnded("client", reason="unreadable message", error=message.error)
            )
        else:
            if isinstance(message, FlushCompleted):
                self._assembler.generation_ended()
            self._stream.append(cast("ContextEvent", message))
            if isinstance(message, ContextClosed):
                self._stream.end(self._closed(was_closing=was_closing))

    def _receive_audio(self, message: tts.AudioReceived) -> None:
        try:
            chunk = self._assembler.chunk(message)
        except InworldError as error:
            self._stream.end(StreamEnded("client", reason="unreadable audio", error=error))
            return
        if message.usage is not None:
            self._usage = TtsUsage(
                self._usage.characters + message.usage.characters,
                message.usage.model or self._usage.model,
            )
        self._stream.append(chunk, len(chunk.data))

    def _closed(self, *, was_closing: bool) -> StreamEnded:
        if not was_closing:
            error = ServiceError(
                "the service closed the context before it was asked to", retryable=True
            )
            return StreamEnded("server", reason="closed", error=error)
        return StreamEnded("client", reason="closed", error=self._incomplete())

    def _incomplete(self) -> InworldError | None:
        if self._sent_characters and not self._assembler.received_bytes:
            return _silent(self._sent_characters)
        try:
            self._assembler.finish()
        except InworldError as error:
            return error
        return None


def _silent(characters: int) -> ServiceError:
    return ServiceError(
        f"the service ended the utterance without audio for {characters} characters of text",
        retryable=True,
    )
