"""
Speech out of text: the protocol that engines have, and the choice of the default engine.

An engine speaks a text sentence by sentence, so that the first one can be played while the next
is made, and gives the time of each word.
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
    One speech sound.

    Attributes:
        symbol: In the International Phonetic Alphabet.
        start_samples: Its first sample, counted from the start of the sentence.
        end_samples: One past its last sample.
    """

    symbol: str
    start_samples: int
    end_samples: int


@attrs.frozen
class SpokenWord:
    """
    One word of the text, as the user wrote it, and when it is heard.

    Attributes:
        start_char: Its first character in the text given to ``speak``.
        end_char: One past its last character, punctuation included.
        start_samples: Its first sample, counted from the start of the sentence.
        end_samples: One past its last sample.
        phonemes: Its sounds; empty where the engine does not know them.
    """

    start_char: int
    end_char: int
    start_samples: int
    end_samples: int
    phonemes: tuple[Phoneme, ...] = ()


@attrs.frozen
class SpokenSentence:
    """
    A piece of speech.

    Attributes:
        pcm: Signed 16-bit little-endian mono samples at the engine's rate.
        words: In the order of the text; times never go back.
    """

    pcm: bytes = attrs.field(repr=False)
    words: tuple[SpokenWord, ...]


class Synthesizer(Protocol):
    """
    An engine that speaks.

    Thread safety: ``speak`` is called from many threads at once; an engine that cannot work so
    serves them in turn, sentence by sentence.
    """

    @property
    def sample_rate_hz(self) -> int:
        """The rate of the PCM that ``speak`` gives."""
        ...

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        """
        Say a text.

        Args:
            text: Any length; what cannot be spoken is left out.
            voice: How it should sound.
            speaking_rate: Between 0.5 and 1.5; 1 is the voice's own speed.
            normalize: Expand dates, units and abbreviations into words first.
        """
        ...


_lock = threading.Lock()
_default: Synthesizer | None = None


def default_synthesizer() -> Synthesizer:
    """
    Return the process's engine, loading it at the first call (about half a second).

    Raises:
        ConfigError: No engine is installed.
    """
    global _default
    with _lock:
        if _default is None:
            _default = _load()
        return _default


# The first that is installed speaks: the default one, the small one, the one under the GPL.
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
        "speaking on this machine needs the extra 'local': pip install 'inworld-sync[local]' "
        f"({'; '.join(tried)})"
    )
