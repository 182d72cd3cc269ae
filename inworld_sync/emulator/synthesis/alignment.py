"""
Finds the time of each word of the user's text.

An engine speaks normalized text, in which "$12.50" has become "twelve dollars and fifty cents".
Clients expect the times of the written words, so the spoken words are matched with the written
words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import attrs

from inworld_sync.emulator.synthesis import Phoneme, SpokenWord

__all__ = ["EngineWord", "align_words", "spread_words", "written_words"]

_WORD = re.compile(r"\S+")
_BARE = re.compile(r"[^\w']+")


@attrs.frozen
class EngineWord:
    """
    One word as the engine spoke it.

    Attributes:
        text: The word after normalization, without white space.
        start_samples: The first sample of the word.
        end_samples: The index after the last sample of the word.
        phonemes: The phonemes of the word.
    """

    text: str
    start_samples: int
    end_samples: int
    phonemes: tuple[Phoneme, ...] = ()


def written_words(text: str, start_char: int, end_char: int) -> list[tuple[int, int]]:
    """Return the start and end of each word in a part of *text*, divided at white space."""
    return [match.span() for match in _WORD.finditer(text, start_char, end_char)]


def align_words(
    text: str, spans: Sequence[tuple[int, int]], heard: Sequence[EngineWord]
) -> tuple[SpokenWord, ...]:
    """
    Return each written word with the time of its spoken words.

    Words with the same spelling are matched first. The spoken words between two matches are divided
    among the written words between them, in order. A written word that is not spoken, such as a
    dash, has no duration.
    """
    written = [_bare(text[start:end]) for start, end in spans]
    spoken = [_bare(word.text) for word in heard]
    groups: list[list[EngineWord]] = [[] for _ in spans]
    matcher = SequenceMatcher(None, written, spoken, autojunk=False)
    for _, w_from, w_to, h_from, h_to in matcher.get_opcodes():
        # If no written word is between two matches, the spoken words between the matches belong to
        # the written word before the matches.
        sharing = groups[w_from:w_to] or groups[max(0, w_from - 1) :][:1]
        for index, word in enumerate(heard[h_from:h_to] if sharing else ()):
            sharing[index * len(sharing) // (h_to - h_from)].append(word)
    words = []
    now = 0
    for (start, end), group in zip(spans, groups, strict=True):
        begin = group[0].start_samples if group else now
        now = group[-1].end_samples if group else now
        phonemes = tuple(phoneme for word in group for phoneme in word.phonemes)
        words.append(SpokenWord(start, end, begin, now, phonemes))
    return tuple(words)


def spread_words(spans: Sequence[tuple[int, int]], samples: int) -> tuple[SpokenWord, ...]:
    """Divide a duration among words by their length, for engines that report no times."""
    weights = [end - start + 1 for start, end in spans]
    total = sum(weights) or 1
    words, done = [], 0
    for (start, end), weight in zip(spans, weights, strict=True):
        begin = samples * done // total
        done += weight
        words.append(SpokenWord(start, end, begin, samples * done // total))
    return tuple(words)


def _bare(word: str) -> str:
    return _BARE.sub("", word.lower())
