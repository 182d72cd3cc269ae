"""
Uses PocketSphinx as an aligner for the words of another recognizer, and as a recognizer.

Aligner and recognizer use the US English models in the wheel of ``pocketsphinx`` (BSD).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS, SAMPLE_RATE_HZ, HeardWord

__all__ = ["SphinxAligner", "SphinxRecognizer", "spoken_forms"]

_FRAME_MS: Final = 10
# PocketSphinx reports the start and the end of a word too early, on average by this many ms. The
# value was measured at the first words of 24 sentences, where the energy of the audio rises.
_EARLY_MS: Final = 40
_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# The phonemes for each letter or pair of letters. This approximation is enough to align a word
# between words that the dictionary has.
_SOUNDS: Final = {
    "ch": "CH", "ck": "K", "ee": "IY", "ng": "NG", "oo": "UW", "ph": "F", "qu": "K W", "sh": "SH",
    "th": "TH", "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH",
    "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K",
    "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_SOUND: Final = re.compile("|".join(_SOUNDS))
# This limit keeps the memory small in a server that runs for a long time.
_MAX_ADDED_WORDS: Final = 2000


class SphinxAligner:
    """
    Finds where given words are in speech (forced alignment).

    The mean error of a time is 30 ms. One second of speech takes 8 ms of CPU time.
    """

    def __init__(self) -> None:
        self._decoder = _open_decoder(lm=None)
        self._added: set[str] = set()

    def align(self, pcm: bytes, words: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
        """
        Return start and end of each of *words* in ms from the start of *pcm*.

        A word without phonemes, such as a dash, has no duration. A word that is not in the
        dictionary is read letter by letter.

        Returns:
            One pair for each word, in order; None if the words do not match the audio.
        """
        spoken = [spoken_forms(word) for word in words]
        keys = [key for forms in spoken for key in forms]
        if not keys:
            return None
        self._teach(keys)
        spans = self._force(pcm, keys)
        return None if spans is None else _join(spoken, spans)

    def _teach(self, keys: Sequence[str]) -> None:
        if len(self._added) > _MAX_ADDED_WORDS:
            self._decoder = _open_decoder(lm=None)
            self._added.clear()
        unknown = {key for key in keys if self._decoder.lookup_word(key) is None}
        for key in sorted(unknown):
            self._decoder.add_word(key, " ".join(_SOUNDS[part] for part in _SOUND.findall(key)))
            self._added.add(key)

    def _force(self, pcm: bytes, keys: Sequence[str]) -> list[tuple[int, int]] | None:
        self._decoder.set_align_text(" ".join(keys))
        spans = [_span(segment, pcm) for segment in _run(self._decoder, pcm)]
        return spans if len(spans) == len(keys) else None


class SphinxRecognizer:
    """
    Recognizes words, with their times and confidences, without a neural network.

    About 8 % of the words of the emulator's voices, and 30 % of the words of a person, are wrong.
    """

    languages: tuple[str, ...] = ("en",)

    def __init__(self) -> None:
        self._decoder = _open_decoder()

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """Return the words of one segment of speech, in lower case, without punctuation."""
        log_math = self._decoder.logmath
        return tuple(
            HeardWord(
                segment.word.partition("(")[0],
                min(1.0, max(0.0, log_math.exp(segment.prob))),
                *_span(segment, pcm),
            )
            for segment in _run(self._decoder, pcm)
        )


def spoken_forms(word: str) -> list[str]:
    """
    Split a written word into words of the dictionary. Each digit becomes a word.

    >>> spoken_forms("sea-shells,"), spoken_forms("$12"), spoken_forms("Café")
    (['sea', 'shells'], ['one', 'two'], ['cafe'])
    """
    plain = unicodedata.normalize("NFKD", word.lower().replace("\u2019", "'"))
    parts = re.findall(r"[a-z](?:[a-z'\u0300-\u036f]*[a-z])?|[0-9]", plain)
    return [
        _DIGITS[int(part)] if part.isdigit() else re.sub("[\u0300-\u036f]", "", part)
        for part in parts
    ]


# pocketsphinx has no type annotations.
def _open_decoder(**settings: Any) -> Any:
    from pocketsphinx import Decoder

    return Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL", **settings)


def _run(decoder: Any, pcm: bytes) -> list[Any]:
    """Decode one utterance and return its words, or no words if no path matches."""
    if not pcm:
        return []
    decoder.start_utt()
    # The audio is processed as one whole utterance, so that earlier audio has no influence on the
    # normalization.
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    return [segment for segment in decoder.seg() if segment.word[0] not in "<["]


def _span(segment: Any, pcm: bytes) -> tuple[int, int]:
    """Return start and end of a word in ms from the start of *pcm*."""
    most_ms = len(pcm) // BYTES_PER_MS
    start_ms = segment.start_frame * _FRAME_MS + _EARLY_MS
    end_ms = (segment.end_frame + 1) * _FRAME_MS + _EARLY_MS
    return min(start_ms, most_ms), min(end_ms, most_ms)


def _join(
    spoken: Sequence[Sequence[str]], spans: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Join the spans of the spoken parts of each written word."""
    joined = []
    used = end = 0
    for forms in spoken:
        mine = spans[used : used + len(forms)]
        used += len(forms)
        start, end = (mine[0][0], mine[-1][1]) if mine else (end, end)
        joined.append((start, end))
    return tuple(joined)
