"""
Implements one TTS context with its text buffer, its flush points and its voice.

Locks: ``_lock`` guards the size of the queue; no thread waits while it holds the lock.

Threads: the connection's thread queues commands. The context's own thread runs them in order,
synthesizes and sends. The contexts of one connection run in parallel and share the engine.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable

from inworld_sync.emulator.peer import PeerGone, WebSocketPeer
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import (
    INTERNAL,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    Refused,
    status,
)
from inworld_sync.emulator.tts.config import ContextConfig, describe
from inworld_sync.emulator.tts.messages import audio_chunks
from inworld_sync.emulator.tts.speech import check_text

__all__ = ["Context"]

_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s|$)")
_SENTENCE_END_FOLLOWED = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)")
_JOIN_SECONDS = 5.0
# The largest number of bytes of text that may wait, about twenty hours of speech. Each command
# adds _COMMAND_BYTES to the bytes of its text.
_MAX_WAITING_BYTES = 1 << 20
_COMMAND_BYTES = 256
_logger = logging.getLogger("inworld_sync.emulator")


class _Halted(Exception):
    """The context was cancelled, or its connection has ended."""


class Context:
    """
    A context of one connection.

    Args:
        context_id: The id that the client uses.
        config: The settings of the context.
        peer: The client.
        shared: The state of the server.
        on_closed: Called on the context's thread before the last message.

    Attributes:
        is_closing: Whether ``close`` or ``cancel`` was called.

    Thread safety: public methods may be called from any thread. All except ``join`` return at once.
    """

    def __init__(
        self,
        context_id: str,
        config: ContextConfig,
        peer: WebSocketPeer,
        shared: SharedState,
        on_closed: Callable[[Context], None],
    ) -> None:
        self.context_id = context_id
        self.config = config
        self.is_closing = False
        self._peer = peer
        self._shared = shared
        self._on_closed = on_closed
        # A None in the queue ends the context. Buffered text is spoken first, unless the context
        # was cancelled.
        self._commands: queue.SimpleQueue[tuple[Callable[[], None] | None, int]]
        self._commands = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._halted = threading.Event()
        self._buffer = ""
        self._due_at: float | None = None
        self._refused = False
        self._thread = threading.Thread(
            target=self._run, name=f"inworld-emulator-tts-{context_id[:40]}", daemon=True
        )
        self._thread.start()

    def add_text(self, text: str, *, flush: bool) -> None:
        """
        Add text to the buffer. If *flush* is true, speak the buffered text at once.

        Raises:
            Refused: Too much text waits.
        """
        self._put(lambda: self._add_text(text, flush=flush), len(text))

    def flush(self) -> None:
        """Speak the buffered text; raise Refused if too many commands wait."""
        self._put(self._flush)

    def update(self, config: ContextConfig) -> None:
        """Speak the buffered text, then change the settings; raise Refused as ``flush`` does."""
        self._put(lambda: self._update(config))

    def close(self) -> None:
        """Speak the buffered text, then end."""
        self.is_closing = True
        self._commands.put((None, 0))

    def cancel(self) -> None:
        """Stop speaking, drop all buffered text and queued commands, and end."""
        self.is_closing = True
        self._halted.set()
        self._commands.put((None, 0))

    def join(self) -> None:
        """Wait for the end of the context's thread."""
        self._thread.join(_JOIN_SECONDS)

    def _put(self, command: Callable[[], None], text_bytes: int = 0) -> None:
        size = _COMMAND_BYTES + text_bytes
        with self._lock:
            if self._waiting_bytes + size > _MAX_WAITING_BYTES:
                raise Refused(RESOURCE_EXHAUSTED, "too much text of this context waits for speech")
            self._waiting_bytes += size
        self._commands.put((command, size))

    def _send(self, code: int = 0, message: str = "", **body: object) -> None:
        """Send one result of this context. The default status is success."""
        result = {"contextId": self.context_id, **body, "status": status(code, message)}
        self._peer.send({"result": result})

    def _run(self) -> None:
        try:
            with contextlib.suppress(_Halted):
                self._work()
            # Free the id before the client is informed, so that the client can reuse the id at
            # once.
            self._on_closed(self)
            self._send(contextClosed={})
        except PeerGone:
            pass
        except Exception as error:
            _logger.exception("context %r failed", self.context_id)
            self._on_closed(self)
            with contextlib.suppress(PeerGone):
                self._send(INTERNAL, str(error))

    def _work(self) -> None:
        """Run the queued commands in order until the end."""
        while (command := self._next()) is not None and not self._halted.is_set():
            command()
        if not self._halted.is_set():
            self._speak_buffer()

    def _next(self) -> Callable[[], None] | None:
        due_at = self._due_at
        try:
            command, size = self._commands.get(
                timeout=None if due_at is None else max(0.0, due_at - time.monotonic())
            )
        except queue.Empty:
            return self._speak_buffer  # the text has waited for max_buffer_delay_ms
        with self._lock:
            self._waiting_bytes -= size
        return command

    def _speak_buffer(self) -> None:
        self._generate(self._drain())

    def _update(self, config: ContextConfig) -> None:
        self._speak_buffer()
        self.config = config
        self._send(contextUpdated=describe(config))

    def _add_text(self, text: str, *, flush: bool) -> None:
        if text and not self._buffer:
            self._due_at = time.monotonic() + self.config.max_buffer_delay_ms / 1000
        self._buffer += text
        if text and self.config.auto_mode:
            self._generate(self._drain(self._end_of_sentences()))
        if text and len(self._buffer) >= self.config.buffer_char_threshold:
            self._generate(self._drain(self._end_of_words()))
        if flush:
            self._flush()

    def _end_of_sentences(self) -> int:
        pattern = _SENTENCE_END_FOLLOWED if self.config.whole_sentences else _SENTENCE_END
        ends = [match.end() for match in pattern.finditer(self._buffer)]
        return ends[-1] if ends else 0

    def _end_of_words(self) -> int:
        """Return the end of the last whole word."""
        if len(self._buffer) > self._shared.settings.max_text_characters:
            return len(self._buffer)
        last_space = max(self._buffer.rfind(space) for space in " \n\t")
        return last_space + 1 or len(self._buffer)

    def _drain(self, count: int | None = None) -> str:
        """Remove and return the first *count* characters of the buffer; None means all."""
        text = self._buffer if count is None else self._buffer[:count]
        self._buffer = self._buffer[len(text) :]
        if not self._buffer.strip():
            self._buffer = ""
            self._due_at = None
        return text

    def _flush(self) -> None:
        """Handle ``flush_context``: send one ``flushCompleted`` unless the text was refused."""
        text = self._drain()
        if text.strip():
            self._generate(text)
        elif self._shared.settings.empty_flush_completes and not self._refused:
            self._send(flushCompleted={})
        self._refused = False

    def _generate(self, text: str) -> None:
        """Send the speech of a text and ``flushCompleted``, or the error that refuses the text."""
        if not text.strip():
            return
        limit = self._shared.settings.max_text_characters
        if len(text) > limit:
            self._refused = True
            self._send(INVALID_ARGUMENT, f"text length should not exceed {limit} characters.")
            return
        try:
            warning = check_text(text, self.config, self._shared)
        except Refused as error:
            self._refused = True
            self._send(error.code, error.message)
            return
        spoken = 0.0
        started = time.monotonic()
        for chunk, seconds in audio_chunks(text, self.config, self._shared):
            if self._shared.settings.status_in_audio_chunk and "audioContent" in chunk:
                chunk["status"] = status()
            self._send(audioChunk=chunk)
            spoken += seconds
            self._keep_pace(started, spoken)
        self._send(message=warning, flushCompleted={})

    def _keep_pace(self, started: float, spoken: float) -> None:
        pace = self._shared.settings.pace
        ahead = spoken / pace - (time.monotonic() - started) if pace else 0.0
        if self._halted.wait(max(0.0, ahead)):
            raise _Halted
