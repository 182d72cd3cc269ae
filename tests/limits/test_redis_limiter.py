"""Tests of the limiter of several processes, with fakeredis instead of a Redis server."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from inworld_sync import ClosedError, ConfigError, ConnectError, Inworld, RedisLimiter, TraceEvent
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.limits import redis_limiter, scripts

from support.fake_redis import URL, FakeRedis
from support.forks import in_child
from support.spelling import SpellingSynthesizer, spelled

Process = Callable[..., RedisLimiter]

# The time limit for events that occur at once if the test succeeds.
PATIENCE_SECONDS = 90.0


def until(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_reached():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_processes_share_places(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes together have as many places as the account."""
    # The leases must not end, even if a busy machine delays the heartbeats.
    monkeypatch.setattr(redis_limiter, "LEASE_SECONDS", 600.0)
    a, b = process(places=3), process(places=3)

    assert [a.acquire(0), b.acquire(0), a.acquire(0)] == [True, True, True]
    assert not b.acquire(0)
    assert (2, 1) == (a.held, b.held)


def test_names_are_separate(process: Process) -> None:
    """Two accounts with different names do not share places."""
    assert process(places=1, name="a").acquire(0)
    assert process(places=1, name="b").acquire(0)


def test_a_waiting_process_gets_a_released_place(process: Process) -> None:
    """A thread that waits is woken when another process returns a place."""
    a, b = process(places=1), process(places=1)
    assert a.acquire(0)
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(b.acquire(PATIENCE_SECONDS)))
    thread.start()
    until(lambda: b._next_ask > 0)
    a.release()
    thread.join(PATIENCE_SECONDS)

    assert [True] == got
    assert (0, 1) == (a.held, b.held)


def test_no_place_in_time(process: Process) -> None:
    """acquire() returns False after its timeout."""
    a, b = process(places=1), process(places=1)
    assert a.acquire(0)
    began = time.monotonic()

    assert not b.acquire(0.3)
    assert time.monotonic() - began >= 0.3


def test_release_without_a_place(process: Process) -> None:
    """A place that was not taken cannot be released."""
    with pytest.raises(ValueError, match="more often"):
        process().release()


def test_close_returns_places(process: Process) -> None:
    """close() returns all places, so that other processes need not wait for the lease."""
    a, b = process(places=1), process(places=1)
    assert a.acquire(0)
    a.close()

    assert b.acquire(PATIENCE_SECONDS)
    with pytest.raises(ClosedError, match="the limiter was closed"):
        a.acquire(0)


def test_close_ends_a_wait(process: Process) -> None:
    """If the limiter is closed, a thread that waits for a place gets an error."""
    a, b = process(places=1), process(places=1)
    assert a.acquire(0)
    errors: list[Exception] = []

    def wait() -> None:
        try:
            b.acquire(PATIENCE_SECONDS)
        except ClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: b._next_ask > 0)
    b.close()
    thread.join(PATIENCE_SECONDS)

    assert 1 == len(errors)


def test_refuse_while_redis_is_away(
    fake: FakeRedis, process: Process, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """
    With when_away='refuse', a call raises an error if Redis cannot be reached for too long. Places
    in use stay in use.
    """
    monkeypatch.setattr(redis_limiter, "_AWAY_SECONDS", 0.2)
    limiter = process(places=5)
    assert limiter.acquire(0)
    fake.go_away()
    assert not limiter.acquire(0)
    with pytest.raises(ConnectError, match="has not reached Redis for") as caught:
        limiter.acquire(PATIENCE_SECONDS)
    assert "hidden-password" not in str(caught.value) + caplog.text
    assert 1 == limiter.held
    fake.come_back()
    until(lambda: limiter._away_since is None)

    assert limiter.acquire(0)
    assert 1 == caplog.text.count("does not reach Redis")


def test_a_call_continues_when_redis_is_back(fake: FakeRedis, process: Process) -> None:
    """If Redis is away for a short time, a call that waits gets a place afterwards."""
    limiter = process(places=1)
    fake.go_away()
    threading.Timer(0.3, fake.come_back).start()

    assert limiter.acquire(PATIENCE_SECONDS)


def test_a_local_share_while_redis_is_away(fake: FakeRedis, process: Process) -> None:
    """While Redis is away, when_away='local' lets each process use its share of the places."""
    a, b = (process(places=4, when_away="local") for _ in range(2))
    assert a.acquire(0)
    assert b.acquire(0)
    a._beat()
    fake.go_away()
    until(lambda: a._away_since is not None)

    assert a.acquire(0)
    assert not a.acquire(0)
    fake.come_back()
    until(lambda: a._away_since is None)
    assert 2 == a.held
    # The place that was taken while Redis was away counts toward the limit.
    assert b.acquire(PATIENCE_SECONDS)
    assert not b.acquire(0)


def test_a_local_share_before_the_first_heartbeat(
    fake: FakeRedis, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process knows from its first place how many processes share the places."""
    monkeypatch.setattr(RedisLimiter, "_beat", lambda _: None)
    a, b = (process(places=4, when_away="local") for _ in range(2))
    assert [a.acquire(0), b.acquire(0)] == [True, True]
    fake.go_away()
    until(lambda: b._away_since is not None)

    assert b.acquire(0)
    assert not b.acquire(0)


def test_a_local_place_during_the_return_of_redis(
    fake: FakeRedis, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that is taken while Redis comes back counts toward the limit from then on."""
    limiter = process(places=2, when_away="local")
    assert limiter.acquire(0)
    run = limiter._run

    def take(script: str, *arguments: str, **settings: Any) -> Any:
        answer = run(script, *arguments, **settings)
        if script == scripts.HEARTBEAT and limiter.held == 1:
            assert limiter.acquire(0)
        return answer

    fake.go_away()
    until(lambda: limiter._away_since is not None)
    monkeypatch.setattr(limiter, "_run", take)
    fake.come_back()
    until(lambda: limiter._away_since is None)

    assert 2 == limiter.held
    assert not limiter.acquire(0)


def test_release_while_redis_is_away(fake: FakeRedis, process: Process) -> None:
    """A place that was released while Redis was away is free when Redis is back."""
    a, b = process(places=1), process(places=1)
    assert a.acquire(0)
    fake.go_away()
    until(lambda: a._away_since is not None)
    a.release()
    fake.come_back()

    assert b.acquire(PATIENCE_SECONDS)
    assert 0 == a.held


def test_a_lost_answer(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Redis grants a place and the answer is lost, the place is free before its lease ends."""
    monkeypatch.setattr(redis_limiter, "HEARTBEAT_SECONDS", 0.05)
    a, b = process(places=1), process(places=1)
    run = a._run
    answers: list[list[int]] = []

    def lose_first(script: str, *arguments: str, **settings: Any) -> Any:
        answer = run(script, *arguments, **settings)
        if script == scripts.ACQUIRE and not answers:
            answers.append(answer)
            raise redis.TimeoutError("no answer")
        return answer

    monkeypatch.setattr(a, "_run", lose_first)
    assert not a.acquire(0)
    assert [1, 0, 0, 1] == answers[0]
    assert b.acquire(redis_limiter.LEASE_SECONDS / 2)


def test_an_interrupted_call(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Redis runs an interrupted ACQUIRE after its RELEASE, the place does not stay in use."""
    monkeypatch.setattr(redis_limiter, "HEARTBEAT_SECONDS", 0.05)
    a, b = process(places=1), process(places=1)
    run = a._run
    late: list[tuple[str, ...]] = []

    def interrupt(script: str, *arguments: str, **settings: Any) -> Any:
        if script == scripts.ACQUIRE and not late:
            late.append((script, *arguments))
            raise KeyboardInterrupt
        answer = run(script, *arguments, **settings)
        if script == scripts.RELEASE and len(late) == 1:
            assert [1, 0, 0, 1] == run(*late[0])
            late.append(())
        return answer

    monkeypatch.setattr(a, "_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        a.acquire(0)
    assert 2 == len(late)
    assert b.acquire(redis_limiter.LEASE_SECONDS / 2)


def test_heartbeats_of_a_process(
    fake: FakeRedis, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of a limiter renews the leases of its places."""
    monkeypatch.setattr(redis_limiter, "HEARTBEAT_SECONDS", 0.05)
    limiter = process(places=1)
    assert limiter.acquire(0)
    client = fake.client()
    [key] = client.keys("*places")
    for _ in range(5):
        fake.pass_time(10)
        lease = int(fake.now * 1000) + 15_000
        until(lambda lease=lease: client.zrange(key, 0, -1, withscores=True)[0][1] >= lease)


def server() -> Emulator:
    return Emulator(synthesizer=SpellingSynthesizer(), settings=Settings(max_connections=1))


def test_idle_connections_of_other_processes_are_closed(process: Process) -> None:
    """If a process needs a place, another process closes an idle connection."""
    events: list[TraceEvent] = []
    with (
        server() as service,
        Inworld(api_key=service.api_key, base_url=service.url, limiter=process(places=1)) as first,
        Inworld(
            api_key=service.api_key,
            base_url=service.url,
            limiter=process(places=1),
            on_trace=events.append,
        ) as second,
    ):
        assert "One." == spelled(first.tts.synthesize("One.").data)
        assert "Two." == spelled(second.tts.synthesize("Two.").data)

    [waited] = [event for event in events if event.name == "waited_for_place"]
    assert waited.seconds > 0
    assert waited.connection.startswith("tts-")


def test_a_busy_process_returns_a_place(process: Process) -> None:
    """
    A process that has all places returns one place, even if its connections are never idle.

    The utterances of this process complete, and the process continues on its other connection.
    """
    ended = threading.Event()
    with (
        Emulator(
            synthesizer=SpellingSynthesizer(), settings=Settings(max_connections=2)
        ) as service,
        Inworld(api_key=service.api_key, base_url=service.url, limiter=process(places=2)) as busy,
        Inworld(api_key=service.api_key, base_url=service.url, limiter=process(places=2)) as other,
    ):
        errors: list[BaseException] = []

        def speak(number: int) -> None:
            turn = 0
            try:
                while not ended.is_set():
                    turn += 1
                    text = f"N{number}T{turn}."
                    assert text == spelled(busy.tts.synthesize(text, timeout=30).data)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=speak, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: busy.options.limiter.held == 2)  # type: ignore[union-attr]
            speech = other.tts.synthesize("Two.", timeout=PATIENCE_SECONDS)
            assert "Two." == spelled(speech.data)
        finally:
            ended.set()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)

    assert [] == errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_no_places_of_its_parent(process: Process) -> None:
    """A forked child begins without places, and has another process name in Redis."""
    limiter = process(places=3)
    assert limiter.acquire(0)
    parent = limiter._process

    def use() -> None:
        assert 0 == limiter.held
        assert parent != limiter._process
        assert limiter._thread is None

    assert "" == in_child(use)
    assert 1 == limiter.held


WRONG = [
    ({"url": "localhost:6379"}, "url must be the address of Redis"),
    ({"url": None}, "url must be the address of Redis"),
    ({"url": "redis://localhost:port"}, "url must be the address of Redis"),
    ({"url": "redis://localhost/name"}, "url must be the address of Redis"),
    ({"url": "redis://localhost?socket_timeout=x"}, "url has an option after"),
    ({"url": "redis://localhost?wrong=1"}, "url has an option after"),
    ({"places": 0}, "places must be an integer of at least 1"),
    ({"places": True}, "places must be an integer of at least 1"),
    ({"name": "a:b"}, "name must be a text without"),
    ({"when_away": "ignore"}, "when_away must be 'refuse' or 'local'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    """A wrong argument is refused before anything is sent."""
    with pytest.raises(ConfigError, match=message):
        RedisLimiter(**{"url": URL, **arguments})  # type: ignore[arg-type]


def test_the_password_is_hidden(process: Process) -> None:
    """The repr of a limiter does not show the address, which may have a password."""
    limiter = process()

    assert "hidden-password" not in repr(limiter) + repr(vars(limiter))


@pytest.mark.parametrize("password", ["hid/den", "12/den", "hid#den", "12?den", "12?a=den"])
def test_a_password_that_is_not_quoted(password: str) -> None:
    """A password that is not quoted is refused. The error shows no part of the password."""
    with pytest.raises(ConfigError, match="write %2F for /") as caught:
        RedisLimiter(f"redis://:{password}@localhost:6379/0")
    assert "den" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://[::1]:6379/0/",
        "redis://:p@ss@host/3?socket_timeout=2",
        "rediss://user:p%2Fss@host:6380",
        "unix://user:pass@/run/redis.sock?db=1",
    ],
)
def test_addresses(url: str) -> None:
    """Every form of address that redis-py accepts is accepted."""
    RedisLimiter(url).close()


def test_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    """If redis-py is not installed, the error says how to install the extra."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'inworld-sync\[redis\]'"):
        RedisLimiter(URL)


def test_an_error_of_redis_is_raised(process: Process, fake: FakeRedis) -> None:
    """If Redis refuses the scripts, the call raises an error with the reason."""
    logging.getLogger("inworld_sync").setLevel(logging.WARNING)
    limiter = process(name="other")
    for key in ("places", "waiting"):
        fake.client().set(f"inworld:{{other}}:{key}", "text")
    with pytest.raises(ConnectError, match=r"Redis refuses the limiter: .*WRONGTYPE"):
        limiter.acquire(0)
