"""How fast audio is sent, how far ahead, and how often a lost connection is replaced."""

from __future__ import annotations

import pytest

from inworld_sync import (
    AuthError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    StreamEnded,
)
from inworld_sync.sessions.stt import lead as lead_module, rate as rate_module
from inworld_sync.sessions.stt.lead import Lead
from inworld_sync.sessions.stt.rate import ChunkRate
from inworld_sync.sessions.stt.retry import Retries, is_regular
from inworld_sync.sessions.stt.tape import Tape

from support.clock import Clock

RATE_HZ = 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lead_module, "time", clock)
    monkeypatch.setattr(rate_module, "time", clock)
    return clock


def test_rate(clock: Clock) -> None:
    """Turns are evenly spaced."""
    rate = ChunkRate(10)

    assert [0.0, 0.1, 0.2, 0.3] == [round(rate.wait_seconds(), 6) for _ in range(4)]


def test_rate_after_a_pause(clock: Clock) -> None:
    """After a pause no more than a tenth of a second is made up for."""
    rate = ChunkRate(100)
    clock.now += 60
    waits = [rate.wait_seconds() for _ in range(12)]

    assert [0.0] * 11 == waits[:11]
    assert 0.009 < waits[11] < 0.011


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_no_rate(rate: float) -> None:
    """A rate is above 0."""
    with pytest.raises(ConfigError, match="must be above 0"):
        ChunkRate(rate)


def sent(tape: Tape, lead: Lead, seconds: int) -> None:
    """Give and send some seconds at once."""
    tape.append(bytes(2 * RATE_HZ * seconds))
    for _ in range(seconds):
        tape.next(RATE_HZ, flush=True)
        lead.note_sent()


def a_lead(clock: Clock) -> tuple[Tape, Lead]:
    tape = Tape(60 * RATE_HZ)
    return tape, Lead(tape, RATE_HZ, 60 * RATE_HZ)


def test_lead_waits_for_the_service(clock: Clock) -> None:
    """What was sent in a moment is not let go before the service had time to hear it."""
    tape, lead = a_lead(clock)
    sent(tape, lead, 59)
    assert not lead.is_too_long(None)
    sent(tape, lead, 1)
    assert lead.is_too_long(None)

    clock.now += 10
    assert not lead.is_too_long(None)


def test_lead_in_an_open_turn(clock: Clock) -> None:
    """While a turn is open, every word of the service gives it more time."""
    tape, lead = a_lead(clock)
    sent(tape, lead, 60)
    clock.now += 9
    heard_at = clock.now
    clock.now += 5

    assert not lead.is_too_long(None)
    assert lead.is_too_long(heard_at)
    clock.now += 5
    assert not lead.is_too_long(heard_at)


def test_covered_audio_is_no_lead(clock: Clock) -> None:
    """What was understood needs not be waited for."""
    tape, lead = a_lead(clock)
    sent(tape, lead, 60)
    tape.cover(30 * RATE_HZ)
    lead.note_sent()

    assert not lead.is_too_long(None)


def test_live_audio_does_not_wait(clock: Clock) -> None:
    """Audio that is sent as it sounds never waits, whatever the service says."""
    tape, lead = a_lead(clock)
    for _ in range(200):
        clock.now += 1
        sent(tape, lead, 1)
        assert not lead.is_too_long(clock.now)


def test_lead_after_a_reconnect(clock: Clock) -> None:
    """What is sent again has to be heard anew."""
    tape, lead = a_lead(clock)
    sent(tape, lead, 60)
    clock.now += 10
    tape.rewind(0, 0)
    lead.restart()
    assert not lead.is_too_long(None)
    while tape.next(RATE_HZ, flush=True):
        lead.note_sent()

    assert lead.is_too_long(None)


def test_delays() -> None:
    """Attempts are 0.2 s to 5 s apart, twice as long each time, and never at the same moment."""
    retries = Retries(8)
    delays = [retries.next_delay() for _ in range(8)]

    for delay, most in zip(delays, [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], strict=True):
        assert most / 2 <= delay <= most
    assert len(set(delays)) == len(delays)


def test_a_new_row() -> None:
    """Progress begins a new row of attempts."""
    retries = Retries(1)
    retries.next_delay()
    retries.reset()
    retries.require(ConnectionLost("lost"))

    assert retries.next_delay() <= 0.2


# (the error, whether another attempt may help)
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
]


@pytest.mark.parametrize(("error", "helps"), ERRORS)
def test_worth_an_attempt(error: InworldError, helps: bool) -> None:
    """What the network or a busy service did may go well another time; the rest does not."""
    retries = Retries(1)
    if not helps:
        with pytest.raises(type(error)):
            retries.require(error)
        return
    retries.require(error)
    retries.next_delay()

    kind = ServiceError if isinstance(error, ServiceError) else ConnectionLost
    with pytest.raises(kind):
        retries.require(error)


# (the end of a connection, whether nothing was wrong with it)
ENDS: list[tuple[StreamEnded, bool]] = [
    (StreamEnded("server", 1000), True),
    (StreamEnded("server", 1001, "", ConnectionLost("x")), True),
    (StreamEnded("server", 1000, "", ServiceError("x")), False),
    (StreamEnded("server", 1011), False),
    (StreamEnded("network", 1006), False),
    (StreamEnded("client", 1000), False),
]


@pytest.mark.parametrize(("ended", "expected"), ENDS)
def test_regular_end(ended: StreamEnded, expected: bool) -> None:
    """A service that closes without an error has nothing against the stream."""
    assert expected is is_regular(ended)
