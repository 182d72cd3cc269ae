r"""
Text on its way to a context, no faster than it is spoken and taken.

Threads: a text that is long, or an iterator, is fed by a thread of its own. It ends with its
utterance; one that waits inside the user's iterator ends when that gives its next piece.

Lock rule: :class:`PieceSource` holds its lock while the user's iterator is asked for a piece, so
that two threads never ask at once; nothing else is taken under it.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterable, Iterator

from inworld_sync.errors import ConfigError
from inworld_sync.sessions.tts.core import ContextCore
from inworld_sync.wire import tts
from inworld_sync.wire.text import is_blank, require_piece, split_text

__all__ = ["Feeder", "PieceSource"]

# Text given to the service ahead of what it has begun to speak. With 24 kHz PCM a character is
# about 3 KB of audio, so this bounds an utterance that is taken slowly to about 12 MB.
MAX_AHEAD_CHARACTERS = 4 * tts.MAX_TEXT_CHARACTERS

# Audio that may wait to be taken before more text is given.
MAX_AHEAD_BYTES = 2 * 1024 * 1024


class PieceSource:
    """
    The pieces of an utterance's text, which may be read again from the first.

    They are kept to the end of the utterance: a text is small beside its audio.

    Args:
        text: All of it, or what gives its pieces.

    Thread safety: any thread.

    Attributes:
        is_short: Whether it can be given at once, because no waiting can come of it.
        is_waiting: Whether the user's iterator is being asked now.
        given_at: When it gave a piece last, or one was sent, on the monotonic clock.
    """

    def __init__(self, text: str | Iterable[str]) -> None:
        self.is_short = isinstance(text, str) and len(text) <= MAX_AHEAD_CHARACTERS
        self.is_waiting = False
        self.given_at = time.monotonic()
        self._lock = threading.Lock()
        self._kept: list[str] = []
        self._failure: BaseException | None = None
        self._is_over = False
        self._next = iter(
            split_text(text, tts.MAX_TEXT_CHARACTERS) if isinstance(text, str) else text
        )

    def pieces(self) -> Iterator[str]:
        """
        The pieces from the first, each with something to speak in it.

        Raises:
            ConfigError: A piece is no text, or none has anything to speak.
            BaseException: Whatever the user's iterator raised.
        """
        held, given, index = "", False, 0
        while (piece := self._piece(index)) is not None:
            index += 1
            # A token may be white space alone, which cannot be sent but must not be lost.
            held += piece
            if not is_blank(held):
                given = True
                yield held
                held = ""
        if not given:
            raise ConfigError("text must hold something to speak, got no piece that does")

    def _piece(self, index: int) -> str | None:
        with self._lock:
            if index == len(self._kept) and not self._is_over:
                self._ask()
            if index < len(self._kept):
                return self._kept[index]
            if self._failure is not None:
                raise self._failure
            return None

    def _ask(self) -> None:
        self.is_waiting = True
        try:
            piece = next(self._next)
            require_piece(piece)
            self._kept.append(piece)
        except StopIteration:
            self._is_over = True
        except BaseException as error:  # noqa: BLE001 - the user's iterator may raise anything
            # It reaches the caller through Feeder.raise_failure.
            self._failure, self._is_over = error, True
        finally:
            self.given_at = time.monotonic()
            self.is_waiting = False


class Feeder:
    """Gives the pieces of a source to a context, which it alone sends to."""

    def __init__(self, core: ContextCore, source: PieceSource) -> None:
        self._core = core
        self._source = source
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Feed; at once where no waiting can come of it, else on a thread."""
        if self._source.is_short:
            self._feed()
            return
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run,
            args=(self._run,),
            name=f"inworld-feeder-{self._core.id[:8]}",
            daemon=True,
        ).start()

    def raise_failure(self) -> None:
        """Raise what the user's iterator, or the sending of its text, raised."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._feed()
        except BaseException as error:  # noqa: BLE001 - the user's iterator may raise anything
            # It reaches the caller through raise_failure, on the thread that takes the audio.
            self._failure = error
            self._core.interrupt()

    def _feed(self) -> None:
        for piece in self._source.pieces():
            if not self._core.wait_for_room(MAX_AHEAD_CHARACTERS, MAX_AHEAD_BYTES):
                return
            for part in split_text(piece, tts.MAX_TEXT_CHARACTERS):
                self._core.send_text(part)
            self._source.given_at = time.monotonic()
        self._core.close()
