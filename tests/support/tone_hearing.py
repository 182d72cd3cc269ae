"""
A speech engine that recognizes tones instead of words. This engine is fast and makes no errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.recognition.protocols import HeardWord

from support.scripted_recognizer import ScriptedAligner

__all__ = ["tone", "tone_engine"]

_ENGINE_HZ = 16_000


class _ToneVad:
    """Reports speech for every window that is not silent."""

    window_samples = 512

    def probability(self, window: bytes) -> float:
        return 1.0 if np.abs(np.frombuffer(window, "<i2")).max() > 500 else 0.0


class _ToneRecognizer:
    """Recognizes texts by their frequencies."""

    languages = ("en",)

    def __init__(self, texts: Mapping[float, str]) -> None:
        self._texts = texts

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        samples = np.frombuffer(pcm, "<i2").astype(float)
        found_hz = np.argmax(np.abs(np.fft.rfft(samples))) * _ENGINE_HZ / len(samples)
        nearest_hz = min(self._texts, key=lambda hz: abs(hz - found_hz))
        return (HeardWord(self._texts[nearest_hz], 0.9),)


def tone_engine(texts: Mapping[float, str]) -> SpeechEngine:
    """Return an engine that recognizes each frequency in Hz as a text."""
    return SpeechEngine(_ToneRecognizer(texts), aligner=ScriptedAligner(), new_vad=_ToneVad)


def tone(seconds: float, hz: float = 440.0, level: int = 8000, rate_hz: int = 48_000) -> bytes:
    """Return the PCM of a tone."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * math.pi * hz * times)).astype("<i2").tobytes()
