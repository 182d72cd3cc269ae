"""The audio buffer pops, keeps and rewinds audio, and discards audio that has a transcript."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from inworld_sync import Transcript
from inworld_sync.sessions.stt.audio_buffer import AudioBuffer, TurnEnd
from inworld_sync.wire.stt_turns import Answer

RATE_HZ = 1000
FRAME = FRAME_MS = 20
# The two integer levels next to -50 dBFS, which is a level of 103.6.
QUIET, LOUD = 103, 104


def samples(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def popped(buffer: AudioBuffer, chunk_samples: int = 2) -> list[object]:
    """Pop everything that can be popped now. Return samples as numbers."""
    items: list[object] = []
    while (item := buffer.pop(chunk_samples, flush=True)) is not None:
        items.append(item if isinstance(item, TurnEnd) else list(memoryview(item).cast("H")))
    return items


def test_chunks() -> None:
    """Audio is popped in order, in whole chunks. With ``flush`` the rest is popped too."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(1, 2, 3))
    buffer.append(samples(4, 5))

    assert samples(1, 2) == buffer.pop(2, flush=False)
    assert samples(3, 4) == buffer.pop(2, flush=False)
    assert buffer.pop(2, flush=False) is None
    assert 2 == buffer.unsent_bytes
    assert samples(5) == buffer.pop(2, flush=True)
    assert buffer.pop(2, flush=True) is None


def test_turn_ends() -> None:
    """The end of a turn is popped at its position, after an incomplete chunk if necessary."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(1, 2, 3))
    buffer.end_turn()
    buffer.end_turn()
    buffer.append(samples(4))

    assert samples(1, 2) == buffer.pop(2, flush=False)
    assert samples(3) == buffer.pop(2, flush=False)
    assert TurnEnd.MARK is buffer.pop(2, flush=False)
    assert buffer.pop(2, flush=False) is None
    assert 3 == buffer.sent_turn_end


def test_rewind() -> None:
    """After a rewind, audio and ends of turns that are not covered are popped again."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(1, 2, 3, 4))
    buffer.end_turn()
    buffer.append(samples(5, 6))
    popped(buffer)
    buffer.cover(2)
    buffer.rewind(0, 0)
    buffer.append(samples(7))

    assert [[3, 4], TurnEnd.MARK, [5, 6], [7]] == popped(buffer)
    assert 2 == buffer.start


def test_rewind_to_a_quiet_moment() -> None:
    """After a rewind the audio begins at the quietest sample before the given position."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(*[9] * 10, *[0] * 10, *[9] * 20))
    popped(buffer)
    buffer.rewind(30, 0)

    assert 14 == buffer.start
    assert samples(*[0] * 6, *[9] * 20) == buffer.partial(Transcript()).pcm
    buffer.rewind(0, 0)
    assert 14 == buffer.start


def test_rewind_to_discarded_audio() -> None:
    """If the beginning was discarded, a rewind searches only the given length of audio."""
    buffer = AudioBuffer(RATE_HZ, 35)
    buffer.append(samples(*[9] * 10, *[0] * 10, *[9] * 20))
    popped(buffer)
    assert 5 == buffer.start
    buffer.rewind(0, 20)

    assert 13 == buffer.start
    # The next rewind does not search again, since each attempt would lose more audio.
    buffer.rewind(0, 20)
    assert 13 == buffer.start


def test_covered_turn_end() -> None:
    """The end of a covered turn is not popped again."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(1, 2))
    buffer.end_turn()
    buffer.append(samples(3))
    popped(buffer)
    buffer.cover(2)
    buffer.rewind(0, 0)

    assert [[3]] == popped(buffer)


def test_unsent_is_not_covered() -> None:
    """Only sent audio can be covered."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(1, 2, 3, 4))
    buffer.pop(2, flush=False)
    buffer.cover(4)

    assert (2, 4) == (buffer.start, buffer.end)
    assert [[3, 4]] == popped(buffer)


def test_keep_limit() -> None:
    """All unsent audio is kept. Of the sent audio, only the newest part is kept."""
    buffer = AudioBuffer(RATE_HZ, 3)
    buffer.append(samples(*range(10)))
    buffer.pop(6, flush=False)
    buffer.rewind(0, 0)

    assert 3 == buffer.start
    assert samples(*range(3, 10)) == buffer.partial(Transcript()).pcm


def test_drop_oldest() -> None:
    """Only the oldest unsent audio is dropped, and the ends of turns move with the audio."""
    buffer = AudioBuffer(RATE_HZ, 100)
    buffer.append(samples(1, 2, 3, 4))
    buffer.pop(2, flush=False)
    buffer.end_turn()
    buffer.append(samples(5, 6))

    assert 3 == buffer.drop_oldest(5)
    assert [TurnEnd.MARK, [6]] == popped(buffer)
    buffer.rewind(0, 0)
    assert [[1, 2], TurnEnd.MARK, [6]] == popped(buffer)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "pop", "rewind", "end turn"]), st.integers(1, 5)))
)
def test_nothing_is_lost(steps: list[tuple[str, int]]) -> None:
    """After any steps, the buffer holds all samples after its start, in order."""
    buffer, added = AudioBuffer(RATE_HZ, 1000), 0
    for step, count in steps:
        if step == "add":
            buffer.append(samples(*range(added, added + count)))
            added += count
        elif step == "pop":
            buffer.pop(count, flush=True)
        elif step == "rewind":
            buffer.cover(buffer.sent - count)
            buffer.rewind(0, 0)
        elif step == "end turn":
            buffer.end_turn()
        else:
            pytest.fail(step)

    assert samples(*range(buffer.start, added)) == buffer.partial(Transcript()).pcm
    assert added == buffer.end
    assert buffer.start <= buffer.sent <= buffer.end


# (level of each frame, answered position in frames, milliseconds of speech after that position)
SPEECH = [
    ([QUIET] * 5, 0, 0),
    ([LOUD] * 5, 0, 100),
    ([LOUD] * 5, 3, 40),
    ([LOUD] * 5, 5, 0),
    ([QUIET, LOUD, QUIET, LOUD], 0, 40),
    ([], 0, 0),
]


@pytest.mark.parametrize(("levels", "answered", "expected_ms"), SPEECH)
def test_unanswered_speech(levels: list[int], answered: int, expected_ms: float) -> None:
    """Frames of 20 ms after the answered position count as speech if they reach -50 dBFS."""
    buffer = AudioBuffer(RATE_HZ, 1000)
    for level in levels:
        buffer.append(samples(*[level] * FRAME))
    buffer.handle_answer(Answer(answered * FRAME_MS, is_exact=True, is_final=True))

    assert expected_ms == buffer.unanswered_ms()


def test_unanswered_speech_before_a_position() -> None:
    """Speech after the given position does not count as unanswered."""
    buffer = AudioBuffer(RATE_HZ, 1000)
    buffer.append(samples(*[LOUD] * 5 * FRAME))

    assert 40 == buffer.unanswered_ms(40)


def test_discarded_speech() -> None:
    """Discarded speech counts as unanswered until the service answers later speech."""
    buffer = AudioBuffer(RATE_HZ, 2 * FRAME)
    buffer.append(samples(*[LOUD] * 3 * FRAME, *[0] * 3 * FRAME))
    popped(buffer, FRAME)

    assert 4 * FRAME == buffer.start
    assert 60 == buffer.unanswered_ms()
    buffer.handle_answer(Answer(6 * FRAME_MS, is_exact=True, is_final=True))
    assert 0 == buffer.unanswered_ms()


def test_answer_without_times() -> None:
    """An answer without times covers one turn. The turn ends at a pause of one second."""
    buffer = AudioBuffer(RATE_HZ, 100_000)
    speech, pause = [LOUD] * 2000, [0] * 1000
    buffer.append(samples(*pause, *speech, *pause, *speech, *[0] * 500, *speech))
    stop = Answer(8500, is_exact=False, is_final=False)
    final = Answer(8500, is_exact=False, is_final=True)
    left_ms: list[float] = []
    for answer in (stop, final, stop, final):
        buffer.handle_answer(answer)
        left_ms.append(buffer.unanswered_ms())

    # A stop and its final transcript answer the same turn. A pause of 0.5 s does not end a turn.
    assert [4000, 4000, 0, 0] == left_ms


def test_answer_is_void_after_a_rewind() -> None:
    """Audio that is sent again counts as unanswered until the service answers again."""
    buffer = AudioBuffer(RATE_HZ, 100_000)
    buffer.append(samples(*[LOUD] * 2000))
    popped(buffer)
    buffer.handle_answer(Answer(2000, is_exact=False, is_final=True))
    assert 0 == buffer.unanswered_ms()
    buffer.rewind(0, 0)

    assert 2000 == buffer.unanswered_ms()


def test_answer_with_an_early_time() -> None:
    """If the service reports the start of speech too early, answered audio stays answered."""
    buffer = AudioBuffer(RATE_HZ, 100_000)
    buffer.append(samples(*[LOUD] * 2000))
    buffer.handle_answer(Answer(2000, is_exact=False, is_final=True))
    buffer.handle_answer(Answer(0, is_exact=True, is_final=True))

    assert 0 == buffer.unanswered_ms()
