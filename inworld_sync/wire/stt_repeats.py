"""
Words that come a second time after a reconnect, told by their text.

Needed only where a service gives no times: then nothing says which audio a transcript covers, that
audio is sent again, and its words come again, perhaps spelled a little differently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

__all__ = ["Repeats"]

# Two recognitions of the same sound agree on more of their words; two sentences rarely do.
_ALIKE_SHARE: Final = 0.6
_NO_LETTERS: Final = re.compile(r"[\W_]+")


class Repeats:
    """What was said and may come again; its owner's monitor guards it."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._expected: list[str] = []

    def note(self, text: str) -> None:
        """Remember a final text that no times tell the place of."""
        self._said += _keys(text.split())

    def clear(self) -> None:
        """Forget all: audio from before is not sent again."""
        self._said.clear()
        self._expected.clear()

    def restart(self) -> None:
        """Expect what was noted, since its audio is sent again."""
        self._expected = list(self._said)

    def new_part(self, text: str, *, is_final: bool) -> str:
        """Give *text* without what was said before the reconnect, at its front."""
        if not self._expected:
            return text
        words = text.split()
        repeated, used = _overlap(self._expected, _keys(words))
        if is_final:
            # Where nothing is repeated, the repetition is over.
            del self._expected[: used or len(self._expected)]
        return " ".join(words[repeated:]) if repeated else text


def _keys(words: Sequence[str]) -> list[str]:
    return [_NO_LETTERS.sub("", word.lower()) for word in words]


def _overlap(expected: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    """How many of *words* repeat *expected*, and how many of those are used up by that."""
    matcher = SequenceMatcher(None, expected, words, autojunk=False)
    alike, best = 0, (0, 0)
    for block in matcher.get_matching_blocks():
        alike += block.size
        end = block.b + block.size
        if block.size and alike >= end * _ALIKE_SHARE:
            best = (end, block.a + block.size)
    repeated, used = best
    # While more is expected, a last word that is another one is the same sound.
    if repeated and repeated == len(words) - 1 and used < len(expected):
        return len(words), used + 1
    return repeated, used
