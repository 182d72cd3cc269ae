"""The echo of a loudspeaker is removed, in simulated rooms and in virtual time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inworld_sync.audio.echo.canceller import EchoCanceller, EchoSettings

from support.room import PLAYED_HZ, RATE_HZ, Room, babble, removed_db

pytestmark = pytest.mark.usefixtures("audio_processing")

SPEECH = babble(6, PLAYED_HZ, 1)


@pytest.mark.parametrize("room", [{"delay_ms": 0}, {"delay_ms": 300}, {"ppm": 200}], ids=str)
def test_removes_the_echo(room: dict[str, Any]) -> None:
    """After 1.5 s, the echo is 35 dB quieter. Less than 10 ms of the recording are missing."""
    found = Room(SPEECH[: 5 * PLAYED_HZ], **room)
    cleaned, canceller = found.cancel()

    assert 0 <= len(found.recorded) - len(cleaned) < 160
    assert removed_db(found.recorded, cleaned, 1.5, 4.5) > 35
    assert (canceller.stats.removed_db or 0) > 15
    assert canceller.stats.delay_correction_ms == 0


def test_clocks_that_differ_much() -> None:
    """The echo is removed even if the clocks of the devices differ by 1,000 ppm."""
    silence = np.zeros(4 * PLAYED_HZ)
    found = Room(np.concatenate((silence, SPEECH)), ppm=1000)
    cleaned, canceller = found.cancel()

    assert 1000 == pytest.approx(canceller.stats.skew_ppm, abs=100)
    assert removed_db(found.recorded, cleaned, 6, 9.5) > 35


def test_a_delay_that_no_device_reports() -> None:
    """A delay of 600 ms that no device reports is found by comparing the audio."""
    found = Room(SPEECH, delay_ms=600)
    cleaned, canceller = found.cancel()

    assert 600 == pytest.approx(canceller.stats.delay_correction_ms, abs=10)
    assert removed_db(found.recorded, cleaned, 4.5, 6.5) > 35


def test_a_gap_of_the_loudspeaker() -> None:
    """The echo is still removed after the loudspeaker had nothing to play for 30 ms."""
    found = Room(SPEECH, gap_at=2 * PLAYED_HZ)
    cleaned, _ = found.cancel()

    assert removed_db(found.recorded, cleaned, 1.5, 2) > 35
    assert removed_db(found.recorded, cleaned, 2, 6) > 35


@pytest.mark.parametrize("late_ms", [0.3, 5.0, -5.0])
def test_a_gap_with_wrong_times(late_ms: float) -> None:
    """The times after a gap may be wrong by milliseconds. The echo is removed all the time."""
    found = Room(SPEECH, gap_at=4 * PLAYED_HZ, late_ms=late_ms)
    cleaned, _ = found.cancel()

    assert removed_db(found.recorded, cleaned, 3, 4) > 35
    assert removed_db(found.recorded, cleaned, 4, 4.4) > 35
    assert removed_db(found.recorded, cleaned, 4.4, 6) > 35


def test_the_user_speaks_after_a_gap() -> None:
    """A user who speaks while the delay of the echo is searched is recorded."""
    near = babble(6, RATE_HZ, 4)
    near[: int(4.02 * RATE_HZ)] = 0
    cleaned, _ = Room(SPEECH, gap_at=4 * PLAYED_HZ, late_ms=1, near=near).cancel()

    assert abs(removed_db(near.astype("<i2"), cleaned, 4.1, 4.2)) < 3


def test_another_loudspeaker() -> None:
    """If the loudspeaker is replaced, the echo of the new loudspeaker is removed too."""
    found = Room(SPEECH, other_at=2 * PLAYED_HZ)
    cleaned, _ = found.cancel()

    assert removed_db(found.recorded, cleaned, 4.5, 6.5) > 35


def test_the_user_alone() -> None:
    """While the loudspeaker is silent, the level of speech changes by less than 1.5 dB."""
    near = babble(3, RATE_HZ, 2)
    cleaned, canceller = Room(np.zeros(3 * PLAYED_HZ), near=near).cancel()

    assert abs(removed_db(near.astype("<i2"), cleaned, 1, 2.5)) < 1.5
    assert canceller.stats.removed_db is None


def test_both_speak() -> None:
    """While the loudspeaker plays too, the level of speech changes by less than 2 dB."""
    near = babble(6, RATE_HZ, 2) * 0.4
    near[: 4 * RATE_HZ] = 0
    cleaned, _ = Room(SPEECH, near=near).cancel()

    assert abs(removed_db(near.astype("<i2"), cleaned, 4.5, 6)) < 2


def test_a_loudspeaker_that_stops() -> None:
    """If the callbacks of the loudspeaker stop, the recorded audio is still returned to its end."""
    found = Room(SPEECH[: 3 * PLAYED_HZ], stops_at=PLAYED_HZ)
    cleaned, _ = found.cancel()

    assert 0 <= len(found.recorded) - len(cleaned) < 160


@pytest.mark.parametrize("rate_hz", [8000, 24000, 44100, 48000])
def test_other_rates(rate_hz: int) -> None:
    """The result may have any sample rate."""
    found = Room(SPEECH[: 3 * PLAYED_HZ])
    cleaned, _ = found.cancel(rate_hz)

    assert len(found.recorded) / RATE_HZ == pytest.approx(len(cleaned) / rate_hz, abs=0.02)
    assert removed_db(found.recorded, cleaned, 1.5, 3, rate_hz) > 30


def test_noise_suppression_and_gain_without_a_speaker() -> None:
    """Noise suppression and automatic gain need no speaker. Steady noise is reduced."""
    noise = np.random.default_rng(3).normal(0, 200, 5 * RATE_HZ).astype("<i2")
    levels = {}
    for settings in (
        EchoSettings(),
        EchoSettings(noise_suppression=True),
        EchoSettings(auto_gain=True),
    ):
        canceller = EchoCanceller(
            settings, recorded_hz=RATE_HZ, sample_rate_hz=RATE_HZ, played_hz=None
        )
        canceller.add_recorded(0, noise.tobytes(), [])
        cleaned = np.frombuffer(canceller.process(0), "<i2")
        assert len(cleaned) == len(noise)
        levels[settings] = removed_db(noise, cleaned, 2, 5)

    plain, quieter, _ = levels.values()
    assert abs(plain) < 3
    assert quieter > plain + 10
