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
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from inworld_sync.errors import ConfigError, DeadlineExceeded, InworldError, LocalProtocolError
from inworld_sync.models.tts import FlushCompleted, TtsUsage
from inworld_sync.sessions.event_source import EventSource
from inworld_sync.sessions.tts.core import ContextCore, ContextEvent, silent
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.wire import tts
from inworld_sync.wire.text import is_blank, require_piece, require_text, split_text

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TtsContext"]

# The service speaks by itself once it holds its default threshold of 1000 characters, which would
# bring one more FlushCompleted than say() asked for.
_SAID_CHARACTERS = tts.MAX_TEXT_CHARACTERS - 1


class TtsContext(EventSource[ContextEvent]):
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

    _description = "a TTS context"
    _event_classes = get_args(ContextEvent)

    def __init__(self, core: ContextCore) -> None:
        super().__init__(core.stream)
        self.id = core.id
        self.config = core.config
        self._core = core
        self._order = threading.Lock()
        self._reading = threading.Lock()
        self._held = ""
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
            text: Cut into pieces that the service takes. White space alone, as a token of a
                model may be, goes with the next text.
            split: False sends it as it is; the service refuses more than 2000 characters.
            timeout: Seconds to wait while earlier messages have not left; None takes
                ``send_timeout``.

        Raises:
            ConfigError: It is not a str, or holds half of a surrogate pair.
            LocalProtocolError: The context was closed, or used with :meth:`say`.
            TransportError: The connection is lost or stalled.
        """
        require_piece(text)
        with self._order:
            if self._said_pieces:
                raise LocalProtocolError("send() after say() would make the end of say() unknown")
            self._sent_plainly = True
            text, self._held = self._held + text, ""
            if is_blank(text):
                self._held = text
                return
            for piece in split_text(text, tts.MAX_TEXT_CHARACTERS) if split else [text]:
                self._core.send_text(piece, timeout=timeout)

    def flush(self) -> None:
        """Have all text that was sent spoken now; a :class:`FlushCompleted` follows its audio."""
        with self._order:
            self._core.command(lambda contexts: contexts.flush(self.id))

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
                self._core.send_text(piece, flush=True)
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
        if not size_bytes and not self._core.was_interrupted:
            raise silent(sum(map(len, pieces)))

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
            self._core.command(lambda contexts: contexts.update(self.id, changes))

    def close(self) -> None:
        """
        Say that no more text follows; what was sent is still spoken.

        Iteration ends when its audio has come. May be called twice, and after the connection has
        ended.
        """
        with self._order:
            self._core.close()

    def interrupt(self) -> float:
        """
        Stop: close the context and drop its audio, also what is still on its way.

        It waits for nothing, neither the service nor another thread's :meth:`send`.

        Returns:
            How many milliseconds of audio iteration had taken, which is what a player of yours
            was given. What was *heard* is known to :meth:`~inworld_sync.Playback.interrupt`.
        """
        self._core.interrupt()
        return self._taken_ms

    # Listening.

    def _iterate(self, timeout: float | None) -> Iterator[ContextEvent]:
        return self._count_taken(self._stream.events(timeout))

    def _count_taken(self, events: Iterator[ContextEvent]) -> Iterator[ContextEvent]:
        for event in events:
            yield self._took(event) if isinstance(event, AudioChunk) else event

    def audio(self, timeout: float | None = 30.0) -> Iterator[AudioChunk]:
        """Iterate over the audio alone; see :meth:`events`."""
        for event in self.events(timeout):
            if isinstance(event, AudioChunk):
                yield event

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
    def usage(self) -> TtsUsage:
        """What the service has counted so far, summed over the context."""
        return self._core.usage

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
