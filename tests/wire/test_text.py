"""Splitting text: nothing is lost, no piece is too long, and pieces end at good breaks."""

import pytest
from hypothesis import given, strategies as st

from inworld_sync.wire.text import is_blank, split_text

# (text, limit, pieces): each kind of break, from best to worst, in several scripts.
CASES = [
    ("One. Two. Three.", 10, ["One. Two. ", "Three."]),
    ("First line here\n\nNext one. Yes", 24, ["First line here\n\n", "Next one. Yes"]),
    ("He said “Stop!” Then he left.", 20, ["He said “Stop!” ", "Then he left."]),
    ("今天天气很好。我们去公园。", 9, ["今天天气很好。", "我们去公园。"]),
    ("وصل القطار؟ نعم وصل.", 14, ["وصل القطار؟ ", "نعم وصل."]),
    ("वह घर गया। फिर सो गया।", 13, ["वह घर गया। ", "फिर सो गया।"]),
    ("one two, three four five", 16, ["one two, ", "three four five"]),
    ("It costs 1,000 at 12:30 today", 14, ["It costs ", "1,000 at ", "12:30 today"]),
    ("“Yes,” he said at last", 17, ["“Yes,” ", "he said at last"]),
    ("alpha beta gamma", 11, ["alpha beta ", "gamma"]),
    ("Pi is 3.14159 and so on.", 9, ["Pi is ", "3.14159 ", "and so ", "on."]),
    ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
    ("", 5, []),
    ("short", 5, ["short"]),
]

# Graphemes of several characters; the family is longer than the limit, so it is split.
GRAPHEMES = [
    ("abce\u0301f", 4, ["abc", "e\u0301f"]),
    ("ab👩\u200d👩\u200d👧c", 4, ["ab", "👩\u200d👩\u200d", "👧c"]),
    ("a🇩🇪🇫🇷", 2, ["a", "🇩🇪", "🇫🇷"]),
    ("ab👍🏽", 3, ["ab", "👍🏽"]),
    ("ab🏴\U000e0067\U000e0062\U000e007f", 5, ["ab", "🏴\U000e0067\U000e0062\U000e007f"]),
]


@pytest.mark.parametrize(("text", "limit", "pieces"), CASES)
def test_breaks(text, limit, pieces):
    """A piece ends at the best kind of break that fits."""
    assert pieces == list(split_text(text, limit))


@pytest.mark.parametrize(("text", "limit", "pieces"), GRAPHEMES)
def test_graphemes_stay_whole(text, limit, pieces):
    """Without any break, a piece ends between two graphemes, if one fits."""
    assert pieces == list(split_text(text, limit))


@given(st.text(max_size=300), st.integers(1, 60))
def test_nothing_is_lost(text, limit):
    """The pieces of any text join to the text; no piece is empty or too long."""
    pieces = list(split_text(text, limit))

    assert text == "".join(pieces)
    assert all(0 < len(piece) <= limit for piece in pieces)


@pytest.mark.parametrize(
    ("text", "blank"), [("", True), (" \n\t", True), ("\u3000", True), ("a", False)]
)
def test_blank(text, blank):
    """A text of white space alone, in any script, is blank."""
    assert blank == is_blank(text)
