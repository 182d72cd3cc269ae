"""Credentials: their header, the values that are refused, and their secrecy."""

from __future__ import annotations

import base64
import re

import pytest

from inworld_sync.auth import ApiKey, Auth, Token, auth_from
from inworld_sync.errors import ConfigError, ServiceError

KEY = base64.b64encode(b"key-id:key-secret").decode()
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

# Each entry has a credential and its header. A key of the portal is sent unchanged, also if a
# scheme is before the key. An id and a secret are encoded once.
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
    """A credential is converted to the Authorization header, and is never encoded twice."""
    assert ("Authorization", value) == auth.header()


@pytest.mark.parametrize(
    "text", [f'"{KEY}"', f"'{KEY}'\n", f' "Basic {KEY}" ', f"Basic '{KEY}'", f"basic\t{KEY}\r\n"]
)
def test_text_around_a_key(text: str) -> None:
    """Quotes, white space and the scheme around a key are removed."""
    assert ("Authorization", f"Basic {KEY}") == ApiKey(text).header()


@pytest.mark.parametrize(
    "text",
    [
        *("<key>", "${KEY}", "KEY=abc", "your-key", "{api_key}", "%INWORLD_API_KEY%"),
        *("xxx", "XXXXXXXX", "sk-xxxx", "xxxx-xxxx", "...", "***", "aaaa", "0000"),
        *("api_key", "API-KEY", "apikey", "inworld_api_key", "api_key_here", "access-token"),
        *("insert_key_here", "yourkey", "None", "null", "undefined", "changeme", "'todo'"),
    ],
)
def test_placeholder(text: str) -> None:
    """If a credential is a placeholder such as ``<key>``, the error says so."""
    with pytest.raises(ConfigError, match="the API key is a placeholder"):
        ApiKey(text)
    with pytest.raises(ConfigError, match="the token is a placeholder"):
        Token(text)


def test_scheme_of_another_credential() -> None:
    """If a key has ``Bearer``, or a token has ``Basic``, the error names the right argument."""
    with pytest.raises(ConfigError, match="the API key begins with Bearer; pass it as token="):
        ApiKey("Bearer abc")
    with pytest.raises(ConfigError, match="the token begins with Basic; pass it as api_key="):
        Token(f"'Basic {KEY}'")


@pytest.mark.parametrize("key", [KEY, "key-id:key-secret"])
def test_the_decoded_secret_is_masked(key: str) -> None:
    """If a service repeats the secret that the key contains, the secret is masked."""
    auth = ApiKey(key)

    assert "no *** for key-id" == str(ServiceError("no key-secret for key-id"))
    assert f"Basic {KEY}" == auth.header()[1]


def test_token_is_asked_for_every_request() -> None:
    """If the token is a callable, it is called for each request."""
    tokens = iter(["first", "second"])
    auth = Token(lambda: next(tokens))

    assert ["Bearer first", "Bearer second"] == [auth.header()[1], auth.header()[1]]


# These values are not credentials. They are empty texts, two words, other headers, other characters
# and placeholders.
WRONG = [
    *("", "  ", "Basic ", "two words", "key\r\nX-Evil: 1", "k\x7fy", "schlüssel", None, b"key"),
    *("<your-api-key>", "${INWORLD_API_KEY}", "$INWORLD_API_KEY", f"INWORLD_API_KEY={KEY}"),
    *(
        "your-key",
        "your_api_key",
        "YOUR-API-KEY-HERE",
        "my-token",
        f"export KEY='{KEY}'",
        '"',
        "''",
    ),
    *(f"{KEY};", f"{KEY},", f"Authorization: Basic {KEY}", f"\ufeff{KEY}", "abc…"),
]


@pytest.mark.parametrize("key", WRONG)
def test_wrong_key(key: str) -> None:
    """A key that cannot be sent in a header raises an error that does not show the key."""
    with pytest.raises(ConfigError) as caught:
        ApiKey(key)

    assert str(key or "nothing") not in str(caught.value)


def test_token_as_key() -> None:
    """A JSON Web Token as API key raises an error that says where to pass the token."""
    with pytest.raises(ConfigError, match="token="):
        ApiKey(TOKEN)


@pytest.mark.parametrize("token", WRONG)
def test_wrong_token(token: str) -> None:
    """If the callable returns a value that is not a token, using the token raises an error."""
    with pytest.raises(ConfigError, match="the token"):
        Token(lambda: token).header()


@pytest.mark.parametrize("auth", [ApiKey(KEY), Token(TOKEN), Token(lambda: TOKEN)])
def test_repr(auth: Auth) -> None:
    """The repr of a credential does not show the secret."""
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
    """An argument has priority over the environment."""
    own = ApiKey("own")

    assert "Basic given" == chosen(api_key="given", variable="other")
    assert "Bearer given" == chosen(token="given", variable="other")
    assert "Basic own" == chosen(auth=own, variable="other")
    assert "Basic other" == chosen(variable="other")


def test_none() -> None:
    """Without a credential, the error names all ways to pass a credential, and the emulator."""
    with pytest.raises(ConfigError, match=r"INWORLD_API_KEY.*api_key=.*token=.*auth=.*local=True"):
        chosen()


def test_empty_variable() -> None:
    """An empty environment variable counts as not set."""
    with pytest.raises(ConfigError, match="no credential"):
        chosen(variable="")


def test_empty_key() -> None:
    """
    An empty key raises an error.

    The key of the environment is not used instead, because it may belong to another account.
    """
    with pytest.raises(ConfigError, match="the API key is empty"):
        chosen(api_key="", variable="other")


def test_two() -> None:
    """Two credentials raise an error that names both arguments."""
    with pytest.raises(ConfigError, match="got api_key and token"):
        chosen(api_key="a", token="b")
