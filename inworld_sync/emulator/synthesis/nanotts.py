"""
A small engine for machines without the default one: SVOX Pico, from the package py-nanotts.

It tells no times, so words share the duration of their sentence.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from inworld_sync.emulator.fair_lock import FairLock
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.emulator.synthesis.alignment import spread_words, written_words
from inworld_sync.emulator.synthesis.sentences import sentences
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["NanoSynthesizer"]


class NanoSynthesizer:
    """
    Speaks with Pico's American voice, higher or lower; English only.

    Raises:
        ImportError: py-nanotts is not installed.

    Thread safety: any thread; one sentence at a time.
    """

    sample_rate_hz = 16000

    def __init__(self) -> None:
        self._engine = importlib.import_module("py_nanotts").NanoTTS()
        self._lock = FairLock()

    def speak(
        self,
        text: str,
        voice: EmulatedVoice,
        *,
        speaking_rate: float = 1.0,
        normalize: bool = True,  # noqa: ARG002 - the engine always does
    ) -> Iterator[SpokenSentence]:
        """Say a text; see :class:`~inworld_sync.emulator.synthesis.Synthesizer`."""
        for start, end in sentences(text):
            with self._lock:
                pcm: bytes = self._engine.speak(
                    text[start:end],
                    voice="en-US",
                    speed=speaking_rate * voice.speed,
                    pitch=voice.pitch,
                )
            yield SpokenSentence(pcm, spread_words(written_words(text, start, end), len(pcm) // 2))
