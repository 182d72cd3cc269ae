"""
Checks the signatures of Twilio's requests.

Source: Twilio, "Security", "Validating Requests". The header for shared keys is taken from the
Python package twilio 9.13.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from inworld_sync.errors import AuthError, ConfigError
from inworld_sync.secret import Secret

__all__ = ["TwilioSignature", "header_of"]

_SIGNATURE = "x-twilio-signature"
_SETTINGS = "x-twilio-webhooks-signature-settings"
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class TwilioSignature:
    """
    Checks that requests were made by Twilio.

    Args:
        public_url: The address under which Twilio requests this server, such as
            ``https://voice.example.com``. A server behind a proxy does not know this address.
        auth_token: The auth token of the account. With None, ``TWILIO_AUTH_TOKEN`` is read.
        shared_key: The secret of a shared key, for requests with a SHA-256 signature.

    Raises:
        ConfigError: *public_url* is not an address, or there is no auth token.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self, public_url: str, *, auth_token: str | None = None, shared_key: str | None = None
    ) -> None:
        # An error report may show variables of this function and this object, so use Secret.
        auth_token = Secret(auth_token or os.environ.get("TWILIO_AUTH_TOKEN", ""))
        shared_key = None if shared_key is None else Secret(shared_key)
        self._host = ""
        parts = _split(public_url)
        if parts is None:
            # The part before the @ may be a password, so the error does not show this part.
            raise ConfigError(
                "public_url must be the address of this server that Twilio requests, such as "
                "https://voice.example.com, without a user, a password or a query, got "
                f"{public_url.rpartition('@')[2]!r}"
            )
        if not auth_token and shared_key is None:
            raise ConfigError(
                "TwilioSignature() needs auth_token= or the environment variable TWILIO_AUTH_TOKEN"
            )
        self._parts, self._host = parts, parts.netloc
        self._token, self._shared_key = Secret(auth_token), shared_key and Secret(shared_key)

    def check_webhook(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, str] | bytes
    ) -> None:
        """
        Check a request to the webhook.

        Args:
            path: The path of the request with its query, such as ``/voice?x=1``.
            headers: The headers of the request.
            body: The fields of a form, or the bytes of a JSON body.

        Raises:
            AuthError: The request has no valid signature.
        """
        self._check("https", path, headers, body)

    def check_socket(self, path: str, headers: Mapping[str, str]) -> None:
        """
        Check the request of a WebSocket.

        Args:
            path: The path of the request.
            headers: The headers of the request.

        Raises:
            AuthError: The request has no valid signature.
        """
        self._check("wss", path, headers, {})

    def _check(
        self,
        scheme: Literal["https", "wss"],
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, str] | bytes,
    ) -> None:
        given = header_of(headers, _SIGNATURE)
        secret, digest = self._method(header_of(headers, _SETTINGS))
        fields = body if isinstance(body, Mapping) else {}
        signed_fields = "".join(
            name + value for name in sorted(set(fields)) for value in _values(fields, name)
        )
        is_valid = isinstance(body, Mapping) or _has_hash(path, body)
        found = False
        for url in self._urls(scheme, path):
            found = _is_signed(url + signed_fields, given, secret, digest) or found
        if not (found and is_valid):
            raise AuthError(
                "the request has no valid signature of Twilio: check the auth token, and that "
                f"public_url and the path are those that Twilio requests, here {scheme}://"
                f"{self._parts.netloc}{self._parts.path}{path.partition('?')[0]}"
            )

    def _method(self, settings: str) -> tuple[Secret, Literal["sha1", "sha256"]]:
        """Return the secret and the hash function for a request."""
        pairs = (part.strip().partition("=") for part in settings.split(","))
        values = {name: value for name, _, value in pairs}
        algorithm = values.get("algorithm", "").upper() or "HMAC_SHA1"
        if algorithm == "HMAC_SHA256" and self._shared_key:
            return self._shared_key, "sha256"
        if algorithm == "HMAC_SHA1" and self._token:
            return self._token, "sha1"
        raise AuthError(
            f"a request of Twilio is signed with {algorithm}: pass "
            f"{'shared_key=' if algorithm == 'HMAC_SHA256' else 'auth_token='} to TwilioSignature()"
        )

    def _urls(self, scheme: str, path: str) -> tuple[str, str]:
        """Return the address with and without its port, because Twilio may sign either form."""
        if not path.startswith("/"):
            raise ConfigError(f"path must begin with '/', got {path!r}")
        parts = self._parts
        # A server without TLS, as in tests, has the schemes http and ws.
        is_plain = parts.scheme in ("http", "ws")
        scheme = {"https": "http", "wss": "ws"}[scheme] if is_plain else scheme
        host = parts.netloc if parts.port is None else parts.netloc.rpartition(":")[0]
        port = parts.port or _PORTS[scheme]
        rest = parts.path.rstrip("/") + path
        return f"{scheme}://{host}:{port}{rest}", f"{scheme}://{host}{rest}"

    def __repr__(self) -> str:
        return f"<TwilioSignature {self._host}>"


def _split(public_url: str) -> SplitResult | None:
    """Return the parts of an address; None if no server can have this address."""
    try:
        parts = urlsplit(public_url)
        is_right = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_right and not parts.query and "@" not in parts.netloc else None


def _is_signed(text: str, given: str, secret: Secret, digest: str) -> bool:
    # This is a function of its own, so that no error report shows the right signature.
    mac = hmac.new(secret.encode(), text.encode(errors="replace"), digest)
    expected = base64.b64encode(mac.digest())
    return hmac.compare_digest(expected, given.encode(errors="replace"))


def header_of(headers: Mapping[str, str], name: str) -> str:
    """Return a header by its lower-case name, or "" if the header is missing."""
    for each, value in headers.items():
        if each.lower() == name:
            return value
    return ""


def _values(fields: Mapping[str, str], name: str) -> list[str]:
    """Return the values of a field. A form of Flask or Django may have several values."""
    values = getattr(fields, "getlist", lambda each: [fields[each]])(name)
    return sorted(set(values))


def _has_hash(path: str, body: bytes) -> bool:
    """Return whether the query has the hash of a JSON body."""
    hashes = parse_qs(path.partition("?")[2]).get("bodySHA256", [])
    found = hashlib.sha256(body).hexdigest()
    return len(hashes) == 1 and hmac.compare_digest(hashes[0].encode(), found.encode())
