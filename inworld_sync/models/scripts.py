"""
Handles differences between scripts: spaces between words, and the width of a character.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["graphemes", "has_spaces_between", "join_texts", "width_columns"]

_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\ufe30-\ufe4f\uff00-\uffef\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Chinese, Japanese
)
_ENDS_WITHOUT_SPACES = re.compile(rf"[{_WITHOUT_SPACES}]\Z")
_BEGINS_WITHOUT_SPACES = re.compile(rf"[{_WITHOUT_SPACES}]")

# Matches a base character with its marks, several such characters joined by U+200D, or a pair of
# regional indicators.
_GRAPHEME = re.compile(
    "\r\n|[\U0001f1e6-\U0001f1ff]{2}"
    "|.(?:[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0903"
    "\u093a-\u094f\u0e31\u0e33-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb3-\u0ebc\u0ec8-\u0ece\u102b-\u103e"
    "\u17b4-\u17d3\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe00-\ufe0f\ufe20-\ufe2f"
    "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d.)*",
    re.DOTALL,
)


def has_spaces_between(left: str, right: str) -> bool:
    """Return whether the scripts of two texts need a space between the texts."""
    return not (_ENDS_WITHOUT_SPACES.search(left) or _BEGINS_WITHOUT_SPACES.match(right))


def join_texts(texts: Iterable[str]) -> str:
    """
    Join texts that were said one after the other, with spaces if their script has spaces.

    >>> join_texts(["Good morning.", "How are you?"])
    'Good morning. How are you?'
    >>> join_texts(["今天天气很好。", "我们去公园吧。"])
    '今天天气很好。我们去公园吧。'
    """
    joined = ""
    for text in texts:
        is_apart = not joined or not text or joined[-1].isspace() or text[0].isspace()
        joined += text if is_apart or not has_spaces_between(joined, text) else f" {text}"
    return joined


def graphemes(text: str) -> list[str]:
    """Split a text into the characters that a reader sees. The joined characters are the text."""
    return _GRAPHEME.findall(text)


def width_columns(text: str) -> int:
    """
    Return the width of a text in columns.

    Wide characters, such as Chinese characters, have two columns. Combining marks have none.
    """
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(each) in {"Mn", "Me", "Cf"}
        else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )
