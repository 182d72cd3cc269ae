"""
Makes tokens for browsers, devices and other processes that must not have the API key.

Threads: ``inworld-token`` requests one token for a :class:`JwtAuth` and ends.

Lock rule: ``JwtAuth._changed`` guards the token, and whether a thread requests the next token. A
thread holds this lock for a few statements, never during a request.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final, get_args

from inworld_sync.auth import ApiKey, Auth, auth_from, is_token
from inworld_sync.errors import (
    AuthError,
    ConfigError,
    ConnectError,
    InvalidRequestError,
    InworldError,
    RemoteProtocolError,
    ServiceError,
    fresh,
)
from inworld_sync.locks import Condition
from inworld_sync.models.checks import require_seconds
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.options import Options
from inworld_sync.models.tokens import AccessToken, TokenKind
from inworld_sync.secret import Secret
from inworld_sync.transport.credential import Header
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.http import HttpClient, HttpResponse
from inworld_sync.transport.rejection import http_time
from inworld_sync.wire.codec import object_in
from inworld_sync.wire.signing import JWT, SESSION_TOKEN, SigningKey, TokenRequest, authorization

__all__ = ["JwtAuth", "Tokens"]

_SINGLE_USE_PATH: Final = "/auth/v1/tokens"
_MAX_SINGLE_USE_SECONDS: Final = 3600

# The lifetime in seconds that is assumed if the answer has no expiry. The reference client assumes
# the same.
_ASSUMED_LIFETIME: Final = 30 * 60.0

# A refresh that failed is repeated after this time at the earliest.
_RETRY_SECONDS: Final = 5.0

# Usual servers refuse a header of this length.
_MAX_TOKEN_CHARACTERS: Final = 16 * 1024

# A difference between the clocks of this machine and of the service is ignored if it is below
# _MIN_SKEW_SECONDS, because such a difference cannot be the reason for a refused signature. A
# difference above _MAX_SKEW_SECONDS is ignored too, because no clock is that wrong: even a clock
# that was never set begins in 1970.
_MIN_SKEW_SECONDS: Final = 30.0
_MAX_SKEW_SECONDS: Final = 100 * 365 * 86400.0

_WORKSPACE: Final = re.compile(r"(?:workspaces/)?([\w.-]+)")

# A time of RFC 3339. It may have any number of digits after the point, and Z or an offset.
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:?\d\d)?\Z")


class Tokens:
    """
    Makes tokens. Programs use this object as ``iw.tokens``.

    Thread safety: any thread may call the methods.
    """

    def __init__(self, http: HttpClient, auth: Auth) -> None:
        self._http = http
        self._auth = auth
        self._minter: _Minter | None = None

    @with_keyword_hints
    def mint(
        self,
        kind: TokenKind = "jwt",
        *,
        workspace: str | None = None,
        lifetime: float | None = None,
        reference_id: str | None = None,
        timeout: float | None = 10.0,
    ) -> AccessToken:
        """
        Make a token with the API key of this client.

        Args:
            kind: ``jwt`` for all services; ``session`` for realtime in browsers, with all rights
                of the key; ``single_use`` for one TTS or STT WebSocket.
            workspace: The workspace to which a ``jwt`` is restricted, as its name or
                ``workspaces/NAME``.
            lifetime: Seconds until a ``single_use`` token expires, 1 to 3600; None leaves the
                lifetime to the service. The other kinds allow only None.
            reference_id: A text of yours that the service keeps with a ``single_use`` token.
            timeout: Seconds for the whole call.

        Raises:
            ConfigError: An argument does not fit the kind, or this client has no API key.
            AuthError: The service does not accept the key.
            QuotaError: Too many tokens were requested; the service makes 60 single-use tokens a
                minute.
            TransportError: Could not connect, or no answer came in time.
            RemoteProtocolError: The answer has no valid token.
        """
        deadline = Deadline(timeout, "making a token")
        if not isinstance(self._auth, ApiKey):
            raise ConfigError(
                "tokens.mint() needs a client with an API key; this client has a token or an "
                "auth object"
            )
        # Two threads may each create a minter. Then one correction of the clock may be lost, and is
        # made again by a later call.
        minter = self._minter = self._minter or _Minter(
            self._http, SigningKey.parse(self._auth.key)
        )
        return minter.mint(kind, workspace, lifetime, reference_id, deadline)


@with_keyword_hints
class JwtAuth:
    """
    An ``auth=`` for :class:`~inworld_sync.Inworld` that sends a JSON Web Token and renews it.

    The first request makes a token. A token that expires soon is renewed by a background thread
    while requests use it; a request waits only if the token has expired. A token that the service
    refuses is dropped. If the clock of this machine is wrong, signatures and expiry use the clock
    of the service. A forked child continues with the token of its parent.

    Args:
        api_key: The key as the portal shows it; None reads ``INWORLD_API_KEY``.
        workspace: The workspace to which the token is restricted, as for :meth:`Tokens.mint`.
        kind: ``jwt`` or ``session``.
        refresh_before: A token is renewed this many seconds before it expires. If the lifetime is
            less than twice this number, the token is renewed after half of the lifetime.
        timeout: Seconds for one request of a token. A connection waits no longer than its own
            timeout.
        options: Address, proxy and certificates; None means those of ``Inworld()``.

    Raises:
        ConfigError: An argument is wrong, or there is no key.

    Thread safety: any thread may call the methods.
    """

    def __init__(
        self,
        api_key: str | None = None,
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
            require_seconds(name, seconds)
        if options is not None and not isinstance(options, Options):
            raise ConfigError(f"options must be Options, got {type(options).__name__}")
        auth = auth_from(api_key=api_key, token=None, auth=None)
        assert isinstance(auth, ApiKey)
        # While this reference exists, the whole key is masked in the messages of the service.
        self._auth = auth
        key = SigningKey.parse(auth.key)
        _require_fit(kind, workspace, None, None)
        self._name = f"JwtAuth({key.id!r}, kind={kind!r})"
        self._workspace = workspace
        self._kind: TokenKind = kind
        self._refresh_before = refresh_before
        self._timeout = timeout
        self._options = options or Options()
        self._http = HttpClient(self._options)
        self._minter = _Minter(self._http, key)
        self._value: Secret | None = None
        self._expires_at = self._refresh_at = -math.inf
        self._begin()
        _auths.add(self)

    def _begin(self) -> None:
        """Start without a request in progress. A forked child starts in this way too."""
        self._changed = Condition()
        self._thread: threading.Thread | None = None
        self._attempts = 0
        self._failure: InworldError | None = None

    def header(self) -> tuple[str, str]:
        """
        Return the header of a request, with a token that is valid now.

        Raises:
            InworldError: A token is needed and could not be made; see :meth:`Tokens.mint`.
        """
        return self.header_within(None)

    def header_within(self, timeout: float | None) -> tuple[str, str]:
        """
        Return the header as :meth:`header` does, and wait at most *timeout* seconds for a token.

        Raises:
            DeadlineExceeded: There was no token in time; the request for a token continues.
            InworldError: As for :meth:`header`.
        """
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        return "Authorization", self._valid(Deadline(seconds, "waiting for a token"))

    def rejected(self, value: str) -> None:
        """Drop the token of a header that the service refused, unless it was renewed already."""
        with self._changed:
            if value == self._value:
                self._value = None

    def close(self) -> None:
        """
        Close the connections that are kept for the next token; may be called twice.

        A request that is in progress ends by itself, at the latest after its timeout.
        """
        self._http.close()
        with self._changed:
            thread = self._thread
        if thread is not None:
            thread.join(self._options.close_timeout)

    def __repr__(self) -> str:
        return self._name

    def _valid(self, deadline: Deadline) -> Secret:
        with self._changed:
            while True:
                now = time.monotonic()
                if self._value is not None and now < self._expires_at:
                    if now >= self._refresh_at:
                        self._request_unless_ending()
                    return self._value
                self._request()
                attempts = self._attempts
                while self._attempts == attempts:
                    deadline.check()
                    self._changed.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
                if self._failure is not None:
                    raise fresh(self._failure)
                # A token that has expired meanwhile is used too: the service decides.
                if self._value is not None:
                    return self._value

    def _request(self) -> None:
        """Start a thread that requests a token, unless such a thread runs. The lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="inworld-token", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                self._thread = None
                raise ConnectError(f"no thread could start for a token: {error}") from error

    def _request_unless_ending(self) -> None:
        try:
            self._request()
        except ConnectError as error:
            # The interpreter ends, or the system has no more threads; the token is still valid.
            self._options.logger.debug("%r: %s", self, error)
            self._refresh_at = time.monotonic() + _RETRY_SECONDS

    def _run(self) -> None:
        """Request a token, and keep the token or the error."""
        began = time.monotonic()
        try:
            token = self._mint()
        except InworldError as error:
            self._fail(error)
        except Exception as error:
            self._options.logger.exception("%r: making a token failed", self)
            failure = RemoteProtocolError(f"making a token failed: {type(error).__name__}")
            failure.__cause__ = error
            self._fail(failure)
        else:
            lifetime = token.lifetime or _ASSUMED_LIFETIME
            with self._changed:
                self._value = Secret(f"Bearer {token.token}")
                self._expires_at = began + lifetime
                self._refresh_at = began + max(lifetime / 2, lifetime - self._refresh_before)
                self._end_attempt(None)

    def _mint(self) -> AccessToken:
        deadline = Deadline(self._timeout, "making a token")
        token = self._minter.mint(self._kind, self._workspace, None, None, deadline)
        if token.lifetime == 0.0:
            raise RemoteProtocolError(
                f"expected a token that is valid, got one that expired at {token.expires_at}"
            )
        return token

    def _fail(self, failure: InworldError) -> None:
        with self._changed:
            now = time.monotonic()
            if self._value is not None and now < self._expires_at:
                # If the token has expired, the requests that wait raise the failure instead.
                self._options.logger.warning("%r: the token was not renewed yet: %s", self, failure)
            self._refresh_at = now + _RETRY_SECONDS
            self._end_attempt(failure)

    def _end_attempt(self, failure: InworldError | None) -> None:
        self._failure = failure
        self._thread = None
        self._attempts += 1
        self._changed.notify_all()


class _Minter:
    """
    Requests tokens with one key.

    Thread safety: any thread may call :meth:`mint`. Two threads that correct the clock at the same
    time get the same result.
    """

    def __init__(self, http: HttpClient, key: SigningKey) -> None:
        self._http = http
        self._key = key
        # By how many seconds the clock of the service is ahead of the clock of this machine.
        self._clock_offset = 0.0

    def mint(
        self,
        kind: TokenKind,
        workspace: str | None,
        lifetime: float | None,
        reference_id: str | None,
        deadline: Deadline,
    ) -> AccessToken:
        """Make a token; see :meth:`Tokens.mint`."""
        _require_fit(kind, workspace, lifetime, reference_id)
        if kind == "single_use":
            body: dict[str, object] = {"single_use": True}
            if lifetime is not None:
                body["ttl"] = f"{lifetime:g}s"
            if reference_id is not None:
                body["client_reference_id"] = reference_id
            header = ApiKey(f"{self._key.id}:{self._key.secret}").header()
            return self._ask(_SINGLE_USE_PATH, header, body, deadline)
        request = JWT if kind == "jwt" else SESSION_TOKEN
        body = {"key": self._key.id} if kind == "jwt" else {"api_key": self._key.id}
        if workspace is not None and (found := _WORKSPACE.fullmatch(workspace)):
            body["resources"] = [f"workspaces/{found[1]}"]
        try:
            return self._ask(request.path, self._signature(request), body, deadline)
        except (AuthError, InvalidRequestError) as error:
            if not self._correct_clock(error):
                raise
        return self._ask(request.path, self._signature(request), body, deadline)

    def _signature(self, request: TokenRequest) -> Header:
        moment = time.gmtime(time.time() + self._clock_offset)
        nonce = secrets.token_hex(16)[: request.nonce_digits]
        date = time.strftime("%Y%m%d%H%M%S", moment)
        return "Authorization", Secret(authorization(request, self._key, date, nonce))

    def _correct_clock(self, refusal: ServiceError) -> bool:
        """Correct the clock if it may be the cause of the refusal. Return True after a change."""
        if refusal.server_time is None:
            return False
        offset = refusal.server_time - time.time()
        change = abs(offset - self._clock_offset)
        if change < _MIN_SKEW_SECONDS or abs(offset) > _MAX_SKEW_SECONDS:
            return False
        self._clock_offset = offset
        return True

    def _ask(
        self, path: str, header: Header, body: Mapping[str, object], deadline: Deadline
    ) -> AccessToken:
        answer = self._http.request("POST", path, credential=header, json=body, deadline=deadline)
        return _read(answer, path)


def _require_fit(
    kind: TokenKind, workspace: str | None, lifetime: float | None, reference_id: str | None
) -> None:
    if kind not in get_args(TokenKind):
        raise ConfigError(f"kind must be one of {', '.join(get_args(TokenKind))}, got {kind!r}")
    if workspace is not None:
        if kind != "jwt":
            raise ConfigError(f"workspace needs a token of the kind jwt, got {kind}")
        if not isinstance(workspace, str) or not _WORKSPACE.fullmatch(workspace):
            raise ConfigError(
                "workspace must be the name of a workspace: letters, digits and the characters "
                f"_ . -, got {workspace!r}"
            )
    for name, value in (("lifetime", lifetime), ("reference_id", reference_id)):
        if value is not None and kind != "single_use":
            raise ConfigError(f"{name} needs a token of the kind single_use, got {kind}")
    if lifetime is not None:
        require_seconds("lifetime", lifetime)
        if not 1 <= lifetime <= _MAX_SINGLE_USE_SECONDS:
            raise ConfigError(
                f"lifetime must be 1 to {_MAX_SINGLE_USE_SECONDS} seconds, got {lifetime!r}"
            )
    if reference_id is not None and not isinstance(reference_id, str):
        raise ConfigError(f"reference_id must be a string, got {type(reference_id).__name__}")


def _read(answer: HttpResponse, path: str) -> AccessToken:
    body = object_in(answer.json(), f"the answer to {path}")
    token = body.get("token") or body.get("accessToken")
    if not isinstance(token, str) or len(token) > _MAX_TOKEN_CHARACTERS or not is_token(token):
        raise RemoteProtocolError(
            f"expected a token in the answer to {path}, of at most {_MAX_TOKEN_CHARACTERS} "
            "characters of RFC 6750"
        )
    expires_at = _time(body.get("expirationTime") or body.get("expireTime"))
    server_time = http_time(answer.headers.get("date"))
    lifetime = None
    if expires_at is not None:
        lifetime = expires_at.timestamp() - (time.time() if server_time is None else server_time)
        # A new token cannot have expired. So if the service sent no time and the lifetime is not
        # above 0, the clock of this machine is wrong.
        lifetime = None if lifetime <= 0 and server_time is None else max(0.0, lifetime)
    return AccessToken(token, expires_at, lifetime, str(body.get("sessionId") or ""))


def _time(value: object) -> datetime | None:
    """Read a time of RFC 3339. Return None for another form, as if the service had sent no time."""
    found = _TIME.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    offset = found[2] or "Z"
    offset = "+00:00" if offset in "Zz" else f"{offset[:3]}:{offset[-2:]}"
    try:
        return datetime.fromisoformat(f"{found[1].upper()}{offset}").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


_auths: weakref.WeakSet[JwtAuth] = weakref.WeakSet()


def _begin_in_child() -> None:
    # The lock may have been held by a thread that the child does not have.
    for auth in list(_auths):
        auth._begin()  # noqa: SLF001 - of this file's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
