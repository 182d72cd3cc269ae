"""A stream limits its messages per second, and its seconds of audio without a transcript."""

from __future__ import annotations

import pytest

from inworld_sync import ConfigError
from inworld_sync.sessions.stt import audio_buffer
from inworld_sync.sessions.stt.audio_buffer import AudioBuffer, MaxLead
from inworld_sync.transport import chunk_rate
from inworld_sync.transport.chunk_rate import ChunkRateLimiter

from support.clock import Clock

RATE_HZ = 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (audio_buffer, chunk_rate):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_rate(clock: Clock) -> None:
    """Messages are evenly spaced."""
    limiter = ChunkRateLimiter(10)

    assert [0.0, 0.1, 0.2, 0.3] == [round(limiter.reserve(), 6) for _ in range(4)]


def test_rate_after_a_pause(clock: Clock) -> None:
    """After a pause, the messages of a tenth of a second are sent without a wait."""
    limiter = ChunkRateLimiter(100)
    clock.now += 60
    waits = [limiter.reserve() for _ in range(12)]

    assert [0.0] * 11 == waits[:11]
    assert 0.009 < waits[11] < 0.011


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_no_rate(rate: float) -> None:
    """A limit that is not above 0 is refused."""
    with pytest.raises(ConfigError, match="max_chunks_per_second must be above 0"):
        ChunkRateLimiter(rate)


def send(buffer: AudioBuffer, max_lead: MaxLead, seconds: int) -> None:
    """Append and pop some seconds of audio."""
    buffer.append(bytes(2 * RATE_HZ * seconds))
    for _ in range(seconds):
        buffer.pop(RATE_HZ, flush=True)
        max_lead.record_sent()


def new_max_lead(clock: Clock) -> tuple[AudioBuffer, MaxLead]:
    buffer = AudioBuffer(RATE_HZ, 60 * RATE_HZ)
    return buffer, MaxLead(buffer, RATE_HZ, 60 * RATE_HZ)


def test_max_lead(clock: Clock) -> None:
    """
    After 60 s of audio that was sent at once, further audio waits for at most 10 s.

    In this time, the service can transcribe the earlier audio.
    """
    buffer, max_lead = new_max_lead(clock)
    send(buffer, max_lead, 59)
    assert not max_lead.is_reached(None)
    send(buffer, max_lead, 1)
    assert max_lead.is_reached(None)

    clock.now += 10
    assert not max_lead.is_reached(None)


def test_max_lead_in_an_open_turn(clock: Clock) -> None:
    """While a turn is open, each message of the service extends the wait."""
    buffer, max_lead = new_max_lead(clock)
    send(buffer, max_lead, 60)
    clock.now += 9
    heard_at = clock.now
    clock.now += 5

    assert not max_lead.is_reached(None)
    assert max_lead.is_reached(heard_at)
    clock.now += 5
    assert not max_lead.is_reached(heard_at)


def test_covered_audio(clock: Clock) -> None:
    """Audio that a final transcript covers does not make new audio wait."""
    buffer, max_lead = new_max_lead(clock)
    send(buffer, max_lead, 60)
    buffer.cover(30 * RATE_HZ)
    max_lead.record_sent()

    assert not max_lead.is_reached(None)


def test_live_audio_does_not_wait(clock: Clock) -> None:
    """Audio that is sent in real time never waits."""
    buffer, max_lead = new_max_lead(clock)
    for _ in range(200):
        clock.now += 1
        send(buffer, max_lead, 1)
        assert not max_lead.is_reached(clock.now)


def test_max_lead_after_a_reconnect(clock: Clock) -> None:
    """Audio that is sent again after a reconnect counts as not transcribed."""
    buffer, max_lead = new_max_lead(clock)
    send(buffer, max_lead, 60)
    clock.now += 10
    buffer.rewind(0, 0)
    max_lead.reset()
    assert not max_lead.is_reached(None)
    while buffer.pop(RATE_HZ, flush=True):
        max_lead.record_sent()

    assert max_lead.is_reached(None)
