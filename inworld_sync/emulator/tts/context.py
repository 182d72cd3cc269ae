"""
One TTS context: its buffer, its flush points, its voice.

Threads: the connection's thread puts commands; the context's own thread works them off in order,
speaks and sends. Contexts of one connection run side by side, the engine gives each its turn.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable

import attrs

from inworld_sync.emulator.peer import PeerGone, WebSocketPeer
from inworld_sync.emulator.protojson import INTERNAL, INVALID_ARGUMENT, status
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.tts.config import ContextConfig, describe
from inworld_sync.emulator.tts.speech import AudioPiece, TimedWord, speak
from inworld_sync.emulator.tts.timestamps import timestamp_info

__all__ = ["Close", "Context", "Flush", "Text", "Update"]

_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s|$)")
_SENTENCE_END_FOLLOWED = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)")
_JOIN_SECONDS = 5.0
_logger = logging.getLogger("inworld_sync.emulator")


@attrs.frozen
class Text:
    """More text, and whether to speak it at once."""

    text: str
    flush: bool = False


@attrs.frozen
class Flush:
    """Speak what is buffered."""


@attrs.frozen
class Update:
    """Speak what is buffered, then change the settings."""

    config: ContextConfig


@attrs.frozen
class Close:
    """Speak what is buffered, then end."""


@attrs.frozen
class _Stop:
    """The connection is over."""


@attrs.frozen
class _Due:
    """The buffered text has waited for long enough."""


class _Halted(Exception):
    """The context was cancelled, or its connection is over."""


class Context:
    """
    A context of one connection.

    Args:
        context_id: As the client calls it.
        config: Its settings.
        peer: Where it speaks to.
        shared: The state of the server.
        on_closed: Called on the context's thread once nothing more will come from it.

    Thread safety: ``put`` and ``stop`` may be called from any thread.
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
        self._peer = peer
        self._shared = shared
        self._on_closed = on_closed
        self._commands: queue.SimpleQueue[Text | Flush | Update | Close | _Stop] = (
            queue.SimpleQueue()
        )
        self._halted = threading.Event()
        self._buffer = ""
        self._due_at: float | None = None
        self._refused = False
        self._thread = threading.Thread(
            target=self._run, name=f"inworld-emulator-tts-{context_id[:40]}", daemon=True
        )
        self._thread.start()

    def put(self, command: Text | Flush | Update | Close) -> None:
        """Queue a command; they are worked off in order."""
        self._commands.put(command)

    def cancel(self) -> None:
        """Stop speaking, forget what is buffered or queued, and end."""
        self._halted.set()
        self._commands.put(_Stop())

    def stop(self) -> None:
        """End the thread, because the connection is over."""
        self.cancel()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join(_JOIN_SECONDS)

    def send(self, kind: str, body: dict[str, object]) -> None:
        """Send one result of this context."""
        result = {"contextId": self.context_id, kind: body, "status": status()}
        self._peer.send({"result": result})

    def _run(self) -> None:
        try:
            with contextlib.suppress(_Halted):
                while self._work(self._next()):
                    pass
            # Free before it is said, so that a client may open the next one at once.
            self._on_closed(self)
            self.send("contextClosed", {})
        except PeerGone:
            pass
        except Exception as error:
            _logger.exception("context %r failed", self.context_id)
            self._on_closed(self)
            with contextlib.suppress(PeerGone):
                result = {"contextId": self.context_id, "status": status(INTERNAL, str(error))}
                self._peer.send({"result": result})

    def _next(self) -> Text | Flush | Update | Close | _Stop | _Due:
        if self._due_at is None:
            return self._commands.get()
        try:
            return self._commands.get(timeout=max(0.0, self._due_at - time.monotonic()))
        except queue.Empty:
            return _Due()

    def _work(self, command: Text | Flush | Update | Close | _Stop | _Due) -> bool:
        """Work off one command; return whether the context goes on."""
        if self._halted.is_set():
            return False
        if isinstance(command, Text):
            self._take_text(command.text)
            if command.flush:
                self._flush()
        elif isinstance(command, Flush):
            self._flush()
        elif isinstance(command, _Due):
            self._generate(self._drain())
        elif isinstance(command, Update):
            self._generate(self._drain())
            self.config = command.config
            self.send("contextUpdated", describe(command.config))
        elif isinstance(command, Close):
            self._generate(self._drain())
            return False
        else:
            return False
        return True

    def _take_text(self, text: str) -> None:
        if not text:
            return
        if not self._buffer:
            self._due_at = time.monotonic() + self.config.max_buffer_delay_ms / 1000
        self._buffer += text
        if self.config.auto_mode:
            self._generate(self._drain(self._end_of_sentences()))
        if len(self._buffer) >= self.config.buffer_char_threshold:
            self._generate(self._drain(self._end_of_words()))

    def _end_of_sentences(self) -> int:
        pattern = _SENTENCE_END_FOLLOWED if self.config.whole_sentences else _SENTENCE_END
        ends = [match.end() for match in pattern.finditer(self._buffer)]
        return ends[-1] if ends else 0

    def _end_of_words(self) -> int:
        """Return where the last whole word ends, so that none is cut in two."""
        if len(self._buffer) > self._shared.settings.max_text_characters:
            return len(self._buffer)
        last_space = max(self._buffer.rfind(space) for space in " \n\t")
        return last_space + 1 or len(self._buffer)

    def _drain(self, count: int | None = None) -> str:
        """Take text from the front of the buffer, all of it unless told how much."""
        text = self._buffer if count is None else self._buffer[:count]
        self._buffer = self._buffer[len(text) :]
        if not self._buffer.strip():
            self._buffer = ""
            self._due_at = None
        return text

    def _flush(self) -> None:
        """Answer ``flush_context``: exactly one ``flushCompleted`` unless the text was refused."""
        text = self._drain()
        if text.strip():
            self._generate(text)
        elif self._shared.settings.empty_flush_completes and not self._refused:
            self.send("flushCompleted", {})
        self._refused = False

    def _generate(self, text: str) -> None:
        """Speak one generation."""
        if not text.strip():
            return
        limit = self._shared.settings.max_text_characters
        if len(text) > limit:
            self._refused = True
            message = f"text length should not exceed {limit} characters."
            result = {"contextId": self.context_id, "status": status(INVALID_ARGUMENT, message)}
            self._peer.send({"result": result})
            return
        characters = len(text)
        words: list[TimedWord] = []
        spoken = 0.0
        started = time.monotonic()
        for piece in speak(text, self.config, self._shared):
            self._send_piece(text, piece, characters)
            characters = 0
            words += piece.words
            spoken += piece.duration
            self._keep_pace(started, spoken)
        if self.config.timestamps_trail and words:
            info = self._timestamps(text, tuple(words))
            self.send("audioChunk", {"usage": self._usage(0), "timestampInfo": info})
        self.send("flushCompleted", {})

    def _send_piece(self, text: str, piece: AudioPiece, characters: int) -> None:
        info = None if self.config.timestamps_trail else self._timestamps(text, piece.words)
        chunk: dict[str, object] = {
            "audioContent": base64.b64encode(piece.audio).decode(),
            "usage": self._usage(characters),
            "timestampInfo": info,
        }
        if self._shared.settings.status_in_audio_chunk:
            chunk["status"] = status()
        self.send("audioChunk", chunk)

    def _timestamps(self, text: str, words: tuple[TimedWord, ...]) -> dict[str, object] | None:
        spaces = self._shared.settings.spaces_in_words
        return timestamp_info(text, words, self.config.timestamp_type, spaces=spaces)

    def _usage(self, characters: int) -> dict[str, object]:
        return {"processedCharactersCount": characters, "modelId": self.config.model_id}

    def _keep_pace(self, started: float, spoken: float) -> None:
        pace = self._shared.settings.pace
        ahead = spoken / pace - (time.monotonic() - started) if pace else 0.0
        if self._halted.wait(max(0.0, ahead)):
            raise _Halted
