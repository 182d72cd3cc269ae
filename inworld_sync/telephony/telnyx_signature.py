"""
Checks the signatures of Telnyx's webhooks, and the token of its WebSockets.

Source: Telnyx, "Receiving webhooks", "Media streaming"; the Python package telnyx 4.189.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import time
from collections.abc import Mapping

from inworld_sync.errors import AuthError, ConfigError
from inworld_sync.models.checks import require_seconds
from inworld_sync.secret import Secret
from inworld_sync.telephony.twilio_signature import header_of

__all__ = ["TelnyxSignature", "check_stream_token"]

_SIGNATURE = "telnyx-signature-ed25519"
_TIMESTAMP = "telnyx-timestamp"

# The most digits of a timestamp, which counts seconds since 1970.
_MAX_DIGITS = 15


class TelnyxSignature:
    """
    Checks that webhooks were sent by Telnyx. This class needs the extra ``telephony``.

    Args:
        public_key: The account's public key in base64. With None, ``TELNYX_PUBLIC_KEY`` is read.
        tolerance: By how many seconds the time of a signature may differ from this server's time.

    Raises:
        ConfigError: There is no key, or the key is not 32 bytes in base64.
        ImportError: The extra is not installed.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, public_key: str | None = None, *, tolerance: float = 300.0) -> None:
        text = public_key or os.environ.get("TELNYX_PUBLIC_KEY", "")
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError as error:
            raise ImportError(
                "TelnyxSignature() needs the extra 'telephony': pip install "
                "'inworld-sync[telephony]'"
            ) from error
        try:
            self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise ConfigError(
                "TelnyxSignature() needs public_key= or the environment variable "
                "TELNYX_PUBLIC_KEY: the public key of the account, 32 bytes in base64"
            ) from None
        require_seconds("tolerance", tolerance)
        self._tolerance = tolerance

    def check_webhook(self, headers: Mapping[str, str], body: bytes) -> None:
        """
        Check a webhook.

        Args:
            headers: The headers of the request.
            body: The body as it was received, not parsed.

        Raises:
            AuthError: The request has no valid signature, or the time of the signature differs from
                this server's time by more than *tolerance*.
        """
        from cryptography.exceptions import InvalidSignature

        stamp = header_of(headers, _TIMESTAMP)
        is_time = stamp.isdecimal() and len(stamp) <= _MAX_DIGITS
        if not is_time or abs(time.time() - int(stamp)) > self._tolerance:
            raise AuthError(
                "the time of the webhook of Telnyx is missing, or differs from the time of this "
                f"server by more than {self._tolerance:g} s"
            )
        try:
            signature = base64.b64decode(header_of(headers, _SIGNATURE), validate=True)
            self._key.verify(signature, f"{stamp}|".encode() + body)
        except (binascii.Error, ValueError, InvalidSignature):
            raise AuthError(
                "the webhook has no valid signature of Telnyx: check the public key, and pass the "
                "body as it was received"
            ) from None


def check_stream_token(headers: Mapping[str, str], token: str) -> None:
    """
    Check the ``stream_auth_token`` of a WebSocket of Telnyx.

    The token may be the value of any header, alone or after a scheme such as ``Bearer``.

    Raises:
        AuthError: No header has the token.
    """
    token = Secret(token)
    found = False
    for value in headers.values():
        for each in (value, value.rpartition(" ")[2]):
            found = _is_equal(each, token) or found
    if not found:
        raise AuthError("no header of the WebSocket request has the stream_auth_token")


def _is_equal(given: str, token: str) -> bool:
    # This is a function of its own, so that no error report shows the bytes of the token.
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())
