"""Several inputs share a speaker. The tests check the sum, the counts, the marks and the levels."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from inworld_sync import AudioSink, Playback, Speaker
from inworld_sync.audio.playout import Playout
from inworld_sync.errors import ClosedError, ConfigError, LocalProtocolError
from inworld_sync.models.devices import SpeakerMark

from support.sound_card import PATIENCE_S, PERIOD_S, SoundCard, until

RATE_HZ = 24000


def steady(milliseconds: int, sample: int) -> bytes:
    """Return samples that all have the same value."""
    return np.full(RATE_HZ * milliseconds // 1000, sample, "<i2").tobytes()


def played(sound_card: SoundCard) -> np.ndarray:
    """Return all audio that the device played."""
    return np.frombuffer(sound_card.played, "<i2").astype(int)


def test_inputs_are_added(sound_card: SoundCard) -> None:
    """Two inputs play at the same time. Each input has its own count of heard samples."""
    with Speaker(RATE_HZ) as speaker:
        second = speaker.add()
        # The speaker is paused until both inputs have audio.
        speaker.pause()
        second.pause()
        speaker.write(steady(200, 1000))
        second.write(steady(100, 300))
        speaker.end()
        second.end()
        speaker.resume()
        second.resume()
        second.drain(timeout=PATIENCE_S)
        speaker.drain(timeout=PATIENCE_S)

        assert isinstance(second, AudioSink)
        assert (RATE_HZ // 5, RATE_HZ // 10) == (speaker.heard_samples, second.heard_samples)
    out = played(sound_card)
    assert RATE_HZ // 5 * 1000 + RATE_HZ // 10 * 300 == pytest.approx(out.sum(), rel=0.02)
    assert 1300 in out


def test_one_input_is_cleared(sound_card: SoundCard) -> None:
    """A clear drops exactly the audio of one input. The other input is not changed."""
    with Speaker(RATE_HZ) as speaker:
        music = speaker.add()
        music.write(steady(400, 100))
        speaker.write(steady(400, 1000))
        until(lambda: speaker.heard_samples > 1000)
        heard = speaker.clear()
        music.drain(timeout=PATIENCE_S)

        assert music.heard_samples == RATE_HZ * 400 // 1000
        assert heard == speaker.heard_samples == speaker._track.taken_frames
    assert 100 in played(sound_card)


def test_the_voice_ducks_lower_priorities(sound_card: SoundCard) -> None:
    """While the speaker's own input plays, an input with duck_db is softer."""
    with Speaker(RATE_HZ) as speaker:
        music = speaker.add(duck_db=20)
        music.write(steady(600, 5000))
        music.end()
        until(lambda: music.heard_samples > 0)
        speaker.write(bytes(2 * RATE_HZ * 150 // 1000))
        speaker.end()
        music.drain(timeout=PATIENCE_S)

    assert 5000 == played(sound_card).max()
    # Written silence also ducks, so the music has the value 500 during this silence.
    assert np.count_nonzero(played(sound_card) == 500) > RATE_HZ // 10


def test_an_input_can_duck_the_speaker(sound_card: SoundCard) -> None:
    """An input with a higher priority ducks the speaker's own input if duck_db is set."""
    with Speaker(RATE_HZ) as speaker:
        speaker.adjust(duck_db=20)
        announcement = speaker.add(priority=2)
        announcement.write(bytes(2 * RATE_HZ // 2))
        announcement.end()
        until(lambda: announcement.heard_samples > 0)
        speaker.write(steady(100, 5000))
        speaker.drain(timeout=PATIENCE_S)

    assert 500 == played(sound_card).max()


def test_a_closed_input_makes_room(sound_card: SoundCard) -> None:
    """A closed input fades out. Its place can then be used by another input."""
    with Speaker(RATE_HZ) as speaker:
        others = [speaker.add() for _ in range(7)]
        with pytest.raises(LocalProtocolError, match="has 8 playouts already"):
            speaker.add()
        others[0].write(steady(500, 8000))
        until(lambda: others[0].heard_samples > 1000)
        others[0].close()
        others[0].close()
        heard = others[0].heard_samples
        speaker.add().close()

        assert others[0].heard_samples == heard == others[0]._track.taken_frames
        with pytest.raises(ClosedError, match="SpeakerInput is closed"):
            others[0].write(b"")
    out = played(sound_card)
    # The fade takes 5 ms. Concealment would take longer, and a cut would be a single step.
    assert np.abs(np.diff(out[np.flatnonzero(out)[0] + 1 :])).max() < 8000 * 2 / (RATE_HZ * 0.005)


def test_an_input_has_a_rate_of_its_own(sound_card: SoundCard) -> None:
    """Audio at another rate is converted. The audio is counted at the rate of write()."""
    with Speaker(RATE_HZ) as speaker, speaker.add(sample_rate_hz=8000) as telephone:
        telephone.write(np.full(1600, 1000, "<i2").tobytes())
        telephone.drain(timeout=PATIENCE_S)

        assert telephone.heard_samples == 1600
    assert np.count_nonzero(played(sound_card) > 900) == pytest.approx(RATE_HZ // 5, rel=0.02)


def test_a_live_playout_as_input(sound_card: SoundCard) -> None:
    """A caller's playout can be added to the mixer, and read again after the speaker is closed."""
    playout = Playout(RATE_HZ, output_format="f32")
    playout.push(steady(100, 700), item="call", end=True)
    with Speaker(RATE_HZ) as speaker:
        track = speaker.mixer.add(playout)
        until(lambda: track.heard_frames() == RATE_HZ // 10)

    assert 700 in played(sound_card)
    assert playout.read(bytearray(4)) == 0


def test_closing_the_speaker_closes_all(sound_card: SoundCard) -> None:
    """If the speaker is closed, a write to an input ends. The input's count does not change."""
    with Speaker(RATE_HZ) as speaker:
        other = speaker.add(buffer_ms=100)
        other.pause()
        errors: list[Exception] = []

        def write() -> None:
            try:
                other.write(steady(1000, 100))
            except ClosedError as error:
                errors.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: other._written_frames)
    thread.join(PATIENCE_S)

    assert len(errors) == 1
    assert other.heard_samples == other.clear() == 0
    other.close()
    with pytest.raises(ClosedError):
        speaker.add()


# Settings that are too low or too high.
BAD = [{"sample_rate_hz": 7999}, {"buffer_ms": 99}, {"gain": 4.1}, {"duck_db": 101}]


@pytest.mark.parametrize("settings", BAD)
def test_settings_have_ranges(sound_card: SoundCard, settings: dict[str, int]) -> None:
    """A value out of range raises an error, and no input is created."""
    with Speaker(RATE_HZ) as speaker:
        for _ in range(8):
            with pytest.raises(ConfigError, match=next(iter(settings))):
                speaker.add(**settings)
        speaker.add().close()


@pytest.mark.parametrize("position", [-1, 2**60, 0.5, math.nan, "end", True])
def test_positions_of_marks(sound_card: SoundCard, position: object) -> None:
    """A mark at a position out of range raises an error, and the mark is not set."""
    with Speaker(RATE_HZ) as speaker:
        with pytest.raises(ConfigError, match="position_samples"):
            speaker.mark("tag", position)
        for window_ms in (-1, math.nan, math.inf, "50"):
            with pytest.raises(ConfigError, match="window_ms"):
                speaker.level(window_ms=window_ms)
        assert speaker.poll() == []


def test_playbacks_of_two_inputs_sound_together(sound_card: SoundCard) -> None:
    """Playbacks on one input play one after another. Playbacks on two inputs play together."""

    class EmptyStream:
        """A stream without audio."""

        def __iter__(self):
            return iter(())

        def close(self) -> None:
            """Do nothing."""

    with Speaker(RATE_HZ) as speaker, speaker.add() as other:
        speaker.write(steady(5000, 100))
        first = Playback(EmptyStream(), speaker)
        Playback(EmptyStream(), other).wait(PATIENCE_S)

        assert not first.done
        first.interrupt()


# ---- marks -----------------------------------------------------------------------------------


def test_marks_are_reported_when_they_are_heard(sound_card: SoundCard) -> None:
    """
    When the count of heard samples has reached a mark, the next poll reports this mark.

    ``test_heard_in_time`` compares this count with the time at which the device plays a sample.
    """
    # All audio is written during a pause. The fade of the pause does not change loud samples.
    sound = (5000 + np.arange(RATE_HZ) % 20000).astype("<i2")
    places = range(1200, RATE_HZ, 3000)
    reported: dict[object, int] = {}
    with Speaker(RATE_HZ) as speaker:
        speaker.pause()
        speaker.write(sound[: RATE_HZ // 2].tobytes())
        speaker.mark("half")
        for position in places:
            speaker.mark(position, position)
        speaker.write(sound[RATE_HZ // 2 :].tobytes())
        speaker.end()
        speaker.resume()
        while len(reported) < 9:
            heard_before = speaker.heard_samples
            marks = speaker.poll(timeout=0.001)
            heard_after = speaker.heard_samples
            assert all(mark.is_heard for mark in marks)
            assert all(mark.position_samples <= heard_after for mark in marks)
            reported.update((mark.tag, mark.position_samples) for mark in marks)
            due = [place for place in places if place <= heard_before]
            assert all(place in reported.values() for place in due)

    assert [1200, 4200, 7200, 10200, "half", 13200, 16200, 19200, 22200] == list(reported)
    assert [*places[:4], RATE_HZ // 2, *places[4:]] == list(reported.values())


def test_a_clear_cancels_the_marks_after_it(sound_card: SoundCard) -> None:
    """clear() reports each mark that was not reached as cancelled. Each mark is reported once."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(steady(500, 100))
        speaker.mark("early", 100)
        speaker.mark("late")
        until(lambda: speaker.heard_samples > 1000)
        speaker.clear()
        found = speaker.poll()

        assert [
            SpeakerMark("early", 100, is_heard=True),
            SpeakerMark("late", RATE_HZ // 2, is_heard=False),
        ] == found
        assert [] == speaker.poll(timeout=1.0)


def test_marks_after_a_clear_count_on(sound_card: SoundCard) -> None:
    """After a clear, the positions of marks continue at the count of heard samples."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(steady(500, 100))
        until(lambda: speaker.heard_samples > 1000)
        heard = speaker.clear()
        speaker.mark("here")
        speaker.write(steady(100, 100))
        speaker.mark("there")
        speaker.end()

        assert [SpeakerMark("here", heard, is_heard=True)] == speaker.poll()
        assert [SpeakerMark("there", heard + RATE_HZ // 10, is_heard=True)] == speaker.poll(
            timeout=PATIENCE_S
        )


def test_closing_cancels_marks(sound_card: SoundCard) -> None:
    """close() cancels a mark, even while another thread waits in poll()."""
    speaker = Speaker(RATE_HZ)
    speaker.mark("never", 1000)
    found: list[SpeakerMark] = []
    thread = threading.Thread(target=lambda: found.extend(speaker.poll(timeout=None)))
    thread.start()
    speaker.close()
    thread.join(PATIENCE_S)

    assert [SpeakerMark("never", 1000, is_heard=False)] == found + speaker.poll()
    with pytest.raises(ClosedError):
        speaker.mark("no more")


# ---- levels ----------------------------------------------------------------------------------


def test_level_of_heard_audio(sound_card: SoundCard) -> None:
    """The level is the level of the sum of all inputs, at the time when the sum is heard."""
    with Speaker(RATE_HZ, buffer_ms=20_000) as speaker:
        assert speaker.level().peak == 0
        speaker.write(steady(15_000, 16384))
        speaker.end()

        def is_heard() -> bool:
            peak = speaker.level(window_ms=1).peak
            now = time.monotonic()
            if peak:
                first = next(block for block in sound_card.streams[0].blocks if any(block.pcm))
                # The reported times are as irregular as the callbacks, by up to a period.
                assert first.heard_at - PERIOD_S <= now
            return peak > 0

        until(is_heard)

        def is_even() -> bool:
            level = speaker.level(window_ms=20)
            # Whole periods are measured. The first and the last period may be heard only in part.
            enough = RATE_HZ * 0.02 <= level.samples <= RATE_HZ * (0.02 + 2 * PERIOD_S)
            return enough and level.rms == level.peak == 0.5

        until(is_even)
        speaker.clear()
        until(lambda: speaker.level(window_ms=20).peak == 0)
