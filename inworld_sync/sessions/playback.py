r"""
An utterance that plays by itself until it is heard, or interrupted.

Threads: one a playback, which moves audio from the stream to the speaker and calls ``on_word``.
Lock rule: ``_finished`` is an event; nothing else is shared but flags that only ever turn true.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from inworld_sync.errors import ClosedError, DeadlineExceeded, DeviceError, InworldError
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import WordTime
from inworld_sync.sessions.speech import AudioChunk

__all__ = ["Playback"]

_logger = logging.getLogger("inworld_sync")

# Written at a time, so that a word is told and an interruption heeded soon enough.
_BLOCK_MS = 20

# For a device to take one block; far above any device's buffer.
_WRITE_SECONDS = 30.0

# How long an interruption waits for the thread, whose waits it has just cut short.
_JOIN_SECONDS = 5.0


class _Stream(Protocol):
    def __iter__(self) -> Iterator[AudioChunk]: ...
    def close(self) -> None: ...


class Playback:
    """
    Speech on its way through a speaker. Made by ``iw.tts.speak()``.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        stream: _Stream,
        speaker: AudioSink,
        on_word: Callable[[WordTime], object] | None = None,
    ) -> None:
        self._stream = stream
        self._speaker = speaker
        self._on_word = on_word
        self._words: deque[WordTime] = deque()
        self._start_samples = speaker.heard_samples
        self._written_samples = 0
        self._interrupted = False
        self._error: BaseException | None = None
        self._finished = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="inworld-playback", daemon=True
        )
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it was heard to the end, interrupted, or failed."""
        return self._finished.is_set()

    @property
    def heard_ms(self) -> float:
        """How much of it was heard so far, by the device's count of samples."""
        samples = min(self._speaker.heard_samples - self._start_samples, self._written_samples)
        return max(samples, 0) * 1000.0 / self._speaker.sample_rate_hz

    def wait(self, timeout: float | None = None) -> None:
        """
        Wait until it was heard to the end or interrupted.

        Raises:
            DeadlineExceeded: It is not over after *timeout* seconds; it plays on.
            InworldError: It failed.
        """
        if not self._finished.wait(timeout):
            raise DeadlineExceeded(f"playback was not over after {timeout:g} s")
        if self._error is not None:
            raise self._error

    def interrupt(self) -> float:
        """
        Stop at once: at the service, on the way, and in the speaker.

        Returns:
            How many milliseconds were heard.
        """
        self._interrupted = True
        self._stream.close()
        # The first clear frees a thread that waits for room, the second drops what it wrote last.
        self._speaker.clear()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)
        self._speaker.clear()
        return self.heard_ms

    def _run(self) -> None:
        try:
            for chunk in self._stream:
                self._words.extend(chunk.words)
                self._write(chunk.pcm)
                if self._interrupted:
                    break
            self._drain()
        except (DeviceError, ClosedError) as error:
            if not self._interrupted:
                self._error = error
        except InworldError as error:
            self._error = error
        except Exception as error:
            _logger.exception("playback failed")
            self._error = error
        finally:
            self._stream.close()
            self._finished.set()

    def _write(self, pcm: memoryview) -> None:
        size = self._speaker.sample_rate_hz * _BLOCK_MS // 1000 * 2
        for start in range(0, len(pcm), size):
            if self._interrupted:
                return
            block = pcm[start : start + size]
            self._speaker.write(block, timeout=_WRITE_SECONDS)
            self._written_samples += len(block) // 2
            self._tell_words()

    def _drain(self) -> None:
        while not self._interrupted:
            try:
                self._speaker.drain(timeout=_BLOCK_MS / 1000.0)
            except DeadlineExceeded:
                self._tell_words()
                continue
            self._tell_words()
            return

    def _tell_words(self) -> None:
        heard_ms = self.heard_ms
        while self._words and self._words[0].start_ms <= heard_ms:
            word = self._words.popleft()
            if self._on_word is not None:
                self._on_word(word)
