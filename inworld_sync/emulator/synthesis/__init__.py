"""
Defines the protocol of speech synthesis engines, and chooses the default engine.

An engine speaks a text sentence by sentence, so that the first sentence can be sent while the next
sentence is synthesized. The engine also returns the time of each word.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from typing import Protocol

import attrs

from inworld_sync.emulator.voices import EmulatedVoice
from inworld_sync.errors import ConfigError

__all__ = ["Phoneme", "SpokenSentence", "SpokenWord", "Synthesizer", "default_synthesizer"]


@attrs.frozen
class Phoneme:
    """
    One phoneme.

    Attributes:
        symbol: The symbol in the International Phonetic Alphabet.
        start_samples: The first sample, counted from the start of the sentence.
        end_samples: The index after the phoneme's last sample.
    """

    symbol: str
    start_samples: int
    end_samples: int


@attrs.frozen
class SpokenWord:
    """
    One word of the text, as the user wrote it, and its time.

    Attributes:
        start_char: The index of the word's first character in the text given to ``speak``.
        end_char: The index after the word's last character, punctuation included.
        start_samples: The word's first sample, counted from the start of the sentence.
        end_samples: The index after the word's last sample.
        phonemes: The word's phonemes; empty if the engine does not report phonemes.
    """

    start_char: int
    end_char: int
    start_samples: int
    end_samples: int
    phonemes: tuple[Phoneme, ...] = ()


@attrs.frozen
class SpokenSentence:
    """
    The speech of one sentence.

    Attributes:
        pcm: Signed 16-bit little-endian mono samples at the engine's rate.
        words: The words in the order of the text. Times never decrease.
    """

    pcm: bytes = attrs.field(repr=False)
    words: tuple[SpokenWord, ...]


class Synthesizer(Protocol):
    """
    A speech synthesizer.

    An engine may have an attribute ``languages``, with the primary language subtags that it speaks,
    for example ``("en",)``. Without this attribute, every language is accepted.

    Thread safety: many threads call ``speak`` at the same time. An engine that is not thread-safe
    must hold a lock for each sentence.
    """

    @property
    def sample_rate_hz(self) -> int:
        """The sample rate of the PCM that ``speak`` yields."""
        ...

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        """
        Speak a text.

        Args:
            text: A text of any length. Characters that cannot be spoken are left out.
            voice: The voice.
            speaking_rate: A factor of the voice's speed, 0.5 to 1.5.
            normalize: Whether to expand dates, units and abbreviations into words first.

        Yields:
            The speech of each sentence, in order.
        """
        ...


_lock = threading.Lock()
_default: Synthesizer | None = None


def default_synthesizer() -> Synthesizer:
    """
    Return the engine that all servers of the process share. The first call loads the engine.

    Raises:
        ConfigError: No engine is installed.
    """
    global _default
    with _lock:
        if _default is None:
            _default = _load()
        return _default


# The first engine that is installed is used. The last engine is under the GPL.
_ENGINES = (
    ("hibari", "HibariSynthesizer"),
    ("nanotts", "NanoSynthesizer"),
    ("espeak", "EspeakSynthesizer"),
)


def _load() -> Synthesizer:
    tried = []
    for module, name in _ENGINES:
        try:
            home = importlib.import_module(f"{__name__}.{module}")
            engine: Synthesizer = getattr(home, name)()
        except ImportError as error:  # noqa: PERF203 - at most three times
            tried.append(str(error))
        else:
            return engine
    raise ConfigError(
        "speech synthesis on this machine needs the extra 'local': "
        "pip install 'inworld-sync[local]' "
        f"({'; '.join(tried)})"
    )
