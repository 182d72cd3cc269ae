r"""
A TTS connection and its contexts.

Threads: those of ``base.py``. A context may be used from several threads: what they send keeps
the order in which they called, because every context has one lock, ``_order``, that is held while
a command is made and queued. It is taken before the connection's condition, never after it.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
    ServiceError,
    TransportError,
    error_from_status,
)
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.options import Options
from inworld_sync.models.tts import (
    ContextClosed,
    ContextConfig,
    ContextCreated,
    ContextUpdated,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.dispatch import EventStream, Subscription
from inworld_sync.sessions.speech import Assembler, AudioChunk
from inworld_sync.transport.websocket import Link
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Contexts
from inworld_sync.wire.text import is_blank, require_text, split_text

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

    from inworld_sync.models.tts import ContextSettings

__all__ = ["ContextEvent", "TtsConnection", "TtsContext"]

ContextEvent: TypeAlias = (
    AudioChunk | ContextClosed | ContextCreated | ContextUpdated | FlushCompleted | UnknownEvent
)

F = TypeVar("F", bound=Callable[..., object])


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

    def __init__(self, connection: TtsConnection, context_id: str, config: ContextConfig) -> None:
        self.id = context_id
        self.config = config
        self._connection = connection
        self._order = threading.Lock()
        self._stream = connection.new_stream(context_id)
        self._assembler = Assembler(context_id, config.audio)
        self._usage = TtsUsage()
        self._sent_characters = 0
        self._uncounted = False
        self._sent_plainly = False
        self._said_pieces = 0
        self._taken_pieces = 0
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
            timeout: Seconds to wait while earlier messages have not left.

        Raises:
            ConfigError: It is not a str, or blank, or holds half of a surrogate pair.
            LocalProtocolError: The context was closed.
            TransportError: The connection is lost or stalled.
        """
        require_text(text)
        if self._said_pieces:
            raise LocalProtocolError("send() after say() would make the end of say() unknown")
        self._sent_plainly = True
        pieces = split_text(text, tts.MAX_TEXT_CHARACTERS) if split else [text]
        for piece in pieces:
            self._say(piece, flush=False, timeout=timeout)

    def flush(self) -> None:
        """Have all text that was sent spoken now; a :class:`FlushCompleted` follows its audio."""
        self._command(lambda contexts: contexts.flush(self.id))

    def say(self, text: str, *, timeout: float | None = 30.0) -> Iterator[AudioChunk]:
        """
        Speak a text and yield its audio, keeping the context open for the next.

        What an earlier call left untaken is skipped.

        Args:
            text: Not blank, of any length.
            timeout: The most seconds to wait for each event.

        Raises:
            LocalProtocolError: The context is in auto mode or was given text by :meth:`send`;
                then the end of a text cannot be known before the context closes.
        """
        require_text(text)
        if self.config.auto_mode or self._sent_plainly:
            raise LocalProtocolError(
                "say() needs a context of its own without auto_mode and send(), since its end is "
                "the flush that it asks for"
            )
        # Text and flush in one message leave the service no time to flush by itself between
        # them, so that one FlushCompleted comes for every piece.
        pieces = [p for p in split_text(text, tts.MAX_TEXT_CHARACTERS) if not is_blank(p)]
        first, self._said_pieces = self._said_pieces, self._said_pieces + len(pieces)
        return self._said(pieces, first, timeout)

    def _said(self, pieces: list[str], first: int, timeout: float | None) -> Iterator[AudioChunk]:
        for piece in pieces:
            self._say(piece, flush=True, timeout=None)
        last, size_bytes = first + len(pieces), 0
        for event in self._stream.events(timeout):
            if isinstance(event, FlushCompleted):
                self._taken_pieces += 1
                if self._taken_pieces == last:
                    break
            elif isinstance(event, AudioChunk) and self._taken_pieces >= first:
                size_bytes += len(event.data)
                yield self._took(event)
        if not size_bytes:
            raise _silent(sum(map(len, pieces)))

    def update(self, changes: Mapping[str, object]) -> None:
        """
        Change settings of the living context, by their names on the wire.

        The service speaks what it has first and answers with :class:`ContextUpdated`.
        Documented for the voice, the temperature and the audio, not for the model.
        """
        self._command(lambda contexts: contexts.update(self.id, changes))

    def close(self) -> None:
        """
        Say that no more text follows; what was sent is still spoken.

        Iteration ends when its audio has come. May be called twice.
        """
        self._command(lambda contexts: contexts.close(self.id), quiet=True)

    def interrupt(self) -> float:
        """
        Stop: close the context and drop its audio, also what is still on its way.

        Returns:
            How many milliseconds of audio had been taken from the context, which is what a player
            of yours was given. What was *heard* is known to
            :meth:`~inworld_sync.Playback.interrupt`.
        """
        self._connection.drop(self)
        with self._order, contextlib.suppress(ClosedError, TransportError):
            # Where the connection is gone, the context is gone with it.
            self._connection.command(lambda contexts: contexts.close(self.id))
        return self._taken_ms

    def _say(self, text: str, *, flush: bool, timeout: float | None) -> None:
        self._command(lambda contexts: contexts.send_text(self.id, text, flush=flush), timeout)
        self._sent_characters += len(text)

    def _command(
        self,
        make: Callable[[Contexts], str | None],
        timeout: float | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        with self._order:
            ended = self._stream.ended
            if ended is not None:
                if quiet:
                    return
                if ended.error is not None:
                    raise ended.error
                raise ClosedError(f"context {self.id!r} has ended, create another")
            self._connection.command(make, timeout)

    def wait_for_room(self, max_characters: int, max_bytes: int) -> bool:
        """
        Wait until the service has begun to speak what it has and its audio is taken.

        Args:
            max_characters: Sent and not begun; not counted once audio came without ``usage``,
                since then nothing tells how much was begun.
            max_bytes: Come and not taken.

        Returns:
            False if the context has ended.
        """
        return (
            self._connection.wait_until(
                lambda: (
                    self._stream.ended is not None
                    or (
                        (
                            self._uncounted
                            or self._sent_characters - self._usage.characters < max_characters
                        )
                        and self._stream.waiting_bytes < max_bytes
                    )
                )
            )
            and self._stream.ended is None
        )

    # Listening.

    def __iter__(self) -> Iterator[ContextEvent]:
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[ContextEvent]:
        """
        Iterate over the context's events until it is closed and all its audio has come.

        Args:
            timeout: The most seconds to wait for each event; None waits for ever.

        Raises:
            DeadlineExceeded: No event came in time.
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
            How many bytes were written from the start; the rest is left as it was.

        Raises:
            InworldError: The context ended before its work was done, and all else was read.
        """
        out = memoryview(buffer).cast("B")
        if len(out) % 2:
            raise ConfigError(f"buffer must hold whole 16-bit samples, got {len(out)} bytes")
        written = 0
        while written < len(out):
            if not self._rest:
                event = self._next_audio()
                if event is None:
                    break
                self._rest = self._took(event).pcm
            count = min(len(self._rest), len(out) - written)
            out[written : written + count] = self._rest[:count]
            self._rest = self._rest[count:]
            written += count
        return written

    def _next_audio(self) -> AudioChunk | None:
        try:
            return next((e for e in self._stream.events(0.0) if isinstance(e, AudioChunk)), None)
        except DeadlineExceeded:
            return None

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

    # The reader's side; the connection's condition is held.

    @property
    def stream(self) -> EventStream[ContextEvent]:
        """The context's events, for the connection that feeds it."""
        return self._stream

    def receive(self, message: tts.TtsMessage) -> None:
        """Follow one message about this context."""
        if isinstance(message, tts.AudioReceived):
            chunk = self._assembler.chunk(message)
            if message.usage is None:
                self._uncounted = not self._usage.characters
            else:
                self._usage = TtsUsage(
                    self._usage.characters + message.usage.characters,
                    message.usage.model or self._usage.model,
                )
            self._stream.append(chunk, len(chunk.data))
            return
        if isinstance(message, tts.ContextFault):
            self._stream.end(
                StreamEnded(
                    "server",
                    reason=message.message,
                    error=error_from_status(message.code, message.message, message.details),
                )
            )
            return
        if isinstance(message, FlushCompleted):
            self._assembler.generation_ended()
        self._stream.append(cast("ContextEvent", message))
        if isinstance(message, ContextClosed):
            self._stream.end(StreamEnded("client", reason="closed", error=self._incomplete()))

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


class TtsConnection(Connection[tts.TtsMessage]):
    """
    One socket to the TTS service with up to five contexts, usable from several threads.

    Made by ``iw.tts.connect()``. Leaving a ``with`` block closes it.
    """

    service = "tts"

    def __init__(
        self,
        link: Link,
        options: Options,
        *,
        on_closed: Callable[[], None] | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(link, options, on_closed=on_closed)
        self._on_room = on_room
        self._contexts = Contexts()
        self._living: dict[str, TtsContext] = {}
        self._fault: tts.ConnectionFault | None = None

    @classmethod
    def open(
        cls,
        connector: Connector,
        *,
        timeout: float | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> TtsConnection:
        """
        Connect; the service checks the credential with the first context, not here.

        Args:
            connector: Where and as whom.
            timeout: Seconds; None takes ``connect_timeout``.
            on_room: Called without a lock, on the reader, when a context is gone; must not block.
        """
        link = connector.open(tts.PATH, cls.next_name(), timeout=timeout)
        connection = cls(link, connector.options, on_closed=connector.closed, on_room=on_room)
        connection._start()
        return connection

    def context(
        self,
        config: ContextConfig | None = None,
        *,
        timeout: float | None = None,
        **settings: Unpack[ContextSettings],
    ) -> TtsContext:
        """
        Create a context; text may be sent at once.

        Args:
            config: All settings in one value; *settings* are changes to it.
            timeout: Seconds to wait for one of five contexts that is closing; None takes
                ``connect_timeout``.
            settings: As the attributes of :class:`~inworld_sync.ContextConfig`.

        Raises:
            ConfigError: A setting is out of its range.
            ContextLimitError: Five contexts are open, or none of them closed in time.
            TransportError: The connection is lost.
        """
        config = attrs.evolve(config or ContextConfig(), **settings)
        context = TtsContext(self, uuid.uuid4().hex, config)
        self._wait_for_place(self._options.connect_timeout if timeout is None else timeout)
        with self._changed:
            message = self._contexts.create(context.id, config)
            self._living[context.id] = context
        try:
            self._send(message)
        except BaseException:
            with self._changed:
                self._living.pop(context.id, None)
                self._contexts.forget(context.id)
            raise
        return context

    @property
    def free_contexts(self) -> int:
        """How many contexts may be created now; those that are closing still count."""
        with self._changed:
            return 0 if self._ended is not None or self._closing else self._contexts.free

    @property
    def is_idle(self) -> bool:
        """Whether it is open and holds no context."""
        with self._changed:
            return self._ended is None and not self._closing and not len(self._contexts)

    def retire(self) -> None:
        """Begin to close without waiting; for an idle connection that nobody holds."""
        with self._changed:
            self._closing = True
        self._link.close()

    def __enter__(self) -> TtsConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for_place(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                self._require_open()
                left = until - time.monotonic()
                # With all five open, nobody will make room but the caller.
                if self._contexts.free or not self._contexts.closing or left <= 0:
                    return
                self._changed.wait(min(left, 1.0))

    # For its contexts.

    def new_stream(self, name: str) -> EventStream[ContextEvent]:
        """A stream under this connection's condition."""
        return EventStream(
            self._changed,
            name=f"{self._link.name}-{name[:8]}",
            dispatch=self._options.dispatch,
            logger=self._options.logger,
        )

    def command(self, make: Callable[[Contexts], str | None], timeout: float | None = None) -> None:
        """Change the contexts' state and queue what that asks to be sent."""
        with self._changed:
            self._require_open()
            message = make(self._contexts)
        if message is not None:
            self._send(message, timeout)

    def wait_until(self, reached: Callable[[], bool]) -> bool:
        """Wait for a state of a context; False if the connection ends first."""
        with self._changed:
            while not reached():
                if self._ended is not None:
                    return False
                self._changed.wait(1.0)
            return True

    def drop(self, context: TtsContext) -> None:
        """Give a context nothing more; what is on its way to it is ignored."""
        with self._changed:
            self._living.pop(context.id, None)
            context.stream.end(StreamEnded("client", reason="interrupted"))
        context.stream.discard()

    # The reader's part.

    def _parse(self, message: memoryview) -> tts.TtsMessage:
        return tts.read(message)

    def _apply(self, event: tts.TtsMessage) -> None:
        if isinstance(event, tts.ConnectionFault):
            # Fatal only if the service closes after it, which _conclude will see.
            self._fault = event
            self._options.logger.warning(
                "%s: the service reports code %d", self._link.name, event.code
            )
            return
        context = self._living.get(_context_id(event))
        gone = self._contexts.note(event)
        if context is None:
            # Audio of a context that was dropped, or the service's word that it never heard of
            # one whose end it came to by itself.
            return
        if isinstance(event, UnknownEvent):
            context.stream.append(event)
            return
        try:
            context.receive(event)
        except InworldError as error:
            context.stream.end(StreamEnded("server", reason="unreadable audio", error=error))
        if context.ended is not None:
            del self._living[context.id]
            if not gone:
                self._close_faulty(context.id)

    def _after(self, event: tts.TtsMessage) -> None:
        if self._on_room is not None and isinstance(event, (ContextClosed, tts.ContextFault)):
            self._on_room()

    def _close_faulty(self, context_id: str) -> None:
        # The service still holds a context whose text it refused. Should the queue be full, its
        # place stays taken until the connection closes; the reader must not wait.
        message = self._contexts.close(context_id)
        if message is not None:
            with contextlib.suppress(TransportError):
                self._link.send(message, timeout=0.0)

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        error = ended.error
        if self._fault is not None and ended.by != "client":
            error = error_from_status(
                self._fault.code,
                self._fault.message,
                self._fault.details,
                request_id=self._link.request_id,
            )
        elif error is None and self._living and not self._closing:
            error = ConnectionLost(
                f"the {ended.by} closed the connection with {len(self._living)} contexts open "
                f"(code {ended.code} {ended.reason!r})",
                code=ended.code,
                reason=ended.reason,
            )
        elif error is None and self._living:
            error = ClosedError("the connection was closed while the context was open")
        return attrs.evolve(ended, error=error)

    def _streams(self) -> list[EventStream[Any]]:
        return [context.stream for context in self._living.values()]


def _context_id(event: tts.TtsMessage) -> str:
    if isinstance(event, UnknownEvent):
        result = event.raw.get("result")
        return str(result.get("contextId", "")) if isinstance(result, dict) else ""
    assert not isinstance(event, tts.ConnectionFault)
    return event.context_id
