"""Tests of headers, the limit of connections, retries, and the end of connections."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLimiter,
    ContextConfig,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    InworldError,
    NotFoundError,
    QuotaError,
    ServiceError,
    __version__,
)
from inworld_sync.emulator import Emulator
from inworld_sync.sessions import connector

from support.counting import CountingLimiter
from support.peers import Peer, serve
from support.scripted import KEY, Service, obedient, samples_of, scripted


def test_headers() -> None:
    """An upgrade request has the API key, the user agent and its own request id."""
    requests: list[bytes] = []

    def script(service: Service) -> None:
        requests.append(service.peer.request)
        service.until_left()

    with scripted(script, headers={"X-Mine": "yes"}) as iw:
        for _ in range(2):
            iw.tts.connect().close()
    texts = [request.decode() for request in requests]
    ids = {line for text in texts for line in text.split("\r\n") if line.startswith("X-Request-Id")}

    assert texts[0].startswith("GET /tts/v1/voice:streamBidirectional HTTP/1.1\r\n")
    assert f"Authorization: Basic {KEY}\r\n" in texts[0]
    assert f"User-Agent: inworld-sync/{__version__}\r\n" in texts[0]
    assert "X-Mine: yes\r\n" in texts[0]
    assert 2 == len(ids)


def test_own_headers_cannot_replace_the_credential() -> None:
    """A credential in ``headers`` does not replace the credential of the client."""
    requests: list[bytes] = []

    def script(service: Service) -> None:
        requests.append(service.peer.request)
        service.until_left()

    with scripted(script, headers={"Authorization": "Basic b3RoZXI="}) as iw:
        iw.tts.connect().close()

    assert f"Authorization: Basic {KEY}\r\n".encode() in requests[0]
    assert b"b3RoZXI=" not in requests[0]


# The limit of connections, for each way in which a connection ends or fails to open.


def connects(iw: Inworld) -> None:
    iw.tts.connect().close()


def speaks(iw: Inworld) -> None:
    iw.tts.synthesize("Hi.")
    iw.close()


def closes_twice(iw: Inworld) -> None:
    connection = iw.tts.connect()
    connection.close()
    connection.close()


def leaves_it_to_the_client(iw: Inworld) -> None:
    connection = iw.tts.connect()
    iw.close()
    assert connection.ended is not None


def stops_early(iw: Inworld) -> None:
    for _ in iw.tts.stream("Hi. " * 100):
        break
    iw.close()


@pytest.mark.parametrize(
    "use", [connects, speaks, closes_twice, leaves_it_to_the_client, stops_early]
)
def test_places_come_back(spelling_server: Emulator, use: object) -> None:
    """A place is returned exactly once, no matter how its connection ends."""
    limiter = CountingLimiter(1)
    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as iw:
        use(iw)  # type: ignore[operator]

    assert (0, 1) == (limiter.taken, limiter.most)


# (fault of the emulator, error of the client) for each step at which a connection can fail.
FAILURES: list[tuple[str, type[Exception]]] = [
    ("drop_request", ConnectError),
    ("reset_request", ConnectError),
    ("http_status:401", AuthError),
    ("http_status:429", QuotaError),
    ("http_status:503", InworldError),
    ("response_delay:1.5", DeadlineExceeded),
    ("drop@1", InworldError),
    ("reset@2", InworldError),
    ("close:1011@1", InworldError),
    ("masked@1", InworldError),
    ("fatal_error:16@0", AuthError),
]


@pytest.mark.parametrize(("fault", "error"), FAILURES)
def test_places_come_back_after_failures(
    spelling_server: Emulator, fault: str, error: type[Exception]
) -> None:
    """A connection that fails at any step returns its place, and the next connection works."""
    limiter = CountingLimiter(1)
    spelling_server.faults.add(fault)
    with Inworld(
        api_key=spelling_server.api_key,
        base_url=spelling_server.url,
        limiter=limiter,
        max_retries=0,
    ) as iw:
        with pytest.raises(error):
            iw.tts.synthesize("Hi.", timeout=1 if error is DeadlineExceeded else 30)
        iw.tts.synthesize("Hi.")

    assert (0, 1) == (limiter.taken, limiter.most)


def test_a_place_comes_back_when_no_thread_starts(
    spelling_server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose threads cannot start frees its socket and its place."""
    limiter = CountingLimiter(1)
    start = threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if thread.name.startswith("inworld-reader"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as iw:
        monkeypatch.setattr(threading.Thread, "start", refusing)
        with pytest.raises(ConnectError, match="no thread could start: can't start"):
            iw.tts.connect()
        monkeypatch.undo()
        assert 0 == limiter.taken
        iw.tts.connect().close()


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_a_place_comes_back_once_after_a_signal(
    role: str, spelling_server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a signal handler raises after a thread has started, the place is returned once."""
    limiter = CountingLimiter(1)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith(f"inworld-{role}"):
            raise KeyboardInterrupt

    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=limiter
    ) as iw:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            iw.tts.connect()
        monkeypatch.undo()
        assert 0 == limiter.taken
        iw.tts.connect().close()


def test_no_place(spelling_server: Emulator) -> None:
    """
    If no place is free, connect() raises an error after its timeout. The error says what to do.
    """
    with Inworld(
        api_key=spelling_server.api_key,
        base_url=spelling_server.url,
        limiter=ConnectionLimiter(1),
    ) as iw:
        with iw.tts.connect():
            with pytest.raises(QuotaError, match="a limiter that has more places") as caught:
                iw.tts.connect(timeout=0.05)
        iw.tts.connect().close()

    assert caught.value.retryable


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
def test_a_limiter_with_a_wrong_timeout(timeout: float) -> None:
    """A limiter refuses a wrong timeout, and honors a very long timeout."""
    limiter = ConnectionLimiter(1)
    with pytest.raises(ConfigError, match="timeout must be a number of seconds"):
        limiter.acquire(timeout)

    assert limiter.acquire(1e12)


def test_an_idle_connection_makes_room(spelling_server: Emulator) -> None:
    """
    An idle connection of the pool is closed if another connection needs its place.

    Otherwise a client with few places would wait for its own idle connection.
    """
    with Inworld(
        api_key=spelling_server.api_key,
        base_url=spelling_server.url,
        limiter=ConnectionLimiter(1),
    ) as iw:
        iw.tts.synthesize("Hi.")
        iw.tts.connect(timeout=30).close()
        iw.tts.synthesize("Hi.")


def test_a_limiter_that_fails(spelling_server: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the limiter's ``release`` is logged, and nothing hangs."""

    class Broken(ConnectionLimiter):
        def release(self) -> None:
            raise OSError("the store is gone")

    with Inworld(
        api_key=spelling_server.api_key, base_url=spelling_server.url, limiter=Broken()
    ) as iw:
        iw.tts.connect().close()

    assert "the limiter's release() raised" in caplog.text
    assert "the store is gone" in caplog.text


# Retries.


def refusing(statuses: list[str], attempts: list[bytes]) -> Callable[[Peer], None]:
    """Return a script that refuses one upgrade with each status and then accepts all upgrades."""

    def answer(peer: Peer) -> None:
        attempts.append(peer.read_head())
        if statuses:
            status, *headers = statuses.pop(0).split("|")
            lines = [f"HTTP/1.1 {status} No", *headers, "Content-Length: 0", "", ""]
            peer.send("\r\n".join(lines).encode())
            return
        peer.send(peer.answer_101())
        with contextlib.suppress(EOFError, OSError):
            while True:
                peer.read_frame()

    return answer


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the delays between attempts short."""
    monkeypatch.setattr(connector, "_FIRST_DELAY_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", ["429", "502", "503", "504"])
def test_a_refusal_that_may_pass(status: str) -> None:
    """An upgrade that a busy service refuses is retried, each time with another request id."""
    attempts: list[bytes] = []
    with serve(refusing([status, status], attempts)) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}") as iw:
            iw.tts.connect().close()

    assert 3 == len(attempts)
    ids = {line for head in attempts for line in head.split(b"\r\n") if b"X-Request-Id" in line}
    assert 3 == len(ids)


@pytest.mark.usefixtures("quick")
def test_a_refused_realtime_session() -> None:
    """A realtime session retries its first upgrade."""
    attempts: list[bytes] = []
    with serve(refusing(["429", "504"], attempts)) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}") as iw:
            # The peer accepts the upgrade and sends nothing.
            with pytest.raises(DeadlineExceeded):
                iw.realtime.connect(timeout=1.0)
    assert 3 == len(attempts)


@pytest.mark.usefixtures("quick")
def test_a_refused_stt_stream() -> None:
    """An STT stream retries its first upgrade. Later reconnects have a separate limit."""
    attempts: list[bytes] = []
    with serve(refusing(["503", "503"], attempts)) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}") as iw:
            stream = iw.stt.stream()
        assert stream.ended is not None
    assert 3 == len(attempts)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400", InvalidRequestError),
        ("401", AuthError),
        ("404", NotFoundError),
        ("500", ServiceError),
    ],
)
def test_a_refusal_that_stays(status: str, error: type[ServiceError]) -> None:
    """An upgrade that would be refused again is not retried."""
    attempts: list[bytes] = []
    with serve(refusing([status], attempts)) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}") as iw:
            with pytest.raises(error):
                iw.tts.connect()
    assert 1 == len(attempts)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("max_retries", [0, 1])
def test_the_limit_of_retries(max_retries: int) -> None:
    """After ``max_retries`` the error is raised, and the place is returned."""
    attempts: list[bytes] = []
    limiter = CountingLimiter(1)
    settings: dict[str, Any] = {"max_retries": max_retries, "limiter": limiter}
    with serve(refusing(["503"] * 5, attempts)) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}", **settings) as iw:
            with pytest.raises(ServiceError) as caught:
                iw.tts.connect()
    assert 503 == caught.value.status
    assert (max_retries + 1, 0) == (len(attempts), limiter.taken)


@pytest.mark.usefixtures("quick")
def test_a_server_that_cannot_be_reached() -> None:
    """If the server resets each connection during the upgrade, the client tries three times."""
    attempts: list[bytes] = []

    def resetting(peer: Peer) -> None:
        attempts.append(peer.read_head())
        peer.reset()

    with serve(resetting) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}") as iw:
            with pytest.raises(ConnectError):
                iw.tts.connect()
    assert 3 == len(attempts)


def test_retry_after() -> None:
    """A retry waits for ``Retry-After``. If the timeout is shorter, the error has the delay."""
    attempts: list[bytes] = []
    waits: list[float] = []
    with serve(refusing(["429|Retry-After: 7", "503|Retry-After: 90"], attempts)) as server:
        with Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}") as iw:
            iw._connector._closed = Waits(waits)
            with pytest.raises(ServiceError) as caught:
                iw.tts.connect(timeout=60)
    assert 2 == len(attempts)
    assert 1 == len(waits)
    assert 7.0 <= waits[0] <= 7.5
    assert (503, 90.0) == (caught.value.status, caught.value.retry_after)


class Waits(threading.Event):
    """An event whose ``wait`` records the timeout and returns at once."""

    def __init__(self, waits: list[float]) -> None:
        super().__init__()
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        self._waits.append(timeout or 0.0)
        return False


def test_closed_between_two_attempts() -> None:
    """Closing the client ends the wait before a retry."""
    attempts: list[bytes] = []
    errors: list[BaseException] = []
    with serve(refusing(["503|Retry-After: 1000"], attempts)) as server:
        iw = Inworld("a2V5", base_url=f"ws://127.0.0.1:{server.port}")
        tts = iw.tts

        def connecting() -> None:
            try:
                tts.connect(timeout=5000)
            except ClosedError as error:
                errors.append(error)

        thread = threading.Thread(target=connecting)
        thread.start()
        while not attempts:
            threading.Event().wait(0.001)
        iw.close()
        thread.join(30)
    assert 1 == len(errors)


# Closing the client.


def test_the_client_closes_all_that_it_opened(iw: Inworld) -> None:
    """Closing the client also closes the connections of ``connect``."""
    connection = iw.tts.connect()
    context = connection.context()
    iw.close()

    assert connection.ended is not None
    with pytest.raises(ClosedError):
        list(context)


def test_no_connection_after_the_end(iw: Inworld) -> None:
    """Objects of a closed client open no connection."""
    tts = iw.tts
    iw.close()
    for use in (tts.connect, lambda: tts.synthesize("Hi."), lambda: list(tts.stream("Hi."))):
        with pytest.raises(ClosedError, match="the client was closed"):
            use()


def test_closed_while_connecting() -> None:
    """If a connection opens after the client was closed, the connection is closed at once."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(peer: Peer) -> None:
        peer.read_head()
        asked.set()
        go_on.wait(30)
        service_101 = peer.answer_101()
        peer.send(service_101)
        peer.read_until_end()

    with serve(slow) as server:
        iw = Inworld(api_key=KEY, base_url=f"ws://127.0.0.1:{server.port}", close_timeout=0.1)
        tts = iw.tts
        results: list[BaseException] = []

        def connect() -> None:
            try:
                tts.connect()
            except ClosedError as error:
                results.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        assert asked.wait(30)
        iw.close()
        go_on.set()
        thread.join(30)

    assert ["the client was closed, make another"] == [str(error) for error in results]


def test_many_dead_peers_cost_one_timeout() -> None:
    """Closing a client with many dead connections takes ``close_timeout`` once."""
    release = threading.Event()

    def dead(service: Service) -> None:
        release.wait(30)

    with scripted(dead, close_timeout=1.0) as iw:
        connections = [iw.tts.connect() for _ in range(10)]
        shared = iw.tts._pool.context(ContextConfig(), 10, None)
        started = time.monotonic()
        iw.close()
        took = time.monotonic() - started
        release.set()

    assert took < 10 * 1.0
    assert all(connection.ended for connection in connections)
    assert shared.ended is not None


def test_names() -> None:
    """Every connection has its own name, which is part of the names of its threads."""
    with scripted(obedient) as iw, iw.tts.connect() as first, iw.tts.connect() as second:
        names = {first.name, second.name}
        threads = {thread.name for thread in threading.enumerate()}

    assert 2 == len(names)
    assert {f"inworld-{part}-{name}" for part in ("reader", "writer") for name in names} <= threads
    assert all(name.startswith("tts-") for name in names)


def test_clients_that_share_a_limiter_evict_idle_connections() -> None:
    """
    An idle connection of one client is closed if another client needs its place.

    Otherwise the other client would wait until its timeout.
    """
    limiter = ConnectionLimiter(1)
    with (
        scripted(obedient, limiter=limiter) as first,
        scripted(obedient, limiter=limiter) as second,
    ):
        for iw in (first, second, first):
            assert samples_of("Hi.") == iw.tts.synthesize("Hi.", timeout=30).data
        with second.tts.connect(timeout=30) as connection:
            assert connection.ended is None


@pytest.mark.parametrize("places", [0, -1, "20", None, 2.5])
def test_wrong_places(places: object) -> None:
    """A number of places that is not a positive integer is refused."""
    with pytest.raises(ConfigError, match="places must be an integer of at least 1, got "):
        ConnectionLimiter(places)  # type: ignore[arg-type]
