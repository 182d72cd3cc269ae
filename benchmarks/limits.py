"""
Simulate ten thousand workers with the algorithm of ``RedisLimiter``, in virtual time without Redis.

Run the program with ``python -m benchmarks.limits``. It needs lupa (in the extra ``test``). A run
took twenty minutes on two busy cores. The Lua scripts of the limiter run on a stand-in for Redis.
The simulation sets the clock of this stand-in.

Each worker requests a place, uses the place for a random time, returns the place and requests the
next place, with the delays of the limiter. During the simulation, the program kills a part of the
workers, and then deletes all data in Redis.

The program prints the largest number of places in use at one time, how long workers waited for a
place, how equally the places were shared, and how many calls Redis answered per second.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import lupa.lua51
from sortedcontainers import SortedList

from inworld_sync.limits import redis_limiter, scripts

LEASE_MS = int(redis_limiter.LEASE_SECONDS * 1000)
PATIENCE_MS = int(redis_limiter._PATIENCE_SECONDS * 1000)  # noqa: SLF001
PREFIX = "to:"


class SortedSet:
    """A sorted set of Redis."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.order: Any = SortedList()

    def add(self, member: str, score: float) -> None:
        """Add a member. If the member exists, change its score."""
        self.remove(member)
        self.scores[member] = score
        self.order.add((score, member))

    def remove(self, member: str) -> None:
        """Remove a member if it exists."""
        score = self.scores.pop(member, None)
        if score is not None:
            self.order.remove((score, member))

    def up_to(self, score: float) -> list[str]:
        """Return the members with at most this score."""
        return [member for _, member in self.order.irange(None, (score, "\uffff"))]


class SimulatedRedis:
    """
    The commands of Redis that the scripts use, with a clock that the simulation sets.

    Attributes:
        now: The time in seconds.
        calls: The number of scripts that were run.
        published: The messages that were published, as (channel, text).
    """

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.calls = 0
        self.run_id = 1
        self.started = 0.0
        self.published: list[tuple[str, str]] = []
        self.lose_everything()
        self._lua = lupa.lua51.LuaRuntime(encoding="utf-8")
        self._lua.globals()["redis"] = {"call": self._call, "pcall": self._call}
        self._functions: dict[str, Any] = {}

    def lose_everything(self) -> None:
        """Delete all data, as a restart of the server does."""
        self.sets: dict[str, SortedSet] = {key: SortedSet() for key in scripts.KEYS}
        self.state: dict[str, str] = {}
        self.run_id = getattr(self, "run_id", 0) + 1
        self.started = self.now

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script."""
        self.calls += 1
        if script not in self._functions:
            self._functions[script] = self._lua.eval(f"function(KEYS, ARGV) {script} end")
        table = self._lua.table_from
        return self._functions[script](table(scripts.KEYS), table([str(a) for a in arguments]))

    def _call(self, command: str, *arguments: Any) -> Any:
        return getattr(self, f"_{command.lower()}")(*arguments)

    def _list(self, values: list[Any]) -> Any:
        return self._lua.table_from(values)

    def _time(self) -> Any:
        return self._list([str(int(self.now)), str(int(self.now % 1 * 1e6))])

    def _info(self, _: str) -> str:
        return f"run_id:{self.run_id:x}\nuptime_in_seconds:{int(self.now - self.started)}\n"

    def _zadd(self, key: str, *arguments: Any) -> None:
        is_new_only = arguments[0] == "NX"
        score, member = arguments[-2:]
        if not (is_new_only and member in self.sets[key].scores):
            self.sets[key].add(member, float(score))

    def _zrem(self, key: str, member: str) -> None:
        self.sets[key].remove(member)

    def _zcard(self, key: str) -> int:
        return len(self.sets[key].scores)

    def _zcount(self, key: str, above: str, _: str) -> int:
        order = self.sets[key].order
        return len(order) - int(order.bisect_right((float(above.lstrip("(")), "\uffff")))

    def _zscore(self, key: str, member: str) -> str | bool:
        score = self.sets[key].scores.get(member)
        return False if score is None else str(score)

    def _zrank(self, key: str, member: str) -> int | bool:
        score = self.sets[key].scores.get(member)
        return False if score is None else self.sets[key].order.index((score, member))

    def _zrange(self, key: str, first: float, last: float, *options: str) -> Any:
        end = None if last == -1 else int(last) + 1
        pairs = self.sets[key].order[int(first) : end]
        if options:
            return self._list([each for score, member in pairs for each in (member, str(score))])
        return self._list([member for _, member in pairs])

    def _zrangebyscore(self, key: str, _: str, most: float) -> Any:
        return self._list(self.sets[key].up_to(float(most)))

    def _zremrangebyscore(self, key: str, _: str, most: float) -> None:
        for member in self.sets[key].up_to(float(most)):
            self.sets[key].remove(member)

    def _hget(self, _: str, name: str) -> str | bool:
        return self.state.get(name, False)

    def _hset(self, _: str, name: str, value: Any) -> None:
        self.state[name] = str(value)

    def _pexpire(self, *_: Any) -> None:
        pass

    def _publish(self, channel: str, text: str) -> None:
        self.published.append((channel, text))


class Worker:
    """A worker that uses one place, returns the place, and then requests the next one."""

    def __init__(self, simulation: Simulation, number: int) -> None:
        self._simulation = simulation
        self.name = f"w{number}"
        self.place: str | None = None
        self.is_alive = True
        self.granted = 0
        self._turn = 0
        self._asked_from = simulation.redis.now

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script as this worker."""
        simulation = self._simulation
        return simulation.redis.run(
            script, PREFIX, self.name, simulation.places, LEASE_MS, *arguments
        )

    def ask(self, turn: int) -> None:
        """Request a place. If no place is free, request a place again later."""
        if not self.is_alive or self.place is not None or turn != self._turn:
            return
        simulation = self._simulation
        place = f"{self.name}:{self.granted}"
        granted, ahead, pause, _ = dict(self.run(scripts.ACQUIRE, place, PATIENCE_MS, 0)).values()
        self._turn += 1
        if not granted:
            delay = redis_limiter._pause(int(ahead), int(pause))  # noqa: SLF001
            simulation.later(delay, self.ask, self._turn)
            return
        self.place = place
        self.granted += 1
        simulation.waits.append(simulation.redis.now - self._asked_from)
        simulation.took(self)
        simulation.later(simulation.chance.uniform(0.5, 1.5), self.release, self.granted)
        simulation.later(redis_limiter.HEARTBEAT_SECONDS, self.beat, self.granted)

    def release(self, number: int) -> None:
        """Return the place, and request another place."""
        if not self.is_alive or self.place is None or number != self.granted:
            return
        self.run(scripts.RELEASE, self.place)
        self.place = None
        self._simulation.returned(self)
        self._asked_from = self._simulation.redis.now
        self._simulation.later(0.0, self.ask, self._turn)

    def beat(self, number: int) -> None:
        """Renew the lease, as the thread of the limiter does."""
        if self.is_alive and self.place is not None and number == self.granted:
            self.run(scripts.HEARTBEAT, self.place)
            self._simulation.later(redis_limiter.HEARTBEAT_SECONDS, self.beat, number)

    def call(self, delay_ms: float) -> None:
        """Request a place *delay_ms* after the message that a place is free."""
        self._simulation.later(delay_ms / 1000.0 + 0.001, self.ask, self._turn)


class Simulation:
    """The workers, the clock, and the figures so far."""

    def __init__(self, workers: int, places: int, seed: int) -> None:
        self.redis = SimulatedRedis()
        self.redis.started = -1e6
        self.places = places
        self.chance = random.Random(seed)
        random.seed(seed)
        self.waits: list[float] = []
        self.most = 0
        self._in_use: set[str] = set()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self.workers = {f"w{n}": Worker(self, n) for n in range(workers)}
        for worker in self.workers.values():
            self.later(self.chance.uniform(0, 2), worker.ask, 0)

    def later(self, seconds: float, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function after *seconds* of simulated time."""
        self._count += 1
        event = (self.redis.now + seconds, self._count, function, arguments)
        heapq.heappush(self._events, event)

    def took(self, worker: Worker) -> None:
        """Record that *worker* uses a place, and update the largest number of places in use."""
        self._in_use.add(worker.name)
        self.most = max(self.most, len(self._in_use))

    def returned(self, worker: Worker) -> None:
        """Record that *worker* has returned its place."""
        self._in_use.discard(worker.name)

    def kill(self, part: float) -> list[str]:
        """
        Kill a random part of the workers, and the workers that use half of the places.

        Return the workers that used these places.
        """
        victims = self.chance.sample(sorted(self.workers), int(part * len(self.workers)))
        holders = sorted(self._in_use)[: self.places // 2]
        for name in {*victims, *holders}:
            self.workers[name].is_alive = False
            self._in_use.discard(name)
        return holders

    def restart(self) -> None:
        """Delete all data in Redis. The threads of the workers detect this within a second."""
        self.redis.lose_everything()
        for name in self._in_use:
            worker = self.workers[name]
            self.later(self.chance.uniform(0, 1), worker.beat, worker.granted)

    def run(self, seconds: float) -> None:
        """Advance the clock, and run all events that are due in this time."""
        end = self.redis.now + seconds
        while self._events and self._events[0][0] <= end:
            self.redis.now, _, function, arguments = heapq.heappop(self._events)
            function(*arguments)
            published, self.redis.published = self.redis.published, []
            for channel, text in published:
                worker = self.workers[channel.removeprefix(PREFIX)]
                kind, _, number = text.partition(" ")
                if kind == "free" and worker.is_alive:
                    worker.call(float(number))
        self.redis.now = end

    def in_use_after(self, seconds: float) -> int:
        """Advance the clock, and return how many places living workers use."""
        self.run(seconds)
        return self.in_use

    @property
    def in_use(self) -> int:
        """The number of places that living workers use."""
        return len(self._in_use)


def report(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def simulate(workers: int, places: int, seconds: float, seed: int) -> bool:
    """
    Run the simulation. Return whether all goals were met.

    The number of places in use must never exceed the limit. Within 20 s after some workers were
    killed, 95 % of the usual number of places must be in use again.
    """
    began = time.perf_counter()
    simulation = Simulation(workers, places, seed)
    simulation.run(seconds)
    counts = Counter({name: worker.granted for name, worker in simulation.workers.items()})
    values = list(counts.values())
    equality = sum(values) ** 2 / (len(values) * sum(value * value for value in values) or 1)
    report(f"{workers} workers, {places} places, {seconds:g} s, each place used for 0.5 to 1.5 s")
    report(f"  places in use, maximum  {simulation.most}")
    report(f"  places granted          {sum(values)}")
    report(f"  wait, median            {statistics.median(simulation.waits):.1f} s")
    report(f"  wait, longest           {max(simulation.waits):.1f} s")
    report(f"  grants per worker       {min(values)} to {max(values)}")
    report(f"  equality (Jain's index) {equality:.3f}")
    report(f"  calls of Redis          {simulation.redis.calls / seconds:.0f} per second")
    # A released place is not granted again for a moment, so some places are always unused.
    usual = statistics.mean(simulation.in_use_after(0.5) for _ in range(10))
    report(f"  places in use, mean     {usual:.0f}")
    simulation.kill(0.05)
    kept, waited = simulation.most, 0.0
    while simulation.in_use < 0.95 * usual and waited < 60:
        simulation.run(0.5)
        waited += 0.5
    report(f"  places of killed workers were in use again after {waited:.1f} s")
    simulation.restart()
    simulation.run(20)
    report(f"  places in use, maximum, also after Redis lost its data: {simulation.most}")
    report(f"  the simulation took     {time.perf_counter() - began:.0f} s")
    return kept <= places and simulation.most <= places and waited <= 20


def main() -> int:
    """Read the command line, and run the simulation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--places", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    kept = simulate(chosen.workers, chosen.places, chosen.seconds, chosen.seed)
    report("all goals are met" if kept else "a goal is NOT met: the places in use or the 20 s")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
