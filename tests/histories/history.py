"""A history is random calls on several threads, and then a call that must succeed."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import attrs

from inworld_sync import InworldError

from histories.disturbance import Disturbance

__all__ = ["PATIENT", "History", "Outcome", "run_history"]

S = TypeVar("S")

# The time limit in seconds for all random calls of a history, and for the last call. An idle
# machine needs about a second. The limit is for busy machines.
LIMIT_SECONDS = 120.0

# An option of the client. On a busy machine, the threads of the service may not run for seconds.
# The client must not treat such a pause as a dead connection.
PATIENT = {"ping_timeout": LIMIT_SECONDS}


@attrs.frozen
class History(Generic[S]):
    """
    The functions that make and check the histories of one service.

    Attributes:
        open: Connects to a disturbed service, and opens the object that the calls use.
        calls: The calls of users. Each call gets the open object and a source of random numbers.
        check: Makes a call on a service that is no longer disturbed. ``check`` raises
        AssertionError if the result is wrong. If ``check`` raises InworldError, it is called again.
    """

    open: Callable[[Disturbance], contextlib.AbstractContextManager[S]]
    calls: tuple[Callable[[S, random.Random], object], ...]
    check: Callable[[S], None]


@attrs.frozen
class Outcome:
    """
    The result of one history.

    Attributes:
        faults: How many messages had each fault.
        results: How many calls ended without an error, and how many with each error.
        attempts: How many times ``check`` was called until it succeeded.
    """

    faults: Counter[str]
    results: Counter[str]
    attempts: int


def run_history(history: History[S], seed: int) -> Outcome:
    """
    Run the history of one seed.

    Raises:
        AssertionError: A call did not end, a call raised an error that is not an InworldError, or
        the object was not usable afterwards. The message has the seed.
    """
    numbers = random.Random(seed)
    disturbance = Disturbance(seed)
    results: Counter[str] = Counter()
    unexpected: list[BaseException] = []

    def run_calls(opened: S, calls: list[Callable[[S, random.Random], object]], own: int) -> None:
        for call in calls:
            try:
                call(opened, random.Random(own))
                results["success"] += 1
            except InworldError as error:
                results[type(error).__name__] += 1
            except BaseException as error:
                unexpected.append(error)

    with history.open(disturbance) as opened:
        threads = [
            threading.Thread(
                target=run_calls,
                args=(opened, numbers.choices(history.calls, k=numbers.randint(1, 4)), seed + own),
                name=f"history-{seed}-{own}",
                daemon=True,
            )
            for own in range(numbers.randint(1, 3))
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + LIMIT_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"seed {seed}: a call does not end"
        if unexpected:
            message = f"seed {seed}: a call raised {unexpected[0]!r}"
            raise AssertionError(message) from unexpected[0]
        disturbance.calm()
        attempts = sum(1 for _ in _attempts(history, opened, seed))
    return Outcome(disturbance.counts, results, attempts)


def _attempts(history: History[S], opened: S, seed: int) -> Iterator[None]:
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            history.check(opened)
        except InworldError as error:
            yield
            if time.monotonic() >= deadline:
                message = f"seed {seed}: not usable afterwards: {error!r}"
                raise AssertionError(message) from error
        except AssertionError as error:
            message = f"seed {seed}: {error}"
            raise AssertionError(message) from error
        else:
            yield
            return
