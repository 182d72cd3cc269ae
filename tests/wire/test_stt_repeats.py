"""After a restart, repeated words are found by their text, even in another spelling."""

from __future__ import annotations

import pytest

from inworld_sync.wire.stt_repeats import Repeats

SAID = "The museum opens at ten. It closes at six."

# (final transcripts after the restart, the new part of each)
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
    """Repeated words are removed. After the first new word, no word is removed."""
    repeats = Repeats()
    repeats.remember(SAID)
    repeats.restart()

    assert expected == [repeats.new_part(text, is_final=True) for text in texts]


# (text before the restart, final transcripts after it, the new part of each)
SCRIPTS = [
    ("今天天气很好。我们去公园吧。", ["今天天气很好。", "我们去公园吧。好？"], ["", "好？"]),
    ("今天天气很好。", ["今天天汽很好，我们去公园吧。"], ["我们去公园吧。"]),
    ("今天天气很好。", ["今晚我在家。"], ["今晚我在家。"]),
    ("今日はいい天気。", ["今日はいい天気。公園へ行きましょう。"], ["公園へ行きましょう。"]),
    ("วันนี้อากาศดี", ["วันนี้อากาศดี ไปสวนกันเถอะ"], ["ไปสวนกันเถอะ"]),
    ("वह घर की ओर गया।", ["वह घर की ओर गया। फिर सो गया।"], ["फिर सो गया।"]),
    ("का कि की", ["के कु कै"], ["के कु कै"]),
    ("我买了一部iPhone 15手机。", ["我买了一部 iPhone 15 手机。好用 really."], ["好用 really."]),
    ("好。", ["好。"], [""]),
    ("Yes. No.", ["Yes.  No.  Two  spaces stay."], ["Two  spaces stay."]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "texts", "expected"), SCRIPTS)
def test_scripts(said: str, texts: list[str], expected: list[str]) -> None:
    """Repeated words are also found in scripts without spaces, and in scripts with vowel marks."""
    repeats = Repeats()
    repeats.remember(said)
    repeats.restart()

    assert expected == [repeats.new_part(text, is_final=True) for text in texts]


def test_partials() -> None:
    """Repeated words are removed from partial transcripts, and again from the final transcript."""
    repeats = Repeats()
    repeats.remember(SAID)
    repeats.restart()

    for text in ("The", "The museum", "The museum opens at"):
        assert "" == repeats.new_part(text, is_final=False)
    assert "" == repeats.new_part("The museum opens at ten.", is_final=True)


def test_nothing_before_a_restart() -> None:
    """If the same words occur twice on one connection, both occurrences are kept."""
    repeats = Repeats()
    repeats.remember("No.")

    assert "No." == repeats.new_part("No.", is_final=True)


def test_clear() -> None:
    """After clear(), the earlier words are not removed from later transcripts."""
    repeats = Repeats()
    repeats.remember(SAID)
    repeats.clear()
    repeats.restart()

    assert SAID == repeats.new_part(SAID, is_final=True)
