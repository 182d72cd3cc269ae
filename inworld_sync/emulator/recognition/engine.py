"""
Defines the recognizer that all streams of a server share.

Locks: one fair lock guards loading and every call of the recognizer and the aligner, which are not
thread-safe. This lock is held while one segment of speech is processed, for about 15 ms for each
second of speech. The lock of the detector guards only the loading of the detector. No lock is held
while a stream handles the result.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import threading
from collections.abc import Callable, Sequence

from inworld_sync.emulator.fair_lock import FairLock
from inworld_sync.emulator.recognition.protocols import (
    HeardWord,
    Recognizer,
    VoiceActivityDetector,
    WordAligner,
)
from inworld_sync.emulator.recognition.word_times import proportional_times
from inworld_sync.errors import ConfigError

__all__ = [
    "SpeechEngine",
    "default_engine",
    "describe_recognition",
    "open_aligner",
    "open_recognizer",
]

_log = logging.getLogger("inworld_sync.emulator")


class SpeechEngine:
    """
    Provides a recognizer, an aligner and voice activity detection for any number of streams.

    All models are loaded at the first use, in about 0.4 s, or by :meth:`warm`.

    Args:
        recognizer: A recognizer that replaces the best installed recognizer.
        aligner: An aligner that replaces PocketSphinx, for recognizers that report no times.
        new_vad: A function that makes a detector for a new stream. This detector replaces the best
            installed detector.

    Thread safety:
        All methods may be called from any thread. Calls of the recognizer run one at a time, in the
        order in which they were made.
    """

    def __init__(
        self,
        recognizer: Recognizer | None = None,
        *,
        aligner: WordAligner | None = None,
        new_vad: Callable[[], VoiceActivityDetector] | None = None,
    ) -> None:
        self._lock = FairLock("the speech recognizer")
        self._recognizer = recognizer
        self._aligner = aligner
        self._has_aligner = aligner is not None
        self._vad_lock = threading.Lock()
        self._new_vad = new_vad

    def warm(self) -> None:
        """
        Load the models that are not loaded yet.

        Raises:
            ConfigError: No recognizer is installed.
        """
        self.new_vad()
        with self._lock:
            self._load()
            self._load_aligner()

    def new_vad(self) -> VoiceActivityDetector:
        """
        Make a voice activity detector for one stream.

        Raises:
            ConfigError: No detector is installed.
        """
        with self._vad_lock:
            if self._new_vad is None:
                from inworld_sync.emulator.recognition.vad import open_vad

                self._new_vad = open_vad()
            return self._new_vad()

    def check_language(self, language: str | None) -> None:
        """
        Refuse a BCP-47 *language* that the recognizer does not support. None and "" are accepted.

        Raises:
            ConfigError: The recognizer does not support the language.
        """
        if not language:
            return
        with self._lock:
            supported = self._load().languages
        if language.replace("_", "-").partition("-")[0].lower() not in supported:
            raise ConfigError(
                f"the emulator's recognizer supports {', '.join(supported)} only, got language "
                f"{language!r}: use a supported language, or start the emulator with another "
                "recognizer (speech_engine=)"
            )

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """
        Return the words of one segment of speech. Wait while other streams use the recognizer.

        Raises:
            DeadlineExceeded: The recognizer was busy for a minute.
            ConfigError: No recognizer is installed.
        """
        with self._lock:
            return self._load().recognize(pcm)

    def try_recognize(self, pcm: bytes) -> tuple[HeardWord, ...] | None:
        """Do the same as :meth:`recognize`, but return None if the recognizer is in use."""
        if not self._lock.try_acquire():
            return None
        try:
            return self._load().recognize(pcm)
        finally:
            self._lock.release()

    def with_times(self, pcm: bytes, words: Sequence[HeardWord]) -> tuple[HeardWord, ...]:
        """
        Return *words* with their times. The words were recognized from *pcm*. The times are in ms
        from the start of *pcm*.

        Raises:
            DeadlineExceeded: The aligner was busy for a minute.
        """
        if all(word.start_ms is not None for word in words):
            return tuple(words)
        texts = [word.text for word in words]
        with self._lock:
            aligner = self._load_aligner()
            spans = aligner.align(pcm, texts) if aligner else None
        if spans is None:
            spans = proportional_times(pcm, texts)
        return tuple(
            HeardWord(word.text, word.confidence, start, end)
            for word, (start, end) in zip(words, spans, strict=True)
        )

    def _load(self) -> Recognizer:
        if self._recognizer is None:
            self._recognizer = open_recognizer()
        return self._recognizer

    def _load_aligner(self) -> WordAligner | None:
        if not self._has_aligner:
            self._aligner = open_aligner()
            self._has_aligner = True
        return self._aligner


@functools.cache
def default_engine() -> SpeechEngine:
    """Return the engine that all servers of the process share. The first use loads the engine."""
    return SpeechEngine()


def describe_recognition() -> str:
    """
    Describe how well the best installed recognizer works. The recognizer is not loaded.

    Source of the figures: ``tests/emulator/recognition/test_quality.py``, which prints them.
    """
    if importlib.util.find_spec("moonshine_voice") and importlib.util.find_spec("onnxruntime"):
        who, own, human = "Moonshine tiny", "1.8 %", "5 %"
    elif importlib.util.find_spec("pocketsphinx"):
        who, own, human = "PocketSphinx", "8 %", "30 %"
    else:
        return "no speech recognizer is installed: pip install 'inworld-sync[local]'"
    return (
        f"speech is recognized by {who}, English only: about {own} of the words of this server's "
        f"voices and {human} of the words of a person are wrong; the service has fewer errors"
    )


def open_recognizer() -> Recognizer:
    """
    Load Moonshine, or PocketSphinx if Moonshine is not installed.

    Raises:
        ConfigError: Neither recognizer is installed.
    """
    try:
        from inworld_sync.emulator.recognition.moonshine import Moonshine

        return Moonshine()
    except (ImportError, ConfigError) as missing:
        try:
            from inworld_sync.emulator.recognition.sphinx import SphinxRecognizer

            recognizer = SphinxRecognizer()
        except ImportError:
            raise ConfigError(
                "the emulator's speech recognition is not installed: "
                "pip install 'inworld-sync[local]'"
            ) from missing
        _log.warning(
            "speech is recognized by PocketSphinx, with many more errors than Moonshine: %s",
            missing,
        )
        return recognizer


def open_aligner() -> WordAligner | None:
    """Load PocketSphinx for word times. Return None if it is not installed."""
    try:
        from inworld_sync.emulator.recognition.sphinx import SphinxAligner

        return SphinxAligner()
    except ImportError:
        return None
