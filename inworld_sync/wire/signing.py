"""
Makes the signature of a request for a token, from an API key.

Source: Inworld's examples ``mint_jwt.py`` and ``mint-jwt.js`` (JSON Web Token), and Inworld's guide
for realtime session tokens. The body of the request is not signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.secret import Secret

__all__ = ["JWT", "SESSION_TOKEN", "SigningKey", "TokenRequest", "authorization"]


@attrs.frozen
class TokenRequest:
    """
    How one kind of token is requested.

    Attributes:
        path: The path of the HTTP request.
        host: The host name that is signed. This name may differ from the host name of the request.
        method: The method name that is signed.
        nonce_digits: Length of the nonce, in hexadecimal digits.
    """

    path: str
    host: str
    method: str
    nonce_digits: int


JWT: Final = TokenRequest(
    "/auth/v1/tokens/token:generate",
    "api-engine.inworld.ai",
    "ai.inworld.engine.WorldEngine/GenerateToken",
    11,
)
SESSION_TOKEN: Final = TokenRequest(
    "/v1/sessionTokens/token:generate",
    "api.inworld.ai",
    "ai.inworld.engine.v1.SessionTokens/GenerateSessionToken",
    32,
)


@attrs.frozen
class SigningKey:
    """
    The two parts of an API key.

    Attributes:
        id: The id, which is sent with each request.
        secret: The secret, which is never sent.
    """

    id: str
    secret: Secret = attrs.field(repr=False, converter=Secret)

    @classmethod
    def parse(cls, api_key: str) -> SigningKey:
        """
        Read an API key as the portal shows it (base64 of id and secret), or ``id:secret``.

        Raises:
            ConfigError: *api_key* has neither form. The message does not repeat the key.
        """
        text = api_key.strip()
        if ":" not in text:
            try:
                text = base64.b64decode(text, validate=True).decode("ascii")
            except (binascii.Error, ValueError):
                text = ""
        key_id, _, secret = text.partition(":")
        if not key_id or not secret:
            raise ConfigError(
                "api_key must be the key that the portal shows, which is base64 of id:secret, or "
                "id:secret: other credentials cannot make tokens"
            )
        return cls(key_id, Secret(secret))


def authorization(request: TokenRequest, key: SigningKey, date: str, nonce: str) -> str:
    """
    Return the value of the header ``Authorization`` for a request of a token.

    Args:
        request: The kind of token.
        key: The API key.
        date: The time in UTC as ``YYYYMMDDHHMMSS``; the service accepts a small difference to its
            own clock.
        nonce: A number in hexadecimal digits that is used only once. The number has
            ``request.nonce_digits`` digits.
    """
    signed = f"IW1{key.secret}".encode()
    for part in (date, request.host.removesuffix(":443"), request.method, nonce, "iw1_request"):
        signed = hmac.digest(signed, part.encode(), hashlib.sha256)
    return f"IW1-HMAC-SHA256 ApiKey={key.id},DateTime={date},Nonce={nonce},Signature={signed.hex()}"
