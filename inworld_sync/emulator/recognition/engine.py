"""
The recognizer that all streams of a server share.

Locks: one fair lock guards loading and every call of the recognizer and the aligner, which are
not thread-safe; it is held for one piece of speech, about 15 ms for each second of it. The lock
of the detector guards its loading alone. Neither is held while user code of a stream runs.
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
    A recognizer, an aligner and voice activity detection for any number of streams.

    Everything is loaded at the first use, in about 0.4 s; :meth:`warm` does it at once.

    Args:
        recognizer: Used instead of the best one installed.
        aligner: Used instead of PocketSphinx for recognizers that give no times.
        new_vad: Makes a detector for a new stream, instead of the best one installed.

    Thread safety:
        All methods may be called from any thread; the recognizer runs for one at a time, in the
        order of the calls.
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
        Load what is not loaded yet.

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
            ConfigError: None is installed.
        """
        with self._vad_lock:
            if self._new_vad is None:
                from inworld_sync.emulator.recognition.vad import open_vad

                self._new_vad = open_vad()
            return self._new_vad()

    def check_language(self, language: str | None) -> None:
        """
        Refuse a BCP-47 *language* that the recognizer does not understand; None and "" pass.

        Raises:
            ConfigError: It is another language.
        """
        if not language:
            return
        with self._lock:
            understood = self._load().languages
        if language.replace("_", "-").partition("-")[0].lower() not in understood:
            raise ConfigError(
                f"the emulator's recognizer understands {', '.join(understood)} only, got "
                f"language {language!r}: use one of these, or give the server another recognizer"
            )

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """
        Words of one piece of speech; waits for its turn.

        Raises:
            DeadlineExceeded: The recognizer was busy for a minute.
            ConfigError: No recognizer is installed.
        """
        with self._lock:
            return self._load().recognize(pcm)

    def try_recognize(self, pcm: bytes) -> tuple[HeardWord, ...] | None:
        """As :meth:`recognize`, or None at once when another stream is being served."""
        if not self._lock.try_acquire():
            return None
        try:
            return self._load().recognize(pcm)
        finally:
            self._lock.release()

    def with_times(self, pcm: bytes, words: Sequence[HeardWord]) -> tuple[HeardWord, ...]:
        """
        Give each of *words*, recognized from *pcm*, its place in ms from the start of *pcm*.

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
    """Return the engine that all servers of the process share; it loads at its first use."""
    return SpeechEngine()


def describe_recognition() -> str:
    """
    Say how well the best recognizer that is installed understands speech, without loading it.

    Source of the figures: ``tests/emulator/recognition/test_quality.py``, which prints them.
    """
    if importlib.util.find_spec("moonshine_voice") and importlib.util.find_spec("onnxruntime"):
        who, own, human = "Moonshine tiny", "1.8 %", "5 %"
    elif importlib.util.find_spec("pocketsphinx"):
        who, own, human = "PocketSphinx", "8 %", "30 %"
    else:
        return "nothing here recognizes speech: pip install 'inworld-sync[local]'"
    return (
        f"speech is recognized by {who}, English only: it mishears about {own} of the words of "
        f"this server's own voice and {human} of a person's; judge the service by itself"
    )


def open_recognizer() -> Recognizer:
    """
    Load the best recognizer that is installed: Moonshine, else PocketSphinx.

    Raises:
        ConfigError: Neither is.
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
        _log.warning("speech is recognized by PocketSphinx, far worse than Moonshine: %s", missing)
        return recognizer


def open_aligner() -> WordAligner | None:
    """Load PocketSphinx for word times, or None when it is not installed."""
    try:
        from inworld_sync.emulator.recognition.sphinx import SphinxAligner

        return SphinxAligner()
    except ImportError:
        return None
