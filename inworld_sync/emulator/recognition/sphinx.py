"""
PocketSphinx: where the words lie that another recognizer heard, and a small recognizer of its own.

Both use the US English models inside the wheel of ``pocketsphinx`` (BSD).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS, SAMPLE_RATE_HZ, HeardWord

__all__ = ["SphinxAligner", "SphinxRecognizer", "spoken_forms"]

_FRAME_MS: Final = 10
# Its features look around a frame, so that it puts a word's begin and end before what is heard:
# so much, by the rise of the energy at the first words of 24 sentences.
_EARLY_MS: Final = 40
_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# One sound for each letter or pair. It need only be near enough to be found between its
# neighbors, which the dictionary does know.
_SOUNDS: Final = {
    "ch": "CH", "ck": "K", "ee": "IY", "ng": "NG", "oo": "UW", "ph": "F", "qu": "K W", "sh": "SH",
    "th": "TH", "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH",
    "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K",
    "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_SOUND: Final = re.compile("|".join(_SOUNDS))
# Bounds the memory of a server that runs for months.
_MAX_ADDED_WORDS: Final = 2000


class SphinxAligner:
    """Forced alignment: about 30 ms off on average, 8 ms of CPU for a second of speech."""

    def __init__(self) -> None:
        self._decoder = _open_decoder(lm=None)
        self._added: set[str] = set()

    def align(self, pcm: bytes, words: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
        """
        Start and end of each of *words* in ms from the start of *pcm*.

        A word without a sound, such as a dash, gets no length; words that the dictionary lacks are
        read letter by letter.

        Returns:
            As many pairs as words, in order; None when the words do not fit the sound.
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
    """Words, times and confidences without a neural network; wrong in a word of four or more."""

    languages: tuple[str, ...] = ("en",)

    def __init__(self) -> None:
        self._decoder = _open_decoder()

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """Words of one piece of speech, in lower case and without punctuation."""
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
    Split a written word into what the dictionary is asked for: letters, and digits one by one.

    >>> spoken_forms("sea-shells,"), spoken_forms("$12"), spoken_forms("Café")
    (['sea', 'shells'], ['one', 'two'], ['cafe'])
    """
    plain = unicodedata.normalize("NFKD", word.lower().replace("\u2019", "'"))
    parts = re.findall(r"[a-z](?:[a-z'\u0300-\u036f]*[a-z])?|[0-9]", plain)
    return [
        _DIGITS[int(part)] if part.isdigit() else re.sub("[\u0300-\u036f]", "", part)
        for part in parts
    ]


# pocketsphinx gives no types.
def _open_decoder(**settings: Any) -> Any:
    from pocketsphinx import Decoder

    return Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL", **settings)


def _run(decoder: Any, pcm: bytes) -> list[Any]:
    """Decode one utterance and give its words; none when no path fits."""
    if not pcm:
        return []
    decoder.start_utt()
    # Whole, so that it is normalized by itself and not by what was heard before.
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    return [segment for segment in decoder.seg() if segment.word[0] not in "<["]


def _span(segment: Any, pcm: bytes) -> tuple[int, int]:
    """Where a word is heard, in ms from the start of *pcm*."""
    most_ms = len(pcm) // BYTES_PER_MS
    start_ms = segment.start_frame * _FRAME_MS + _EARLY_MS
    end_ms = (segment.end_frame + 1) * _FRAME_MS + _EARLY_MS
    return min(start_ms, most_ms), min(end_ms, most_ms)


def _join(
    spoken: Sequence[Sequence[str]], spans: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """One span for each written word, from the spans of its spoken parts."""
    joined = []
    taken = end = 0
    for forms in spoken:
        mine = spans[taken : taken + len(forms)]
        taken += len(forms)
        start, end = (mine[0][0], mine[-1][1]) if mine else (end, end)
        joined.append((start, end))
    return tuple(joined)
