r"""
Implements the context of a TTS connection, which takes text and emits events with audio.

Lock rule: ``_order`` is held while a command is made and queued, so that the messages of several
threads keep the order of their calls. ``_reading`` guards the rest of a chunk that
:meth:`TtsContext.read_audio` keeps. A thread acquires either lock before the connection's monitor,
never after it. ``_counting`` guards the counts of the events that were taken, and is held for one
statement. :meth:`TtsContext.interrupt` acquires only the monitor, so that a stalled ``send`` does
not delay an interruption. The reader passes the messages of the service to the context's
:class:`ContextReceiver`, see ``assembler.py``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, get_args

from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
)
from inworld_sync.locks import make_lock
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.tts import (
    ContextConfig,
    FlushCompleted,
    TtsUsage,
)
from inworld_sync.sessions.event_source import EventSource
from inworld_sync.sessions.tts.assembler import INTERRUPTED, ContextEvent, ContextReceiver
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.transport.forgotten import close_if_forgotten
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Command, Contexts, no_audio_error
from inworld_sync.wire.splitting import split_text
from inworld_sync.wire.text import is_blank, require_piece, require_text

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ContextEvent", "ContextOwner", "TtsContext"]

# Once the service holds 1000 characters, the default threshold, the service speaks without a flush.
# Then the service would send one FlushCompleted more than say() expects.
_SAID_CHARACTERS = tts.MAX_TEXT_CHARACTERS - 1

# If the service has sent no message for this time, the client assumes that the service has begun to
# speak all its text, even if the service has not counted all characters.
_IDLE_SECONDS = 0.5

_FORGOTTEN = StreamEnded(
    "client", reason="not closed", error=ClosedError("the context was dropped without close()")
)


class ContextOwner(Protocol):
    """The connection of a context."""

    ended: StreamEnded | None
    _generation: int

    def _command(
        self, make: Callable[[Contexts, float], Command], timeout: float | None = None
    ) -> None: ...
    def _close_context(self, context_id: str, *, is_cancelled: bool = False) -> None: ...
    def _drop(self, receiver: ContextReceiver, ended: StreamEnded = ...) -> None: ...
    def _wait_until(self, reached: Callable[[], bool]) -> None: ...
    def _mark_unhealthy(self) -> None: ...


class TtsContext(EventSource[ContextEvent]):
    """
    A voice that speaks on a connection. The context takes text, and emits events with audio.

    :meth:`TtsConnection.context` makes a context. Iterate over the context for its events, or add
    handlers with :meth:`on`, or queues with :meth:`subscribe`. The iteration ends when
    :meth:`close` was called and all audio was received. Leaving a ``with`` block closes the
    context.

    If the service does not answer in time, the iteration raises
    :class:`~inworld_sync.DeadlineExceeded`; see ``create_timeout`` and ``message_timeout`` of
    :meth:`TtsConnection.context`. No deadline runs while the service waits for text.

    Thread safety: every method may be called from any thread.

    Attributes:
        id: An id that is unique on the connection.
        config: The settings of the context.
    """

    _description = "a TTS context"
    _event_classes = get_args(ContextEvent)

    def __init__(
        self,
        connection: ContextOwner,
        config: ContextConfig,
        receiver: ContextReceiver,
    ) -> None:
        super().__init__(receiver.stream)
        self.id = receiver.id
        self.config = config
        self._connection = connection
        self._receiver = receiver
        self._progress = receiver.progress
        self._order = make_lock()
        self._reading = make_lock()
        self._counting = make_lock()
        self._held = ""
        self._was_sent_to = False
        self._said_pieces = 0
        self._popped_pieces = 0
        self._latest_say: object = None
        self._popped_bytes = 0
        self._rest = memoryview(b"")

    # Methods for text.

    def send(self, text: str, *, split: bool = True, timeout: float | None = None) -> None:
        """
        Send text to be spoken. The text may be a part of a sentence.

        After that, call :meth:`flush` to make the service speak the text at once, or :meth:`close`
        if no more text follows.

        Args:
            text: The client splits the text into pieces that the service accepts. White space
                alone, such as a token of a model, is sent with the next text.
            split: If False, the text stays whole. The service refuses more than 2000 characters.
            timeout: Seconds to wait while the send queue is full; None means ``send_timeout``.

        Raises:
            ConfigError: *text* is not a str, or has half of a surrogate pair.
            LocalProtocolError: The context was closed, or used with :meth:`say`.
            TransportError: The connection is lost or stalled.
        """
        require_piece(text)
        with self._order:
            if self._said_pieces:
                raise LocalProtocolError(
                    "send() is not allowed after say() on the same context: use another context"
                )
            self._was_sent_to = True
            text, self._held = self._held + text, ""
            if is_blank(text):
                self._held = text
            elif split and len(text) > tts.MAX_TEXT_CHARACTERS:
                for piece in split_text(text, tts.MAX_TEXT_CHARACTERS):
                    self._send_text(piece, timeout=timeout)
            else:
                self._send_text(text, timeout=timeout)

    def flush(self) -> None:
        """Make the service speak all sent text now. A :class:`FlushCompleted` follows the audio."""
        with self._order:
            self._command(lambda contexts, now: contexts.flush(self.id, now))

    def say(self, text: str, *, timeout: float | None = None) -> Iterator[AudioChunk]:
        """
        Speak a text and yield its audio. The context stays open for the next text.

        The first step of the iteration sends the text. This step also ends the iteration of an
        earlier call, and the rest of that call's audio is skipped.

        Args:
            text: The text, which is not blank. It may have any length.
            timeout: The largest number of seconds to wait for each event; None waits until the
                deadlines of the context.

        Raises:
            LocalProtocolError: The context has ``auto_mode`` or ``buffer_char_threshold``, or was
                used with :meth:`send`. Then the service may speak without a flush, and the client
                cannot know where the audio of a text ends. Or a later call of this method has
                replaced this call.
            ServiceError: The service sent no audio for the text.
        """
        require_text(text)
        if self.config.auto_mode or self.config.buffer_char_threshold is not None:
            raise LocalProtocolError(
                "say() needs a context without auto_mode and buffer_char_threshold, since "
                "otherwise the client cannot know where the audio of a text ends"
            )
        # Each message has a text and its flush, so the service cannot flush by itself between the
        # two. So one FlushCompleted comes for each piece.
        pieces = [p for p in split_text(text, _SAID_CHARACTERS) if not is_blank(p)]
        return self._said(pieces, timeout)

    def _said(self, pieces: list[str], timeout: float | None) -> Iterator[AudioChunk]:
        this_say = object()
        with self._order:
            if self._was_sent_to:
                raise LocalProtocolError(
                    "say() is not allowed after send() on the same context: use another context"
                )
            self._latest_say = this_say
            first = self._said_pieces
            for piece in pieces:
                self._send_text(piece, flush=True)
                self._said_pieces += 1
            last = self._said_pieces
        size_bytes = 0
        events = self._stream.events(timeout)
        while self._popped_pieces < last and (event := next(events, None)) is not None:
            if isinstance(event, FlushCompleted):
                with self._counting:
                    self._popped_pieces += 1
            elif isinstance(event, AudioChunk) and self._popped_pieces >= first:
                size_bytes += len(event.data)
                self._count(event)
                yield event
                if self._latest_say is not this_say:
                    raise LocalProtocolError("a later say() on this context has replaced this one")
        if not size_bytes and not self._was_interrupted:
            raise no_audio_error(sum(map(len, pieces)))

    def update(self, changes: Mapping[str, object]) -> None:
        """
        Change settings of the open context, by their names on the wire.

        The service first speaks the text that it has, and answers with :class:`ContextUpdated`.
        The service documents this for the voice, the temperature and the audio, not for the
        model. Do not change the encoding or the sample rate: the client decodes all audio by the
        settings with which the context was created.

        Raises:
            ConfigError: *changes* is not a mapping.
        """
        if not isinstance(changes, Mapping):
            raise ConfigError(f"changes must be a mapping of names to values, got {changes!r}")
        with self._order:
            self._command(lambda contexts, now: contexts.update(self.id, changes, now))

    def close(self) -> None:
        """
        Declare that no more text follows. Text that was sent is still spoken.

        Iteration ends after the last audio. May be called twice, and after the connection has
        ended.
        """
        with self._order:
            if self._stream.ended is None:
                self._connection._close_context(self.id)
                self._receiver.is_closed = True

    def interrupt(self) -> float:
        """
        Close the context and drop its audio, including audio that arrives later.

        The call waits neither for the service nor for a :meth:`send` of another thread.

        Returns:
            How many milliseconds of audio the iteration has returned. To find how much was heard,
            use :meth:`~inworld_sync.Playback.interrupt`.
        """
        self._connection._drop(self._receiver)
        audio = self.config.audio
        bytes_per_second = audio.encoding.bytes_per_sample * audio.sample_rate_hz
        return self._popped_bytes * 1000.0 / bytes_per_second if bytes_per_second else 0.0

    # Methods for events and audio.

    def _iterate(self, timeout: float | None) -> Iterator[ContextEvent]:
        return map(self._count, self._stream.events(timeout))

    def audio(self, timeout: float | None = None) -> Iterator[AudioChunk]:
        """Iterate over the audio and skip the other events; see :meth:`events`."""
        for event in self._stream.events(timeout):
            if isinstance(event, AudioChunk):
                self._count(event)
                yield event

    def read_audio(self, buffer: bytearray | memoryview) -> int:
        """
        Fill a buffer with samples that were received, without waiting, such as in a game loop.

        This method and the iteration share one position in the stream.

        Args:
            buffer: A writable buffer; its length in bytes must be even.

        Returns:
            How many bytes were written from the start of the buffer; the rest of the buffer is
            unchanged. If :attr:`ended` was set before the call, 0 means that all audio was read.

        Raises:
            InworldError: All samples were read, and the context has ended with this error.
            AudioError: The encoding is compressed.
            ConfigError: The length of *buffer* is odd.
        """
        out = memoryview(buffer).cast("B")
        if len(out) % 2:
            raise ConfigError(f"buffer must hold whole 16-bit samples, got {len(out)} bytes")
        written = 0
        with self._reading:
            while written < len(out):
                if not self._rest and not self._pop_chunk(is_first=not written):
                    break
                count = min(len(self._rest), len(out) - written)
                out[written : written + count] = self._rest[:count]
                self._rest = self._rest[count:]
                written += count
        return written

    def _pop_chunk(self, *, is_first: bool) -> bool:
        """Pop the next chunk with samples; return False if there is none."""
        try:
            for event in self._stream.events(0.0):
                if isinstance(event, AudioChunk) and event.data:
                    self._count(event)
                    self._rest = event.pcm
                    return True
        except DeadlineExceeded:
            return False
        except InworldError:
            # The samples that this call has already read are returned first. The next call raises
            # the error.
            if is_first:
                raise
        return False

    def _count(self, event: ContextEvent) -> ContextEvent:
        if isinstance(event, AudioChunk):
            with self._counting:
                self._popped_bytes += len(event.data)
        return event

    # State.

    @property
    def usage(self) -> TtsUsage:
        """The characters that the service has counted so far, summed over the context."""
        return self._progress.usage

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

    # The connection, the pool and the text feed call these methods, on any thread.

    def _close_if_forgotten(self) -> None:
        """Make sure that the context leaves its place, even if its user drops it."""
        connection, receiver = self._connection, self._receiver

        def close() -> None:
            # After a fork, the context belongs to the parent.
            with contextlib.suppress(ClosedError):
                if receiver.stream.has_dispatcher:
                    # The handlers get the speech of the text that was sent.
                    connection._close_context(receiver.id)
                else:
                    connection._drop(receiver, _FORGOTTEN)

        close_if_forgotten(self, f"the context {self.id}", lambda: receiver.is_open, close)

    @property
    def _was_interrupted(self) -> bool:
        """Whether the client has ended the context early."""
        return self._stream.ended is INTERRUPTED

    def _send_text(self, text: str, *, flush: bool = False, timeout: float | None = None) -> None:
        """Queue text. With *flush*, the service speaks the text as one generation."""
        self._command(
            lambda contexts, now: contexts.send_text(self.id, text, now, flush=flush), timeout
        )

    def _command(
        self, make: Callable[[Contexts, float], Command], timeout: float | None = None
    ) -> None:
        """
        Queue a command.

        Raises:
            InworldError: The context has ended with this error.
        """
        if self._stream.ended is not None:
            self._stream.raise_end()
            raise ClosedError(f"context {self.id!r} has ended, create another")
        self._connection._command(make, timeout)

    def _abandon(self) -> None:
        """Interrupt a context that got no answer. Create no more contexts on its connection."""
        self._connection._drop(self._receiver)
        self._connection._mark_unhealthy()

    def _wait_for_room(self, max_characters: int, max_bytes: int) -> bool:
        """
        Wait until the service has begun to speak the text and the user has taken the audio.

        Args:
            max_characters: The largest number of characters that were sent and that the service has
                not begun to speak.
            max_bytes: The largest amount of audio that waits for the user.

        Returns:
            False if the context has ended.
        """
        stream, progress = self._stream, self._progress

        def has_room() -> bool:
            if stream.ended is not None:
                return True
            if stream.waiting_bytes >= max_bytes:
                return False
            unspoken_characters = progress.sent_characters - progress.usage.characters
            # The service may leave some characters out of its count, so the count alone must not
            # block.
            idle_seconds = time.monotonic() - max(progress.sent_at, progress.heard_at)
            return unspoken_characters < max_characters or idle_seconds > _IDLE_SECONDS

        self._connection._wait_until(has_room)
        return stream.ended is None
