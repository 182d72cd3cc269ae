"""
Finds the words that a service sends a second time after a reconnect. The words are found by their
text.

This search is needed only for a service that sends no times. Without times, the client does not
know which audio a transcript covers. So the client may send audio again although the transcript of
this audio has already arrived. Then the words arrive again, perhaps in another spelling. In a
script without spaces each character counts as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from inworld_sync.models.scripts import graphemes, has_spaces_between

__all__ = ["Repeats"]

# Two transcripts of the same audio have more than this share of their words in common. Two
# different sentences rarely have so many words in common.
_ALIKE_SHARE: Final = 0.6
# In a script without spaces, fewer equal characters than this do not count as a repetition, since
# two sentences often begin with the same one or two characters.
_LEAST_CHARACTERS: Final = 3
_NOT_SPACE: Final = re.compile(r"\S+")


class Repeats:
    """The words that may arrive again."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._expected: list[str] = []

    def remember(self, text: str) -> None:
        """Remember the text of a final transcript without times."""
        self._said += [key for _, key in _words(text)]

    def clear(self) -> None:
        """Forget all words, because their audio will not be sent again."""
        self._said.clear()
        self._expected.clear()

    def restart(self) -> None:
        """Expect the remembered words, because their audio is sent again."""
        self._expected = list(self._said)

    def new_part(self, text: str, *, is_final: bool) -> str:
        """Return *text* without the repeated words at its start."""
        if not self._expected:
            return text
        words = _words(text)
        repeated, used = _overlap(self._expected, [key for _, key in words])
        is_all = repeated == len(words) or used == len(self._expected)
        if repeated < _LEAST_CHARACTERS and not is_all and _are_characters(text, words):
            repeated = used = 0
        if is_final:
            # A final transcript without repeated words ends the repetition.
            del self._expected[: used or len(self._expected)]
        if not repeated:
            return text
        return text[words[repeated][0] :].rstrip() if repeated < len(words) else ""


def _words(text: str) -> list[tuple[int, str]]:
    """Return where each word or character starts, and its letters in lower case."""
    words: list[tuple[int, str]] = []
    for match in _NOT_SPACE.finditer(text):
        at, last = match.start(), ""
        for grapheme in graphemes(match[0]):
            key = _letters(grapheme)
            if not last or (key and words[-1][1] and not has_spaces_between(last, grapheme)):
                words.append((at, key))
            else:
                words[-1] = (words[-1][0], words[-1][1] + key)
            at, last = at + len(grapheme), grapheme
    return words


def _letters(text: str) -> str:
    # The category M has the vowel signs of Thai and Hindi.
    return "".join(each for each in text.lower() if unicodedata.category(each)[0] in "LMN")


def _are_characters(text: str, words: Sequence[tuple[int, str]]) -> bool:
    """Return whether the first two words have no white space between them."""
    return len(words) > 1 and not any(map(str.isspace, text[words[0][0] : words[1][0]]))


def _overlap(expected: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    """
    Return two numbers: how many words at the start of *words* are repeated, and how many words at
    the start of *expected* these repeated words match.
    """
    matcher = SequenceMatcher(None, expected, words, autojunk=False)
    alike, best = 0, (0, 0)
    for block in matcher.get_matching_blocks():
        alike += block.size
        end = block.b + block.size
        if block.size and alike >= end * _ALIKE_SHARE:
            best = (end, block.a + block.size)
    repeated, used = best
    # If only the last word has no match and more words are expected, the last word counts as the
    # next expected word: the service recognized this word differently this time.
    if repeated and repeated == len(words) - 1 and used < len(expected):
        return len(words), used + 1
    return repeated, used
