"""A credential is sent in requests and appears nowhere else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import Literal

import pytest

from inworld_sync import ApiKey, Inworld, InworldError, Token, TraceEvent
from inworld_sync.auth import Auth
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.transport.rejection import error_from_response

from support.frames import variables_of
from support.peers import Peer, serve
from support.scripted import KEY as SCRIPTED_KEY, Service, scripted
from support.spelling import SpellingSynthesizer

KEY = "c3VwZXItc2VjcmV0LWlkOnN1cGVyLXNlY3JldC1rZXk="
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0LXNpZ25hdHVyZQ"

# Five successive characters of a credential are a leak. The service repeats four characters.
SHORTEST_LEAK = 5


class Witness:
    """Collects the logs, traces, reprs and errors of the package."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.shown: list[str] = []
        self._caplog = caplog
        caplog.set_level(logging.DEBUG)

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        self.shown.append(f"{direction} {connection} {data.decode()}")

    def trace(self, event: TraceEvent) -> None:
        self.shown.append(repr(event))

    def error(self, error: BaseException) -> None:
        self.shown += traceback.format_exception(error)
        self.shown += locals_of(error)
        while True:
            self.shown += [repr(error), str(error), repr(vars(error))]
            cause = error.__cause__ or error.__context__
            if cause is None:
                return
            error = cause

    def everything(self) -> str:
        formatter = logging.Formatter("%(name)s %(message)s %(pathname)s")
        records = [formatter.format(record) for record in self._caplog.records]
        arguments = [repr(record.args) for record in self._caplog.records]
        return "\n".join([*self.shown, *records, *arguments])


def locals_of(error: BaseException) -> Iterator[str]:
    """
    Yield the local variables of each frame of an error and its causes, as error reports do.

    Frames of test functions are left out, because they have the credential itself.
    `http.client` has the bytes of the request only for the microseconds in which it sends them.
    """
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        each = errors.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        errors += [each.__cause__, each.__context__]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                yield from (f"{name}={value!r}" for name, value in dict(frame.f_locals).items())


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture) -> Witness:
    return Witness(caplog)


@pytest.fixture(params=["key", "token", "callable"])
def credential(request: pytest.FixtureRequest) -> tuple[str, Auth]:
    return {
        "key": (KEY, ApiKey(KEY)),
        "token": (TOKEN, Token(TOKEN)),
        "callable": (TOKEN, Token(lambda: TOKEN)),
    }[request.param]


def leaks(secret: str, text: str) -> Iterator[str]:
    """Yield every piece of a secret in a text, including the start that the service repeats."""
    if f"{secret[:4]}*" in text:
        yield secret[:4]
    for start in range(len(secret) - SHORTEST_LEAK + 1):
        piece = secret[start : start + SHORTEST_LEAK]
        if piece in text:
            yield piece


def whole_session(iw: Inworld, witness: Witness) -> None:
    """Use every service of a client, and pass every object to the witness."""
    with iw.tts.connect() as connection, connection.context(voice="Hana") as context:
        context.send("Some text.")
        witness.shown += [repr(o) for o in (iw, iw.options, iw.tts, connection, context)]
        context.close()
        witness.shown += [repr(event) for event in context]
        witness.shown += [repr(connection.stats), repr(connection), repr(connection._link)]
    witness.shown.append(repr(connection.ended))


def test_a_session_that_works(witness: Witness) -> None:
    """No log, trace, recording or repr of a session shows a part of the key."""
    server = Emulator(synthesizer=SpellingSynthesizer(), api_key=KEY)
    with (
        server,
        Inworld(api_key=KEY, base_url=server.url, observer=witness, on_trace=witness.trace) as iw,
    ):
        whole_session(iw, witness)
        witness.shown.append(repr(iw.tts.synthesize("More.")))
        witness.shown.append(repr(iw.voices.list()))

    shown = witness.everything()
    assert "connected" in shown
    assert "send_text" in shown
    assert [] == list(leaks(KEY, shown))


FAULTS = [
    "http_status:401", "http_status:500", "drop_request", "reset@1", "fatal_error:7@0",
    "close:1011@1", "masked@1", "response_delay:0.5",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_session_that_fails(witness: Witness, credential: tuple[str, Auth], fault: str) -> None:
    """No error, cause of an error or frame of a traceback shows a part of the key."""
    secret, auth = credential
    anybody = Settings(check_credentials=False)
    with (
        # A token function is called again after a refusal, so the emulator must refuse twice.
        Emulator(synthesizer=SpellingSynthesizer(), faults=[fault] * 2, settings=anybody) as server,
        Inworld(
            auth=auth,
            base_url=server.url,
            observer=witness,
            on_trace=witness.trace,
            connect_timeout=0.3,
            max_retries=0,
        ) as iw,
        pytest.raises(InworldError) as caught,
    ):
        iw.tts.synthesize("Hi.", timeout=0.3)
    witness.error(caught.value)

    assert [] == list(leaks(secret, witness.everything()))


def test_a_refused_key(witness: Witness) -> None:
    """The part of a refused key that the service repeats is removed from the message."""
    with (
        Emulator(synthesizer=SpellingSynthesizer()) as server,
        Inworld(api_key=KEY, base_url=server.url, on_trace=witness.trace) as iw,
    ):
        with pytest.raises(InworldError) as caught:
            iw.tts.synthesize("Hi.")
        with pytest.raises(InworldError) as listed:
            iw.voices.list()
    witness.error(caught.value)
    witness.error(listed.value)

    assert "Invalid credentials" in witness.everything()
    assert [] == list(leaks(KEY, witness.everything()))


@pytest.mark.parametrize("place", ["header", "query", "subprotocol"])
@pytest.mark.parametrize("fault", ["http_status:401", "drop_request", "response_delay:0.5"])
def test_the_variables_of_frames(
    credential: tuple[str, Auth], place: Literal["header", "query", "subprotocol"], fault: str
) -> None:
    """
    Error reports show local variables, so no variable of the package's frames has a credential.
    """
    secret, auth = credential
    with (
        Emulator(synthesizer=SpellingSynthesizer(), faults=[fault] * 6) as server,
        Inworld(
            auth=auth,
            base_url=server.url,
            connect_timeout=0.3,
            max_retries=0,
            credential_in=place,
        ) as iw,
    ):
        for use in (iw.tts.connect, lambda: iw.voices.list(timeout=0.3)):
            with pytest.raises(InworldError) as caught:
                use()
            assert [] == list(leaks(secret, variables_of(caught.value)))


@pytest.mark.parametrize("code", [7, 16, 3, 13])
def test_a_service_that_echoes_all(witness: Witness, code: int) -> None:
    """If the service repeats a header in its error, the header is removed from the error."""

    def echoing(service: Service) -> None:
        service.until("create")
        service.error(code, f"not accepted: {service.peer.header('authorization')}")
        service.close(1000, service.peer.header("authorization")[:100])

    with scripted(echoing, max_retries=0) as iw, pytest.raises(InworldError) as caught:
        iw.tts.synthesize("Hi.")
    witness.error(caught.value)

    assert "not accepted" in witness.everything()
    assert [] == list(leaks(SCRIPTED_KEY, witness.everything()))


def test_no_repr_has_it() -> None:
    """The reprs of options, connectors and clients do not show a credential."""
    with Inworld(api_key=KEY, headers={"X-Secret": KEY}, proxy=f"http://u:{KEY}@localhost:1") as iw:
        objects = [iw, iw.options, iw.tts, iw.voices, iw._auth, iw._connector, iw._http]
        texts = [repr(value) for value in objects]

    assert [] == list(leaks(KEY, "\n".join(texts)))


def test_a_gateway_that_echoes_the_key(witness: Witness) -> None:
    """The key is removed from the request id and the details of an error."""
    auth = ApiKey(KEY)
    body = json.dumps({"error": {"message": KEY, "code": 3, "details": [{"key": [KEY]}, KEY]}})
    error = error_from_response(
        400, {"X-Request-Id": f"id-{KEY}"}, body.encode(), url="https://gateway.test"
    )
    witness.error(error)

    assert ("id-***", ({"key": ["***"]}, "***")) == (error.request_id, error.details)
    assert [] == list(leaks(KEY, witness.everything()))
    assert auth.key == KEY


def test_recorded_messages(witness: Witness) -> None:
    """A key that the service repeats in a message is not recorded."""

    def echoing(service: Service) -> None:
        context = service.until("create")
        service.send({"result": {"contextId": context, "status": {}, "echo": SCRIPTED_KEY}})
        service.until_left()

    with (
        scripted(echoing, observer=witness, logger=logging.getLogger("inworld_sync")) as iw,
        iw.tts.connect() as connection,
    ):
        context = connection.context()
        event = next(iter(context))
        assert SCRIPTED_KEY in repr(event)

    assert "***" in witness.everything()
    assert [] == list(leaks(SCRIPTED_KEY, witness.everything()))


@pytest.mark.parametrize("how", ["option", "variable", "wrong"])
def test_password_of_a_proxy(witness: Witness, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The password of a proxy is neither in an error nor in the variables of a traceback."""

    def refusing(peer: Peer) -> None:
        peer.read_head()
        peer.sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with serve(refusing) as server:
        url = f"http://user:{KEY}@127.0.0.1:{server.port}"
        if how == "variable":
            monkeypatch.setenv("https_proxy", url)
        proxy = {"option": url, "wrong": f"socks9://u:{KEY}@host:1"}.get(how)
        with (
            pytest.raises(InworldError) as caught,
            Inworld(api_key="another-key", proxy=proxy, max_retries=0) as iw,
        ):
            iw.tts.synthesize("Hi.", timeout=5)
        with (
            pytest.raises(InworldError) as listed,
            Inworld(api_key="another-key", proxy=proxy, max_retries=0) as iw,
        ):
            iw.voices.list(timeout=5)
    witness.error(caught.value)
    witness.error(listed.value)

    assert [] == list(leaks(KEY, witness.everything()))


DEBUGGED = """
import logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from inworld_sync import Inworld, InworldError
url = sys.argv[1]
for key in (sys.stdin.readline().strip(), sys.stdin.readline().strip()):
    class Recorder:
        def message(self, *values):
            print(*values)
    with Inworld(api_key=key, base_url=url, observer=Recorder(), on_trace=print) as iw:
        for use in (
            lambda: iw.tts.synthesize("Hi."),
            lambda: iw.voices.list(),
            lambda: iw.stt.transcribe(bytes(32000), raw_format="s16", sample_rate_hz=16000),
            lambda: iw.realtime.connect().close(),
        ):
            try:
                print(repr(use()))
            except InworldError:
                traceback.print_exc(file=sys.stdout)
    print(repr(iw), iw.options)
"""


def test_everything_that_a_program_prints() -> None:
    """A program that logs, traces and records everything prints no part of a key."""
    refused = KEY[::-1].strip("=") + "="
    with Emulator(synthesizer=SpellingSynthesizer(), api_key=KEY) as server:
        done = subprocess.run(
            [sys.executable, "-c", DEBUGGED, server.url],
            input=f"{KEY}\n{refused}\n",
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert "" == done.stderr
    assert 0 == done.returncode
    for word in ("DEBUG:inworld_sync", "DEBUG:urllib3", "send_text", "TraceEvent", "AuthError"):
        assert word in done.stdout
    for secret in (KEY, refused):
        assert [] == list(leaks(secret, done.stdout))
