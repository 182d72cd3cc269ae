r"""
Sends the text of an utterance to a context, and waits while the audio is not consumed.

Threads: a separate thread sends a long text, or the pieces of an iterator. The thread ends with its
utterance. If the thread waits in the user's iterator, the thread ends when the iterator yields the
next piece.

Lock rule: :class:`PieceSource` holds its lock while it calls the user's iterator, so that two
threads never call the iterator at once. A thread that holds this lock acquires no other lock.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterable, Iterator

from inworld_sync.errors import ConfigError
from inworld_sync.locks import Condition
from inworld_sync.sessions.tts.context import TtsContext
from inworld_sync.wire import tts
from inworld_sync.wire.splitting import sentences, split_text
from inworld_sync.wire.text import is_blank, join_halves, lone_surrogate_error, require_piece

__all__ = ["PieceSource", "TextFeed"]

# The largest number of characters that were sent and that the service has not begun to speak. A
# character is about 3 KB of 24 kHz PCM. So if the user is slow, an utterance takes about 12 MB of
# memory at most.
MAX_AHEAD_CHARACTERS = 4 * tts.MAX_TEXT_CHARACTERS

# No more text is sent while more audio than this waits for the user.
MAX_AHEAD_BYTES = 2 * 1024 * 1024


class PieceSource:
    """
    The pieces of an utterance's text. This object keeps them, so that a retry can read them again.

    Args:
        text: The whole text, or an iterable of its pieces.
        max_characters: The largest number of characters of a piece, if *text* is a str.

    Thread safety: any thread may call the methods.

    Attributes:
        is_short: Whether the text is so short that sending it need not wait.
        is_whole: Whether the text is one str, not an iterable of pieces.
    """

    def __init__(
        self, text: str | Iterable[str], max_characters: int = tts.MAX_TEXT_CHARACTERS
    ) -> None:
        self.is_short = isinstance(text, str) and len(text) <= MAX_AHEAD_CHARACTERS
        self._lock = Condition()
        self._reading_thread: int | None = None
        self._kept: list[str] = []
        self._failure: BaseException | None = None
        self._is_over = False
        self._half = ""
        self.is_whole = isinstance(text, str)
        self._next = iter(split_text(text, max_characters) if isinstance(text, str) else text)

    @property
    def is_read_here(self) -> bool:
        """Whether the current thread is running the user's iterator."""
        return self._reading_thread == threading.get_ident()

    def pieces(self) -> Iterator[str]:
        """
        Iterate over the pieces, from the first piece on. No piece is blank.

        Raises:
            ConfigError: A piece is not a text, or all pieces are blank.
            BaseException: An error of the user's iterator.
        """
        held, is_empty, index = "", True, 0
        while (piece := self._piece(index)) is not None:
            index += 1
            # White space alone cannot be sent, so it is sent with the next piece.
            held += piece
            if not is_blank(held):
                is_empty = False
                yield held
                held = ""
        if is_empty:
            raise ConfigError("text must have something to speak, got only white space")

    def _piece(self, index: int) -> str | None:
        with self._lock:
            if index == len(self._kept) and not self._is_over:
                self._read_next()
            if index < len(self._kept):
                return self._kept[index]
            if self._failure is not None:
                raise self._failure
            return None

    def _read_next(self) -> None:
        try:
            self._reading_thread = threading.get_ident()
            self._kept.append(self._joined(next(self._next)))
        except StopIteration:
            self._is_over = True
            if self._half:
                self._failure = lone_surrogate_error(self._half)
        except BaseException as error:  # noqa: BLE001 - the user's iterator may raise anything
            # The error reaches the caller through TextFeed.raise_failure.
            self._failure, self._is_over = error, True
        finally:
            self._reading_thread = None

    def _joined(self, value: object) -> str:
        """
        Return a piece. If it ends with half of a surrogate pair, the half is kept for the next
        piece.
        """
        if not isinstance(value, str):
            require_piece(value)
        piece, self._half = join_halves(self._half, str(value))
        if not piece.isascii():
            require_piece(piece)
        return piece


class TextFeed:
    """Sends the pieces of a source to a context. Nothing else sends text to this context."""

    def __init__(self, context: TtsContext, source: PieceSource) -> None:
        self._context = context
        self._source = source
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Send a short text at once; send other texts on a separate thread."""
        if self._source.is_short:
            self._feed()
            return
        variables = contextvars.copy_context()
        threading.Thread(
            target=variables.run,
            args=(self._run,),
            name=f"inworld-feeder-{self._context.id[:8]}",
            daemon=True,
        ).start()

    def raise_failure(self) -> None:
        """Raise the error of the user's iterator or of sending, if there was one."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._feed()
        except BaseException as error:  # noqa: BLE001 - the user's iterator may raise anything
            # The error reaches the caller through raise_failure, on the thread that iterates.
            self._failure = error
            self._context.interrupt()

    def _feed(self) -> None:
        pieces = self._source.pieces()
        if self._context.config.auto_mode and not self._source.is_whole:
            # In auto mode the service speaks each message, so each message must have whole
            # sentences.
            pieces = sentences(pieces, tts.MAX_TEXT_CHARACTERS)
        for piece in pieces:
            if not self._context._wait_for_room(MAX_AHEAD_CHARACTERS, MAX_AHEAD_BYTES):
                return
            for part in split_text(piece, tts.MAX_TEXT_CHARACTERS):
                self._context._send_text(part)
        self._context.close()
