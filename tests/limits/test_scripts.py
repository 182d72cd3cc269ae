"""The Lua scripts keep the limit, the order of the queue and the leases."""

from __future__ import annotations

import itertools

import pytest

from inworld_sync.limits import scripts

from support.fake_redis import FakeRedis

LEASE_MS = 15_000
PATIENCE_MS = 5_000


class Process:
    """A process of an account, which calls the scripts and receives messages."""

    def __init__(self, fake: FakeRedis, name: str, places: int) -> None:
        self._fake = fake
        self._client = client = fake.client()
        self._name = name
        self._places = places
        self._numbers = itertools.count(1)
        self._messages = client.pubsub(ignore_subscribe_messages=True)
        self._messages.subscribe(f"test:{name}")
        self.held: list[str] = []

    def run(self, script: str, *arguments: object) -> object:
        common = ("test:", self._name, self._places, LEASE_MS)
        return self._client.register_script(script)(list(scripts.KEYS), [*common, *arguments])

    def acquire(self) -> bool:
        place = f"{self._name}:{next(self._numbers)}"
        granted, *_ = self.run(scripts.ACQUIRE, place, PATIENCE_MS, len(self.held))  # type: ignore[misc]
        if granted:
            self.held.append(place)
        return bool(granted)

    def release(self) -> None:
        self.run(scripts.RELEASE, self.held.pop(0))
        self._fake.pass_time(scripts.LINGER_MS / 1000.0)

    def beat(self) -> int:
        return int(str(self.run(scripts.HEARTBEAT, *self.held)))

    def messages(self) -> list[str]:
        found = []
        while True:
            message = self._messages.get_message(timeout=0)
            if message is not None:
                found.append(message["data"].decode())
            elif not self._messages.connection.can_read(timeout=0):
                return found


@pytest.fixture
def processes(fake: FakeRedis) -> object:
    made = []

    def make(*names: str, places: int = 2) -> list[Process]:
        made.extend(Process(fake, name, places) for name in names)
        return made[-len(names) :]

    yield make
    for each in made:
        each._messages.close()


def test_the_limit(processes) -> None:
    """All processes together get no more places than the account has."""
    a, b = processes("a", "b")

    assert [True, True, False, False] == [a.acquire(), b.acquire(), a.acquire(), b.acquire()]


def test_a_free_place_is_for_the_first_in_the_queue(processes) -> None:
    """Processes get places in the order of their requests. A new request joins the queue last."""
    a, b, c = processes("a", "b", "c", places=1)
    assert a.acquire()
    assert [False, False] == [b.acquire(), c.acquire()]
    b.messages(), c.messages()
    a.release()

    assert ([f"free {scripts.LINGER_MS}"], []) == (b.messages(), c.messages())
    assert not a.acquire()
    assert not c.acquire()
    assert b.acquire()
    b.release()
    assert not a.acquire()
    assert c.acquire()


def test_two_free_places(processes) -> None:
    """The first two processes of the queue get two free places, in any order."""
    a, b, c, d = processes("a", "b", "c", "d")
    assert a.acquire()
    assert a.acquire()
    assert [False, False, False] == [b.acquire(), c.acquire(), d.acquire()]
    a.release()
    a.release()

    assert [False, True, True] == [d.acquire(), c.acquire(), b.acquire()]


def test_a_process_that_no_longer_asks_leaves_the_queue(fake: FakeRedis, processes) -> None:
    """A process that was killed in the queue blocks other processes for 4 s, but not for 6 s."""
    a, b, c = processes("a", "b", "c", places=1)
    assert a.acquire()
    assert [False, False] == [b.acquire(), c.acquire()]
    a.release()
    fake.pass_time(4)
    assert not c.acquire()
    fake.pass_time(2)

    assert c.acquire()


def test_withdraw(processes) -> None:
    """If the first process leaves the queue, the next process is notified of the free place."""
    a, b, c = processes("a", "b", "c", places=1)
    assert a.acquire()
    assert [False, False] == [b.acquire(), c.acquire()]
    a.release()
    b.run(scripts.WITHDRAW)

    assert "free 0" in c.messages()
    assert c.acquire()


def test_places_of_a_killed_process_are_free_after_its_lease(fake: FakeRedis, processes) -> None:
    """The places of a process without heartbeats are free within 16 s."""
    killed, waiting = processes("killed", "waiting")
    assert killed.acquire()
    assert killed.acquire()
    waited = 0
    while not waiting.acquire():
        fake.pass_time(1)
        waited += 1

    assert waited <= 16


def test_a_clock_that_is_set_back(fake: FakeRedis, processes) -> None:
    """
    If the clock of Redis is set back, the places of a killed process still become free in time.
    """
    killed, gone, waiting = processes("killed", "gone", "waiting")
    assert [True, True, False] == [killed.acquire(), killed.acquire(), gone.acquire()]
    killed.messages()
    fake.pass_time(-3600)
    waited = 0
    assert not waiting.acquire()
    assert [["wanted 1"]] == [killed.messages()]
    while not waiting.acquire():
        fake.pass_time(1)
        waited += 1
        assert waited <= 16


def test_heartbeats_keep_places(fake: FakeRedis, processes) -> None:
    """A process keeps its places as long as it sends heartbeats."""
    a, b = processes("a", "b", places=1)
    assert a.acquire()
    for _ in range(20):
        fake.pass_time(5)
        assert 1 <= a.beat() <= 2
        assert not b.acquire()


def test_a_heartbeat_registers_lost_places(fake: FakeRedis, processes) -> None:
    """After Redis has lost everything, heartbeats register the places that are in use."""
    a, b = processes("a", "b", places=1)
    assert a.acquire()
    fake.client().flushall()
    a.beat()

    assert not b.acquire()


def test_heartbeats_count_processes(fake: FakeRedis, processes) -> None:
    """A heartbeat returns the number of living processes."""
    a, b = processes("a", "b")
    assert [1, 2] == [a.beat(), b.beat()]
    fake.pass_time(16)
    assert 1 == b.beat()
    b.run(scripts.LEAVE)
    assert 1 == a.beat()


def wanted(process: Process) -> int | None:
    found = [text for text in process.messages() if text.startswith("wanted")]
    return int(found[-1].split()[1]) if found else None


def test_more_than_a_share(processes) -> None:
    """A process that has more than its share is asked to return as many places as others need."""
    a, b = processes("a", "b", places=10)
    for _ in range(10):
        assert a.acquire()
    assert not b.acquire()

    assert 1 == wanted(a)


def test_a_share_is_not_asked_for_at_once(fake: FakeRedis, processes) -> None:
    """
    A process that has only its share is asked to return a place only if the place was granted at
    least 5 s ago.
    """
    a, b, c = processes("a", "b", "c", places=2)
    assert a.acquire()
    fake.pass_time(1)
    assert b.acquire()
    assert not c.acquire()
    assert (0, 0) == (wanted(a), wanted(b))
    fake.pass_time(4.5)
    assert not c.acquire()

    assert (1, 0) == (wanted(a), wanted(b))


def test_requests_to_return_places_are_rare(fake: FakeRedis, processes) -> None:
    """Processes are asked to return places at most once per second."""
    a, b = processes("a", "b", places=1)
    assert a.acquire()
    for _ in range(30):
        fake.pass_time(0.1)
        b.acquire()

    assert 3 <= len(a.messages()) <= 4
