"""Credentials: the header they become, what is refused, and that they never show."""

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
    """A callable gives a fresh token each time."""
    tokens = iter(["first", "second"])
    auth = Token(lambda: next(tokens))

    assert ["Bearer first", "Bearer second"] == [auth.header()[1], auth.header()[1]]


# What cannot be a credential: nothing, two words, a header of its own, other alphabets.
WRONG = ["", "  ", "Basic ", "two words", "key\r\nX-Evil: 1", "k\x7fy", "schlüssel", None, b"key"]


@pytest.mark.parametrize("key", WRONG)
def test_wrong_key(key: str) -> None:
    """A key that would break the request is refused, and the error does not show it."""
    with pytest.raises(ConfigError) as caught:
        ApiKey(key)

    assert str(key or "nothing") not in str(caught.value)


@pytest.mark.parametrize("token", WRONG)
def test_wrong_token(token: str) -> None:
    """A callable that gives no token is reported when the token is wanted."""
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
    """What is given in the call wins over the environment."""
    own = ApiKey("own")

    assert "Basic given" == chosen(api_key="given", variable="other")
    assert "Bearer given" == chosen(token="given", variable="other")
    assert "Basic own" == chosen(auth=own, variable="other")
    assert "Basic other" == chosen(variable="other")


def test_none() -> None:
    """Without any credential the error names every way to give one, and the way without."""
    with pytest.raises(ConfigError, match=r"INWORLD_API_KEY.*api_key=.*token=.*auth=.*local=True"):
        chosen()


def test_empty_variable() -> None:
    """A variable that is set to nothing counts as not set."""
    with pytest.raises(ConfigError, match="no credential"):
        chosen(variable="")


def test_empty_key_is_no_wish_for_the_environment() -> None:
    """
    A key that is given and empty is an error.

    It once let the key of the environment through, which may belong to another account.
    """
    with pytest.raises(ConfigError, match="the API key is empty"):
        chosen(api_key="", variable="other")


def test_two() -> None:
    """Two credentials are a mistake that is named."""
    with pytest.raises(ConfigError, match="got api_key and token"):
        chosen(api_key="a", token="b")
