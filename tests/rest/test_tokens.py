"""Tokens are requested, kept while they are valid, and replaced before they expire."""

from __future__ import annotations

import json
import math
import os
import pickle
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from inworld_sync import Inworld
from inworld_sync.auth import ApiKey, Token
from inworld_sync.errors import (
    AuthError,
    ConfigError,
    ConnectError,
    DeadlineExceeded,
    InworldError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.options import Options
from inworld_sync.models.tokens import TokenKind
from inworld_sync.rest.tokens import JwtAuth, Tokens
from inworld_sync.transport.http import HttpClient

from support.forks import all_locks_held, in_child
from support.frames import variables_of
from support.peers import Peer, serve

KEY = "key-id:key-secret"


class TokenService:
    """
    Makes tokens ``t1``, ``t2`` and so on.

    Attributes:
        requests: The path, the credential and the body of each request.
        lifetime: Lifetime of the next tokens, in seconds.
        skew: How many seconds the service's clock is ahead of this machine's clock.
        status: HTTP status of the next answers.
        max_age: How many seconds the time of a signature may differ from the service's clock.
        gate: Each answer waits until this event is set.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.lifetime = 3600.0
        self.skew = 0.0
        self.status = 200
        self.max_age = math.inf
        self.gate = threading.Event()
        self.gate.set()
        self.arrived: queue.Queue[None] = queue.Queue()
        self.url = ""
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        while True:
            head, body = peer.read_request()
            with self._lock:
                path = head.split()[1].decode()
                self.requests.append((path, peer.header("authorization"), json.loads(body)))
                number = len(self.requests)
            self.arrived.put(None)
            self.gate.wait(30)
            now = datetime.now(timezone.utc) + timedelta(seconds=self.skew)
            signed = re.search(r"DateTime=(\d{14})", self.requests[-1][1])
            is_old = signed is not None and self.max_age < abs(
                now - datetime.strptime(signed[1], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
            ) / timedelta(seconds=1)
            expires = (now + timedelta(seconds=self.lifetime)).isoformat()
            answer = {
                "token": f"t{number}",
                "expirationTime": expires.replace("+00:00", "Z"),
                "sessionId": "s",
            }
            if path == "/auth/v1/tokens":
                answer = {"accessToken": f"t{number}", "expireTime": expires}
            data = json.dumps(answer).encode()
            peer.send(
                f"HTTP/1.1 {401 if is_old else self.status} X\r\n"
                f"Date: {format_datetime(now, usegmt=True)}\r\n"
                f"Content-Length: {len(data)}\r\n\r\n".encode()
                + data
            )


@contextmanager
def token_service() -> Iterator[TokenService]:
    service = TokenService()
    with serve(service) as server:
        service.url = f"http://127.0.0.1:{server.port}"
        yield service


@contextmanager
def jwt_auth(service: TokenService, **settings: Any) -> Iterator[JwtAuth]:
    auth = JwtAuth(KEY, options=Options(base_url=service.url), **settings)
    try:
        yield auth
    finally:
        auth.close()


# (arguments of the call, path of the request, body of the request)
MINTS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({}, "/auth/v1/tokens/token:generate", {"key": "key-id"}),
    (
        {"workspace": "mine"},
        "/auth/v1/tokens/token:generate",
        {"key": "key-id", "resources": ["workspaces/mine"]},
    ),
    (
        {"workspace": "workspaces/mine"},
        "/auth/v1/tokens/token:generate",
        {"key": "key-id", "resources": ["workspaces/mine"]},
    ),
    ({"kind": "session"}, "/v1/sessionTokens/token:generate", {"api_key": "key-id"}),
    ({"kind": "single_use"}, "/auth/v1/tokens", {"single_use": True}),
    (
        {"kind": "single_use", "lifetime": 300, "reference_id": "call 7"},
        "/auth/v1/tokens",
        {"single_use": True, "ttl": "300s", "client_reference_id": "call 7"},
    ),
]


@pytest.mark.parametrize(("arguments", "path", "body"), MINTS)
def test_mint(arguments: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    """Each kind of token has its own request. No signed request contains the secret."""
    with token_service() as service, Inworld(KEY, base_url=service.url) as iw:
        token = iw.tokens.mint(**arguments)

    ((asked, credential, sent),) = service.requests
    assert (path, body, "t1") == (asked, sent, str(token))
    assert token.lifetime is not None
    assert 3598 < token.lifetime <= 3601
    assert "key-secret" not in credential
    scheme = "Basic" if path == "/auth/v1/tokens" else "IW1-HMAC-SHA256"
    assert scheme == credential.split()[0]
    assert "t1" not in repr(token)


WRONG: list[dict[str, Any]] = [
    {"kind": "other"},
    {"kind": "session", "workspace": "mine"},
    {"workspace": " "},
    {"workspace": "workspaces/"},
    {"workspace": "a/b"},
    {"workspace": 5},
    {"kind": "single_use", "lifetime": "60"},
    {"kind": "single_use", "lifetime": True},
    {"kind": "single_use", "reference_id": 7},
    {"timeout": -1},
    {"lifetime": 60},
    {"kind": "single_use", "lifetime": 0},
    {"kind": "single_use", "lifetime": float("nan")},
    {"reference_id": "x"},
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    """
    Wrong arguments, and arguments that cannot be combined, are refused before anything is sent.
    """
    with token_service() as service, Inworld(KEY, base_url=service.url) as iw:
        with pytest.raises(ConfigError):
            iw.tokens.mint(**arguments)
        assert not service.requests


@pytest.mark.parametrize(("kind", "digits"), [("jwt", 11), ("session", 32)])
def test_nonces_differ(kind: TokenKind, digits: int) -> None:
    """Each request has its own nonce of the right length, and the time of this machine."""
    with token_service() as service, Inworld(KEY, base_url=service.url) as iw:
        for _ in range(3):
            iw.tokens.mint(kind)

    found = [
        re.search(r"DateTime=(\d{14}),Nonce=([0-9a-f]+),", credential)
        for _, credential, _ in service.requests
    ]
    nonces = {match[2] for match in found if match}
    assert ({digits}, 3) == ({len(nonce) for nonce in nonces}, len(nonces))


def test_a_client_without_a_key() -> None:
    """A client that has a token instead of a key cannot make a token."""
    with Inworld(token="t") as iw, pytest.raises(ConfigError, match="API key"):
        iw.tokens.mint()


@pytest.mark.parametrize(
    ("answer", "lifetime"),
    [
        ({"token": "t"}, None),
        ({"token": "t", "expirationTime": 5}, None),
        ({"token": "t", "expirationTime": "tomorrow"}, None),
        ({"token": "t", "expirationTime": "2000-01-01T00:00:00Z"}, None),
        ({"token": "t", "expirationTime": "2000-01-01T00:00:00.123456789+01:00"}, None),
        ({"token": "t", "expirationTime": "0001-01-01T00:00:00+01:00"}, None),
        ({"token": "t", "expirationTime": "9999-12-31T23:59:59-01:00"}, None),
        ({"token": "t", "expirationTime": "2026-11-31T00:00:00Z"}, None),
    ],
)
def test_odd_expiry(answer: dict[str, Any], lifetime: float | None) -> None:
    """
    If the expiry is missing, impossible, or in the past according to this machine's clock, the
    lifetime is None.
    """
    assert lifetime == _minted(json.dumps(answer).encode()).lifetime


def test_a_distant_expiry() -> None:
    """A token may be valid for thousands of years."""
    answer = {"token": "t", "expirationTime": "9999-12-31T23:59:59Z"}
    lifetime = _minted(json.dumps(answer).encode()).lifetime

    assert lifetime is not None
    assert lifetime > 7000 * 365 * 86400


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 10:00:00 GMT", "\xff"])
def test_odd_date(date: str) -> None:
    """If an answer has an invalid ``Date`` header, this machine's clock is used."""
    expires = datetime.now(timezone.utc) + timedelta(seconds=100)
    answer = json.dumps({"token": "t", "expirationTime": expires.isoformat()}).encode()
    lifetime = _minted(answer, f"Date: {date}\r\n").lifetime

    assert lifetime is not None
    assert 90 < lifetime <= 100


RUBBISH = [
    *(b"{}", b"[]", b"", b"null", b"\xff\xfe", b"<html>", b'{"token": 5}', b'{"token": ""}'),
    *(b'{"token": "a b"}', b'{"token": "a\\r\\nX-Evil: 1"}', b'{"token": "\xc3\xa9"}'),
    b'{"token": "' + b"a" * 20000 + b'"}',
    b"[" * 100000,
]


@pytest.mark.parametrize("answer", RUBBISH, ids=range(len(RUBBISH)))
def test_no_token(answer: bytes) -> None:
    """If an answer has no token that can be sent in a header, a protocol error is raised."""
    with pytest.raises(RemoteProtocolError):
        _minted(answer)


def test_a_huge_answer() -> None:
    """An answer that is larger than the limit for messages raises an error."""
    with pytest.raises(RemoteProtocolError, match="max_message_bytes"):
        _minted(b'{"token": "' + b"a" * 300_000 + b'"}', max_message_bytes=100_000)


def test_a_redirect() -> None:
    """A redirect raises an error. The signature is not sent to another address."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(
            b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/?t=1\r\nContent-Length: 0\r\n\r\n"
        )

    with serve(script) as server:
        with Inworld(KEY, base_url=f"http://127.0.0.1:{server.port}") as iw:
            with pytest.raises(ServiceError, match="a redirect to"):
                iw.tokens.mint()


def test_a_slow_answer() -> None:
    """Bytes that arrive slowly do not extend the timeout."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not peer.released.wait(0.02):
            peer.send(b" ")

    with serve(script) as server:
        with Inworld(KEY, base_url=f"http://127.0.0.1:{server.port}") as iw:
            with pytest.raises(DeadlineExceeded):
                iw.tokens.mint(timeout=0.3)


def _minted(answer: bytes, headers: str = "", **options: Any) -> Any:
    def script(peer: Peer) -> None:
        peer.read_request()
        head = f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(answer)}\r\n\r\n"
        peer.send(head.encode("latin-1") + answer)
        peer.hold()

    with serve(script) as server:
        http = HttpClient(Options(base_url=f"http://127.0.0.1:{server.port}", **options))
        try:
            return Tokens(http, ApiKey(KEY)).mint()
        finally:
            http.close()


def test_one_request_for_twenty_threads() -> None:
    """Threads that need the first token at the same time share one request."""
    with token_service() as service, jwt_auth(service) as auth:
        headers = _in_threads(20, auth.header)

    assert ({("Authorization", "Bearer t1")}, 1) == (set(headers), len(service.requests))


def test_a_failure_reaches_every_thread() -> None:
    """If a request fails, all waiting threads get the error. The next call makes a new request."""
    with token_service() as service, jwt_auth(service) as auth:
        service.status = 401
        service.gate.clear()
        threading.Timer(0.2, service.gate.set).start()
        assert {AuthError} == {type(one) for one in _in_threads(5, auth.header)}

        service.status = 200
        assert auth.header()[1].startswith("Bearer t")


def test_it_is_renewed_in_the_background() -> None:
    """A token that expires soon is used while the next token is requested."""
    with token_service() as service, jwt_auth(service, refresh_before=3599.9) as auth:
        service.lifetime = 7200
        assert "Bearer t1" == auth.header()[1]
        service.arrived.get(timeout=30)
        _set_clock(auth, refresh_in=0)
        service.gate.clear()
        assert "Bearer t1" == auth.header()[1]
        service.arrived.get(timeout=30)
        assert "Bearer t1" == auth.header()[1]
        service.gate.set()
        _until(lambda: auth.header()[1] == "Bearer t2")

    assert 2 == len(service.requests)


def test_an_expired_token_is_waited_for() -> None:
    """A token that has expired is not sent."""
    with token_service() as service, jwt_auth(service) as auth:
        auth.header()
        _set_clock(auth, refresh_in=-1, expires_in=-1)
        assert "Bearer t2" == auth.header()[1]


def test_a_failed_renewal() -> None:
    """While a token is valid, a failed renewal raises no error and is not repeated at once."""
    with token_service() as service, jwt_auth(service) as auth:
        auth.header()
        service.arrived.get(timeout=30)
        service.status = 503
        _set_clock(auth, refresh_in=0)
        assert "Bearer t1" == auth.header()[1]
        service.arrived.get(timeout=30)
        _until(lambda: auth._attempts == 2)
        assert "Bearer t1" == auth.header()[1]

    assert 2 == len(service.requests)


def test_a_refused_token_is_dropped() -> None:
    """After a refusal the next header has another token. Refusals of old tokens are ignored."""
    with token_service() as service, jwt_auth(service) as auth:
        first = auth.header()[1]
        auth.rejected(first)
        second = auth.header()[1]
        auth.rejected(first)

        assert ("Bearer t1", "Bearer t2", second) == (first, second, auth.header()[1])


def test_a_token_that_a_connection_refuses() -> None:
    """An upgrade that the service refuses is repeated once, with another token."""
    seen: list[str] = []

    def refuse(peer: Peer) -> None:
        peer.read_head()
        seen.append(peer.header("authorization"))
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    with token_service() as service, jwt_auth(service) as auth, serve(refuse) as server:
        with Inworld(auth=auth, base_url=f"http://127.0.0.1:{server.port}") as iw:
            with pytest.raises(AuthError):
                iw.tts.connect()

    assert ["Bearer t1", "Bearer t2"] == seen


@pytest.mark.parametrize("skew", [-600, 600, 56 * 365 * 86400])
def test_a_signature_of_a_wrong_clock(skew: float) -> None:
    """
    If the service refuses the time of a signature, the next signature uses the ``Date`` of the
    answer.
    """
    with token_service() as service, jwt_auth(service) as auth:
        service.skew, service.max_age = skew, 60
        assert "Bearer t2" == auth.header()[1]
        auth.rejected("Bearer t2")
        assert "Bearer t3" == auth.header()[1]

        # From here on, the clock of the machine is right.
        service.skew = 0.0
        auth.rejected("Bearer t3")
        assert "Bearer t5" == auth.header()[1]


@pytest.mark.parametrize("skew", [0, 10, -10])
def test_a_key_that_is_refused(skew: float) -> None:
    """If the clocks agree, a refusal is about the key, and the request is not repeated."""
    with token_service() as service, Inworld(KEY, base_url=service.url) as iw:
        service.skew, service.status = skew, 401
        with pytest.raises(AuthError):
            iw.tokens.mint()

    assert 1 == len(service.requests)


def test_a_key_and_a_clock_that_are_wrong() -> None:
    """If both the key and the clock are wrong, a request is repeated only once."""
    with token_service() as service, Inworld(KEY, base_url=service.url) as iw:
        service.skew, service.status = 600, 403
        for _ in range(2):
            with pytest.raises(AuthError):
                iw.tokens.mint()

    # The client keeps the corrected time, so the second call sends only one request.
    assert 3 == len(service.requests)


def test_a_date_that_is_no_time() -> None:
    """A ``Date`` in the year 9999 is not used for a signature."""
    with token_service() as service, Inworld(KEY, base_url=service.url) as iw:
        service.skew, service.status = 7900 * 365 * 86400, 401
        with pytest.raises(AuthError):
            iw.tokens.mint()

    assert 1 == len(service.requests)


@pytest.mark.parametrize("lifetime", [0, -100])
def test_a_token_that_has_expired(lifetime: float) -> None:
    """
    A token that has expired according to the service's clock raises an error, and is not kept.
    """
    with token_service() as service, jwt_auth(service) as auth:
        service.lifetime = lifetime
        with pytest.raises(RemoteProtocolError, match="one that expired at"):
            auth.header()
        service.lifetime = 100
        assert "Bearer t2" == auth.header()[1]


def test_a_failing_service_and_many_threads() -> None:
    """Twenty threads share a failed request. Each thread raises an error object of its own."""
    with token_service() as service, jwt_auth(service) as auth:
        service.status = 503
        service.gate.clear()
        ready = threading.Barrier(20)
        released = threading.Thread(target=_release_when_waiting, args=(service, auth, 20))
        released.start()

        def header() -> object:
            ready.wait(30)
            return auth.header()

        found = _in_threads(20, header)
        released.join(30)

    assert {ServiceError} == {type(one) for one in found}
    assert 20 == len({id(one) for one in found})
    assert 1 == len(service.requests)


def _release_when_waiting(service: TokenService, auth: JwtAuth, count: int) -> None:
    # The threads that wait are the waiters of the condition.
    _until(lambda: len(auth._changed.waiters) == count)
    service.gate.set()


def test_a_caller_with_less_time() -> None:
    """A caller waits no longer than its own timeout. The request continues for other callers."""
    with token_service() as service, jwt_auth(service) as auth:
        service.gate.clear()
        with pytest.raises(DeadlineExceeded):
            auth.header_within(0.05)
        service.gate.set()
        assert "Bearer t1" == auth.header()[1]

    assert 1 == len(service.requests)


def test_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If no renewal thread can start, a valid token is used. Without a valid token, an error is
    raised.
    """
    with token_service() as service, jwt_auth(service) as auth:
        auth.header()

        def refusing(thread: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refusing)
        _set_clock(auth, refresh_in=0)
        assert "Bearer t1" == auth.header()[1]
        auth.rejected("Bearer t1")
        with pytest.raises(ConnectError, match="no thread could start"):
            auth.header()
        monkeypatch.undo()
        assert "Bearer t2" == auth.header()[1]


def test_the_interpreter_ends_during_a_renewal() -> None:
    """A program that ends while a token is being renewed ends at once and without an error."""
    with token_service() as service:
        program = f"""
import time
from inworld_sync import JwtAuth, Options
auth = JwtAuth({KEY!r}, options=Options(base_url={service.url!r}))
print(auth.header()[1])
auth._refresh_at = 0
input()
print(auth.header()[1])
"""
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        service.arrived.get(timeout=60)
        service.gate.clear()
        out, err = process.communicate(b"\n", timeout=60)
        service.gate.set()

    assert (0, b"Bearer t1\nBearer t1", b"") == (process.returncode, out.strip(), err)


@pytest.mark.parametrize("skew", [-600, 600])
def test_a_wrong_clock(skew: float) -> None:
    """The lifetime of a token is measured with the clock of the service."""
    with token_service() as service, jwt_auth(service) as auth:
        service.skew = skew
        service.lifetime = 120
        auth.header()
        auth.header()
        remaining = auth._expires_at - time.monotonic()

    assert 1 == len(service.requests)
    assert 0 < remaining <= 121


def test_no_answer() -> None:
    """In every thread that waits for a token, the timeout ends the wait with an error."""
    with token_service() as service:
        service.gate.clear()
        with jwt_auth(service, timeout=0.3) as auth:
            found = _in_threads(3, auth.header)
        service.gate.set()

    assert {DeadlineExceeded} == {type(one) for one in found}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child() -> None:
    """A child uses the token of its parent, even if the parent held the lock during the fork."""
    with token_service() as service, jwt_auth(service) as auth:
        auth.header()

        def use() -> None:
            assert "Bearer t1" == auth.header()[1]

        assert "" == in_child(use, all_locks_held())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_during_a_renewal() -> None:
    """A child does not wait for its parent's request. The child makes its own request."""
    with token_service() as service, jwt_auth(service) as auth:
        auth.header()
        service.arrived.get(timeout=30)
        _set_clock(auth, refresh_in=0)
        service.gate.clear()
        auth.header()
        service.arrived.get(timeout=30)

        def use() -> None:
            auth.rejected("Bearer t1")
            assert "Bearer t3" == auth.header()[1]

        def answer_the_child() -> None:
            service.arrived.get(timeout=30)
            service.gate.set()

        with ThreadPoolExecutor(1) as pool:
            answered = pool.submit(answer_the_child)
            assert "" == in_child(use, all_locks_held())
            answered.result()
        _until(lambda: auth.header()[1] == "Bearer t2")


def test_secrets_are_not_shown() -> None:
    """The repr has the id of the key and no secret, and the object cannot be pickled."""
    with token_service() as service, jwt_auth(service) as auth:
        auth.header()

        assert "JwtAuth('key-id', kind='jwt')" == repr(auth)
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(auth)


@pytest.mark.parametrize("shown", ["key-secret", ApiKey(KEY).key])
def test_no_secret_that_the_service_repeats(shown: str) -> None:
    """
    If a refusal repeats the key or the secret, the error shows neither the key nor the secret.
    """

    def refuse(peer: Peer) -> None:
        peer.read_request()
        body = json.dumps({"message": f"wrong: {shown}."}).encode()
        head = f"HTTP/1.1 401 X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.send(head.encode() + body)

    with serve(refuse) as server:
        url = f"http://127.0.0.1:{server.port}"
        auth = JwtAuth(KEY, options=Options(base_url=url))
        with pytest.raises(AuthError, match=r"wrong: \*\*\*\."):
            auth.header()
        auth.close()
        with Inworld(KEY, base_url=url) as iw:
            with pytest.raises(AuthError, match=r"wrong: \*\*\*\."):
                iw.tokens.mint()


def test_no_secret_in_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the package's frames do not show the secret, the signature or the token."""
    monkeypatch.setenv("INWORLD_API_KEY", "key-id:topsecret")
    with token_service() as service:
        service.status = 500
        with Inworld(base_url=service.url) as iw:
            for kind in ("jwt", "single_use"):
                with pytest.raises(ServiceError) as caught:
                    iw.tokens.mint(kind)  # type: ignore[arg-type]
                shown = variables_of(caught.value)
                assert "topsecret" not in shown
                assert ApiKey("key-id:topsecret").key not in shown
                signature = service.requests[-1][1].partition("Signature=")[2] or "none"
                assert signature not in shown
                assert b"topsecret" not in pickle.dumps(caught.value.args)


def test_wrong_settings() -> None:
    """Settings that make no sense are refused."""
    with pytest.raises(ConfigError, match="options must be Options"):
        JwtAuth(KEY, options=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'api_key'"):
        JwtAuth(apikey=KEY)  # type: ignore[call-arg]
    for settings in ({"kind": "single_use"}, {"timeout": 0}, {"refresh_before": float("nan")}):
        with pytest.raises(ConfigError):
            JwtAuth(KEY, **settings)  # type: ignore[arg-type]


def test_a_token_of_the_users() -> None:
    """``Token`` and ``ApiKey`` still work as credentials."""
    assert ("Authorization", "Bearer x") == Token("x").header()
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", ApiKey(KEY).key)


def _set_clock(auth: JwtAuth, *, refresh_in: float, expires_in: float = 3600) -> None:
    """Pretend that the token was made at another time."""
    now = time.monotonic()
    auth._refresh_at, auth._expires_at = now + refresh_in, now + expires_in


def _in_threads(count: int, call: Callable[[], object]) -> list[object]:
    results: queue.Queue[object] = queue.Queue()

    def run() -> None:
        try:
            results.put(call())
        except InworldError as error:
            results.put(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [results.get(timeout=30) for _ in range(count)]


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)
