"""
An utterance that plays by itself until it is heard, or interrupted.

Threads: ``inworld-playback`` moves audio from the stream to the speaker; ``inworld-words``, where
somebody wants words or phonemes, tells them as they are heard. So a slow handler holds up no sound.

Lock rule: ``_news`` guards a playback's cues and its end; it is held while waiting on it and never
while the stream, the speaker or a handler is called. ``_turn``, one for all, guards the lines of
playbacks that share a speaker. An interruption holds it while it clears the speaker, so that the
next playback cannot begin meanwhile; otherwise it is never held together with another lock.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeVar

from inworld_sync.errors import ClosedError, DeviceError, InworldError, fresh
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import Phoneme, WordTime
from inworld_sync.sessions.cues import Cues
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.transport.deadline import Deadline

__all__ = ["Playback"]

_logger = logging.getLogger("inworld_sync")

# How long an interruption waits for the threads, whose waits it has just cut short.
_JOIN_SECONDS: Final = 5.0

# Between two looks at the speaker. A speaker that stands still, in a pause or for want of sound,
# is looked at again and again; one that plays has passed the start of a word a moment after it.
_LEAST_LOOK_SECONDS: Final = 0.002
_MOST_LOOK_SECONDS: Final = 0.25
_MOMENT_SECONDS: Final = 0.0005

_turn = threading.Condition()
# By the speaker's id, which is its own as long as a playback in the line refers to it.
_lines: dict[int, deque[Playback]] = {}


_T = TypeVar("_T")

# Waits are cut into pieces so that Ctrl-C reaches a thread that waits on Windows too.
_LONGEST_WAIT_SECONDS: Final = 1.0


class _Stream(Protocol):
    def __iter__(self) -> Iterator[AudioChunk]: ...
    def close(self) -> None: ...


class Playback:
    """
    Speech on its way through a speaker. Made by ``iw.tts.speak()``.

    Playbacks that share a speaker sound one after another, in the order in which they were made.

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
    ) -> None:
        """
        Begin to play.

        Args:
            stream: The utterance; closed at the end.
            speaker: Of the same sample rate.
            on_word: Called on a thread of its own with each word when its first sample is heard,
                in order.
            on_phoneme: The same for each sound of a word, with the mouth's shape for it.
            closes_speaker: The speaker was opened for this utterance and is closed after it.
        """
        self._stream = stream
        self._speaker = speaker
        self._on_word = on_word
        self._on_phoneme = on_phoneme
        self._closes_speaker = closes_speaker
        self._handlers = on_word is not None or on_phoneme is not None
        self._handler_errors = 0
        self._words: Cues[WordTime] = Cues()
        self._phonemes: Cues[Phoneme] = Cues()
        self._start_samples: int | None = None
        self._final_samples: int | None = None
        self._interrupted = False
        self._error: BaseException | None = None
        self._news = threading.Condition()
        self._finished = threading.Event()
        self._threads = [self._thread("inworld-playback", self._play)]
        if self._handlers:
            self._threads.append(self._thread("inworld-words", self._tell))
        with _turn:
            _lines.setdefault(id(speaker), deque()).append(self)
        for thread in self._threads:
            thread.start()

    def __repr__(self) -> str:
        return f"<Playback {'done' if self.done else 'under way'}>"

    @property
    def done(self) -> bool:
        """Whether it was heard to the end, interrupted, or failed, and all was told of it."""
        return self._finished.is_set()

    @property
    def heard_ms(self) -> float:
        """
        How much of it was heard so far, by the device's count of samples.

        Final when it is done. Time scaling and pauses do not change the count.
        """
        samples = self._final_samples
        if samples is None:
            if self._start_samples is None:
                return 0.0
            samples = self._speaker.heard_samples - self._start_samples
        return max(samples, 0) * 1000.0 / self._speaker.sample_rate_hz

    @property
    def handler_errors(self) -> int:
        """How often a handler raised; the first time is logged."""
        return self._handler_errors

    @property
    def heard_words(self) -> tuple[WordTime, ...]:
        """The words that were begun to be heard, in order."""
        heard_ms = self.heard_ms
        with self._news:
            return self._words.before(heard_ms)

    def word_at(self, position_ms: float | None = None) -> WordTime | None:
        """
        Give the word that sounds now, for a loop that asks many times a second.

        Args:
            position_ms: Another moment of the utterance; None means :attr:`heard_ms`.

        Returns:
            None between two words, and before and after all.
        """
        position_ms = self.heard_ms if position_ms is None else position_ms
        with self._news:
            return self._words.at(position_ms)

    def phoneme_at(self, position_ms: float | None = None) -> Phoneme | None:
        """Give the sound that sounds now, with the mouth's shape; see :meth:`word_at`."""
        position_ms = self.heard_ms if position_ms is None else position_ms
        with self._news:
            return self._phonemes.at(position_ms)

    def wait(self, timeout: float | None = None) -> None:
        """
        Wait until it was heard to the end or interrupted.

        Raises:
            DeadlineExceeded: It is not over after *timeout* seconds; it plays on.
            InworldError: It failed.
        """
        deadline = Deadline(timeout, "the playback")
        while not self._finished.wait(deadline.at_most(_LONGEST_WAIT_SECONDS)):
            deadline.check()
        if self._error is not None:
            raise fresh(self._error) if isinstance(self._error, InworldError) else self._error

    def interrupt(self) -> float:
        """
        Stop at once: at the service, on the way, and in the speaker.

        Returns:
            How many milliseconds are heard; final.
        """
        with _turn:
            self._interrupted = True
            # It frees a thread that waits for the speaker. Without the turn nothing is in it.
            if self._has_turn():
                self._speaker.clear()
            _turn.notify_all()
        self._stream.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)
        return self.heard_ms

    # ---- playing -----------------------------------------------------------------------------

    def _play(self) -> None:
        try:
            self._move()
        except (DeviceError, ClosedError) as error:
            if not self._interrupted:
                self._error = error
        except InworldError as error:
            self._error = error
        except BaseException as error:
            # What the user's text raises is for wait(), an exit of the program included.
            _logger.exception("playback failed")
            self._error = error
        finally:
            self._end()

    def _move(self) -> None:
        chunks = iter(self._stream)
        # Taken before the turn comes, so that the sound is there when it does.
        chunk = next(chunks, None)
        if not self._wait_for_turn():
            return
        self._speaker.drain()
        self._start_samples = self._speaker.heard_samples
        try:
            while chunk is not None and not self._interrupted:
                self._add_cues(chunk)
                if chunk.data:
                    self._speaker.write(chunk.pcm)
                chunk = next(chunks, None)
        finally:
            # Also when the stream failed: what came of it is heard.
            if not self._interrupted:
                self._speaker.drain()

    def _add_cues(self, chunk: AudioChunk) -> None:
        with self._news:
            self._words.add(chunk.words)
            self._phonemes.add(chunk.phonemes)
            self._news.notify_all()

    def _end(self) -> None:
        final_samples = 0
        try:
            self._stream.close()
            if self._start_samples is not None:
                # An interruption drops here what was written after it dropped the rest.
                heard = self._speaker.clear() if self._interrupted else self._speaker.heard_samples
                final_samples = heard - self._start_samples
            if self._closes_speaker:
                self._speaker.close()
        except (InworldError, OSError) as error:
            self._error = self._error or error
        finally:
            self._leave_line()
            with self._news:
                self._final_samples = final_samples
                self._news.notify_all()
            if not self._handlers:
                self._finished.set()

    # ---- the line ----------------------------------------------------------------------------

    def _has_turn(self) -> bool:
        line = _lines.get(id(self._speaker))
        return line is not None and line[0] is self

    def _wait_for_turn(self) -> bool:
        """Wait until all playbacks before this one are over; False when interrupted."""
        with _turn:
            while not (self._interrupted or self._has_turn()):
                _turn.wait(_LONGEST_WAIT_SECONDS)
            return not self._interrupted

    def _leave_line(self) -> None:
        with _turn:
            line = _lines[id(self._speaker)]
            line.remove(self)
            if not line:
                del _lines[id(self._speaker)]
            _turn.notify_all()

    # ---- words -------------------------------------------------------------------------------

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        context = contextvars.copy_context()
        return threading.Thread(target=context.run, args=(run,), name=name, daemon=True)

    def _tell(self) -> None:
        try:
            over = False
            while not over:
                # In this order: what is heard at the end is told before this ends.
                over = self._final_samples is not None
                heard_ms = self.heard_ms
                self._tell_until(heard_ms)
                if not over:
                    self._wait_for_cue(heard_ms)
        finally:
            self._finished.set()

    def _tell_until(self, heard_ms: float) -> None:
        with self._news:
            words = tuple(self._words.reach(heard_ms))
            phonemes = tuple(self._phonemes.reach(heard_ms))
        for word in words:
            self._call(self._on_word, word)
        for phoneme in phonemes:
            self._call(self._on_phoneme, phoneme)

    def _call(self, handler: Callable[[_T], object] | None, value: _T) -> None:
        if handler is None:
            return
        try:
            handler(value)
        except BaseException:
            # On a thread of ours, whatever ends the handler must not end the words.
            self._handler_errors += 1
            if self._handler_errors == 1:
                _logger.exception(
                    "%r raised during playback; further errors are counted only", handler
                )

    def _wait_for_cue(self, heard_ms: float) -> None:
        with self._news:
            if self._final_samples is not None:
                return
            starts = [cues.next_start_ms() for cues in (self._words, self._phonemes)]
            missing_ms = min(
                (start - heard_ms for start in starts if start is not None), default=1e9
            )
            seconds = max(missing_ms / 1000.0 + _MOMENT_SECONDS, _LEAST_LOOK_SECONDS)
            self._news.wait(min(seconds, _MOST_LOOK_SECONDS))
