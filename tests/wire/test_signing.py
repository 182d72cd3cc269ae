"""The signature of a token request is equal to that of the reference implementation."""

from __future__ import annotations

import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.wire.signing import (
    JWT,
    SESSION_TOKEN,
    SigningKey,
    TokenRequest,
    authorization,
)

KEY = SigningKey("EXAMPLEKEY0123456789", "ExampleSecret/With+Chars==")
DATE = "20260921123456"

VECTORS = [
    (
        JWT,
        "0123456789a",
        "587a506838934d9ecf47d4eb34bec4549cbe2610b0a6e576cec127ff17213084",
    ),
    (
        TokenRequest(JWT.path, "api-engine.inworld.ai:443", JWT.method, 11),
        "0123456789a",
        "587a506838934d9ecf47d4eb34bec4549cbe2610b0a6e576cec127ff17213084",
    ),
    (
        SESSION_TOKEN,
        "00112233445566778899aabbccddeeff",
        "f810ecff592dbf06931f57b624432f3017e3158ec8cf4f36a57f7c314b56f31a",
    ),
]


@pytest.mark.parametrize(("request_", "nonce", "signature"), VECTORS)
def test_vectors(request_: TokenRequest, nonce: str, signature: str) -> None:
    """For the same time and nonce, the header is equal to that of the reference implementation."""
    assert (
        "IW1-HMAC-SHA256 ApiKey=EXAMPLEKEY0123456789,DateTime=20260921123456,"
        f"Nonce={nonce},Signature={signature}"
    ) == authorization(request_, KEY, DATE, nonce)


@pytest.mark.parametrize(
    "text",
    [
        "EXAMPLEKEY0123456789:ExampleSecret/With+Chars==",
        "RVhBTVBMRUtFWTAxMjM0NTY3ODk6RXhhbXBsZVNlY3JldC9XaXRoK0NoYXJzPT0=",
        " RVhBTVBMRUtFWTAxMjM0NTY3ODk6RXhhbXBsZVNlY3JldC9XaXRoK0NoYXJzPT0=\n",
    ],
)
def test_keys(text: str) -> None:
    """The text ``id:secret`` and the portal's base64 form of this text are the same key."""
    assert KEY == SigningKey.parse(text)


@pytest.mark.parametrize(
    "text", ["", "x", "bm9jb2xvbg==", ":secret-part", "id-part:", "é:secret-part"[:1]]
)
def test_keys_that_cannot_sign(text: str) -> None:
    """The error for a wrong key says what is expected and does not show the key."""
    with pytest.raises(ConfigError, match="id:secret") as raised:
        SigningKey.parse(text)

    assert "secret-part" not in str(raised.value)


def test_secrets_are_not_shown() -> None:
    """The repr of a key shows at most the id."""
    assert "ExampleSecret" not in repr(KEY)
