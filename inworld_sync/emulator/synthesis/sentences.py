"""Where sentences end, for engines that do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["sentences"]

_SENTENCE = re.compile(r"\S(?:[^\n]*?[.!?…][\"'”’)\]]*(?=\s)|[^\n]*\S)", re.MULTILINE)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every sentence; together they hold all words of the text."""
    for match in _SENTENCE.finditer(text):
        yield match.span()
