"""A NullSpeaker plays in real time, drops audio on clear(), and never hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from inworld_sync import AudioSink, NullSpeaker
from inworld_sync.devices import null
from inworld_sync.errors import AudioError, ClosedError, ConfigError, DeadlineExceeded

from support.clock import Clock
from support.sound_card import PATIENCE_S, until

RATE_HZ = 16000


def silence(milliseconds: int) -> bytes:
    return bytes(RATE_HZ * milliseconds // 1000 * 2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the speakers by a clock that the test advances."""
    clock = Clock()
    monkeypatch.setattr(null, "time", clock)
    return clock


@pytest.fixture
def speaker() -> Iterator[NullSpeaker]:
    with NullSpeaker(RATE_HZ, buffer_ms=50) as speaker:
        yield speaker


def test_is_a_sink(speaker: NullSpeaker) -> None:
    """A NullSpeaker is an AudioSink."""
    assert isinstance(speaker, AudioSink)


def test_plays_in_real_time(clock: Clock, speaker: NullSpeaker) -> None:
    """The duration of the heard samples is exactly the time since the audio started."""
    speaker.write(silence(50))
    heard = []
    for _ in range(5):
        heard.append(speaker.heard_samples)
        clock.now += 1 / 64

    assert [0, 250, 500, 750, RATE_HZ * 50 // 1000] == heard


def test_the_count_stops_at_the_end_of_the_audio(speaker: NullSpeaker) -> None:
    """The count of heard samples does not increase after the end of the audio."""
    speaker.write(silence(1))
    speaker.drain(timeout=PATIENCE_S)

    assert RATE_HZ // 1000 == speaker.heard_samples


def test_write_waits_for_room(speaker: NullSpeaker) -> None:
    """A write waits while the queued audio exceeds buffer_ms."""
    speaker.write(silence(120), timeout=PATIENCE_S)

    assert speaker.heard_samples >= RATE_HZ * 70 // 1000


def test_write_raises_at_its_deadline(speaker: NullSpeaker) -> None:
    """If the buffer stays full, a write raises an error at its timeout. Queued audio is played."""
    with pytest.raises(DeadlineExceeded):
        speaker.write(silence(3_600_000), timeout=0.02)

    speaker.drain(timeout=PATIENCE_S)
    assert RATE_HZ * 50 // 1000 <= speaker.heard_samples < RATE_HZ * 3600


def test_drain_raises_at_its_deadline(speaker: NullSpeaker) -> None:
    """drain() raises an error at its timeout."""
    speaker.pause()
    speaker.write(silence(1))

    with pytest.raises(DeadlineExceeded):
        speaker.drain(timeout=0.01)


def test_clear_drops_unheard_audio(clock: Clock, speaker: NullSpeaker) -> None:
    """After a clear, no more audio is heard, and the count of heard samples does not change."""
    speaker.write(silence(50))
    clock.now += 1 / 64

    heard = speaker.clear()
    speaker.drain(timeout=0)
    clock.now += 1

    assert 250 == heard == speaker.heard_samples


def test_clear_ends_a_write_that_waits(speaker: NullSpeaker) -> None:
    """A clear also drops the audio of a write that is waiting."""
    speaker.pause()
    thread = threading.Thread(target=speaker.write, args=(silence(200),))
    thread.start()
    until(lambda: speaker._written_frames)

    speaker.clear()
    thread.join(PATIENCE_S)
    speaker.resume()

    speaker.drain(timeout=0)
    assert not thread.is_alive()
    assert speaker.heard_samples == 0


def test_nothing_is_heard_during_a_pause(clock: Clock, speaker: NullSpeaker) -> None:
    """During a pause, no audio is heard, and no audio is lost."""
    speaker.write(silence(50))
    clock.now += 1 / 64
    speaker.pause()
    clock.now += 1
    with pytest.raises(DeadlineExceeded):
        speaker.drain(timeout=0)

    assert 250 == speaker.heard_samples
    speaker.resume()
    assert 250 == speaker.heard_samples
    clock.now += 1 / 64
    assert 500 == speaker.heard_samples
    clock.now += 1
    speaker.drain(timeout=0)
    assert RATE_HZ * 50 // 1000 == speaker.heard_samples


def test_close_ends_every_wait(speaker: NullSpeaker) -> None:
    """If the speaker is closed, a write that is waiting raises an error."""
    errors: list[BaseException] = []

    def write() -> None:
        try:
            speaker.write(silence(60_000))
        except ClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    until(lambda: speaker._written_frames)
    speaker.close()
    thread.join(PATIENCE_S)

    assert len(errors) == 1


def test_closed_refuses_sound(speaker: NullSpeaker) -> None:
    """A write after close() raises an error."""
    speaker.close()

    with pytest.raises(ClosedError):
        speaker.write(silence(1))


def test_half_a_sample_is_refused(speaker: NullSpeaker) -> None:
    """Audio that ends inside a sample raises an error, and no audio of this write is played."""
    with pytest.raises(AudioError) as caught:
        speaker.write(b"\0\0\0")

    assert caught.value.offset_bytes == 2
    assert speaker.heard_samples == 0


# Settings that are too low, too high or of a wrong type.
BAD = [{"sample_rate_hz": 999}, {"sample_rate_hz": 192_001}, {"buffer_ms": 9}, {"buffer_ms": True}]


@pytest.mark.parametrize("arguments", BAD)
def test_settings_have_ranges(arguments: dict[str, int]) -> None:
    """A setting out of range raises an error."""
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        NullSpeaker(**arguments)
