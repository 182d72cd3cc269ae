"""
Tokens for browsers, devices and other processes that must not have the API key.

Lock rule: ``JwtAuth._changed`` guards its token and whether a thread is asking for the next one;
it is held for a few statements and never during a request.
"""

from __future__ import annotations

import contextlib
import email.utils
import math
import os
import re
import secrets
import threading
import time
from datetime import datetime, timezone
from typing import get_args

from inworld_sync.auth import ApiKey, Auth
from inworld_sync.errors import ConfigError, DeadlineExceeded, InworldError, RemoteProtocolError
from inworld_sync.models.options import Options
from inworld_sync.models.tokens import AccessToken, TokenKind
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient, HttpResponse
from inworld_sync.wire.codec import object_in
from inworld_sync.wire.signing import JWT, SESSION_TOKEN, SigningKey, authorization

__all__ = ["JwtAuth", "Tokens"]

_SINGLE_USE_PATH = "/auth/v1/tokens"
_MAX_SINGLE_USE_SECONDS = 3600

# Of a token whose answer has no expiry; the reference client assumes the same.
_ASSUMED_LIFETIME = 30 * 60.0

# A refresh that failed is not repeated sooner.
_RETRY_SECONDS = 5.0

# Of RFC 3339: any number of digits after the point, Z or an offset.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:?\d\d)?\Z")


class Tokens:
    """
    Makes tokens. Reached as ``iw.tokens``.

    Thread safety: any thread.
    """

    def __init__(self, http: HttpClient, auth: Auth) -> None:
        self._http = http
        self._auth = auth

    def mint(
        self,
        kind: TokenKind = "jwt",
        *,
        workspace: str | None = None,
        lifetime: float | None = None,
        reference_id: str | None = None,
        timeout: float = 10.0,
    ) -> AccessToken:
        """
        Make a token with the API key of this client.

        Args:
            kind: ``jwt`` for all services; ``session`` for realtime in browsers, with all rights
                of the key; ``single_use`` for one TTS or STT WebSocket.
            workspace: Restricts a ``jwt`` to a workspace, by its name or ``workspaces/NAME``.
            lifetime: Seconds until a ``single_use`` token expires, 1 to 3600; None leaves it to the
                service, as for the other kinds.
            reference_id: A text of yours that the service keeps with a ``single_use`` token.
            timeout: Seconds for the whole request.

        Raises:
            ConfigError: An argument does not fit the kind, or this client has no API key.
            AuthError: The service does not accept the key, or the clock of this machine is wrong.
            QuotaError: Too many tokens; the service makes 60 single-use tokens a minute.
            TransportError: Could not connect, or no answer in time.
        """
        if not isinstance(self._auth, ApiKey):
            raise ConfigError(
                "tokens.mint() needs a client with an API key; this client has a token or an "
                "auth object"
            )
        return _mint(
            self._http,
            SigningKey.parse(self._auth.key),
            kind,
            workspace,
            lifetime,
            reference_id,
            timeout,
        )


class JwtAuth:
    """
    An ``auth=`` for :class:`~inworld_sync.Inworld` that sends a JSON Web Token and renews it.

    The first request makes a token. A token that expires soon is renewed by a background thread
    while requests use it; a request waits only if the token has expired. A token that the service
    refuses is dropped. Expiry is counted from the service's own clock, so that a wrong clock of
    this machine does not matter. A forked child continues with the token of its parent.

    Args:
        api_key: The key as the portal shows it.
        workspace: Restricts the token to a workspace.
        kind: ``jwt`` or ``session``.
        refresh_before: Seconds before its expiry at which a token is renewed; a token that lives
            shorter than twice that is renewed after half of its life.
        timeout: Seconds for one request of a token.
        options: Address, proxy and certificates; None means those of ``Inworld()``.

    Raises:
        ConfigError: An argument is wrong.

    Thread safety: any thread.
    """

    def __init__(
        self,
        api_key: str,
        *,
        workspace: str | None = None,
        kind: TokenKind = "jwt",
        refresh_before: float = 300.0,
        timeout: float = 10.0,
        options: Options | None = None,
    ) -> None:
        if kind == "single_use":
            raise ConfigError("kind must be 'jwt' or 'session', got 'single_use'")
        for name, seconds in (("refresh_before", refresh_before), ("timeout", timeout)):
            if not 0 < seconds < math.inf:
                raise ConfigError(f"{name} must be more than 0 seconds, got {seconds!r}")
        self._key = SigningKey.parse(api_key)
        _require_fit(kind, workspace, None, None)
        self._workspace = workspace
        self._kind: TokenKind = kind
        self._refresh_before = refresh_before
        self._timeout = timeout
        self._options = options or Options()
        self._http = HttpClient(self._options)
        self._token: str | None = None
        self._expires_at = self._refresh_at = -math.inf
        self._begin()

    def _begin(self) -> None:
        """Start without a request under way; also in a forked child, where the lock may be held."""
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._attempts = 0
        self._is_asking = False
        self._failure: InworldError | None = None

    def header(self) -> tuple[str, str]:
        """
        Return the header of a request, with a token that is valid now.

        Raises:
            InworldError: A token is needed and could not be made; see :meth:`Tokens.mint`.
        """
        if self._pid != os.getpid():
            self._begin()
        return "Authorization", f"Bearer {self._valid_token()}"

    def rejected(self, value: str) -> None:
        """Drop the token of a header that the service refused, unless it was renewed already."""
        with self._changed:
            if value == f"Bearer {self._token}":
                self._token = None
                self._expires_at = -math.inf

    def close(self) -> None:
        """Close the connections that are kept for the next token; may be called twice."""
        self._http.close()

    def __repr__(self) -> str:
        return f"JwtAuth({self._key.id!r}, kind={self._kind!r})"

    def _valid_token(self) -> str:
        deadline = time.monotonic() + self._timeout
        with self._changed:
            now = time.monotonic()
            if self._token is not None and now < self._expires_at:
                if now >= self._refresh_at and not self._is_asking:
                    self._is_asking = True
                    threading.Thread(
                        target=self._ask, name="inworld-token-refresh", daemon=True
                    ).start()
                return self._token
            if self._is_asking:
                return self._await_token(deadline)
            self._is_asking = True
        self._ask()
        with self._changed:
            if self._failure is not None:
                raise self._failure
            assert self._token is not None
            return self._token

    def _await_token(self, deadline: float) -> str:
        """Wait for the request of another thread; the lock is held."""
        attempts = self._attempts
        while self._attempts == attempts:
            if not self._changed.wait(deadline - time.monotonic()):
                raise DeadlineExceeded(f"no token after {self._timeout:g} s")
        if self._failure is not None or self._token is None:
            raise self._failure or DeadlineExceeded("the token was refused at once")
        return self._token

    def _ask(self) -> None:
        """Ask for a token and keep it, or the failure."""
        began = time.monotonic()
        token, failure = None, None
        try:
            token = _mint(
                self._http, self._key, self._kind, self._workspace, None, None, self._timeout
            )
        except InworldError as error:
            failure = error
            self._options.logger.warning("the token could not be renewed: %s", error)
        finally:
            with self._changed:
                self._is_asking = False
                self._attempts += 1
                self._failure = failure
                if token is not None:
                    lifetime = token.lifetime or _ASSUMED_LIFETIME
                    self._token = token.token
                    self._expires_at = began + lifetime
                    self._refresh_at = began + max(lifetime / 2, lifetime - self._refresh_before)
                else:
                    self._refresh_at = time.monotonic() + _RETRY_SECONDS
                self._changed.notify_all()


def _mint(
    http: HttpClient,
    key: SigningKey,
    kind: TokenKind,
    workspace: str | None,
    lifetime: float | None,
    reference_id: str | None,
    timeout: float,
) -> AccessToken:
    _require_fit(kind, workspace, lifetime, reference_id)
    body: dict[str, object]
    if kind == "single_use":
        path, value = _SINGLE_USE_PATH, ApiKey(f"{key.id}:{key.secret}").header()[1]
        body = {"single_use": True}
        if lifetime is not None:
            body["ttl"] = f"{lifetime:g}s"
        if reference_id is not None:
            body["client_reference_id"] = reference_id
    else:
        request = JWT if kind == "jwt" else SESSION_TOKEN
        date = datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S")
        nonce = secrets.token_hex(16)[: request.nonce_digits]
        path, value = request.path, authorization(request, key, date, nonce)
        body = {"key": key.id} if kind == "jwt" else {"api_key": key.id}
        if workspace is not None:
            body["resources"] = [f"workspaces/{workspace.removeprefix('workspaces/')}"]
    answer = http.request(
        "POST",
        path,
        headers={"Authorization": value},
        json=body,
        deadline=Deadline(timeout, "making a token"),
    )
    return _read(answer, path)


def _require_fit(
    kind: TokenKind, workspace: str | None, lifetime: float | None, reference_id: str | None
) -> None:
    if kind not in get_args(TokenKind):
        raise ConfigError(f"kind must be one of {', '.join(get_args(TokenKind))}, got {kind!r}")
    if workspace is not None and (kind != "jwt" or not workspace.strip()):
        raise ConfigError(f"workspace must be a name, for kind='jwt' only, got {workspace!r}")
    for name, value in (("lifetime", lifetime), ("reference_id", reference_id)):
        if value is not None and kind != "single_use":
            raise ConfigError(f"{name} is for kind='single_use' only, got kind={kind!r}")
    if lifetime is not None and not 1 <= lifetime <= _MAX_SINGLE_USE_SECONDS:
        raise ConfigError(
            f"lifetime must be 1 to {_MAX_SINGLE_USE_SECONDS} seconds, got {lifetime!r}"
        )


def _read(answer: HttpResponse, path: str) -> AccessToken:
    body = object_in(answer.json(), f"the answer to {path}")
    token = body.get("token") or body.get("accessToken")
    if not isinstance(token, str):
        raise RemoteProtocolError(f"expected a token in the answer to {path}, got none")
    expires_at = _time(body.get("expirationTime") or body.get("expireTime"))
    now = datetime.now(timezone.utc)
    if date := answer.headers.get("date"):
        # A proxy's form of the date is no reason to refuse the token.
        with contextlib.suppress(ValueError):
            now = email.utils.parsedate_to_datetime(date).astimezone(timezone.utc)
    lifetime = None if expires_at is None else max(0.0, (expires_at - now).total_seconds())
    return AccessToken(token, expires_at, lifetime, str(body.get("sessionId") or ""))


def _time(value: object) -> datetime | None:
    """Read a time of RFC 3339; None for another form, which then counts as not sent."""
    found = _TIME.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    offset = found[2] or "Z"
    offset = "+00:00" if offset in "Zz" else f"{offset[:3]}:{offset[-2:]}"
    try:
        return datetime.fromisoformat(f"{found[1].upper()}{offset}").astimezone(timezone.utc)
    except ValueError:
        return None
