"""Speaks sentence by sentence, for engines that report neither sentences nor word times."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterator

from inworld_sync.emulator.fair_lock import FairLock
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.emulator.synthesis.alignment import spread_words, written_words
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["SentenceSynthesizer", "sentences"]

_SENTENCE = re.compile(r"\S(?:[^\n]*?[.!?…][\"'”’)\]]*(?=\s)|[^\n]*\S)", re.MULTILINE)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of every sentence. The sentences have all words of the text."""
    for match in _SENTENCE.finditer(text):
        yield match.span()


class SentenceSynthesizer(abc.ABC):
    """
    An engine that only returns PCM. The duration of a sentence is divided among its words.

    Thread safety: any thread may use this object. One sentence is synthesized at a time.
    """

    languages = ("en",)

    def __init__(self) -> None:
        self._lock = FairLock()

    def speak(
        self,
        text: str,
        voice: EmulatedVoice,
        *,
        speaking_rate: float = 1.0,
        normalize: bool = True,  # noqa: ARG002 - these engines always do
    ) -> Iterator[SpokenSentence]:
        """Speak a text; see :class:`~inworld_sync.emulator.synthesis.Synthesizer`."""
        for start, end in sentences(text):
            with self._lock:
                pcm = self._say(text[start:end], voice, speaking_rate)
            yield SpokenSentence(pcm, spread_words(written_words(text, start, end), len(pcm) // 2))

    @abc.abstractmethod
    def _say(self, sentence: str, voice: EmulatedVoice, speaking_rate: float) -> bytes:
        """Return the PCM of one sentence. One thread at a time calls this method."""
