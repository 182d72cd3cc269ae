"""Checks the arguments that the program passes, and the texts that browsers send."""

from __future__ import annotations

from inworld_sync.errors import ConfigError
from inworld_sync.models.tts import ContextConfig
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.wire.text import require_text

__all__ = [
    "require_config",
    "require_count",
    "require_short_names",
    "require_short_text",
    "require_tts",
]

_MAX_NAME_CHARACTERS = 256


def require_count(value: object, name: str) -> None:
    """Raise ConfigError if a value is not an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} must be an integer of at least 1, got {value!r}")


def require_tts(value: object) -> None:
    """Raise ConfigError if a value is not the ``tts`` of a client."""
    if not isinstance(value, Tts):
        raise ConfigError(f"tts must be iw.tts of a client, got {type(value).__name__}")


def require_config(value: object) -> None:
    """Raise ConfigError if a value is neither a ContextConfig nor None."""
    if value is not None and not isinstance(value, ContextConfig):
        raise ConfigError(f"config must be a ContextConfig, got {type(value).__name__}")


def require_short_text(text: object, max_characters: int) -> str:
    """Return the text of a request. Raise ConfigError if the text is missing, blank or too long."""
    if text is None:
        raise ConfigError("text is missing in the request")
    if not isinstance(text, str):
        raise ConfigError(f"text must be a string, got {type(text).__name__}")
    if len(text) > max_characters:
        raise ConfigError(
            f"text may have at most {max_characters} characters, got {len(text)}: send it in parts"
        )
    require_text(text)
    return text


def require_short_names(**names: object) -> None:
    """
    Raise ConfigError if a voice, model or language is too long.

    If a connection receives a huge message, the service closes the connection. This would also end
    the speeches of other users on the connection.
    """
    for name, value in names.items():
        if isinstance(value, str) and len(value) > _MAX_NAME_CHARACTERS:
            raise ConfigError(
                f"{name} may have at most {_MAX_NAME_CHARACTERS} characters, got {len(value)}"
            )
