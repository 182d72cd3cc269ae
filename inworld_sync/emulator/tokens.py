"""
Issues tokens over HTTP. A signed request gets a JSON Web Token or a session token. Single-use
tokens need no signature.

Each token is random, and begins with the first characters of a JSON Web Token. A request is refused
if its time is wrong by more than five minutes, or if its nonce was used before.

Source: Inworld's examples for making tokens. The service's limit for the time is not documented.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import datetime, timedelta, timezone

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, UNAUTHENTICATED, Refused

__all__ = ["ROUTES"]

_LIFETIME_SECONDS = 3600.0
_SINGLE_USE_SECONDS = 300.0
_MAX_SINGLE_USE_SECONDS = 3600.0
_CLOCK_SECONDS = 300.0

_HEADER = re.compile(
    r"IW1-HMAC-SHA256 ApiKey=([^,]+),DateTime=(\d{14}),Nonce=([0-9a-f]+),Signature=([0-9a-f]{64})"
)
_TTL = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")


def _jwt(request: Request, shared: SharedState) -> Response:
    return _signed(
        request,
        shared,
        "api-engine.inworld.ai",
        "ai.inworld.engine.WorldEngine/GenerateToken",
    )


def _session_token(request: Request, shared: SharedState) -> Response:
    return _signed(
        request,
        shared,
        "api.inworld.ai",
        "ai.inworld.engine.v1.SessionTokens/GenerateSessionToken",
    )


def _signed(request: Request, shared: SharedState, host: str, method: str) -> Response:
    found = _HEADER.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise Refused(UNAUTHENTICATED, "expected a signed request, IW1-HMAC-SHA256")
    key_id, date, nonce, signature = found.groups()
    own_id, _, secret = base64.b64decode(shared.credentials.api_key).decode().partition(":")
    signed = f"IW1{secret}".encode()
    for part in (date, host, method, nonce, "iw1_request"):
        signed = hmac.new(signed, part.encode(), hashlib.sha256).digest()
    if key_id != own_id or not hmac.compare_digest(signed.hex(), signature):
        raise Refused(UNAUTHENTICATED, "the signature does not match the key")
    if not shared.credentials.accepts_once(nonce, _age_seconds(date), _CLOCK_SECONDS):
        raise Refused(UNAUTHENTICATED, "the request is too old, or its nonce was used before")
    token = shared.credentials.issue_token(_LIFETIME_SECONDS)
    return Response.of_json(
        {
            "token": token,
            "type": "Bearer",
            "expirationTime": _time_in(_LIFETIME_SECONDS),
            "sessionId": nonce,
        }
    )


def _single_use(request: Request, shared: SharedState) -> Response:
    body = read_body(request)
    if not isinstance(body, dict) or body.get("singleUse") is not True:
        raise Refused(INVALID_ARGUMENT, "single_use must be true")
    ttl = body.get("ttl", f"{_SINGLE_USE_SECONDS:g}s")
    found = _TTL.fullmatch(ttl) if isinstance(ttl, str) else None
    if found is None or not 0 < float(found[1]) <= _MAX_SINGLE_USE_SECONDS:
        raise Refused(INVALID_ARGUMENT, f"ttl must be 0s to {_MAX_SINGLE_USE_SECONDS:g}s")
    lifetime = float(found[1])
    token = shared.credentials.issue_token(lifetime, is_single_use=True)
    return Response.of_json({"accessToken": token, "expireTime": _time_in(lifetime)})


def _age_seconds(date: str) -> float:
    try:
        sent = datetime.strptime(date, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Refused(UNAUTHENTICATED, "DateTime is not a time") from None
    return (datetime.now(timezone.utc) - sent).total_seconds()


def _time_in(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


ROUTES = (
    HttpRoute(method="POST", path="/auth/v1/tokens/token:generate", handler=_jwt, is_signed=True),
    HttpRoute(
        method="POST",
        path="/v1/sessionTokens/token:generate",
        handler=_session_token,
        is_signed=True,
    ),
    HttpRoute(method="POST", path="/auth/v1/tokens", handler=_single_use),
)
