"""
Issues tokens over HTTP. A signed request gets a JSON Web Token or a session token. Single-use
tokens need no signature.

A request is refused if its time is wrong by more than five minutes, if its nonce was used already,
if its body names another key, or if it asks for a workspace that the account does not have.

Source: Inworld's examples for making tokens. The service's limit for the time and its response to
an unknown workspace are not documented.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta, timezone

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.protojson import read_body
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import (
    INVALID_ARGUMENT,
    PERMISSION_DENIED,
    UNAUTHENTICATED,
    Refused,
)

__all__ = ["ROUTES"]

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
    own_id, secret = shared.credentials.key_parts
    if not secret:
        raise Refused(UNAUTHENTICATED, "the key of this server has no secret")
    signed = f"IW1{secret}".encode()
    for part in (date, host, method, nonce, "iw1_request"):
        signed = hmac.new(signed, part.encode(), hashlib.sha256).digest()
    if key_id != own_id or not hmac.compare_digest(signed.hex(), signature):
        raise Refused(UNAUTHENTICATED, "the signature does not match the key")
    if not shared.credentials.accepts_once(nonce, _age_seconds(date), _CLOCK_SECONDS):
        raise Refused(UNAUTHENTICATED, "the request is too old, or its nonce was used before")
    lifetime = shared.settings.token_lifetime
    token = shared.credentials.issue_token(lifetime, resources=_resources(request, shared, own_id))
    return Response.of_json(
        {
            "token": token,
            "type": "Bearer",
            "expirationTime": _time_in(lifetime),
            "sessionId": nonce,
        }
    )


def _resources(request: Request, shared: SharedState, key_id: str) -> list[str]:
    """Return the resources of the body, such as ``workspaces/local``."""
    body = read_body(request)
    if not isinstance(body, dict):
        raise Refused(INVALID_ARGUMENT, "the body must be an object")
    if any(body.get(name, key_id) != key_id for name in ("key", "apiKey")):
        raise Refused(UNAUTHENTICATED, "the body names another key than the signature")
    resources = body.get("resources") or []
    if not isinstance(resources, list) or not all(isinstance(each, str) for each in resources):
        raise Refused(INVALID_ARGUMENT, "resources must be an array of strings")
    known = {f"workspaces/{name}" for name in shared.settings.workspaces}
    for each in resources:
        if not each.startswith("workspaces/"):
            raise Refused(INVALID_ARGUMENT, "a resource must have the form workspaces/NAME")
        if each not in known:
            raise Refused(PERMISSION_DENIED, f"no access to {each}")
    return resources


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
