"""Checks of the text that users pass, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable

from inworld_sync.errors import ConfigError

__all__ = ["is_blank", "require_piece", "require_pieces", "require_text"]


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
