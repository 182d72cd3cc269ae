"""
Checks credentials in the forms that the service accepts, and makes the responses to refused
credentials.

Source: the credential table and the handshake captures in the service's documentation. The response
to a refused key shows the first four characters of the key, as the response of the service does.
The service does not document its response to an expired token.
"""

from __future__ import annotations

import base64
import enum
import hmac
import json
import math
import secrets
import threading
import time
from collections.abc import Mapping, Sequence

import attrs

from inworld_sync.emulator.http import Request
from inworld_sync.emulator.status import PERMISSION_DENIED, UNAUTHENTICATED, status

__all__ = ["Credential", "Credentials", "Verdict", "make_api_key"]

_NO_RETRY = {"reconnectType": "NO_RETRY", "reconnectTime": None, "maxRetries": 0}
_STATUS_TYPE = "type.googleapis.com/ai.inworld.common.InworldStatus"

# The server remembers for this time that a token has expired.
_REMEMBERED_SECONDS = 3600.0

_OPENAI_PROTOCOL = "openai-insecure-api-key."


class Verdict(enum.Enum):
    """The result of checking a credential."""

    GOOD = "good"
    BAD = "bad"
    EXPIRED = "expired"
    MISSING = "missing"


@attrs.frozen
class Credential:
    """
    The credential that a client sent.

    Attributes:
        scheme: ``"basic"``, ``"bearer"``, or empty for none.
        secret: The key or the token, as it was sent.
    """

    scheme: str = ""
    secret: str = attrs.field(default="", repr=False)

    @classmethod
    def of(cls, request: Request) -> Credential:
        """Look for the credential in the header, then the query, then the subprotocols."""
        for text in (request.headers.get("authorization"), request.query_value("authorization")):
            scheme, _, secret = (text or "").strip().partition(" ")
            if secret and scheme.lower() in ("basic", "bearer"):
                return cls(scheme.lower(), secret.strip())
        for offered in request.headers.get("sec-websocket-protocol", "").split(","):
            # Browsers cannot send headers, so clients of OpenAI's service send the key in a
            # subprotocol.
            if offered.strip().startswith(_OPENAI_PROTOCOL):
                return cls("bearer", offered.strip().removeprefix(_OPENAI_PROTOCOL))
            scheme, _, secret = offered.strip().partition("_")
            if secret and scheme in ("basic", "bearer"):
                return cls(scheme, secret)
        # Two known clients of Realtime send the key as ``token`` in the query. On the other
        # endpoints, ``token`` is not a credential.
        token = request.query_value("token") if request.path.endswith("/realtime") else None
        return cls("bearer", token) if token else cls()


def make_api_key() -> str:
    """Make a random key in the form of the portal: base64 of ``id:secret``."""
    return base64.b64encode(
        f"local{secrets.token_hex(8)}:{secrets.token_urlsafe(24)}".encode()
    ).decode()


@attrs.define
class _Token:
    """A token that the server has issued. *expires_at* is a time of the monotonic clock."""

    expires_at: float
    is_single_use: bool
    is_used: bool = False


class Credentials:
    """
    Checks credentials with the key of the server and the tokens that the server has issued.

    Thread safety: any thread may use this object; one lock guards the table of tokens.
    """

    def __init__(self, api_key: str, *, check: bool = True) -> None:
        self.api_key = api_key
        self._check = check
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}
        self._nonces: dict[str, float] = {}

    @property
    def key_parts(self) -> tuple[str, str]:
        """The id and the secret of the key; a key of another form is an id without a secret."""
        try:
            text = base64.b64decode(self.api_key, validate=True).decode()
        except ValueError:
            text = self.api_key
        key_id, _, secret = text.partition(":")
        return key_id, secret

    def issue_token(
        self, lifetime: float, *, is_single_use: bool = False, resources: Sequence[str] = ()
    ) -> str:
        """
        Return a new JSON Web Token.

        Args:
            lifetime: The seconds until the token expires.
            is_single_use: Whether the token is accepted only once.
            resources: The workspaces to which the token is restricted.
        """
        key_id, secret = self.key_parts
        issued_at = int(time.time())
        claims: dict[str, object] = {
            "sub": key_id,
            "iat": issued_at,
            "exp": issued_at + math.ceil(lifetime),
            "jti": secrets.token_hex(8),
        }
        if resources:
            claims["resources"] = list(resources)
        signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
        signature = hmac.digest(secret.encode(), signed.encode(), "sha256")
        token = f"{signed}.{_base64url(signature)}"
        now = time.monotonic()
        with self._lock:
            oldest = now - _REMEMBERED_SECONDS
            known = self._tokens.items()
            self._tokens = {text: each for text, each in known if each.expires_at > oldest}
            self._tokens[token] = _Token(now + lifetime, is_single_use)
        return token

    def expire_tokens(self) -> None:
        """Expire every token now."""
        now = time.monotonic()
        with self._lock:
            for token in self._tokens.values():
                token.expires_at = min(token.expires_at, now)

    def accepts_once(self, nonce: str, age: float, max_age: float) -> bool:
        """Return whether a request of this *age* in seconds is recent and its nonce is new."""
        now = time.monotonic()
        with self._lock:
            self._nonces = {each: end for each, end in self._nonces.items() if end > now}
            if abs(age) > max_age or nonce in self._nonces:
                return False
            self._nonces[nonce] = now + 2 * max_age
            return True

    def judge(
        self, credential: Credential, *, bearer_key: bool, single_use: bool = True
    ) -> Verdict:
        """
        Check a credential. This check uses up a single-use token.

        Args:
            credential: The credential that the client sent.
            bearer_key: Whether the key itself is accepted as a bearer token. HTTP endpoints
                accept it; the TTS and STT WebSockets do not.
            single_use: Whether a single-use token is accepted; Realtime does not accept it.
        """
        if not self._check:
            return Verdict.GOOD
        if not credential.secret:
            return Verdict.MISSING
        if credential.scheme == "basic" or bearer_key:
            # A subprotocol cannot have "=", so padding may be missing.
            shown, key = (text.rstrip("=").encode() for text in (credential.secret, self.api_key))
            if hmac.compare_digest(shown, key):
                return Verdict.GOOD
        if credential.scheme == "bearer":
            with self._lock:
                token = self._tokens.get(credential.secret)
                if token is None or token.is_used or (token.is_single_use and not single_use):
                    return Verdict.BAD
                if token.expires_at <= time.monotonic():
                    return Verdict.EXPIRED
                token.is_used = token.is_single_use
                return Verdict.GOOD
        return Verdict.BAD

    @staticmethod
    def websocket_error(verdict: Verdict, credential: Credential) -> dict[str, object]:
        """Return the error that is sent on a TTS or STT WebSocket before the server closes it."""
        if verdict is not Verdict.BAD:
            return _unauthenticated(verdict)
        return status(
            PERMISSION_DENIED,
            f'Invalid credentials provided for API key "{credential.secret[:4]}***"',
        )

    @staticmethod
    def http_error(verdict: Verdict, credential: Credential) -> tuple[int, dict[str, object]]:
        """Return the status and the body of the response to a refused HTTP request."""
        if verdict is not Verdict.BAD:
            return 401, _unauthenticated(verdict)
        message = f'API key does not exist or was deleted: "{credential.secret[:4]}***"'
        return 403, status(PERMISSION_DENIED, message)


def _unauthenticated(verdict: Verdict) -> dict[str, object]:
    is_expired = verdict is Verdict.EXPIRED
    message = "the token has expired" if is_expired else "authentication is required"
    kind = "SESSION_TOKEN_EXPIRED" if is_expired else "SESSION_TOKEN_INVALID"
    detail = {"@type": _STATUS_TYPE, "errorType": kind, **_NO_RETRY}
    return {**status(UNAUTHENTICATED, message), "details": [detail]}


def _encoded(part: Mapping[str, object]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
