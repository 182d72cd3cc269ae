"""Words that come again are found by their text, also when they are spelled differently."""

from __future__ import annotations

import pytest

from inworld_sync.wire.stt_repeats import Repeats

SAID = "The museum opens at ten. It closes at six."

# (the finals after the restart, what is new of each)
FINALS = [
    (["The museum opens at ten."], [""]),
    (["the museum opens at 10", "It closes at six."], ["", ""]),
    (["The museums open at ten, it closes at six."], [""]),
    (["The museum opens at ten. It closes at six. Please ring."], ["Please ring."]),
    (["The museum opens at ten.", "It closes at six, please ring."], ["", "please ring."]),
    (["Please ring the bell."], ["Please ring the bell."]),
    (["Please ring the bell.", "It closes."], ["Please ring the bell.", "It closes."]),
    ([""], [""]),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "expected"), FINALS)
def test_finals(texts: list[str], expected: list[str]) -> None:
    """What was said is removed, what is new is left, and after it everything is new."""
    repeats = Repeats()
    repeats.remember(SAID)
    repeats.restart()

    assert expected == [repeats.new_part(text, is_final=True) for text in texts]


def test_partials() -> None:
    """A partial takes nothing away from what its final may repeat."""
    repeats = Repeats()
    repeats.remember(SAID)
    repeats.restart()

    for text in ("The", "The museum", "The museum opens at"):
        assert "" == repeats.new_part(text, is_final=False)
    assert "" == repeats.new_part("The museum opens at ten.", is_final=True)


def test_nothing_before_a_restart() -> None:
    """Who says the same twice on one connection is believed."""
    repeats = Repeats()
    repeats.remember("No.")

    assert "No." == repeats.new_part("No.", is_final=True)


def test_clear() -> None:
    """What is covered is not expected."""
    repeats = Repeats()
    repeats.remember(SAID)
    repeats.clear()
    repeats.restart()

    assert SAID == repeats.new_part(SAID, is_final=True)
