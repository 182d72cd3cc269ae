"""A credential is sent in requests and appears nowhere else."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Literal

import pytest

from inworld_sync import ApiKey, Inworld, InworldError, Token, TraceEvent
from inworld_sync.auth import Auth
from inworld_sync.emulator import Emulator, Settings

from support.scripted import KEY as SCRIPTED_KEY, Service, scripted
from support.spelling import SpellingSynthesizer

KEY = "c3VwZXItc2VjcmV0LWlkOnN1cGVyLXNlY3JldC1rZXk="
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0LXNpZ25hdHVyZQ"

# Five characters of a credential in a row are a leak. The service itself repeats four.
SHORTEST_LEAK = 5


class Witness:
    """Collects everything that the package shows: logs, traces, reprs and errors."""

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
    """Yield every piece of a secret that is in a text, also the part that the service repeats."""
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
        Emulator(synthesizer=SpellingSynthesizer(), faults=[fault], settings=anybody) as server,
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


@pytest.mark.parametrize("code", [7, 16, 3, 13])
def test_a_service_that_echoes_all(witness: Witness, code: int) -> None:
    """A header that the service repeats in its error is removed."""

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
