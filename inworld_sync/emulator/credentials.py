"""
Checks credentials in the forms that the service accepts, and makes the responses to refused
credentials.

Source: the credential table and the handshake captures in the service's documentation. The response
to a refused key shows the first four characters of the key, as the service does.
"""

from __future__ import annotations

import base64
import enum
import hmac
import secrets
import threading
import time

import attrs

from inworld_sync.emulator.http import Request
from inworld_sync.emulator.status import PERMISSION_DENIED, UNAUTHENTICATED, status

__all__ = ["Credential", "Credentials", "Verdict", "make_api_key"]

_UNAUTHENTICATED_DETAIL = {
    "@type": "type.googleapis.com/ai.inworld.common.InworldStatus",
    "errorType": "SESSION_TOKEN_INVALID",
    "reconnectType": "NO_RETRY",
    "reconnectTime": None,
    "maxRetries": 0,
}
_OPENAI_PROTOCOL = "openai-insecure-api-key."


class Verdict(enum.Enum):
    """The result of checking a credential."""

    GOOD = "good"
    BAD = "bad"
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
            # Browsers cannot send headers, so clients of OpenAI's service send the key here.
            if offered.strip().startswith(_OPENAI_PROTOCOL):
                return cls("bearer", offered.strip().removeprefix(_OPENAI_PROTOCOL))
            scheme, _, secret = offered.strip().partition("_")
            if secret and scheme in ("basic", "bearer"):
                return cls(scheme, secret)
        # Two clients of realtime send the key as ``token``. On the other endpoints, ``token`` is
        # not a credential.
        token = request.query_value("token") if request.path.endswith("/realtime") else None
        return cls("bearer", token) if token else cls()


def make_api_key() -> str:
    """Make a random key in the form of the portal: base64 of ``id:secret``."""
    return base64.b64encode(
        f"local{secrets.token_hex(8)}:{secrets.token_urlsafe(24)}".encode()
    ).decode()


class Credentials:
    """
    The key of the server, and the tokens that it has issued.

    Thread safety: any thread; one lock guards the table of tokens.
    """

    def __init__(self, api_key: str, *, check: bool = True) -> None:
        self.api_key = api_key
        self._check = check
        self._lock = threading.Lock()
        self._expiry: dict[str, float] = {}
        self._single_use: set[str] = set()
        self._nonces: dict[str, float] = {}

    def issue_token(self, lifetime: float, *, is_single_use: bool = False) -> str:
        """Return a new bearer token that is valid for *lifetime* seconds, or for one use."""
        token = f"eyJ{secrets.token_urlsafe(48)}"
        now = time.monotonic()
        with self._lock:
            self._expiry = {each: end for each, end in self._expiry.items() if end > now}
            self._single_use &= self._expiry.keys()
            self._expiry[token] = now + lifetime
            if is_single_use:
                self._single_use.add(token)
        return token

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
        Check a credential. A token for one use is used up by it.

        Args:
            credential: The credential that the client sent.
            bearer_key: Whether the key itself is accepted as a bearer token. HTTP endpoints
                accept it; the TTS and STT WebSockets do not.
            single_use: Whether a token for one use is accepted.
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
                is_single_use = credential.secret in self._single_use
                is_valid = self._expiry.get(credential.secret, 0.0) > time.monotonic()
                if is_valid and (single_use or not is_single_use):
                    if is_single_use:
                        self._single_use.discard(credential.secret)
                        del self._expiry[credential.secret]
                    return Verdict.GOOD
        return Verdict.BAD

    @staticmethod
    def websocket_error(verdict: Verdict, credential: Credential) -> dict[str, object]:
        """Return the error that is sent on a TTS or STT WebSocket before it is closed."""
        if verdict is Verdict.MISSING:
            return _missing()
        return status(
            PERMISSION_DENIED,
            f'Invalid credentials provided for API key "{credential.secret[:4]}***"',
        )

    @staticmethod
    def http_error(verdict: Verdict, credential: Credential) -> tuple[int, dict[str, object]]:
        """Return the status and the body of the response to a refused HTTP request."""
        if verdict is Verdict.MISSING:
            return 401, _missing()
        message = f'API key does not exist or was deleted: "{credential.secret[:4]}***"'
        return 403, status(PERMISSION_DENIED, message)


def _missing() -> dict[str, object]:
    missing = status(UNAUTHENTICATED, "authentication is required")
    return {**missing, "details": [_UNAUTHENTICATED_DETAIL]}
