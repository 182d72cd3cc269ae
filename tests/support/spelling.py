"""A synthesizer whose audio encodes its text, so that a test can read the spoken text."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from inworld_sync.emulator.synthesis import Phoneme, SpokenSentence, SpokenWord
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["SpellingSynthesizer", "spelled", "spoken_part"]

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)", re.DOTALL)
_WORD = re.compile(r"\S+")


class SpellingSynthesizer:
    """
    Speaks each character except spaces. The value of the samples is the code point (up to 32767).

    Args:
        samples: The number of samples for each character.
        has_phonemes: Whether each character is a phoneme too.
    """

    sample_rate_hz = 24000

    def __init__(self, samples: int = 4, *, has_phonemes: bool = False) -> None:
        self._samples, self._has_phonemes = samples, has_phonemes

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        """Synthesize a text, as the protocol of synthesizers describes."""
        for sentence in _SENTENCE.finditer(text):
            words, pcm, start = [], b"", 0
            for word in _WORD.finditer(text, *sentence.span()):
                for character in word.group():
                    pcm += struct.pack("<h", ord(character)) * self._samples
                end = len(pcm) // 2
                phonemes = tuple(
                    Phoneme(character, at, at + self._samples)
                    for character, at in zip(
                        word.group().lower(), range(start, end, self._samples), strict=True
                    )
                )
                heard = phonemes if self._has_phonemes else ()
                words.append(SpokenWord(word.start(), word.end(), start, end, heard))
                start = end
            yield SpokenSentence(pcm, tuple(words))


def spelled(pcm: bytes | memoryview, samples: int = 4) -> str:
    """Return the text that the audio encodes."""
    count = len(pcm) // 2
    values = struct.unpack(f"<{count}h", pcm)
    text = values[::samples]
    assert list(values) == [value for value in text for _ in range(samples)], "audio is damaged"
    return "".join(map(chr, text))


def spoken_part(text: str) -> str:
    """Return the text without white space, because white space is not spoken."""
    return "".join(text.split())
