"""
Test the limit of connections over several processes, with a real Redis and real Celery workers.

Run this program with ``python tests/redis_limits.py``. The program needs ``redis-server``
(``apt-get install redis-server``) and takes two minutes. It starts two Redis servers, an emulator
that refuses the 21st connection, and four Celery workers with forty threads each. The threads speak
all the time. Then:

1. the emulator never has to refuse a connection, all twenty places are used, and each worker gets
   its share;
2. a worker is killed with ``kill -9``, and the other workers use its places within 20 s;
3. the Redis server of the limiter is killed and started again without its data, and the emulator
   still never has to refuse a connection;
4. a batch of 400 items runs on the workers, one of the workers is killed, and each output exists;
5. the thread of a limiter that is no longer used ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from inworld_sync import RedisLimiter
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.shared_state import SharedState

from support.redis_server import RedisServer

PLACES, WORKERS, THREADS = 20, 4, 40
PHASE_SECONDS = 12.0
SAMPLES = 40
PATIENCE_SECONDS = 60.0


class Slots:
    """Counts the open connections and the refused connections of the emulator."""

    def __init__(self) -> None:
        self.now = self.most = self.refused = 0
        self._lock = threading.Lock()
        original = SharedState.connection_slot

        @contextlib.contextmanager
        def counted(state: SharedState, path: str, **settings: Any) -> Iterator[bool]:
            with original(state, path, **settings) as is_free:
                with self._lock:
                    self.now += is_free
                    self.most = max(self.most, self.now)
                    self.refused += not is_free
                yield is_free
                with self._lock:
                    self.now -= is_free

        SharedState.connection_slot = counted  # type: ignore[method-assign]


def report(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Run all parts. If a part fails, an AssertionError ends the program with status 1."""
    # The exception of sys.exit also ends the workers and servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        slots = Slots()
        limits = RedisServer(folder / "limits")
        stack.callback(lambda: limits.kill())
        broker = RedisServer(folder / "broker", is_durable=True)
        stack.callback(broker.kill)
        # Speech is slow enough that all places are needed.
        settings = Settings(prepared_speech=True, max_connections=PLACES, pace=4)
        server = stack.enter_context(Emulator(settings=settings))
        os.environ.update(
            TEST_BROKER=broker.url,
            TEST_REDIS=limits.url,
            TEST_URL=server.url,
            TEST_KEY=server.api_key,
            TEST_FOLDER=name,
            PYTHONPATH=str(Path(__file__).parent),
        )
        workers = [start_worker(number) for number in range(WORKERS)]
        stack.callback(lambda: [kill(worker) for worker in workers])
        from support.celery_app import batch, speak

        end = time.time() + 600
        for number in range(WORKERS):
            speak.apply_async((end, THREADS), queue=f"worker-{number}")
        client = stack.enter_context(redis.Redis.from_url(limits.url))
        share(folder, slots, client)
        kill_a_worker(workers, slots, client)
        restart(limits, folder, slots, client)
        for worker in workers:
            kill(worker)
        workers[:] = [start_worker(number + WORKERS) for number in range(WORKERS)]
        run_batch(batch, folder, workers)
        forget(limits)
        assert 0 == slots.refused, f"the emulator refused {slots.refused} connections"
    report("all parts passed")


def share(folder: Path, slots: Slots, client: redis.Redis) -> None:
    """Run part 1: all workers share the places."""
    until(lambda: slots.now == PLACES, "all places are used")
    before = counts(folder)
    samples: Counter[str] = Counter()
    for _ in range(SAMPLES):
        time.sleep(PHASE_SECONDS / SAMPLES)
        samples.update(holders(client))
    spoken = [after - before.get(name, 0) for name, after in counts(folder).items()]
    held = sorted(round(count / SAMPLES, 1) for count in samples.values())
    report(f"1: utterances of each worker {spoken}, mean places {held}, refused {slots.refused}")
    assert WORKERS == len(spoken) == len(held)
    assert min(spoken) > 0
    assert min(held) > 0.5 * PLACES / WORKERS
    assert (PLACES, 0) == (slots.most, slots.refused)
    assert not errors(folder), errors(folder)[:3]


def kill_a_worker(
    workers: list[subprocess.Popen[bytes]], slots: Slots, client: redis.Redis
) -> None:
    """Run part 2: a worker is killed."""
    # The first task of a pool runs in the child of a worker.
    children = holders(client)
    victim = workers.pop()
    own = {p: n for p, n in children.items() if int(p.split("-")[0]) in tree(victim.pid)}
    [(dead, held)] = own.items()
    kill(victim)
    began = time.monotonic()
    until(lambda: dead not in holders(client) and total(client) == PLACES, "the places are free")
    seconds = time.monotonic() - began
    report(f"2: {held} places of a killed worker were used again after {seconds:.1f} s")
    assert held > 0
    assert seconds < 20
    assert 0 == slots.refused


def restart(limits: RedisServer, folder: Path, slots: Slots, client: redis.Redis) -> None:
    """Run part 3: the Redis server of the limiter is restarted."""
    before = sum(counts(folder).values())
    limits.kill()
    time.sleep(3)
    limits.start()
    began = time.monotonic()
    until(lambda: total(client) == PLACES, "the places are registered again")
    seconds = time.monotonic() - began
    time.sleep(PHASE_SECONDS)
    spoken = sum(counts(folder).values()) - before
    report(
        f"3: all places were registered {seconds:.1f} s after the restart, {spoken} utterances, "
        f"most connections {slots.most}, refused {slots.refused}"
    )
    assert spoken > 0
    assert (PLACES, 0) == (slots.most, slots.refused)
    assert not errors(folder), errors(folder)[:3]


def run_batch(batch: Any, folder: Path, workers: list[subprocess.Popen[bytes]]) -> None:
    """Run part 4: a worker is killed during a batch."""
    jobs = [{"id": f"n{number}", "text": f"Number {number}."} for number in range(400)]
    output = str(folder / "out")
    run = batch.submit(jobs, output, group_size=10)
    until(lambda: run.progress().done >= 40, "40 items are done")
    kill(workers.pop())
    # The broker delivers the tasks of the killed worker again only after an hour. A caller that
    # does not want to wait submits the tasks again, as this program does.
    with contextlib.suppress(AssertionError):
        until(lambda: run.progress().done >= len(jobs) - 20, "most items are done")
    run = batch.submit(jobs, output, group_size=10)
    progress = run.wait(PATIENCE_SECONDS)
    files = sorted(path.stem for path in Path(output).glob("*.wav"))
    report(f"4: {progress.total} items, {progress.failed} failed, {len(files)} files")
    assert 0 == progress.failed
    assert files == sorted(job["id"] for job in jobs)
    assert not list(Path(output).glob(".*.partial"))


def forget(limits: RedisServer) -> None:
    """Run part 5: a limiter is dropped without close()."""
    limiter = RedisLimiter(limits.url, name="forgotten")
    assert limiter.acquire(PATIENCE_SECONDS)
    thread = limiter._thread
    assert thread is not None
    del limiter
    until(lambda: not thread.is_alive(), "the thread has ended")
    report("5: the thread has ended")


def start_worker(number: int) -> subprocess.Popen[bytes]:
    """Start a Celery worker with one child process."""
    pool = ("--pool", "prefork", "-c", "1") if number % 2 else ("--pool", "threads", "-c", "1")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "support.celery_app:app", "worker"),
            *("-n", f"w{number}@localhost", "-Q", f"celery,worker-{number}", *pool),
            *("--loglevel", "ERROR", "--without-gossip", "--without-mingle"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its children at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def tree(pid: int) -> set[int]:
    """Return a process and its children."""
    found = {pid}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.add(int(path.parent.name))
    return found


def counts(folder: Path) -> dict[str, int]:
    """Return the number of utterances of each worker."""
    return {p.name: p.read_text().split("\n").count("done") for p in folder.glob("*.log")}


def errors(folder: Path) -> list[str]:
    """Return the errors of all workers."""
    lines = [line for path in folder.glob("*.log") for line in path.read_text().splitlines()]
    return [line for line in lines if line != "done"]


def holders(client: redis.Redis) -> dict[str, int]:
    """Return the number of places of each process."""
    found: dict[str, int] = {}
    for place in client.zrange("inworld:{default}:places", 0, -1):
        process = place.decode().partition(":")[0]
        found[process] = found.get(process, 0) + 1
    return found


def total(client: redis.Redis) -> int:
    """Return the number of places in use."""
    return sum(holders(client).values())


def until(is_reached: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_reached():
        assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
