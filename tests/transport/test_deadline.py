"""A deadline is one time limit for all steps of an operation."""

from __future__ import annotations

import math
import selectors
import socket
import threading

import pytest

from inworld_sync.errors import ConfigError, DeadlineExceeded, TransportError
from inworld_sync.transport import deadline as module
from inworld_sync.transport.deadline import Deadline, RunningDeadline

from support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


# (seconds since the start, remaining seconds of five)
STEPS = [(0.0, 5.0), (4.0, 1.0), (5.0, 0.0), (60.0, 0.0)]


@pytest.mark.parametrize(("passed", "left"), STEPS)
def test_remaining(clock: Clock, passed: float, left: float) -> None:
    """The remaining time decreases to 0.0, and is never negative."""
    deadline = Deadline(5.0, "waiting")
    clock.now += passed

    assert left == deadline.remaining()
    assert (left == 0.0) == deadline.expired


def test_check(clock: Clock) -> None:
    """After the deadline, check() raises an error that names the operation and the limit."""
    deadline = Deadline(2.5, "connecting to wss://host/")
    deadline.check()
    clock.now += 2.5

    with pytest.raises(
        DeadlineExceeded, match=r"^connecting to wss://host/ took longer than 2.5 s$"
    ):
        deadline.check()


def test_error_is_a_timeout() -> None:
    """The error of a deadline is a TransportError and a TimeoutError."""
    error = Deadline(1.0, "waiting").error()

    assert isinstance(error, TransportError)
    assert isinstance(error, TimeoutError)


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_without_limit(clock: Clock, seconds: float | None) -> None:
    """A deadline without a limit never passes."""
    deadline = Deadline(seconds, "waiting")
    clock.now += 1e9

    deadline.check()
    assert deadline.remaining() is None
    assert not deadline.expired


@pytest.mark.parametrize(
    ("seconds", "piece"),
    [(None, 3.0), (math.inf, 3.0), (5.0, 3.0), (2.0, 2.0), (0.0, 0.0), (1e12, 3.0)],
)
def test_pieces(clock: Clock, seconds: float | None, piece: float) -> None:
    """at_most() returns the given time, or the remaining time if the remaining time is shorter."""
    assert piece == Deadline(seconds, "waiting").at_most(3.0)


@pytest.mark.parametrize("seconds", ["5", math.nan, [1], -1, -0.001, -math.inf, True, 10**400])
def test_no_number(seconds: object) -> None:
    """A timeout that is negative or not a number raises a ConfigError."""
    with pytest.raises(ConfigError, match=r"timeout must be a number of seconds.*got "):
        Deadline(seconds, "waiting")  # type: ignore[arg-type]


# (seconds of the first wait, seconds that the wait took, whether a deadline of 5 s has passed,
# seconds that are left)
STOPS = [
    (1.0, 1.0, False, 4.0),
    (1.0, 1.9, False, 3.1),  # a busy machine
    (1.0, 61.0, False, 4.0),  # the process was stopped for 60 s
    (5.0, 5.0, True, 0.0),
    (5.0, 5.9, True, 0.0),
    (5.0, 65.0, False, 1.0),  # after the stop, the reader has a second to read
]


@pytest.mark.parametrize("method", ["remaining", "at_most"])
@pytest.mark.parametrize(("seconds", "took", "has_passed", "left"), STOPS)
def test_a_stop_does_not_count(
    clock: Clock, method: str, seconds: float, took: float, has_passed: bool, left: float
) -> None:
    """If a wait ended more than a second too late, the deadline moves."""
    deadline = RunningDeadline(5.0, "waiting")
    if method == "at_most" or seconds < 5.0:
        deadline.at_most(seconds)
    else:
        deadline.remaining()
    clock.now += took

    assert has_passed == deadline.expired
    assert left == pytest.approx(deadline.remaining())


def test_a_stop_between_two_waits(clock: Clock) -> None:
    """If the process was stopped in a wait, the next wait has the time that remained before."""
    deadline = RunningDeadline(5.0, "waiting")
    deadline.at_most(1.0)
    clock.now += 60.5

    assert 4.0 == deadline.at_most(9.0)


def test_work_between_two_waits_counts(clock: Clock) -> None:
    """Time between two waits counts, because a stop is noticed only during a wait."""
    deadline = RunningDeadline(5.0, "waiting")
    clock.now += 60.0
    assert deadline.expired

    deadline = RunningDeadline(5.0, "waiting")
    deadline.at_most(1.0)
    clock.now += 1.0
    assert not deadline.expired
    clock.now += 60.0
    assert deadline.expired


def test_a_running_deadline_without_limit(clock: Clock) -> None:
    """A running deadline without a limit never passes."""
    deadline = RunningDeadline(None, "waiting")
    assert 1.0 == deadline.at_most(1.0)
    clock.now += 1e9

    deadline.check()
    assert deadline.remaining() is None


def test_zero_has_passed() -> None:
    """A deadline with a limit of zero seconds has passed at once."""
    assert Deadline(0.0, "waiting").expired


def test_long_timeout() -> None:
    """Every wait of the system accepts a very long timeout."""
    remaining = Deadline(1e12, "waiting").remaining()
    condition = threading.Condition()
    with condition:
        threading.Timer(0.01, lambda: notify(condition)).start()
        assert condition.wait(remaining)
    with selectors.DefaultSelector() as selector, socket.socket() as sock:
        sock.settimeout(remaining)
        selector.register(sock, selectors.EVENT_READ)
        assert selector.select(remaining)


def notify(condition: threading.Condition) -> None:
    with condition:
        condition.notify_all()
