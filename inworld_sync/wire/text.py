"""
Splits text into pieces that the TTS service accepts, at the end of a sentence if possible.

A piece ends at the end of a paragraph; if none fits, of a sentence, of a clause or of a word; if
none of these fits, between two graphemes. The pieces joined are the text, unchanged.
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
# End a sentence if white space follows: Latin, Greek, Cyrillic, Arabic, Urdu, Indic, Armenian,
# Ethiopic, Khmer, Burmese.
_SPACED_ENDS = ".!?…؟۔।॥։።៕။;·"
# End a sentence in any case: Chinese, Japanese, full-width forms.
_CLOSED_ENDS = "。！？．"

# From the best kind of break to the worst; a match includes the white space after the break.
_BREAKS = (
    re.compile(r"\n\s*\n\s*"),
    re.compile(rf"[{_SPACED_ENDS}]+[{_CLOSERS}]*\s+|[{_CLOSED_ENDS}]+[{_CLOSERS}]*\s*"),
    # White space is required after a comma or colon, so that 1,000 and 12:30 are not split.
    re.compile(rf"[,:][{_CLOSERS}]*\s+|[،、，；—–]+\s*|\n+"),
    re.compile(r"\s+"),
)

# A break in the first third would make a short piece, so a worse kind of break is tried first.
_EARLIEST_SHARE = 1 / 3

_ZERO_WIDTH_JOINER = "\u200d"
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# Tag characters, of which the flags of England, Scotland and Wales consist.
_TAGS = range(0xE0020, 0xE0080)


def is_blank(text: str) -> bool:
    """Return whether a text has nothing to speak, because it is empty or only white space."""
    return not text.strip()


def require_piece(text: object) -> None:
    """
    Check that a value is a text that can be sent.

    Raises:
        ConfigError: It is not a str, or has half of a surrogate pair.
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
    Check that a value is a text that can be spoken.

    Raises:
        ConfigError: As :func:`require_piece`, or the text is blank.
    """
    require_piece(text)
    if is_blank(str(text)):
        raise ConfigError("text must have something to speak, got only white space")


def require_pieces(pieces: object) -> None:
    """
    Check that a value can be iterated for pieces of text.

    Raises:
        ConfigError: It is bytes, or not iterable.
    """
    if isinstance(pieces, (bytes, bytearray)) or not isinstance(pieces, Iterable):
        raise ConfigError(f"text must be a str or an iterable of str, got {type(pieces).__name__}")


def split_text(text: str, max_characters: int) -> Iterator[str]:
    """
    Split a text into pieces of at most *max_characters* characters.

    Args:
        text: Any text.
        max_characters: At least 1.

    Yields:
        The pieces in order; joined they are *text*. A grapheme that is longer than
        *max_characters* is split too, since the service would refuse it.

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
        # A full stop right before the limit may be a part of "..." or the point of "3.14".
        # White space may continue after the limit.
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
    """
    Return whether the characters before and after *index* belong to one grapheme.

    These are the main rules of Unicode Standard Annex 29.
    """
    before, after = text[index - 1], text[index]
    if before == _ZERO_WIDTH_JOINER or after == _ZERO_WIDTH_JOINER:
        return True
    if before == "\r" and after == "\n":
        return True
    # Mn, Mc and Me: combining marks, variation selectors, vowel signs of Indic scripts.
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
