"""
Checks the text of users before anything is sent. Joins characters that are cut between two pieces
of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from inworld_sync.errors import ConfigError

__all__ = [
    "is_blank",
    "join_halves",
    "lone_surrogate_error",
    "require_piece",
    "require_pieces",
    "require_text",
]

_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def is_blank(text: str) -> bool:
    """Return whether a text has nothing to speak, because it is empty or only white space."""
    return not text.strip()


def require_piece(text: object) -> None:
    """
    Check that a value is a text that can be sent.

    Raises:
        ConfigError: *text* is not a str, or has one half of a surrogate pair without the other
            half.
    """
    if not isinstance(text, str):
        hint = ", decode it first" if isinstance(text, (bytes, bytearray)) else ""
        raise ConfigError(f"text must be a str, got {type(text).__name__}{hint}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise lone_surrogate_error(text[error.start], error.start) from None


def lone_surrogate_error(surrogate: str, index: int | None = None) -> ConfigError:
    """Return the error for half of a surrogate pair at *index*. None means the end of a text."""
    place = "the end of the text" if index is None else f"character {index}"
    return ConfigError(
        f"text must be valid Unicode, got the lone surrogate {surrogate!a} at {place}"
    )


def join_halves(half: str, piece: str) -> tuple[str, str]:
    """
    Join the surrogate pairs of a text that comes in pieces.

    Args:
        half: The second result of the call for the previous piece. This text is empty for the first
            piece.
        piece: The next piece.

    Returns:
        The text with complete characters only, and the first half of a surrogate pair that was at
        the end of the piece. The second result is empty if there was no such half.
    """
    text, rest = half + piece, ""
    if text and "\ud800" <= text[-1] <= "\udbff":
        text, rest = text[:-1], text[-1]
    if not text.isascii():
        text = _SURROGATE_PAIR.sub(_character_of, text)
    return text, rest


def _character_of(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def require_text(text: object) -> None:
    """
    Check that a value is a text that can be spoken.

    Raises:
        ConfigError: *text* is not a str, is blank, or has one half of a surrogate pair without the
            other half.
    """
    require_piece(text)
    if is_blank(str(text)):
        raise ConfigError("text must have something to speak, got only white space")


def require_pieces(pieces: object) -> None:
    """
    Check that a value can be iterated for pieces of text.

    Raises:
        ConfigError: *pieces* is bytes, or not iterable.
    """
    if isinstance(pieces, (bytes, bytearray)) or not isinstance(pieces, Iterable):
        raise ConfigError(f"text must be a str or an iterable of str, got {type(pieces).__name__}")
