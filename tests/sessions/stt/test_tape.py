"""The tape: what is given out, kept, covered and given out again."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from inworld_sync.sessions.stt.tape import Tape, TurnEnd


def samples(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def drained(tape: Tape, chunk_samples: int = 2) -> list[object]:
    """Everything that is given out now, samples as numbers."""
    given = []
    while (item := tape.next(chunk_samples, flush=True)) is not None:
        given.append(item if isinstance(item, TurnEnd) else list(memoryview(item).cast("H")))
    return given


def test_chunks() -> None:
    """Audio is given out in order, in whole chunks; the rest only when it is asked for."""
    tape = Tape(100)
    tape.append(samples(1, 2, 3))
    tape.append(samples(4, 5))

    assert samples(1, 2) == tape.next(2, flush=False)
    assert samples(3, 4) == tape.next(2, flush=False)
    assert tape.next(2, flush=False) is None
    assert 2 == tape.unsent_bytes
    assert samples(5) == tape.next(2, flush=True)
    assert tape.next(2, flush=True) is None


def test_turn_ends() -> None:
    """A turn's end comes exactly where it was set, and what is before it does not wait."""
    tape = Tape(100)
    tape.append(samples(1, 2, 3))
    tape.mark()
    tape.mark()
    tape.append(samples(4))

    assert samples(1, 2) == tape.next(2, flush=False)
    assert samples(3) == tape.next(2, flush=False)
    assert TurnEnd.MARK is tape.next(2, flush=False)
    assert tape.next(2, flush=False) is None
    assert 3 == tape.sent_mark


def test_rewind() -> None:
    """What is not covered is given out again, turn ends included."""
    tape = Tape(100)
    tape.append(samples(1, 2, 3, 4))
    tape.mark()
    tape.append(samples(5, 6))
    drained(tape)
    tape.cover(2)
    tape.rewind(0, 0)
    tape.append(samples(7))

    assert [[3, 4], TurnEnd.MARK, [5, 6], [7]] == drained(tape)
    assert 2 == tape.start


def test_rewind_to_a_quiet_moment() -> None:
    """What is given out again begins where it is quiet, before the position that is free."""
    tape = Tape(100)
    tape.append(samples(*[9] * 10, *[0] * 10, *[9] * 20))
    drained(tape)
    tape.rewind(30, 0)

    assert 14 == tape.start
    assert samples(*[0] * 6, *[9] * 20) == tape.rest()
    tape.rewind(0, 0)
    assert 14 == tape.start


def test_rewind_to_what_could_not_be_kept() -> None:
    """Where the beginning is gone, what is given out again begins at the next quiet moment."""
    tape = Tape(35)
    tape.append(samples(*[9] * 10, *[0] * 10, *[9] * 20))
    drained(tape)
    assert 5 == tape.start
    tape.rewind(0, 20)

    assert 13 == tape.start
    # What is quiet afterwards is not looked for again, or each attempt would lose more.
    tape.rewind(0, 20)
    assert 13 == tape.start


def test_covered_turn_end() -> None:
    """A turn's end that is covered is not given out again."""
    tape = Tape(100)
    tape.append(samples(1, 2))
    tape.mark()
    tape.append(samples(3))
    drained(tape)
    tape.cover(2)
    tape.rewind(0, 0)

    assert [[3]] == drained(tape)


def test_unsent_is_not_covered() -> None:
    """Only what was sent can be covered."""
    tape = Tape(100)
    tape.append(samples(1, 2, 3, 4))
    tape.next(2, flush=False)
    tape.cover(4)

    assert (2, 4) == (tape.start, tape.end)
    assert [[3, 4]] == drained(tape)


def test_keeps_so_much() -> None:
    """Of what was sent only the newest is kept; of what was not, everything."""
    tape = Tape(3)
    tape.append(samples(*range(10)))
    tape.next(6, flush=False)
    tape.rewind(0, 0)

    assert 3 == tape.start
    assert samples(*range(3, 10)) == tape.rest()


def test_drop_oldest() -> None:
    """What has waited longest is dropped, never what was sent; turn ends move together."""
    tape = Tape(100)
    tape.append(samples(1, 2, 3, 4))
    tape.next(2, flush=False)
    tape.mark()
    tape.append(samples(5, 6))

    assert 3 == tape.drop_oldest(5)
    assert [TurnEnd.MARK, [6]] == drained(tape)
    tape.rewind(0, 0)
    assert [[1, 2], TurnEnd.MARK, [6]] == drained(tape)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["add", "send", "rewind", "mark"]), st.integers(1, 5))))
def test_nothing_is_lost(steps: list[tuple[str, int]]) -> None:
    """Whatever happens, from its start on a tape holds everything, in order."""
    tape, added = Tape(1000), 0
    for step, count in steps:
        if step == "add":
            tape.append(samples(*range(added, added + count)))
            added += count
        elif step == "send":
            tape.next(count, flush=True)
        elif step == "rewind":
            tape.cover(tape.sent - count)
            tape.rewind(0, 0)
        else:
            tape.mark()

    assert samples(*range(tape.start, added)) == tape.rest()
    assert added == tape.end
    assert tape.start <= tape.sent <= tape.end
