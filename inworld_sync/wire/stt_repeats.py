"""
Finds words that a service sends a second time after a reconnect, by their text.

This is needed only for a service that sends no times. Without times the client does not know which
audio a transcript covers, so it sends that audio again, and its words arrive again, perhaps with
another spelling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

__all__ = ["Repeats"]

# Two transcripts of the same audio share more than this part of their words; two sentences rarely
# do.
_ALIKE_SHARE: Final = 0.6
_NO_LETTERS: Final = re.compile(r"[\W_]+")


class Repeats:
    """The words that may arrive again."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._expected: list[str] = []

    def remember(self, text: str) -> None:
        """Remember the text of a final transcript without times."""
        self._said += _keys(text.split())

    def clear(self) -> None:
        """Forget all words, because their audio will not be sent again."""
        self._said.clear()
        self._expected.clear()

    def restart(self) -> None:
        """Expect the remembered words, because their audio is sent again."""
        self._expected = list(self._said)

    def new_part(self, text: str, *, is_final: bool) -> str:
        """Return *text* without the words at its front that are repeated."""
        if not self._expected:
            return text
        words = text.split()
        repeated, used = _overlap(self._expected, _keys(words))
        if is_final:
            # A final transcript without repeated words ends the repetition.
            del self._expected[: used or len(self._expected)]
        return " ".join(words[repeated:]) if repeated else text


def _keys(words: Sequence[str]) -> list[str]:
    return [_NO_LETTERS.sub("", word.lower()) for word in words]


def _overlap(expected: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    """Return how many of *words* are repeated, and how many of *expected* they repeat."""
    matcher = SequenceMatcher(None, expected, words, autojunk=False)
    alike, best = 0, (0, 0)
    for block in matcher.get_matching_blocks():
        alike += block.size
        end = block.b + block.size
        if block.size and alike >= end * _ALIKE_SHARE:
            best = (end, block.a + block.size)
    repeated, used = best
    # While more is expected, a different last word is the same word, recognized differently.
    if repeated and repeated == len(words) - 1 and used < len(expected):
        return len(words), used + 1
    return repeated, used
