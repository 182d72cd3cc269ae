"""The policy decides whether and when a lost connection is replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inworld_sync import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.sessions import reconnect
from inworld_sync.sessions.reconnect import ReconnectPolicy, is_transient
from inworld_sync.transport.backoff import Backoff

from support.clock import Clock


class WaitingClock(Clock):
    """A clock that moves only while the policy waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WaitingClock:
    clock = WaitingClock()
    monkeypatch.setattr(reconnect, "time", clock)
    return clock


def failing(times: int) -> Callable[[float | None], str]:
    """Return a function that fails *times* times, then opens a connection."""
    errors = [ConnectError(f"failure {number}") for number in range(1, times + 1)]

    def open_connection(timeout: float | None) -> str:
        if errors:
            raise errors.pop(0)
        return f"a connection within {timeout}"

    return open_connection


def test_delays() -> None:
    """Each delay is random. The upper limit of the delay doubles with each attempt, up to 5 s."""
    backoff = Backoff(0.2, 5.0)
    delays = [backoff.next_delay() for _ in range(8)]

    for delay, longest in zip(delays, [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], strict=True):
        assert 0.0 <= delay <= longest
    assert len(set(delays)) == len(delays)
    assert 8 == backoff.attempts


def test_first_attempt_at_once() -> None:
    """The first attempt of a series may have no delay."""
    backoff = Backoff(0.2, is_first_immediate=True)
    for _ in range(2):
        assert 0.0 == backoff.next_delay()
        assert 0.0 < backoff.next_delay() <= 0.2
        assert 0.0 < backoff.next_delay() <= 0.4
        backoff.reset()


def test_many_attempts() -> None:
    """Delays stay within the limit after any number of attempts, without an overflow."""
    backoff = Backoff(0.2, 5.0)
    delays = [backoff.next_delay() for _ in range(2000)]

    assert max(delays) <= 5.0
    assert max(delays[1000:]) > 2.5


def test_retry_after() -> None:
    """If the service names a time, the delay is this time plus a random time."""
    busy = QuotaError("x", retryable=True, retry_after=3.0)
    delays = [Backoff(0.2).next_delay(busy) for _ in range(100)]

    assert all(3.0 <= delay <= 3.2 for delay in delays)
    assert len(set(delays)) > 1
    assert Backoff(0.2, is_first_immediate=True).next_delay(busy) == 3.0


# (the error, whether another attempt may succeed)
ERRORS: list[tuple[InworldError, bool]] = [
    (ConnectionLost("x"), True),
    (ConnectError("x"), True),
    (DeadlineExceeded("x"), True),
    (QuotaError("x", retryable=True), True),
    (ServiceError("x", code=13, retryable=True), True),
    (ServiceError("x", code=3), False),
    (AuthError("x"), False),
    (RemoteProtocolError("x"), False),
    (ConfigError("x"), False),
    (ClosedError("x"), False),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_transient(error: InworldError, expected: bool) -> None:
    """Errors of the network and of a busy service are transient."""
    assert expected is is_transient(error)


@pytest.mark.parametrize(("error", "is_transient"), ERRORS)
def test_check(error: InworldError, is_transient: bool) -> None:
    """
    check() raises an error that is not transient. If no attempt is left, check() raises any error.

    A transient error that is not a ServiceError is raised as the cause of a ConnectionLost.
    """
    policy = ReconnectPolicy(Backoff(0.2), max_attempts=0)
    with pytest.raises(type(error) if not is_transient else InworldError) as caught:
        policy.check(error)
    if not is_transient or isinstance(error, ServiceError):
        assert error is caught.value
    else:
        assert isinstance(caught.value, ConnectionLost)
        assert error is caught.value.__cause__
        assert "in 0 attempts (max_reconnects=0): x" in str(caught.value)


def test_reconnect(clock: WaitingClock) -> None:
    """Attempts are made until one attempt succeeds. Each attempt is made after a delay."""
    policy = ReconnectPolicy(Backoff(0.2), max_attempts=3)
    opened = policy.reconnect(ConnectionLost("lost"), clock.wait, failing(2))

    assert ("a connection within None", 3) == opened
    assert 3 == policy.attempts == len(clock.waits)
    assert all(wait <= most for wait, most in zip(clock.waits, [0.2, 0.4, 0.8], strict=True))


def test_reconnect_after_retry_after(clock: WaitingClock) -> None:
    """The next attempt waits as long as the service asks, if the timeout allows this wait."""
    policy = ReconnectPolicy(Backoff(0.2), timeout=10.0)
    errors = [QuotaError("busy", retryable=True, retry_after=seconds) for seconds in (4.0, 20.0)]

    def refuse(timeout: float | None) -> str:
        raise errors.pop(0)

    with pytest.raises(QuotaError) as caught:
        policy.reconnect(ConnectionLost("lost"), clock.wait, refuse)

    assert caught.value.retry_after == 20.0
    assert 4.0 <= clock.waits[1] <= 4.4
    assert len(clock.waits) == 2


def test_long_retry_after(clock: WaitingClock) -> None:
    """If the service asks for a very long wait, the error of the service is raised at once."""
    busy = QuotaError("busy", retryable=True, retry_after=3600.0)

    with pytest.raises(QuotaError):
        ReconnectPolicy(Backoff(0.2)).reconnect(busy, clock.wait, failing(0))

    assert clock.waits == []


def test_attempts_add_up(clock: WaitingClock) -> None:
    """The count of attempts grows over several lost connections, until reset() is called."""
    policy = ReconnectPolicy(Backoff(0.2), max_attempts=3)
    policy.reconnect(ConnectionLost("lost"), clock.wait, failing(1))
    policy.reconnect(ConnectionLost("lost"), clock.wait, failing(0))
    with pytest.raises(ConnectionLost, match=r"in 3 attempts \(max_reconnects=3\): lost again$"):
        policy.reconnect(ConnectionLost("lost again"), clock.wait, failing(0))
    policy.reset()

    assert policy.reconnect(ConnectionLost("lost"), clock.wait, failing(2)) is not None
    policy.reset()
    with pytest.raises(ConnectionLost, match="failure 3"):
        policy.reconnect(ConnectionLost("lost"), clock.wait, failing(4))


def test_timeout(clock: WaitingClock) -> None:
    """
    Attempts end when the timeout since the loss has passed. Each attempt gets the remaining time.
    """
    policy = ReconnectPolicy(Backoff(1.0), timeout=10.0)
    lefts: list[float | None] = []

    def open_connection(timeout: float | None) -> str:
        lefts.append(timeout)
        raise ConnectError("refused")

    with pytest.raises(ConnectionLost, match=r"\(reconnect_timeout=10\): refused$"):
        policy.reconnect(
            ConnectionLost("lost"), clock.wait, open_connection, lost_at=clock.now - 2.0
        )

    assert 8.0 == lefts[0]
    assert pytest.approx(8.0) == sum(clock.waits)


def test_timeout_over_several_losses(clock: WaitingClock) -> None:
    """The timeout counts from the first of several losses, until reset() is called."""
    policy = ReconnectPolicy(Backoff(1.0), timeout=10.0)
    policy.reconnect(ConnectionLost("lost"), clock.wait, failing(0))
    clock.now += 10.0
    with pytest.raises(ConnectionLost, match="reconnect_timeout=10"):
        policy.reconnect(ConnectionLost("lost"), clock.wait, failing(0))
    policy.reset()

    assert policy.reconnect(ConnectionLost("lost"), clock.wait, failing(0)) is not None


def test_not_wanted() -> None:
    """If no connection is wanted any more, no attempt is made."""
    policy = ReconnectPolicy(Backoff(0.2))

    assert policy.reconnect(ConnectionLost("lost"), lambda _: False, failing(0)) is None


def test_error_of_an_attempt(clock: WaitingClock) -> None:
    """If an attempt fails with an error that is not transient, this error is raised at once."""

    def refuse(timeout: float | None) -> str:
        raise AuthError("refused")

    with pytest.raises(AuthError, match="refused"):
        ReconnectPolicy(Backoff(0.2)).reconnect(ConnectionLost("lost"), clock.wait, refuse)
