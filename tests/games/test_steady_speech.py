"""
While an engine that reports its position plays one piece of speech, most frames only add the time
of the frame to the position. The results are the same as in frames that do everything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from inworld_sync import AudioEncoding, Speech
from inworld_sync.games import VoiceLine, output
from inworld_sync.models.tts import WordTime

from support.game_loop import FRAME_SECONDS, RATE_HZ, existing_speech, tone

CHUNK_FRAMES = 3600


def line() -> VoiceLine:
    """Return a line that has begun, whose engine has reported its position once."""
    voice = VoiceLine(None, existing_speech(), start=True)
    voice.update(FRAME_SECONDS)
    voice.pull_audio(CHUNK_FRAMES)
    voice.report_heard(1200)
    voice.update(FRAME_SECONDS)
    return voice


def frames(seed: int, counts: list[int]) -> Iterator[tuple[Any, ...]]:
    """
    Play a line as an engine that reports every tenth of a second, and yield what a game sees.

    *counts* gets the number of frames, and of calls of ``advance``.
    """
    chance = random.Random(seed)
    voice = VoiceLine(None, existing_speech(), start=True)
    found: list[str] = []
    voice.on_word(lambda word: found.append(word.text))
    advance, pulled, reported, now = voice._output.advance, 0, 0.0, 0.0

    def counted(seconds: float) -> output.HeardItem:
        counts[1] += 1
        return advance(seconds)

    voice._output.advance = counted
    while not voice.is_over:
        dt = chance.uniform(0.002, 0.03)
        voice.update(dt)
        now += dt
        counts[0] += 1
        yield (
            *(voice.heard_ms, voice.is_speaking, voice.state, voice.word, voice.heard_text),
            *(len(found), *voice.mouth.weights().values(), voice.mouth.openness),
        )
        if now - reported > 0.1:
            reported = now
            voice.report_heard(min(round(now * RATE_HZ), pulled))
            pulled += len(voice.pull_audio(CHUNK_FRAMES)) // 2


@pytest.mark.parametrize("seed", range(5))
def test_game_sees_the_same(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Position, words and mouth are the same, but most frames do less."""
    counts, all_counts = [0, 0], [0, 0]
    seen = list(frames(seed, counts))
    monkeypatch.setattr(output, "_STEADY_SECONDS", 0.0)
    expected = list(frames(seed, all_counts))

    assert all_counts[0] == all_counts[1] == counts[0]
    assert counts[1] < 0.6 * counts[0]
    assert len(seen) == len(expected)
    for here, wanted in zip(seen, expected, strict=True):
        numbers = [at for at, value in enumerate(wanted) if isinstance(value, float)]
        assert [here[at] for at in numbers] == pytest.approx([wanted[at] for at in numbers])
        assert [v for v in here if not isinstance(v, float)] == [
            v for v in wanted if not isinstance(v, float)
        ]


def test_clear_counts_the_time_of_all_frames() -> None:
    """If the session stops the speech between two frames, it gets the position of this frame."""
    voice = line()
    voice.update(FRAME_SECONDS)
    voice.update(FRAME_SECONDS)

    assert voice._output.clear() == {"line": pytest.approx(1200 + 3 * 400, abs=1)}
    assert not voice.is_speaking


def test_mouth_closes_after_speech_is_dropped() -> None:
    """After another thread has dropped the speech, the next frame begins to close the mouth."""
    voice = line()
    assert voice.mouth.openness == 0.0
    voice.report_heard(3600)
    voice.pull_audio(CHUNK_FRAMES)
    voice.report_heard(5000)
    voice.update(FRAME_SECONDS)
    before = voice.mouth.openness
    voice._output.clear()
    voice.update(0.04)

    assert before > 0.5
    assert voice.mouth.openness == pytest.approx(before / 2)


def test_handlers_that_wait_are_called_in_the_next_frame() -> None:
    """If no time is left for a handler, the handler is called in the next frame."""
    voice = line()
    called: list[int] = []
    voice.pull_audio(4 * CHUNK_FRAMES)
    voice.report_heard(12_100)  # in the second word
    for number in range(3):
        voice.on_word(lambda _, number=number: called.append(number))
    for count in range(1, 4):
        voice.update(FRAME_SECONDS, budget_ms=0.0)
        assert called == list(range(count))


def test_a_word_that_arrives_late_is_reported_in_the_next_frame() -> None:
    """A word that arrives while its speech is heard is reported at once."""
    voice = VoiceLine(None, Speech(tone(1000, 0.4), AudioEncoding.PCM, RATE_HZ), start=True)
    voice.update(FRAME_SECONDS)
    voice.pull_audio(CHUNK_FRAMES)
    voice.report_heard(1200)
    voice.update(FRAME_SECONDS)
    found: list[str] = []
    voice.on_word(lambda word: found.append(word.text))
    words = (WordTime("late", 60, 200),)
    voice._inbox.append(Speech(b"", AudioEncoding.PCM, RATE_HZ, words=words))
    voice.update(FRAME_SECONDS)

    assert found == ["late"]


def test_a_fade_ends_in_time() -> None:
    """If the engine reads no more audio, a fade ends a second after its length."""
    voice = line()
    voice.fade_out(100)
    count = 0
    while voice.is_fading:
        voice.update(FRAME_SECONDS)
        count += 1

    assert count == pytest.approx(66, abs=1)
    assert voice.state == "cancelled"


def test_a_report_ends_the_steady_time() -> None:
    """While an engine reports the same position, the position advances by at most one frame."""
    voice = line()
    heard_ms = voice.heard_ms
    voice.pause()
    for _ in range(10):
        voice.report_heard(1200)
        voice.update(FRAME_SECONDS)

    assert heard_ms - 0.1 < voice.heard_ms < heard_ms + 1000 * FRAME_SECONDS + 0.1
