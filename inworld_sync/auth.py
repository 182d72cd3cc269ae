"""
Credentials: what goes into the ``Authorization`` header, and nothing else.

Nothing here talks to the network. A secret never shows in a repr, a log or an error.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from inworld_sync.errors import ConfigError

__all__ = ["API_KEY_VARIABLE", "ApiKey", "Auth", "Token", "auth_from"]

API_KEY_VARIABLE = "INWORLD_API_KEY"

# People paste a credential with the scheme of the header before it.
_SCHEME = re.compile(r"^\s*(Basic|Bearer)(\s+|$)")


class Auth(Protocol):
    """Gives the header that a request is sent with; called once for every request."""

    def header(self) -> tuple[str, str]:
        """The header's name and value, valid now."""
        ...


def _header_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be a str, got {type(value).__name__}")
    word = _SCHEME.sub("", value).strip()
    if not word:
        raise ConfigError(f"{what} is empty")
    if not word.isascii() or not word.isprintable() or " " in word:
        raise ConfigError(f"{what} must be one word of ASCII characters, as the portal shows it")
    return word


class ApiKey:
    """
    The key as the Inworld portal shows it.

    It already is base64 of id and secret, and is sent as it is, never encoded again.
    ``id:secret`` is accepted too and encoded once.
    """

    def __init__(self, key: str) -> None:
        key = _header_text(key, "the API key")
        if ":" in key:
            key = base64.b64encode(key.encode()).decode()
        self._key = key

    @property
    def key(self) -> str:
        """The key, which is base64 of id and secret."""
        return self._key

    def header(self) -> tuple[str, str]:
        """``Authorization: Basic ...``."""
        return "Authorization", f"Basic {self._key}"

    def __repr__(self) -> str:
        return "ApiKey('***')"


class Token:
    """
    A JSON Web Token, or a callable that gives a fresh one.

    Args:
        token: Called for every new connection when it is a callable; must not block for long.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token if callable(token) else _header_text(token, "the token")

    def header(self) -> tuple[str, str]:
        """``Authorization: Bearer ...``."""
        token = self._token if isinstance(self._token, str) else self._token()
        return "Authorization", f"Bearer {_header_text(token, 'the token')}"

    def __repr__(self) -> str:
        return "Token('***')"


def auth_from(
    *,
    api_key: str | None,
    token: str | Callable[[], str] | None,
    auth: Auth | None,
    environment: Mapping[str, str] | None = None,
) -> Auth:
    """
    Choose the one credential that was given, or the environment's key.

    Raises:
        ConfigError: More than one was given, or none and the environment has none either.
    """
    values = {"api_key": api_key, "token": token, "auth": auth}
    given = [name for name, value in values.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"expected one credential, got {' and '.join(given)}")
    if auth is not None:
        if not callable(getattr(auth, "header", None)):
            raise ConfigError(
                f"auth must have the method header(), got {type(auth).__name__}; a key goes into "
                "api_key= and a JSON Web Token into token="
            )
        return auth
    if token is not None:
        return Token(token)
    if api_key is not None:
        return ApiKey(api_key)
    key = (os.environ if environment is None else environment).get(API_KEY_VARIABLE)
    if not key:
        raise ConfigError(
            f"no credential: set the environment variable {API_KEY_VARIABLE}, or pass api_key=, "
            "token= or auth=, or use local=True, --local on the command line, for the local "
            "server, which needs no account"
        )
    return ApiKey(key)
