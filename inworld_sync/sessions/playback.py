"""
Plays an utterance in the background until it was heard or interrupted.

Threads: ``inworld-playback`` copies audio from the stream to the speaker. If there are handlers for
words or phonemes, ``inworld-words`` calls them, so that a slow handler does not delay the audio.

Lock rule: ``_changed`` guards the cues and the end of a playback; ``_changed`` is never held while
the stream, the speaker or a handler is called. ``_queues_changed`` exists once in the process, and
guards the queues of playbacks that share a speaker. An interruption holds ``_queues_changed`` while
it clears the speaker, so that the next playback cannot begin meanwhile. In all other cases, this
lock is never held together with another lock.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeVar

from inworld_sync.errors import (
    ClosedError,
    DeviceError,
    InworldError,
    LocalProtocolError,
    fresh,
)
from inworld_sync.locks import Condition, Event
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import Phoneme, Viseme, WordTime
from inworld_sync.models.words import text_of_tokens, text_until
from inworld_sync.sessions.cues import Cues
from inworld_sync.sessions.monitor import require_may_wait
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.fork_guard import ForkGuard

__all__ = ["Playback"]

_logger = logging.getLogger("inworld_sync")

# How long an interruption waits for each thread to end.
_JOIN_SECONDS: Final = 5.0

# The shortest and the longest time between two readings of the speaker's position. The longest time
# is needed because the position does not change during a pause or an underrun.
_MIN_WAIT_SECONDS: Final = 0.002
_MAX_WAIT_SECONDS: Final = 0.25
# The position is read this long after the start of a word, so that the position has surely passed
# the start.
_AFTER_START_SECONDS: Final = 0.0005

_queues_changed = Condition()
# The key is the ``id()`` of the speaker. No other object has this id while a playback in the queue
# refers to the speaker.
_queues: dict[int, deque[Playback]] = {}


@atexit.register
def _interrupt_at_exit() -> None:
    """Interrupt all playbacks when the program ends, so that their threads end."""
    with _queues_changed:
        playbacks = [playback for queue in _queues.values() for playback in queue]
    for playback in playbacks:
        # The speaker of a user may raise any exception.
        with contextlib.suppress(Exception):
            playback.interrupt()


def _begin_in_child() -> None:
    """Forget the playbacks of the parent process, whose threads do not exist in a child."""
    _queues.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


_T = TypeVar("_T")


class _Stream(Protocol):
    def __iter__(self) -> Iterator[AudioChunk]: ...
    def close(self) -> None: ...


class Playback:
    """
    Speech that is played through a speaker. ``iw.tts.speak()`` returns a playback.

    Playbacks that share a speaker play one after another, in the order in which they were made.

    Attributes:
        handler_errors: How many times a handler raised an exception; only the first exception is
            logged.

    Thread safety: every method may be called from any thread, and from the handlers.
    """

    def __init__(
        self,
        stream: _Stream,
        speaker: AudioSink,
        on_word: Callable[[WordTime], object] | None = None,
        on_phoneme: Callable[[Phoneme], object] | None = None,
        *,
        closes_speaker: bool = False,
        is_read_here: Callable[[], bool] = lambda: False,
        logger: logging.Logger = _logger,
    ) -> None:
        """
        Start to play.

        Args:
            stream: The audio of the utterance. The playback closes the stream at the end.
            speaker: A speaker with the sample rate of the audio.
            on_word: Called on a separate thread with each word when its first sample is heard,
                in order.
            on_phoneme: Called in the same way with each phoneme, which has its viseme.
            closes_speaker: Whether to close the speaker at the end.
            is_read_here: Returns whether the current thread is running the iterator of the text.
            logger: Receives the first exception of a handler.
        """
        self._stream = stream
        self._speaker = speaker
        self._on_word = on_word
        self._on_phoneme = on_phoneme
        self._closes_speaker = closes_speaker
        self._is_read_here = is_read_here
        self._fork_guard = ForkGuard()
        self._logger = logger
        self._handlers = on_word is not None or on_phoneme is not None
        self.handler_errors = 0
        self._words: Cues[WordTime] = Cues()
        self._tokens: list[str] = []
        self._phonemes: Cues[Phoneme] = Cues()
        self._visemes: Cues[Viseme] = Cues()
        self._start_samples: int | None = None
        self._final_samples: int | None = None
        self._interrupted = False
        self._error: BaseException | None = None
        self._changed = Condition()
        self._finished = Event()
        self._threads = [self._thread("inworld-playback", self._play)]
        if self._handlers:
            self._threads.append(self._thread("inworld-words", self._emit_cues))
        with _queues_changed:
            _queues.setdefault(id(speaker), deque()).append(self)
        for thread in self._threads:
            thread.start()

    def __repr__(self) -> str:
        return f"<Playback {'done' if self.done else 'playing'}>"

    @property
    def done(self) -> bool:
        """Whether the playback has ended and all handlers have run."""
        return self._finished.is_set()

    @property
    def heard_ms(self) -> float:
        """
        How many milliseconds were heard so far, according to the sample count of the speaker.

        The number is final when :attr:`done` is True. The number is a position in the utterance, so
        time scaling and pauses do not change it.
        """
        samples = self._final_samples
        if samples is None:
            if self._start_samples is None:
                return 0.0
            samples = self._speaker.heard_samples - self._start_samples
        return max(samples, 0) * 1000.0 / self._speaker.sample_rate_hz

    @property
    def heard_words(self) -> tuple[WordTime, ...]:
        """The words whose first sample was heard, in order."""
        heard_ms = self.heard_ms
        with self._changed:
            return self._words.before(heard_ms)

    @property
    def heard_text(self) -> str:
        """
        The text up to the end of :attr:`heard_words`, with the white space of the text.

        The text is empty if no times of words were requested.
        """
        heard = [word.text for word in self.heard_words]
        with self._changed:
            text = text_of_tokens(self._tokens)
        return text_until(text, heard)

    def word_at(self, position_ms: float | None = None) -> WordTime | None:
        """
        Return the word being played now, for example for a loop that draws a character's mouth.

        Args:
            position_ms: Another position in the utterance; None means :attr:`heard_ms`.

        Returns:
            The word; None between two words, before the first word and after the last word.
        """
        position_ms = self.heard_ms if position_ms is None else position_ms
        with self._changed:
            return self._words.at(position_ms)

    def phoneme_at(self, position_ms: float | None = None) -> Phoneme | None:
        """Return the phoneme being played now, with its viseme; see :meth:`word_at`."""
        position_ms = self.heard_ms if position_ms is None else position_ms
        with self._changed:
            return self._phonemes.at(position_ms)

    def viseme_at(self, position_ms: float | None = None) -> Viseme | None:
        """Return the viseme, the mouth shape, being played now; see :meth:`word_at`."""
        position_ms = self.heard_ms if position_ms is None else position_ms
        with self._changed:
            return self._visemes.at(position_ms)

    def wait(self, timeout: float | None = None) -> None:
        """
        Wait until the speech was heard to the end or interrupted.

        Raises:
            DeadlineExceeded: The speech is still playing after *timeout* seconds. Playback
                continues.
            InworldError: The synthesis or the speaker failed.
            ClosedError: The speech was playing in the parent of this forked process.
            LocalProtocolError: A handler of this playback, its speaker, the iterator of its text or
                an observer called this method. On such a thread, the method could never return.
        """
        if not self.done:
            self._fork_guard.require("the playback")
            if threading.current_thread() in self._threads or self._is_read_here():
                raise LocalProtocolError(
                    "wait() in a handler, the speaker or the text of the same playback would wait "
                    "for itself; call it on another thread"
                )
            require_may_wait("waiting for a playback")
        deadline = Deadline(timeout, "the playback")
        while not self._finished.wait(deadline.at_most(LONGEST_WAIT_SECONDS)):
            deadline.check()
        if self._error is not None:
            raise fresh(self._error) if isinstance(self._error, InworldError) else self._error

    def interrupt(self) -> float:
        """
        Stop the synthesis and the speaker at once, and drop the audio that was not heard.

        Returns:
            How many milliseconds were heard.

        Raises:
            Exception: The speaker could not be cleared, and raised this exception. The playback has
                ended.
        """
        if self._fork_guard.in_child:
            return self.heard_ms
        try:
            with _queues_changed:
                self._interrupted = True
                # Clearing ends a write that waits for room. Only this playback has written audio.
                if self._is_first():
                    self._speaker.clear()
                _queues_changed.notify_all()
        finally:
            self._stream.close()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join(_JOIN_SECONDS)
        return self.heard_ms

    # ---- playing -----------------------------------------------------------------------------

    def _play(self) -> None:
        try:
            self._copy()
        except (DeviceError, ClosedError) as error:
            if not self._interrupted:
                self._error = error
        except InworldError as error:
            self._error = error
        except BaseException as error:
            # The user's iterator of text may raise any exception, even SystemExit. wait() raises
            # this exception again.
            self._logger.exception("playback failed")
            self._error = error
        finally:
            self._end()

    def _copy(self) -> None:
        chunks = iter(self._stream)
        # The synthesis begins before this playback is first in the queue, so that this playback can
        # begin without a delay then.
        chunk = next(chunks, None)
        if not self._wait_until_first():
            return
        self._speaker.drain()
        self._start_samples = self._speaker.heard_samples
        try:
            while chunk is not None and not self._interrupted:
                with self._changed:
                    self._words.add(chunk.words)
                    self._tokens += chunk.tokens or [word.text for word in chunk.words]
                    self._phonemes.add(chunk.phonemes)
                    self._visemes.add(chunk.visemes)
                    self._changed.notify_all()
                if chunk.data:
                    self._speaker.write(chunk.pcm)
                chunk = next(chunks, None)
        finally:
            # The audio that was received is played to the end, even if the stream failed.
            if not self._interrupted:
                self._speaker.drain()

    def _end(self) -> None:
        final_samples = 0
        try:
            self._stream.close()
            if self._start_samples is not None:
                # This call drops audio that was written after the interruption cleared the speaker.
                heard = self._speaker.clear() if self._interrupted else self._speaker.heard_samples
                final_samples = heard - self._start_samples
        except Exception as error:  # noqa: BLE001 - the sink of a user may raise anything
            self._error = self._error or error
        finally:
            self._close_speaker()
            self._leave_queue()
            with self._changed:
                self._final_samples = final_samples
                self._changed.notify_all()
            if not self._handlers:
                self._finished.set()

    def _close_speaker(self) -> None:
        try:
            if self._closes_speaker:
                self._speaker.close()
        except Exception as error:  # noqa: BLE001 - the sink of a user may raise anything
            self._error = self._error or error

    # ---- the queue ---------------------------------------------------------------------------

    def _is_first(self) -> bool:
        queue = _queues.get(id(self._speaker))
        return queue is not None and queue[0] is self

    def _wait_until_first(self) -> bool:
        """Wait until all earlier playbacks have ended; return False if interrupted."""
        with _queues_changed:
            while not (self._interrupted or self._is_first()):
                _queues_changed.wait(LONGEST_WAIT_SECONDS)
            return not self._interrupted

    def _leave_queue(self) -> None:
        with _queues_changed:
            queue = _queues[id(self._speaker)]
            queue.remove(self)
            if not queue:
                del _queues[id(self._speaker)]
            _queues_changed.notify_all()

    # ---- words -------------------------------------------------------------------------------

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        context = contextvars.copy_context()
        return threading.Thread(target=context.run, args=(run,), name=name, daemon=True)

    def _emit_cues(self) -> None:
        try:
            is_over = False
            while not is_over:
                # The end is read before the cues, so that the last cues are emitted before this
                # thread ends.
                is_over = self._final_samples is not None
                heard_ms = self.heard_ms
                with self._changed:
                    words = tuple(self._words.reach(heard_ms))
                    phonemes = tuple(self._phonemes.reach(heard_ms))
                for word in words:
                    self._call(self._on_word, word)
                for phoneme in phonemes:
                    self._call(self._on_phoneme, phoneme)
                if not is_over:
                    self._wait_for_cue(heard_ms)
        finally:
            self._finished.set()

    def _call(self, handler: Callable[[_T], object] | None, value: _T) -> None:
        if handler is None:
            return
        try:
            handler(value)
        except BaseException:
            # No exception of a handler may end this thread.
            self.handler_errors += 1
            if self.handler_errors == 1:
                self._logger.exception(
                    "handler %r raised an exception during playback; later exceptions are only "
                    "counted",
                    handler,
                )

    def _wait_for_cue(self, heard_ms: float) -> None:
        with self._changed:
            if self._final_samples is not None:
                return
            starts = [cues.next_start_ms() for cues in (self._words, self._phonemes)]
            missing_ms = min(
                (start - heard_ms for start in starts if start is not None), default=1e9
            )
            seconds = max(missing_ms / 1000.0 + _AFTER_START_SECONDS, _MIN_WAIT_SECONDS)
            self._changed.wait(min(seconds, _MAX_WAIT_SECONDS))
