"""The mouth shapes of a recording whose text is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from inworld_sync import AudioConfig, AudioError, ConfigError, Inworld, WordTime
from inworld_sync.games import mouth_of_recording
from inworld_sync.games.recording import TimeMap

TEXT = "The old bridge over the river is closed today."


@pytest.fixture
def iw() -> Iterator[Inworld]:
    with Inworld(local=True) as iw:
        yield iw


def words(*times: tuple[str, float, float]) -> list[WordTime]:
    return [WordTime(*each) for each in times]


def test_times_between_words() -> None:
    """
    Times inside and between words are interpolated. A time before the first word, or after the last
    word, is shifted by as much as this word.
    """
    spoken = words(("One,", 100, 200), ("two.", 300, 400))
    heard = words(("one", 1000, 1200), ("two", 1500, 1600))
    times = TimeMap(spoken, heard, 2000)

    assert times.is_known
    assert [950, 1000, 1100, 1200, 1350, 1550, 1700] == [
        times.at(each) for each in (50, 100, 150, 200, 250, 350, 500)
    ]


def test_a_word_that_was_not_recognized() -> None:
    """The time of a word between two recognized words is interpolated."""
    spoken = words(("a", 0, 100), ("b", 100, 200), ("c", 200, 300))
    heard = words(("a", 500, 600), ("x", 600, 900), ("c", 1000, 1100))

    assert 800 == TimeMap(spoken, heard, 2000).at(150)


def test_nothing_in_common() -> None:
    """Without a common word, ``is_known`` is false."""
    assert not TimeMap(words(("a", 0, 100)), words(("b", 0, 100)), 1000).is_known
    assert not TimeMap([], [], 1000).is_known


_times = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 500), st.integers(0, 500)), max_size=8
)


@given(_times, _times)
def test_times_never_decrease(first: list[tuple[str, int, int]], second: list) -> None:
    """For any words, times stay in the recording and keep their order."""
    times = TimeMap(words(*first), words(*second), 400)
    if times.is_known:
        moved = [times.at(each) for each in range(-50, 600, 10)]
        assert moved == sorted(moved)
        assert 0 <= moved[0]
        assert moved[-1] <= 400


def test_a_slow_recording(iw: Inworld, tmp_path: Path) -> None:
    """The mouth shapes of a slow recording are found from the recording and its text."""
    slow = AudioConfig("PCM", 24000, speaking_rate=0.8)
    actor = iw.tts.synthesize(TEXT, voice="Dennis", audio=slow, viseme_set="OPENXR")
    actor.save(tmp_path / "take.wav")
    timeline = mouth_of_recording(iw, tmp_path / "take.wav", TEXT, voice="Dennis")

    assert "service" == timeline.source
    assert pytest.approx(actor.duration_ms, abs=1) == timeline.duration_ms
    assert [word.text for word in actor.words] == [word.text for word in timeline.words]
    errors_ms = [
        abs(found.start_ms - right.start_ms)
        for found, right in zip(timeline.words, actor.words, strict=True)
    ]
    # The recognizer finds the times of words to within about 100 ms.
    assert sorted(errors_ms)[len(errors_ms) // 2] < 100, errors_ms
    closed = [each for each in actor.visemes if each.name == "PP"]
    found = [each for each in timeline.visemes if each.name == "PP"]
    assert len(closed) == len(found)


def test_silence(iw: Inworld) -> None:
    """If no word is recognized, the mouth follows the loudness."""
    timeline = mouth_of_recording(iw, bytes(48000), TEXT, sample_rate_hz=24000)

    assert ("loudness", 1000) == (timeline.source, timeline.duration_ms)
    assert ((), ()) == (timeline.visemes, timeline.words)


def test_wrong_arguments(iw: Inworld) -> None:
    """An empty recording and a blank text are refused before anything is sent."""
    with pytest.raises(AudioError, match="no audio"):
        mouth_of_recording(iw, b"", TEXT, sample_rate_hz=24000)
    with pytest.raises(ConfigError):
        mouth_of_recording(iw, bytes(4800), " ", sample_rate_hz=24000)
