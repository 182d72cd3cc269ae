"""Credentials: their header, wrong values, and that they stay secret."""

from __future__ import annotations

import base64
import re

import pytest

from inworld_sync.auth import ApiKey, Auth, Token, auth_from
from inworld_sync.errors import ConfigError

KEY = base64.b64encode(b"key-id:key-secret").decode()
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

# (credential, header): a portal key goes out as it is, with or without the scheme that people
# paste with it; raw id and secret are encoded once.
HEADERS = [
    (ApiKey(KEY), f"Basic {KEY}"),
    (ApiKey(f"Basic {KEY}"), f"Basic {KEY}"),
    (ApiKey(f"  Basic  {KEY}\n"), f"Basic {KEY}"),
    (ApiKey(f"basic {KEY}"), f"Basic {KEY}"),
    (ApiKey("key-id:key-secret"), f"Basic {KEY}"),
    (Token(TOKEN), f"Bearer {TOKEN}"),
    (Token(f"Bearer {TOKEN}"), f"Bearer {TOKEN}"),
    (Token(lambda: TOKEN), f"Bearer {TOKEN}"),
]


@pytest.mark.parametrize(("auth", "value"), HEADERS)
def test_header(auth: Auth, value: str) -> None:
    """A credential becomes the Authorization header, never encoded twice."""
    assert ("Authorization", value) == auth.header()


def test_token_is_asked_for_every_request() -> None:
    """A function returns a new token for each call."""
    tokens = iter(["first", "second"])
    auth = Token(lambda: next(tokens))

    assert ["Bearer first", "Bearer second"] == [auth.header()[1], auth.header()[1]]


# Values that are no credential: nothing, two words, another header, other characters, quotes and
# placeholders of a .env file.
WRONG = [
    *("", "  ", "Basic ", "two words", "key\r\nX-Evil: 1", "k\x7fy", "schlüssel", None, b"key"),
    *(f'"{KEY}"', f"'{KEY}'", "<your-api-key>", "${INWORLD_API_KEY}", f"INWORLD_API_KEY={KEY}"),
    *(f"{KEY};", f"{KEY},", f"Authorization: Basic {KEY}", f"\ufeff{KEY}", "abc…"),
]


@pytest.mark.parametrize("key", WRONG)
def test_wrong_key(key: str) -> None:
    """A key that would break the request is an error that does not show the key."""
    with pytest.raises(ConfigError) as caught:
        ApiKey(key)

    assert str(key or "nothing") not in str(caught.value)


def test_token_as_key() -> None:
    """A JSON Web Token is not accepted as an API key; the error says where to pass it."""
    with pytest.raises(ConfigError, match="token="):
        ApiKey(TOKEN)


@pytest.mark.parametrize("token", WRONG)
def test_wrong_token(token: str) -> None:
    """A function that returns no token is an error when the header is requested."""
    with pytest.raises(ConfigError, match="the token"):
        Token(lambda: token).header()


@pytest.mark.parametrize("auth", [ApiKey(KEY), Token(TOKEN), Token(lambda: TOKEN)])
def test_repr(auth: Auth) -> None:
    """A credential does not show in its repr."""
    assert re.fullmatch(r"(ApiKey|Token)\('\*\*\*'\)", repr(auth))


def chosen(
    api_key: str | None = None,
    token: str | None = None,
    auth: Auth | None = None,
    variable: str | None = None,
) -> str:
    environment = {} if variable is None else {"INWORLD_API_KEY": variable}
    return auth_from(api_key=api_key, token=token, auth=auth, environment=environment).header()[1]


def test_choice() -> None:
    """A credential in the call replaces that of the environment."""
    own = ApiKey("own")

    assert "Basic given" == chosen(api_key="given", variable="other")
    assert "Bearer given" == chosen(token="given", variable="other")
    assert "Basic own" == chosen(auth=own, variable="other")
    assert "Basic other" == chosen(variable="other")


def test_none() -> None:
    """Without a credential the error names every way to pass one, and the emulator."""
    with pytest.raises(ConfigError, match=r"INWORLD_API_KEY.*api_key=.*token=.*auth=.*local=True"):
        chosen()


def test_empty_variable() -> None:
    """An empty variable counts as not set."""
    with pytest.raises(ConfigError, match="no credential"):
        chosen(variable="")


def test_empty_key() -> None:
    """
    An empty api_key is an error.

    The key of the environment must not replace it, since it may belong to another account.
    """
    with pytest.raises(ConfigError, match="the API key is empty"):
        chosen(api_key="", variable="other")


def test_two() -> None:
    """Two credentials are an error that names both."""
    with pytest.raises(ConfigError, match="got api_key and token"):
        chosen(api_key="a", token="b")
