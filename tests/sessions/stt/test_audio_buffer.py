"""The audio buffer: pop, keep, cover and rewind."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from inworld_sync.sessions.stt.audio_buffer import AudioBuffer, TurnEnd


def samples(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def popped(buffer: AudioBuffer, chunk_samples: int = 2) -> list[object]:
    """Everything that can be popped now, samples as numbers."""
    items: list[object] = []
    while (item := buffer.pop(chunk_samples, flush=True)) is not None:
        items.append(item if isinstance(item, TurnEnd) else list(memoryview(item).cast("H")))
    return items


def test_chunks() -> None:
    """Audio is popped in order, in whole chunks; the rest only with flush."""
    buffer = AudioBuffer(100)
    buffer.append(samples(1, 2, 3))
    buffer.append(samples(4, 5))

    assert samples(1, 2) == buffer.pop(2, flush=False)
    assert samples(3, 4) == buffer.pop(2, flush=False)
    assert buffer.pop(2, flush=False) is None
    assert 2 == buffer.unsent_bytes
    assert samples(5) == buffer.pop(2, flush=True)
    assert buffer.pop(2, flush=True) is None


def test_turn_ends() -> None:
    """The end of a turn is popped at its position, and the samples before it do not wait."""
    buffer = AudioBuffer(100)
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
    buffer = AudioBuffer(100)
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
    """After a rewind the audio begins at the quietest sample of the range."""
    buffer = AudioBuffer(100)
    buffer.append(samples(*[9] * 10, *[0] * 10, *[9] * 20))
    popped(buffer)
    buffer.rewind(30, 0)

    assert 14 == buffer.start
    assert samples(*[0] * 6, *[9] * 20) == buffer.pcm()
    buffer.rewind(0, 0)
    assert 14 == buffer.start


def test_rewind_to_what_could_not_be_kept() -> None:
    """If the beginning was discarded, the audio begins at the next quiet sample."""
    buffer = AudioBuffer(35)
    buffer.append(samples(*[9] * 10, *[0] * 10, *[9] * 20))
    popped(buffer)
    assert 5 == buffer.start
    buffer.rewind(0, 20)

    assert 13 == buffer.start
    # The next rewind searches nothing, or each attempt would lose more.
    buffer.rewind(0, 20)
    assert 13 == buffer.start


def test_covered_turn_end() -> None:
    """The end of a turn that is covered is not popped again."""
    buffer = AudioBuffer(100)
    buffer.append(samples(1, 2))
    buffer.end_turn()
    buffer.append(samples(3))
    popped(buffer)
    buffer.cover(2)
    buffer.rewind(0, 0)

    assert [[3]] == popped(buffer)


def test_unsent_is_not_covered() -> None:
    """Only what was sent can be covered."""
    buffer = AudioBuffer(100)
    buffer.append(samples(1, 2, 3, 4))
    buffer.pop(2, flush=False)
    buffer.cover(4)

    assert (2, 4) == (buffer.start, buffer.end)
    assert [[3, 4]] == popped(buffer)


def test_keep_limit() -> None:
    """Of the sent audio only the newest is kept; of the unsent audio, everything."""
    buffer = AudioBuffer(3)
    buffer.append(samples(*range(10)))
    buffer.pop(6, flush=False)
    buffer.rewind(0, 0)

    assert 3 == buffer.start
    assert samples(*range(3, 10)) == buffer.pcm()


def test_drop_oldest() -> None:
    """The oldest unsent audio is dropped, never sent audio; ends of turns move with it."""
    buffer = AudioBuffer(100)
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
    st.lists(st.tuples(st.sampled_from(["add", "send", "rewind", "end turn"]), st.integers(1, 5)))
)
def test_nothing_is_lost(steps: list[tuple[str, int]]) -> None:
    """After any steps the buffer holds all samples from its start on, in order."""
    buffer, added = AudioBuffer(1000), 0
    for step, count in steps:
        if step == "add":
            buffer.append(samples(*range(added, added + count)))
            added += count
        elif step == "pop":
            buffer.pop(count, flush=True)
        elif step == "rewind":
            buffer.cover(buffer.sent - count)
            buffer.rewind(0, 0)
        else:
            buffer.end_turn()

    assert samples(*range(buffer.start, added)) == buffer.pcm()
    assert added == buffer.end
    assert buffer.start <= buffer.sent <= buffer.end
