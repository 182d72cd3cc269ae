"""The pool opens, shares, replaces and closes its connections."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from inworld_sync import (
    AuthError,
    ClosedError,
    ConnectError,
    ConnectionLost,
    ContextLimitError,
    DeadlineExceeded,
    Inworld,
    QuotaError,
    ServiceError,
)
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.transport.backoff import Backoff

from support.counting import CountingLimiter
from support.scripted import Service, obedient, scripted, text_of
from support.spelling import SpellingSynthesizer, spelled, spoken_part


def said(iw: Inworld, text: str) -> str:
    return text_of(iw.tts.synthesize(text, timeout=30).data)


def at_once(count: int, work: object) -> list[object]:
    """Run work on threads that start together. Return their results or errors."""
    barrier = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        barrier.wait(30)
        try:
            results[number] = work(number)  # type: ignore[operator]
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return results


def test_successive_utterances_share_a_connection() -> None:
    """Utterances that are spoken one after another use the same connection."""
    numbers: list[int] = []

    def script(service: Service) -> None:
        numbers.append(service.number)
        obedient(service)

    with scripted(script) as iw:
        assert ["1", "2", "3"] == [said(iw, text) for text in "123"]

    assert [1] == numbers


def test_parallel_utterances_share_connections(spelling_server: Emulator) -> None:
    """
    Utterances that start together share connections. Each connection has five utterances.

    A pool that opens one connection for each utterance would exceed the limit of the account.
    """
    hold = threading.Barrier(12)

    def tokens(number: int) -> object:
        yield f"Number {number}."
        hold.wait(30)

    limiter = CountingLimiter()
    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as iw:
        texts = at_once(
            12,
            lambda n: spelled(iw.tts.synthesize(tokens(n), timeout=30).data),  # type: ignore[arg-type]
        )

    assert [f"Number{number}." for number in range(12)] == texts
    assert 3 == limiter.most


def test_more_utterances_than_contexts(spelling_server: Emulator) -> None:
    """If all contexts are in use, other utterances wait for a context. All utterances complete."""
    limiter = CountingLimiter(2)
    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as iw:
        texts = at_once(40, lambda n: spelled(iw.tts.synthesize(f"N{n}.", timeout=30).data))

    assert [f"N{number}." for number in range(40)] == texts
    assert limiter.most <= 2


def test_no_context_in_time() -> None:
    """If no context becomes free, an utterance fails after its timeout."""
    with scripted(lambda s: s.until_left(), limiter=CountingLimiter(1)) as iw:
        streams = [iw.tts.stream(iter(["Hi."]), timeout=30) for _ in range(5)]
        threads = [threading.Thread(target=list, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        while any(stream._utterance.context is None for stream in streams):
            threading.Event().wait(0.001)
        with pytest.raises(QuotaError, match="no TTS context came free") as caught:
            iw.tts.synthesize("Sixth.", timeout=0.1)
        assert caught.value.retryable
        for stream in streams:
            stream.close()
        for thread in threads:
            thread.join(30)


def test_http_429(spelling_server: Emulator) -> None:
    """If the service allows fewer connections than the limiter, utterances still complete."""
    with (
        Emulator(synthesizer=SpellingSynthesizer(), settings=Settings(max_connections=1)) as server,
        Inworld(api_key=server.api_key, base_url=server.url) as iw,
    ):
        texts = at_once(12, lambda n: spelled(iw.tts.synthesize(f"N{n}.", timeout=30).data))

    assert [f"N{n}." for n in range(12)] == texts


def test_429_of_the_only_connection() -> None:
    """If the only connection is refused with HTTP 429, the client retries ``max_retries`` times."""
    with Emulator(synthesizer=SpellingSynthesizer(), faults=["http_status:429"]) as server:
        with Inworld(api_key=server.api_key, base_url=server.url, max_retries=0) as iw:
            with pytest.raises(QuotaError) as caught:
                iw.tts.synthesize("Hi.")
    with Emulator(synthesizer=SpellingSynthesizer(), faults=["http_status:429"]) as server:
        with Inworld(api_key=server.api_key, base_url=server.url) as iw:
            assert "Hi." == spelled(iw.tts.synthesize("Hi.").data)

    assert (429, True) == (caught.value.status, caught.value.retryable)


# Idle connections that end.


@pytest.mark.parametrize("end", ["close", "drop"])
def test_idle_connection_cut(end: str) -> None:
    """If the service closes an idle connection, the next utterance still succeeds."""
    ended = threading.Event()

    def once(service: Service) -> None:
        context_id = service.until("close_context")
        service.speak(context_id, b"1\0")
        if end == "close":
            service.close(1000, "idle")
        else:
            service.peer.hang_up()
        ended.set()

    with scripted(once, obedient) as iw:
        assert "1" == said(iw, "One")
        assert ended.wait(30)
        assert "Two" == said(iw, "Two")


def test_a_dead_idle_connection() -> None:
    """
    An utterance on a dead idle connection is retried on a new connection.

    A load balancer drops an idle connection silently, and resets it at the first message.
    """

    def once(service: Service) -> None:
        service.speak(service.until("close_context"), b"1\0")
        service.request()
        service.peer.reset()

    with scripted(once, obedient) as iw:
        assert "1" == said(iw, "One")
        assert "Two" == said(iw, "Two")
        assert "Three" == text_of(
            b"".join(chunk.data for chunk in iw.tts.stream(iter(["Th", "ree"])))
        )


def test_pieces_are_sent_again() -> None:
    """A retry sends the pieces again, but takes each piece from the iterator only once."""
    taken: list[str] = []
    resets = threading.Event()

    def tokens() -> object:
        for token in ("One ", "two ", "three"):
            taken.append(token)
            yield token
            if token == "two ":
                resets.wait(30)

    def once(service: Service) -> None:
        service.speak(service.until("close_context"), b"1\0")
        while "two" not in service.text_of(service.until("send_text")):
            pass
        service.peer.reset()
        resets.set()

    with scripted(once, obedient) as iw:
        assert "1" == said(iw, "One")
        chunks = iw.tts.stream(tokens(), timeout=30, auto_mode=False)  # type: ignore[arg-type]
        assert "One two three" == text_of(b"".join(chunk.data for chunk in chunks))

    assert ["One ", "two ", "three"] == taken


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_connections_that_die(max_retries: int) -> None:
    """An utterance that was not answered is retried ``max_retries`` times, and then fails."""
    connections: list[int] = []

    def dying(service: Service) -> None:
        connections.append(service.number)
        service.request()
        service.peer.reset()

    with scripted(dying, max_retries=max_retries) as iw, pytest.raises(ConnectionLost):
        said(iw, "Hi.")

    assert [1, 2, 3][: max_retries + 1] == connections


@pytest.mark.parametrize("code", [4, 8, 13, 14])
def test_a_fault_that_may_pass(code: int) -> None:
    """An utterance that a busy service refuses is retried."""
    faults: list[str] = []

    def busy_once(service: Service) -> None:
        faults.append(service.until("close_context"))
        service.fault(faults[0], code, "busy")
        obedient(service)

    with scripted(busy_once, obedient) as iw:
        assert "Hi." == said(iw, "Hi.")
    assert 1 == len(faults)


@pytest.mark.parametrize("code", [2, 3, 5, 7, 16])
def test_a_fault_that_stays(code: int) -> None:
    """An utterance that would be refused again is not retried."""
    requests: list[str] = []

    def refusing(service: Service) -> None:
        while True:
            requests.append(service.until("close_context"))
            service.fault(requests[-1], code, "no")

    with scripted(refusing) as iw, pytest.raises(ServiceError):
        said(iw, "Hi.")
    assert 1 == len(set(requests))


def test_silence_is_not_retried() -> None:
    """If the service does not answer in time, the request is not sent again."""
    creates: list[str] = []

    def silent(service: Service) -> None:
        while True:
            creates.append(service.until("create"))

    with scripted(silent) as iw, pytest.raises(DeadlineExceeded):
        iw.tts.synthesize("Hi.", create_timeout=0.1)
    assert 1 == len(creates)


def test_stopped_between_two_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """close() ends the wait before a retry."""
    monkeypatch.setattr(Backoff, "next_delay", lambda *_: 1000.0)
    refused = threading.Event()

    def busy(service: Service) -> None:
        while True:
            service.fault(service.until("close_context"), 14, "busy")
            refused.set()

    with scripted(busy) as iw:
        stream = iw.tts.stream("Hi.")
        thread = threading.Thread(target=list, args=(stream,))
        thread.start()
        assert refused.wait(30)
        stream.close()
        thread.join(30)
        assert not thread.is_alive()


def test_an_answered_utterance_is_not_retried() -> None:
    """An utterance that the service has answered is not spoken twice."""

    def once(service: Service) -> None:
        service.speak(service.until("close_context"), b"1\0")
        service.result(service.until("send_text"), contextCreated={})
        service.peer.reset()

    with scripted(once, obedient) as iw:
        assert "1" == said(iw, "One")
        with pytest.raises(ConnectionLost):
            said(iw, "Two")


def test_a_connection_that_refuses_a_context() -> None:
    """A context that is refused because of the limit is created on another connection."""

    def full(service: Service) -> None:
        context_id = service.until("close_context")
        service.fault(context_id, 8, "You have reached the limit of 5 TTS contexts")
        service.until_left()

    with scripted(full, obedient) as iw:
        assert "Hi" == said(iw, "Hi")


def test_every_connection_refuses_a_context() -> None:
    """If every connection refuses the context, the caller gets the error."""
    connections: list[int] = []

    def full(service: Service) -> None:
        connections.append(service.number)
        service.fault(service.until("close_context"), 8, "You have reached the limit of contexts")
        service.until_left()

    with scripted(full) as iw, pytest.raises(ContextLimitError):
        said(iw, "Hi")

    assert [1, 2, 3] == connections


def test_a_connection_that_does_not_answer_is_left() -> None:
    """
    After a timeout, the silent connection is closed. The next utterance uses another connection.

    Otherwise a silent connection would count toward the limit of the account forever.
    """
    limiter = CountingLimiter()
    with scripted(lambda s: s.until_left(), obedient, limiter=limiter) as iw:
        with pytest.raises(DeadlineExceeded):
            iw.tts.synthesize("Hi", timeout=1)
        assert "Next" == said(iw, "Next")
        while limiter.taken > 1:
            threading.Event().wait(0.001)


def test_a_silent_connection_is_aborted() -> None:
    """
    A silent connection is aborted without a close handshake, and another connection is opened.
    """
    release = threading.Event()
    with (
        scripted(
            lambda _: release.wait(300),
            obedient,
            limiter=CountingLimiter(1),
            close_timeout=300,
            ping_timeout=300,
        ) as iw,
        contextlib.ExitStack() as at_end,
    ):
        at_end.callback(release.set)
        with pytest.raises(DeadlineExceeded):
            iw.tts.synthesize("Hi", timeout=1)

        assert "Next" == said(iw, "Next")


def test_idle_connections_are_closed(spelling_server: Emulator) -> None:
    """One idle connection is kept. All other idle connections are closed."""
    hold = threading.Barrier(11)

    def tokens(number: int) -> object:
        yield f"Number {number}."
        hold.wait(30)

    limiter = CountingLimiter()
    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as iw:
        at_once(11, lambda n: iw.tts.synthesize(tokens(n), timeout=30))  # type: ignore[arg-type]
        assert 3 == limiter.most
        while limiter.taken > 1:
            threading.Event().wait(0.001)


# Errors of connecting.


def test_every_waiting_utterance_gets_the_error() -> None:
    """If the service cannot be reached, every waiting utterance ends with the error."""
    with Inworld(api_key="key", base_url="http://127.0.0.1:9") as iw:
        errors = at_once(8, lambda n: iw.tts.synthesize("Hi.", timeout=30))

    assert [ConnectError] * 8 == [type(error) for error in errors]


def test_a_bad_key(spelling_server: Emulator) -> None:
    """A refused key raises AuthError for the first utterance and for the next utterance."""
    with Inworld(api_key="d3Jvbmc6a2V5", base_url=spelling_server.url) as iw:
        for _ in range(2):
            with pytest.raises(AuthError):
                iw.tts.synthesize("Hi.")


def test_closed_while_waiting() -> None:
    """Closing the client ends the wait for a context."""
    with scripted(lambda s: s.until_left(), limiter=CountingLimiter(1)) as iw:
        connection = iw.tts.connect()
        results: list[BaseException] = []

        def wait() -> None:
            try:
                iw.tts.synthesize("Hi.", timeout=30)
            except ClosedError as error:
                results.append(error)

        tts = iw.tts
        thread = threading.Thread(target=wait)
        thread.start()
        while not tts._pool._calls:
            threading.Event().wait(0.001)
        iw.close()
        thread.join(30)

    assert ["the client was closed, make another"] == [str(error) for error in results]
    assert connection.ended is not None


def test_forgotten_clients(spelling_server: Emulator) -> None:
    """
    A client that is used once and garbage-collected keeps no connection.

    Otherwise each client would keep a socket and two threads until the service closes the
    connection.
    """

    def client() -> Inworld:
        return Inworld(api_key=spelling_server.api_key, base_url=spelling_server.url)

    before = set(threading.enumerate())
    for _ in range(3):
        assert "Hi." == spelled(client().tts.synthesize("Hi.").data)
    stream = client().tts.stream("Still whole.")
    assert spoken_part("Still whole.") == spelled(b"".join(chunk.data for chunk in stream))
    kept = client().tts.connect()
    with kept.context() as context:
        context.send("Mine.")
    assert "Mine." == spelled(b"".join(chunk.data for chunk in context.audio()))
    kept.close()

    until = time.monotonic() + 30
    while any("-tts-" in thread.name for thread in {*threading.enumerate()} - before):
        assert time.monotonic() < until, "a dropped client keeps a connection"
        threading.Event().wait(0.01)


def test_stopped_while_waiting() -> None:
    """Closing a stream ends its wait for a context, without an error."""
    with scripted(lambda s: s.until_left(), limiter=CountingLimiter(1)) as iw:
        connection = iw.tts.connect()
        stream = iw.tts.stream("Hi.", timeout=30)
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(list(stream)))
        thread.start()
        while not iw.tts._pool._calls:
            threading.Event().wait(0.001)
        stream.close()
        thread.join(30)
        assert not thread.is_alive()
        connection.close()

    assert [[]] == results
