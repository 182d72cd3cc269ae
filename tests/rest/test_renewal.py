"""An expired token is replaced for every service, also while a session is open."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ConfigError,
    ConnectError,
    DeadlineExceeded,
    Inworld,
    JwtAuth,
    Options,
    Reconnected,
    SessionReconnected,
)
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.tts.connection import TtsConnection
from inworld_sync.transport.backoff import Backoff

from support.peers import Peer, serve
from support.scripted import Service as TtsService, obedient as speaks, samples_of, scripted
from support.scripted_realtime import Service, obedient, realtime
from support.scripted_recognizer import ScriptedRecognizer, engine_for
from support.scripted_stt import SttConnectionScript, stt_server
from support.sound_card import until
from support.spelling import SpellingSynthesizer

PATIENCE_SECONDS = 30.0


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(
        synthesizer=SpellingSynthesizer(), speech_engine=engine_for(ScriptedRecognizer("hello"))
    ) as server:
        yield server


@contextlib.contextmanager
def client(server: Emulator, **settings: Any) -> Iterator[tuple[Inworld, JwtAuth]]:
    auth = JwtAuth(server.api_key, options=Options(base_url=server.url))
    try:
        with Inworld(auth=auth, base_url=server.url, **settings) as iw:
            yield iw, auth
    finally:
        auth.close()


def speak(iw: Inworld) -> None:
    assert iw.tts.synthesize("Hi.").duration_ms


def hear(iw: Inworld) -> None:
    iw.stt.transcribe(bytes(32000), sample_rate_hz=16000)


def hear_over_http(iw: Inworld) -> None:
    iw.stt.transcribe(bytes(32000), sample_rate_hz=16000, method="http")


def talk(iw: Inworld) -> None:
    iw.realtime.connect().close()


def list_voices(iw: Inworld) -> None:
    assert iw.voices.list()


def speak_over_http(iw: Inworld) -> None:
    assert iw.tts.synthesize("Hi.", method="http").duration_ms


def chat(iw: Inworld) -> None:
    assert iw.llm.chat("Hi.").text


def chat_in_parts(iw: Inworld) -> None:
    with iw.llm.stream("Hi.") as stream:
        assert list(stream)


def list_models(iw: Inworld) -> None:
    assert iw.models.list()


def list_routers(iw: Inworld) -> None:
    iw.routers.list()


OVER_HTTP = [hear_over_http, list_voices, speak_over_http, chat, chat_in_parts, list_models]
USES = [speak, hear, talk, *OVER_HTTP, list_routers]


@pytest.mark.parametrize("use", USES)
def test_an_expired_token(server: Emulator, use: Callable[[Inworld], None]) -> None:
    """A token that the service no longer accepts is replaced once. The call does not fail."""
    with client(server) as (iw, auth):
        use(iw)
        # A TTS client keeps its connection. Without this call, the client would use the open
        # connection, and would need no new token.
        iw._connector.evict_idle()
        server.expire_tokens()
        use(iw)
        assert 2 == auth._attempts


@pytest.mark.parametrize("use", USES)
def test_a_token_that_is_never_accepted(use: Callable[[Inworld], None]) -> None:
    """The credential is renewed once, and then the error is raised."""
    expiring = Settings(token_lifetime=0.000001)
    with Emulator(
        synthesizer=SpellingSynthesizer(),
        speech_engine=engine_for(ScriptedRecognizer("hello")),
        settings=expiring,
    ) as server:
        with client(server) as (iw, auth):
            auth._minter.mint = lambda *_: _expired(auth)  # type: ignore[method-assign]
            with pytest.raises(AuthError):
                use(iw)
            assert 2 == auth._attempts
            assert auth._value is None


def _expired(auth: JwtAuth) -> Any:
    """Make a token that the client believes to be valid."""
    from inworld_sync.models.tokens import AccessToken

    return AccessToken(f"eyJ.never.{auth._attempts}", None, 1000.0)


def test_twenty_threads(server: Emulator) -> None:
    """If the token of several threads is refused at the same time, they share one new token."""
    with client(server) as (iw, auth):
        auth.header()
        server.expire_tokens()
        errors: list[Exception] = []
        ready = threading.Barrier(20)

        def use(number: int) -> None:
            ready.wait(PATIENCE_SECONDS)
            try:
                (list_voices, speak)[number % 2](iw)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)

        assert [] == errors
        assert 2 == auth._attempts


def test_a_credential_that_is_refused_before_a_second_context(
    server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    If the service refuses the credential of a connection while an utterance creates a context on
    this connection, the utterance uses a new connection.
    """
    has_second, sends = threading.Event(), itertools.count(1)
    send = Connection._send

    def send_in_order(connection: TtsConnection, message: str, timeout: float | None) -> None:
        number = next(sends)
        if number == 1:
            assert has_second.wait(PATIENCE_SECONDS)
        elif number == 2:
            has_second.set()
            until(lambda: connection._link.end is not None)
        send(connection, message, timeout)

    with client(server) as (iw, auth):
        auth.header()
        server.expire_tokens()
        monkeypatch.setattr(Connection, "_send", send_in_order)
        first = threading.Thread(target=speak, args=(iw,))
        first.start()
        until(lambda: iw.tts._pool._connections)
        speak(iw)
        first.join(PATIENCE_SECONDS)

        assert 2 == auth._attempts


def test_a_credential_that_is_refused_during_the_opening(
    server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No utterance uses a connection whose credential was refused while the connection opened."""
    opened: list[TtsConnection] = []
    marking, spoken = threading.Event(), threading.Event()
    open_connection = TtsConnection._open
    mark_unhealthy = TtsConnection._mark_unhealthy

    with client(server) as (iw, _):

        def open_first(*args: Any, **settings: Any) -> TtsConnection:
            opened.append(open_connection(*args, **settings))
            if len(opened) == 1:
                # As if the service had refused the credential on another connection meanwhile.
                iw.tts._pool.renew(opened[0])
            return opened[-1]

        def mark_late(connection: TtsConnection) -> None:
            marking.set()
            assert spoken.wait(PATIENCE_SECONDS)
            mark_unhealthy(connection)

        monkeypatch.setattr(TtsConnection, "_open", open_first)
        monkeypatch.setattr(TtsConnection, "_mark_unhealthy", mark_late)
        first = threading.Thread(target=speak, args=(iw,))
        first.start()
        assert marking.wait(PATIENCE_SECONDS)
        speak(iw)
        used = list(opened)
        spoken.set()
        first.join(PATIENCE_SECONDS)

    assert 2 == len(used)


def test_a_connection_of_ones_own(server: Emulator) -> None:
    """With an expired token, the context of a connection fails. The next connection works."""
    with client(server) as (iw, _):
        iw.voices.list()
        server.expire_tokens()
        for error in (AuthError, None):
            with iw.tts.connect() as connection:
                context = connection.context(voice="Hana")
                context.send("Hi.")
                context.close()
                with pytest.raises(AuthError) if error else contextlib.nullcontext():
                    assert list(context)


class Numbered:
    """A function that returns tokens ``t1``, ``t2`` and so on, and that fails at some calls."""

    def __init__(self, *failures: int) -> None:
        self._numbers = itertools.count(1)
        self._failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls = next(self._numbers)
        if self.calls in self._failures:
            raise OSError("the token server is busy")
        return f"t{self.calls}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the delay between attempts."""
    monkeypatch.setattr(Backoff, "next_delay", _count)


def _count(backoff: Backoff, _: object = None) -> float:
    backoff.attempts += 1
    return 0.0


def as_function(function: Callable[[], str]) -> dict[str, Any]:
    return {"api_key": None, "token": function}


@pytest.mark.usefixtures("quick")
def test_a_function_that_fails_while_realtime_reconnects() -> None:
    """An exception of the token function counts as a failed attempt to reconnect."""
    tokens = Numbered(2, 3)
    seen: list[str] = []

    def first(service: Service) -> None:
        service.open()
        service.peer.hang_up()

    def second(service: Service) -> None:
        seen.append(service.peer.header("authorization"))
        obedient(service)

    with realtime(first, second, **as_function(tokens)) as iw, iw.realtime.connect() as rt:
        event = next(
            each
            for each in rt.events(timeout=PATIENCE_SECONDS)
            if isinstance(each, SessionReconnected)
        )

    assert (3, ["Bearer t4"]) == (event.attempts, seen)


def test_a_function_that_always_fails_while_realtime_reconnects() -> None:
    """The session ends when the time for reconnecting has passed. The error names the exception."""
    tokens = Numbered(*range(2, 1000))

    def first(service: Service) -> None:
        service.open()
        service.peer.hang_up()

    with realtime(first, **as_function(tokens)) as iw:
        with iw.realtime.connect(reconnect_timeout=0.5) as rt:
            with pytest.raises(Exception, match="credential's function raised OSError") as caught:
                list(rt.events(timeout=PATIENCE_SECONDS))
    assert isinstance(caught.value.__cause__, ConnectError)
    assert isinstance(caught.value.__cause__.__cause__, OSError)


@pytest.mark.usefixtures("quick")
def test_a_session_whose_token_expires() -> None:
    """After an expired token has ended a session, the next connection has another token."""
    seen: list[str] = []

    def first(service: Service) -> None:
        seen.append(service.peer.header("authorization"))
        service.open()
        service.send({"errorType": "SESSION_TOKEN_EXPIRED", "message": "expired"})
        service.until_left()

    def second(service: Service) -> None:
        seen.append(service.peer.header("authorization"))
        obedient(service)

    with realtime(first, second, **as_function(Numbered())) as iw, iw.realtime.connect() as rt:
        assert "You said hello" == rt.send_message("hello").wait(PATIENCE_SECONDS).text.strip()

    assert ["Bearer t1", "Bearer t2"] == seen


@pytest.mark.usefixtures("quick")
def test_a_function_that_fails_while_stt_reconnects() -> None:
    """
    If the token function fails during a reconnect, the stream tries again with the next token.
    """
    tokens = Numbered(2)

    def hook(service: SttConnectionScript, moment: str) -> None:
        if service.number == 1 and moment == "chunk" and service.counts["chunk"] == 3:
            service.hang_up()

    with stt_server(hook, **as_function(tokens)) as (iw, server):
        with iw.stt.stream() as stream:
            stream.send(bytes(32000))
            events = stream.events(timeout=PATIENCE_SECONDS)
            event = next(each for each in events if isinstance(each, Reconnected))

    assert (2, 2) == (event.attempts, len(server.connections))


@pytest.mark.usefixtures("quick")
def test_a_stream_whose_token_is_refused() -> None:
    """
    If the first message of the service refuses the token, the client tries once with another token.
    """
    tokens = Numbered()

    def hook(service: SttConnectionScript, moment: str) -> None:
        if service.number == 1 and moment == "config":
            service.fail(16)

    with stt_server(hook, **as_function(tokens)) as (iw, server):
        with iw.stt.stream() as stream:
            stream.send(bytes(32000))
    headers = [service.peer.header("authorization") for service in server.connections]

    assert ["Bearer t1", "Bearer t2"] == headers


def test_a_stream_without_reconnects() -> None:
    """With ``max_reconnects=0``, a refusal of the token raises an error."""

    def hook(service: SttConnectionScript, moment: str) -> None:
        if moment == "config":
            service.fail(16)

    with stt_server(hook, **as_function(Numbered())) as (iw, server):
        with pytest.raises(AuthError), iw.stt.stream(max_reconnects=0) as stream:
            stream.send(bytes(32000))

    assert 1 == len(server.connections)


def test_an_utterance_of_a_voice_that_is_forbidden() -> None:
    """An error of only one context is not about the credential, so nothing is repeated."""
    tokens = Numbered()

    def forbids(service: TtsService) -> None:
        service.fault(service.until("create"), 7)
        service.until_left()

    with scripted(forbids, max_retries=0, **as_function(tokens)) as iw:
        with pytest.raises(AuthError):
            iw.tts.synthesize("Hi.")

    assert 1 == tokens.calls


def test_a_function_that_blocks() -> None:
    """Every call ends at its own timeout, even if the token function does not return."""
    released = threading.Event()

    def block() -> str:
        released.wait(PATIENCE_SECONDS)
        return "t"

    try:
        with Inworld(token=block, base_url="http://127.0.0.1:9", connect_timeout=0.1) as iw:
            for use in (
                iw.tts.connect,
                iw.stt.stream,
                iw.realtime.connect,
                lambda: iw.voices.list(timeout=0.1),
            ):
                with pytest.raises(DeadlineExceeded, match="function did not return"):
                    use()
    finally:
        released.set()


def test_a_function_that_fails() -> None:
    """Outside of a reconnect, an exception of the token function reaches the caller unchanged."""
    with Inworld(token=Numbered(1, 2), base_url="http://127.0.0.1:9") as iw:
        with pytest.raises(OSError, match="the token server is busy"):
            iw.tts.connect()
        with pytest.raises(OSError, match="the token server is busy"):
            iw.voices.list()


@pytest.mark.parametrize("place", ["header", "query", "subprotocol"])
@pytest.mark.parametrize("use", [speak, hear, talk, list_voices])
@pytest.mark.parametrize("is_key", [True, False])
def test_places(
    server: Emulator, place: Any, use: Callable[[Inworld], None], *, is_key: bool
) -> None:
    """
    An upgrade has the credential in one of three places. An HTTP request always uses a header.
    """
    with Inworld(server.api_key, base_url=server.url) as iw:
        token = iw.tokens.mint("session").token
    credential = {"api_key": server.api_key} if is_key else {"token": token}
    with Inworld(**credential, base_url=server.url, credential_in=place) as iw:  # type: ignore[arg-type]
        use(iw)


def test_the_key_is_in_no_other_place() -> None:
    """With ``query`` no header has the credential. Errors and logs show no part of the query."""
    requests: list[bytes] = []

    def refuse(peer: Peer) -> None:
        requests.append(peer.read_head())
        peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    key = base64.b64encode(b"id:topsecret").decode()
    with serve(refuse) as server:
        url = f"http://127.0.0.1:{server.port}"
        with Inworld(key, base_url=url, credential_in="query") as iw:
            with pytest.raises(Exception, match="refused") as caught:
                iw.tts.connect()

    assert b"authorization: " not in requests[0].lower()
    assert f"authorization=Basic+{key}".encode() in requests[0]
    assert key not in str(caught.value)


@pytest.mark.parametrize("echoed", ["bearer_t", None])
def test_an_echoed_subprotocol(echoed: str | None) -> None:
    """The connection opens, whether the server's response names the subprotocol or not."""

    def serve_one(peer: Peer) -> None:
        peer.upgrade(*([f"Sec-WebSocket-Protocol: {echoed}"] if echoed else []))
        peer.read_until_end()

    with serve(serve_one) as server:
        url = f"http://127.0.0.1:{server.port}"
        with Inworld(token="t", base_url=url, credential_in="subprotocol") as iw:
            connection = iw.tts.connect()
            assert "bearer_t" not in repr(connection._link._opened)
            connection.close()


def test_another_subprotocol() -> None:
    """If the server chooses a subprotocol that was not offered, the connection is refused."""
    with serve(lambda peer: peer.upgrade("Sec-WebSocket-Protocol: other")) as server:
        url = f"http://127.0.0.1:{server.port}"
        with Inworld(token="t", base_url=url, credential_in="subprotocol", max_retries=0) as iw:
            with pytest.raises(ConnectError, match="a subprotocol that the client did not offer"):
                iw.tts.connect()


def test_an_auth_object_with_another_header() -> None:
    """A credential whose header has another name can only be sent as a header."""

    class Custom:
        def header(self) -> tuple[str, str]:
            return "X-Key", "x"

        def rejected(self, value: str) -> None:
            refused.append(value)

    refused: list[str] = []
    with scripted(speaks) as iw, Inworld(auth=Custom(), options=iw.options) as custom:
        assert samples_of("Hi.") == bytes(custom.tts.synthesize("Hi.").pcm)
    with Inworld(auth=Custom(), base_url="http://127.0.0.1:9", credential_in="query") as custom:
        with pytest.raises(ConfigError, match="got the header 'X-Key'"):
            custom.tts.connect()

    def refuse(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    with serve(refuse) as server:
        with Inworld(auth=Custom(), base_url=f"http://127.0.0.1:{server.port}") as custom:
            with pytest.raises(AuthError):
                custom.tts.connect()
    assert ["x"] == refused


def test_a_token_for_another_workspace(server: Emulator) -> None:
    """The emulator knows the workspaces of its account, and its tokens are JSON Web Tokens."""
    with Inworld(server.api_key, base_url=server.url) as iw:
        with pytest.raises(AuthError, match="no access to workspaces/other"):
            iw.tokens.mint(workspace="other")
        token = iw.tokens.mint(workspace="local").token
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

    assert (["workspaces/local"], 3600) == (claims["resources"], claims["exp"] - claims["iat"])
