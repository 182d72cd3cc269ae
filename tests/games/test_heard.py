"""The position that is heard depends on the reads, the latency, the time and the reports."""

from __future__ import annotations

import pytest

from inworld_sync.games.heard import HeardClock, Segments


def test_a_callback_mixer_hears_after_the_latency() -> None:
    """A mixer that reads a block in each frame plays each sample latency_ms after the read."""
    clock = HeardClock(1000, latency_ms=30)
    heard = []
    for _ in range(6):
        clock.read(10)
        clock.advance(0.010)
        heard.append(clock.heard_frames)

    assert heard == pytest.approx([0, 0, 0, 10, 20, 30])


def test_a_dry_device_stops_at_the_last_frame() -> None:
    """Without further reads, the position stops at the last frame that was read."""
    clock = HeardClock(1000, latency_ms=0)
    clock.read(10)
    clock.advance(1.0)

    assert clock.heard_frames == 10


def test_a_slow_clock_of_the_game_is_corrected() -> None:
    """
    If the game counts too little time, the position is corrected. It is behind the frames that were
    read by at most the latency and two blocks.
    """
    clock = HeardClock(1000, latency_ms=20)
    for _ in range(100):
        clock.read(10)
        clock.advance(0.009)

    assert clock.read_frames - clock.heard_frames <= 20 + 2 * 10


def test_reports_replace_the_estimate() -> None:
    """With reports, the position is the last reported position plus the time since the report."""
    clock = HeardClock(1000, latency_ms=0)
    clock.read(200)
    clock.report(0)
    clock.advance(0.050)
    assert clock.heard_frames == pytest.approx(50)
    clock.report(100)
    assert clock.heard_frames == 100
    clock.advance(1.0)
    assert clock.heard_frames == 200


def test_the_position_never_decreases() -> None:
    """A report of an earlier position stops the position until the reported position catches up."""
    clock = HeardClock(1000, latency_ms=0)
    clock.read(100)
    clock.advance(0.080)
    clock.report(40)
    assert clock.heard_frames == pytest.approx(80)
    clock.advance(0.030)
    assert clock.heard_frames == pytest.approx(80)
    clock.advance(0.030)
    assert clock.heard_frames == pytest.approx(100)


def test_segments_skip_silence_and_scaled_speech() -> None:
    """
    Neither silence before an item nor slower playback changes the item's count of heard frames.
    """
    segments = Segments()
    segments.add("a", 100, 200, 0, 50)
    segments.add("b", 200, 210, 0, 10)
    segments.reach(50)
    assert (segments.item, segments.is_speaking) == (None, False)
    assert segments.upcoming(50) == ("a", -50)
    segments.reach(150)
    assert (segments.item, segments.position, segments.is_speaking) == ("a", 25, True)
    segments.reach(205)
    assert (segments.item, segments.position) == ("b", 5)
    assert segments.heard["a"] == 50
    segments.reach(210)
    assert not segments.is_speaking
    assert segments.is_empty
