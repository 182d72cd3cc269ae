"""A synthesizer that speaks tones instead of words. The same text has the same audio."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from inworld_sync.emulator.synthesis import SpokenSentence, SpokenWord
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["ToneSynthesizer", "tone_seconds"]

_RATE_HZ = 24000
_SECONDS_PER_CHARACTER = 0.05
_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)", re.DOTALL)
_WORD = re.compile(r"\S+")


def tone_seconds(text: str, speaking_rate: float = 1.0) -> float:
    """Return how many seconds a text lasts. At rate 1, each character except spaces has 50 ms."""
    return len("".join(text.split())) * _SECONDS_PER_CHARACTER / speaking_rate


class ToneSynthesizer:
    """Speaks each word as a tone of 50 ms per character. A sentence ends at a period, ! or ?."""

    sample_rate_hz = _RATE_HZ

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        """Synthesize a text, as the protocol of synthesizers describes."""
        for sentence in _SENTENCE.finditer(text):
            words, samples = [], 0
            for word in _WORD.finditer(text, *sentence.span()):
                count = round(len(word.group()) * _SECONDS_PER_CHARACTER / speaking_rate * _RATE_HZ)
                words.append(SpokenWord(word.start(), word.end(), samples, samples + count))
                samples += count
            if samples:
                yield SpokenSentence(_tone(samples, 200 * voice.pitch), tuple(words))


def _tone(samples: int, frequency_hz: float) -> bytes:
    phases = np.arange(samples) * (2 * math.pi * frequency_hz / _RATE_HZ)
    return np.round(8000 * np.sin(phases)).astype("<i2").tobytes()
