"""If an endpoint fails, the client uses the next one, but never in the middle of an utterance."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from inworld_sync import (
    ConfigError,
    ConnectError,
    ConnectionLimiter,
    ConnectionLost,
    DeadlineExceeded,
    Endpoint,
    Inworld,
    InworldError,
    NotFoundError,
    Options,
    QuotaError,
    TraceEvent,
)
from inworld_sync.emulator import Emulator
from inworld_sync.failover import Failover, is_failure_of_endpoint

from support.scripted import KEY, Service, scripted
from support.spelling import SpellingSynthesizer, spelled

DEAD = "http://127.0.0.1:1"
LOST = ConnectionLost("lost")


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def events() -> list[TraceEvent]:
    return []


@pytest.fixture
def failover(clock: Time, events: list[TraceEvent]) -> Failover:
    return Failover(["first", "second", "third"], Options(on_trace=events.append), clock)


def test_the_first_is_preferred(failover: Failover, events: list[TraceEvent]) -> None:
    """Two failures in a row do not change the endpoint. A success resets the count."""
    failover.fail(0, LOST)
    failover.fail(0, LOST)
    assert 0 == failover.choose()
    failover.succeed(0)
    failover.fail(0, LOST)

    assert 0 == failover.choose()
    assert [] == events


def test_three_failures(failover: Failover, events: list[TraceEvent], clock: Time) -> None:
    """After three failures in 30 s, calls use the next endpoint, and one trace event is emitted."""
    for _ in range(5):
        failover.fail(0, LOST)
        clock.now += 1

    assert 1 == failover.choose()
    [event] = events
    assert ("failover", "endpoint_changed") == (event.connection, event.name)
    assert {"from": "first", "to": "second", "reason": "ConnectionLost"} == event.facts


def test_rare_failures(failover: Failover, clock: Time) -> None:
    """Three failures in more than 30 s do not change the endpoint."""
    for _ in range(9):
        failover.fail(0, LOST)
        clock.now += 15.1

    assert 0 == failover.choose()


def test_one_call_tries_again(failover: Failover, events: list[TraceEvent], clock: Time) -> None:
    """After 10 s, one call tries the failed endpoint. If the call succeeds, all calls use it."""
    for _ in range(3):
        failover.fail(0, LOST)
    clock.now += 9.9
    assert 1 == failover.choose()
    clock.now += 0.2
    assert [0, 1, 1] == [failover.choose() for _ in range(3)]
    failover.fail(0, LOST)
    assert 1 == failover.choose()
    clock.now += 10.1
    assert [0, 1] == [failover.choose() for _ in range(2)]
    failover.succeed(0)

    assert 0 == failover.choose()
    assert ["second", "first"] == [event.facts["to"] for event in events]


def test_all_have_failed(failover: Failover, clock: Time) -> None:
    """If all endpoints have failed, the endpoint whose pause ends first is used."""
    for number in (1, 0, 2):
        for _ in range(3):
            failover.fail(number, LOST)
        clock.now += 1

    assert 1 == failover.choose()
    assert 0 == failover.choose([1])
    assert 2 == failover.choose([0, 1])


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectError("no"), True),
        (DeadlineExceeded("mute"), True),
        (NotFoundError("no such voice"), False),
        (QuotaError("too many requests", status=429, retryable=True), True),
        (QuotaError("the own limit was reached", retryable=True), False),
        (ConfigError("wrong"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_that_count(error: InworldError, counts: bool) -> None:
    """Errors that every endpoint would report do not count as failures."""
    assert counts == is_failure_of_endpoint(error)


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


def client(server: Emulator, **settings: Any) -> Inworld:
    other = Endpoint(base_url=server.url, api_key=server.api_key)
    return Inworld(
        **{"api_key": KEY, "base_url": DEAD, "max_retries": 0, "failover": [other], **settings}
    )


@pytest.mark.parametrize("method", ["stream", "http"])
def test_an_utterance_continues_elsewhere(
    server: Emulator, events: list[TraceEvent], method: Any
) -> None:
    """Utterances succeed although an endpoint is dead. The endpoint is changed once."""
    with client(server, on_trace=events.append) as iw:
        for text in ("One.", "Two.", "Three.", "Four."):
            assert text == spelled(iw.tts.synthesize(text, method=method).data)

    assert 1 == len([event for event in events if event.name == "endpoint_changed"])


def test_pieces_are_sent_again(server: Emulator) -> None:
    """An iterable of pieces is read once, and the next endpoint gets all pieces."""
    with client(server) as iw:
        assert "One.Two." == spelled(iw.tts.synthesize(iter(["One. ", "Two."])).data)


def test_a_mute_service(server: Emulator) -> None:
    """If a service accepts a connection but never answers, the next endpoint is used."""

    def mute(service: Service) -> None:
        service.until_left()

    other = Endpoint(base_url=server.url, api_key=server.api_key)
    with scripted(mute, failover=[other]) as iw:
        assert "One." == spelled(iw.tts.synthesize("One.", create_timeout=0.1).data)


def test_never_in_the_middle(server: Emulator) -> None:
    """If an utterance fails after its first audio, the error is raised."""

    def cut(service: Service) -> None:
        context_id = service.until("close_context")
        service.audio(context_id, bytes(4800))
        raise EOFError

    other = Endpoint(base_url=server.url, api_key=server.api_key)
    with scripted(cut, failover=[other]) as iw, pytest.raises(ConnectionLost) as caught:
        iw.tts.synthesize("One.")
    assert caught.value.partial is not None


def test_an_error_of_the_call(server: Emulator) -> None:
    """An error that every endpoint would report is raised at once."""
    with client(server, api_key=server.api_key, base_url=server.url) as iw:
        with pytest.raises(NotFoundError):
            iw.tts.synthesize("One.", voice="Nobody")


def test_other_services(server: Emulator) -> None:
    """After three failures, HTTP calls and connections use the next endpoint."""
    with client(server, connect_timeout=2.0) as iw:
        for _ in range(3):
            with pytest.raises(ConnectError):
                iw.voices.list()
        assert iw.voices.list()
        with iw.realtime.connect() as session:
            assert session.ended is None


def test_the_own_limit(server: Emulator, events: list[TraceEvent]) -> None:
    """If the limiter has no free place, this is no failure of the endpoint."""
    limiter = ConnectionLimiter(1)
    assert limiter.acquire(0)
    with client(
        server,
        api_key=server.api_key,
        base_url=server.url,
        limiter=limiter,
        on_trace=events.append,
        failover=["local"],
    ) as iw:
        for _ in range(4):
            with pytest.raises(QuotaError):
                iw.tts.synthesize("One.", timeout=0.05)
        assert iw._endpoints is not None
        assert not iw._endpoints._made
    assert not [event for event in events if event.name == "endpoint_changed"]


def test_endpoints_with_one_address(server: Emulator, events: list[TraceEvent], caplog) -> None:
    """Endpoints that differ only in the key have different names in the event and in the log."""
    with Inworld(
        api_key="d3Jvbmc6d3Jvbmc=",
        base_url=server.url,
        failover=[Endpoint(api_key=server.api_key)],
        on_trace=events.append,
    ) as iw:
        for _ in range(3):
            iw.tts.synthesize("One.")
    [event] = [event for event in events if event.name == "endpoint_changed"]
    assert {
        "from": f"{server.url} (endpoint 1)",
        "to": f"{server.url} (endpoint 2)",
        "reason": "AuthError",
    } == event.facts
    assert "(endpoint 2) instead of" in caplog.text


def test_another_key(server: Emulator) -> None:
    """The next endpoint may be the same service with another key."""
    with Inworld(
        api_key="d3Jvbmc6d3Jvbmc=",
        base_url=server.url,
        failover=[Endpoint(api_key=server.api_key)],
    ) as iw:
        assert "One." == spelled(iw.tts.synthesize("One.").data)


def test_stop(server: Emulator) -> None:
    """close() ends a stream that uses another endpoint than the first."""
    with client(server) as iw, iw.tts.stream("One two three.") as stream:
        next(stream)
        stream.close()
        with contextlib.suppress(StopIteration):
            next(stream)
        assert [] == list(stream)


@pytest.mark.parametrize(
    ("failover", "message"),
    [
        ("local", "failover must be a list"),
        ([3], "must have Endpoint objects or 'local', got int"),
        (["local", Endpoint(api_key=KEY)], "only at its end"),
    ],
)
def test_wrong_failover(failover: Any, message: str) -> None:
    """A wrong value of ``failover`` raises an error."""
    with pytest.raises(ConfigError, match=message):
        Inworld(api_key=KEY, failover=failover)


def test_wrong_endpoints() -> None:
    """An endpoint that has neither an address nor a credential raises an error."""
    with pytest.raises(ConfigError, match="needs a base_url or a credential"):
        Endpoint()


def test_the_key_is_hidden() -> None:
    """No repr has the key of an endpoint."""
    assert KEY not in repr(Endpoint(api_key=KEY))


def test_threads_share_one_client(server: Emulator) -> None:
    """Threads that need the next endpoint at the same time make only one client for it."""
    with client(server) as iw:
        barrier = threading.Barrier(8)
        results: list[str] = []

        def speak() -> None:
            barrier.wait(30)
            results.append(spelled(iw.tts.synthesize("One.").data))

        threads = [threading.Thread(target=speak) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert iw._endpoints is not None
        assert 1 == len(iw._endpoints._made)

    assert ["One."] * 8 == results
