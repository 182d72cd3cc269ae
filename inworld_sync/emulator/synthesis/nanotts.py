"""
Adapts the small engine SVOX Pico, from the package py-nanotts.

Pico reports no times, so the duration of a sentence is divided among its words.
"""

from __future__ import annotations

import importlib

from inworld_sync.emulator.synthesis.sentences import SentenceSynthesizer
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["NanoSynthesizer"]


class NanoSynthesizer(SentenceSynthesizer):
    """
    Speaks English with Pico's American voice at different pitches.

    Raises:
        ImportError: py-nanotts is not installed.

    Thread safety: any thread may use this object. One sentence is synthesized at a time.
    """

    sample_rate_hz = 16000

    def __init__(self) -> None:
        super().__init__()
        self._engine = importlib.import_module("py_nanotts").NanoTTS()

    def _say(self, sentence: str, voice: EmulatedVoice, speaking_rate: float) -> bytes:
        speed = speaking_rate * voice.speed
        pcm: bytes = self._engine.speak(sentence, voice="en-US", speed=speed, pitch=voice.pitch)
        return pcm
