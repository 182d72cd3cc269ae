"""
Keeps the speech of one text. Any number of responses can read the speech while it is generated.

A thread receives the speech, so the place of the utterance is free as soon as the service has
sent everything, even if a browser reads slowly. A speech needs as much memory as its MP3 file.

Lock rule: ``_changed`` guards the audio, the events and the count of readers. A thread that holds
``_changed`` acquires no other lock. A thread that holds the lock of the table of speeches may
acquire ``_changed``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from inworld_sync.errors import ClosedError, DeadlineExceeded, InworldError, fresh
from inworld_sync.locks import Condition
from inworld_sync.sessions.tts.speech import AudioChunk, SpeechStream
from inworld_sync.web.event_format import END, SentEvent, WordFormat, failed
from inworld_sync.web.failures import failure_of

__all__ = ["SharedSpeech"]

# The synthesis stops after this time without a reader. The synthesis does not stop at once, because
# a browser may end its request and then send another request, for example for a part of the file.
_LEAVE_SECONDS = 5.0
# The longest wait for audio. Usually a wait ends earlier, because the thread that receives the
# speech ends within the timeout of the utterance.
_LONGEST_WAIT_SECONDS = 120.0
_BLOCK_BYTES = 64 * 1024


class SharedSpeech:
    """
    The speech of one text.

    Args:
        stream: The stream that receives the speech. The thread of this object reads the stream.
        first: The first chunks of the stream, which the caller has already read.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, stream: SpeechStream, first: Iterable[AudioChunk]) -> None:
        self._stream = stream
        self._changed = Condition()
        self._audio = bytearray()
        self._words = WordFormat()
        self._events: list[SentEvent] = []
        self._is_complete = False
        self._is_closed = False
        self._error: InworldError | None = None
        self._readers = 0
        self._left_at = time.monotonic()
        for chunk in first:
            self._add(chunk)
        self._thread = threading.Thread(target=self._receive, name="inworld-web", daemon=True)
        self._thread.start()

    @property
    def is_complete(self) -> bool:
        """Whether no more audio will come. A speech that has failed is complete too."""
        return self._is_complete

    @property
    def error(self) -> InworldError | None:
        """The error that ended the speech early; None if there is no such error."""
        return self._error

    def is_unread_since(self, moment: float) -> bool:
        """Return whether no response has read the speech since a time of the monotonic clock."""
        with self._changed:
            return not self._readers and self._left_at <= moment

    def stop(self) -> None:
        """Stop the synthesis. Responses that are being read end with an error."""
        self._is_closed = True
        self._stream.close()

    def join(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until the thread has ended."""
        self._thread.join(timeout)

    def wait_complete(self, timeout: float) -> int | None:
        """
        Wait up to *timeout* seconds for the end of the speech, and return its length in bytes.

        The result is None if the speech has not ended, or has ended with an error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_complete, timeout)
            return len(self._audio) if self._is_complete and self._error is None else None

    def read_audio(self, start: int, end: int | None, has_left: Callable[[], bool]) -> bytes:
        """
        Wait for the audio from byte *start* on, and return a part of this audio.

        The result is empty at *end*, at the end of the speech, or if *has_left* returns True.
        *has_left* is called again after each :meth:`detach`.

        Raises:
            InworldError: The speech has ended early.
        """
        end = start + _BLOCK_BYTES if end is None else min(end, start + _BLOCK_BYTES)
        with self._changed:
            is_there = self._changed.wait_for(
                lambda: len(self._audio) > start or self._is_complete or end <= start or has_left(),
                _LONGEST_WAIT_SECONDS,
            )
            if not is_there:
                raise DeadlineExceeded(f"no audio came within {_LONGEST_WAIT_SECONDS:g} s")
            block = bytes(self._audio[start:end])
            if not block and end > start and self._error is not None:
                raise fresh(self._error)
            return block

    def read_events(
        self, start: int, timeout: float, has_left: Callable[[], bool] = lambda: False
    ) -> list[SentEvent] | None:
        """
        Wait for the event with number *start*. Return this event and all later events.

        The result is None after the last event. The result is empty after *timeout* seconds, or if
        *has_left* returns True. *has_left* is called again after each :meth:`detach`.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._events) > start or self._is_complete or has_left(), timeout
            )
            events = self._events[start:]
            return None if self._is_complete and not events else events

    def attach(self) -> None:
        """Count a response that reads the speech."""
        with self._changed:
            self._readers += 1

    def detach(self) -> None:
        """Count the end of a response. After 5 s without a response, the synthesis stops."""
        with self._changed:
            self._readers -= 1
            self._left_at = time.monotonic()
            self._changed.notify_all()

    def _receive(self) -> None:
        error: InworldError | None = ClosedError("the speech was stopped")
        try:
            while (chunk := next(self._stream, None)) is not None and self._add(chunk):
                pass
            if chunk is None and not self._is_closed:
                error = None
        except InworldError as failure:
            error = failure
        finally:
            self._stream.close()
            with self._changed:
                self._error, self._is_complete = error, True
                self._events.append(END if error is None else failed(failure_of(error)))
                self._left_at = time.monotonic()
                self._changed.notify_all()

    def _add(self, chunk: AudioChunk) -> bool:
        """Add a chunk, and return whether the rest of the speech is still needed."""
        with self._changed:
            self._audio += chunk.data
            self._events += self._words.add(chunk)
            self._changed.notify_all()
            return self._readers > 0 or time.monotonic() < self._left_at + _LEAVE_SECONDS
