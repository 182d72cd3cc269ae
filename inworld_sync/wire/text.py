"""
Cutting text into pieces that a service takes, where a speaker would breathe.

A piece ends at the last place of the best kind that fits: a paragraph, a sentence, a clause, a
word, and only where there is none, between two graphemes. Nothing is dropped or changed: the
pieces joined give the text.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

from inworld_sync.errors import ConfigError

__all__ = ["is_blank", "require_piece", "require_pieces", "require_text", "split_text"]

# Closing quotes and brackets belong to the sentence before them.
_CLOSERS = "\"'”’»）」』】)\\]}"
# Ends a sentence where white space follows: Latin, Greek, Cyrillic, Arabic, Urdu, Indic, Armenian,
# Ethiopic, Khmer, Burmese.
_SPACED_ENDS = ".!?…؟۔।॥։።៕။;·"
# Ends a sentence by itself: Chinese, Japanese, full-width forms.
_CLOSED_ENDS = "。！？．"

# Best kind first; each matches up to and including the white space after the break.
_BREAKS = (
    re.compile(r"\n\s*\n\s*"),
    re.compile(rf"[{_SPACED_ENDS}]+[{_CLOSERS}]*\s+|[{_CLOSED_ENDS}]+[{_CLOSERS}]*\s*"),
    # 1,000 and 12:30 are one word each.
    re.compile(rf"[,:][{_CLOSERS}]*\s+|[،、，；—–]+\s*|\n+"),
    re.compile(r"\s+"),
)

# A break this early would make pieces too short to be spoken well; a worse kind may serve better.
_EARLIEST_SHARE = 1 / 3

_ZERO_WIDTH_JOINER = "\u200d"
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# What spells the flags of England, Scotland and Wales.
_TAGS = range(0xE0020, 0xE0080)


def is_blank(text: str) -> bool:
    """Whether a text holds nothing that can be spoken: only white space."""
    return not text.strip()


def require_piece(text: object) -> None:
    """
    Refuse what is no text before anything is sent.

    Raises:
        ConfigError: It is not a str, or holds half of a surrogate pair.
    """
    if not isinstance(text, str):
        hint = ", decode it first" if isinstance(text, (bytes, bytearray)) else ""
        raise ConfigError(f"text must be a str, got {type(text).__name__}{hint}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"text must be valid Unicode, got the lone surrogate {text[error.start]!a} at "
            f"character {error.start}"
        ) from None


def require_text(text: object) -> None:
    """
    Refuse what cannot be spoken, as :func:`require_piece` and where it is blank.

    Raises:
        ConfigError: It is no text or blank.
    """
    require_piece(text)
    if is_blank(str(text)):
        raise ConfigError("text must hold something to speak, got only white space")


def require_pieces(pieces: object) -> None:
    """
    Refuse what cannot give pieces of text.

    Raises:
        ConfigError: It is bytes, or not iterable.
    """
    if isinstance(pieces, (bytes, bytearray)) or not isinstance(pieces, Iterable):
        raise ConfigError(f"text must be a str or an iterable of str, got {type(pieces).__name__}")


def split_text(text: str, max_characters: int) -> Iterator[str]:
    """
    Cut a text into pieces of at most *max_characters* characters.

    Args:
        text: Any text.
        max_characters: At least 1.

    Yields:
        The pieces in order; joined they are *text*. A single grapheme that is longer than
        *max_characters* is cut, since the service would refuse it whole.

    >>> list(split_text("One. Two. Three.", 10))
    ['One. Two. ', 'Three.']
    """
    start = 0
    while len(text) - start > max_characters:
        end = _last_break(text, start, start + max_characters)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _last_break(text: str, start: int, limit: int) -> int:
    earliest = start + int((limit - start) * _EARLIEST_SHARE)
    fallback = start
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, start, limit)]
        # White space that reaches the limit may go on behind it, which does no harm; but a stop
        # that reaches the limit may be half of "..." or the point of "3.14".
        while ends and ends[-1] == limit and not text[limit - 1].isspace():
            ends.pop()
        if ends and ends[-1] > earliest:
            return ends[-1]
        fallback = max(fallback, ends[-1]) if ends else fallback
    if fallback > start:
        return fallback
    end = limit
    while end > start and _joined(text, end):
        end -= 1
    return end if end > start else limit


def _joined(text: str, index: int) -> bool:
    """Whether the characters on both sides of *index* are one grapheme (UAX 29, the main rules)."""
    before, after = text[index - 1], text[index]
    if before == _ZERO_WIDTH_JOINER or after == _ZERO_WIDTH_JOINER:
        return True
    if before == "\r" and after == "\n":
        return True
    # Marks, variation selectors and the vowel signs of Indic scripts are categories Mn, Mc, Me.
    if unicodedata.category(after).startswith("M"):
        return True
    if ord(after) in _SKIN_TONES or ord(after) in _TAGS:
        return True
    if ord(before) in _REGIONAL and ord(after) in _REGIONAL:
        flags = itertools.takewhile(lambda each: ord(each) in _REGIONAL, reversed(text[:index]))
        return sum(1 for _ in flags) % 2 == 1
    return _is_jamo(before) and _is_jamo(after)


def _is_jamo(character: str) -> bool:
    return 0x1100 <= ord(character) < 0x1200
