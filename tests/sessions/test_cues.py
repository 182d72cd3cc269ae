"""Each cue becomes due once, when the position has passed its start."""

from __future__ import annotations

from hypothesis import given, strategies as st

from inworld_sync.models.tts import WordTime
from inworld_sync.sessions.cues import Cues


def word(start_ms: float, end_ms: float | None = None, text: str = "") -> WordTime:
    return WordTime(text, start_ms, start_ms + 10 if end_ms is None else end_ms)


def cues(*words: WordTime) -> Cues[WordTime]:
    made: Cues[WordTime] = Cues()
    made.add(words)
    return made


def test_is_due_when_its_start_has_passed() -> None:
    """A word that starts at 0 is not due before some of its audio was heard."""
    found = cues(word(0), word(50))

    assert list(found.reach(0)) == []
    assert list(found.reach(0.1)) == [word(0)]
    assert list(found.reach(50)) == []
    assert list(found.reach(1000)) == [word(50)]
    assert list(found.reach(2000)) == []


def test_late_times_are_due_next() -> None:
    """
    If the times of a word arrive after the word was heard, the word is due at once and only once.
    """
    found = cues(word(100))
    assert list(found.reach(200)) == [word(100)]
    found.add([word(150), word(300)])

    assert found.next_start_ms() == 150
    assert list(found.reach(200)) == [word(150)]
    assert list(found.reach(200)) == []
    assert found.next_start_ms() == 300


def test_nothing_is_next_at_the_end() -> None:
    """After the last cue there is no next start."""
    found = cues(word(10))
    list(found.reach(20))

    assert found.next_start_ms() is None


# (position, current word). There is a gap between two words, and a third word overlaps.
MOMENTS = [
    (-1, None),
    (0, "a"),
    (9.9, "a"),
    (10, None),
    (20, "b"),
    (29, "c"),
    (35, "c"),
    (40, None),
]


def test_the_current_word() -> None:
    """The current word is the latest word that has started and not ended, or None in a gap."""
    found = cues(word(0, 10, "a"), word(20, 30, "b"), word(28, 40, "c"))

    assert MOMENTS == [
        (moment, now.text if (now := found.at(moment)) else None) for moment, _ in MOMENTS
    ]


def test_heard_words() -> None:
    """The heard words are all words that had started before the interruption."""
    found = cues(word(0), word(20), word(40))

    assert (word(0), word(20)) == found.before(40)


@given(
    st.lists(st.lists(st.floats(0, 1000)), max_size=5),
    st.lists(st.floats(0, 1001), max_size=20),
)
def test_each_is_due_once(batches: list[list[float]], moments: list[float]) -> None:
    """For any times and positions in any order, each word is due once, and never too early."""
    found: Cues[WordTime] = Cues()
    told: list[float] = []
    for index, moment in enumerate(moments):
        if index < len(batches):
            found.add(word(start) for start in batches[index])
        due = [each.start_ms for each in found.reach(moment)]
        assert all(start < max(moments[: index + 1]) for start in due)
        told += due
    given_out = [start for batch in batches[: len(moments)] for start in batch]
    told += [each.start_ms for each in found.reach(2000)]

    assert sorted(given_out) == sorted(told)
