"""Text is split completely into pieces that end at pauses and are short enough."""

from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from inworld_sync.wire.splitting import sentences, split_text
from inworld_sync.wire.text import is_blank

# (text, limit, pieces) for each kind of break, in several scripts.
CASES = [
    ("One. Two. Three.", 10, ["One. Two. ", "Three."]),
    ("First line here\n\nNext one. Yes", 24, ["First line here\n\n", "Next one. Yes"]),
    ("He said “Stop!” Then he left.", 20, ["He said “Stop!” ", "Then he left."]),
    # A CJK character counts as three characters.
    ("今天天气很好。我们去公园。", 27, ["今天天气很好。", "我们去公园。"]),
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

# These graphemes have several characters. The emoji of a family is longer than the limit, so this
# grapheme is split.
GRAPHEMES = [
    ("abce\u0301f", 4, ["abc", "e\u0301f"]),
    ("ab👩\u200d👩\u200d👧c", 4, ["ab", "👩\u200d👩\u200d", "👧c"]),
    ("a🇩🇪🇫🇷", 2, ["a", "🇩🇪", "🇫🇷"]),
    ("ab👍🏽", 3, ["ab", "👍🏽"]),
    ("ab🏴\U000e0067\U000e0062\U000e007f", 5, ["ab", "🏴\U000e0067\U000e0062\U000e007f"]),
]


@pytest.mark.parametrize(("text", "limit", "pieces"), CASES)
def test_breaks(text, limit, pieces):
    """A piece ends at the best break that is within the limit."""
    assert pieces == list(split_text(text, limit))


@pytest.mark.parametrize(("text", "limit", "pieces"), GRAPHEMES)
def test_graphemes_stay_whole(text, limit, pieces):
    """Without a break, a piece ends between two graphemes, if a grapheme is within the limit."""
    assert pieces == list(split_text(text, limit))


@given(st.text(max_size=300), st.integers(1, 60))
def test_nothing_is_lost(text, limit):
    """The joined pieces of any text are equal to the text. No piece is empty or too long."""
    pieces = list(split_text(text, limit))

    assert text == "".join(pieces)
    assert all(0 < len(piece) <= limit for piece in pieces)


# Parts of a text that must not be split.
SPANS = [
    '<break time="1s" />',
    "[sad and very slow voice]",
    "*really very important*",
    "**really very important**",
    "/ˈhə.loʊ wɜːld/",
    "https://example.com/a,b;c?d=e—f",
    "first.last@mail.example.com",
    "1 000 000",
    "3.14159",
    "12:30",
    "Dr. Smith",
    "No. 5",
    "J. R. R. Tolkien",
    "z. B. hier",
    "bzw. dort",
]
PADDING = "lorem ipsum dolor sit amet " * 60


@pytest.mark.parametrize("span", SPANS)
def test_spans_stay_whole(span):
    """No piece ends inside markup, a link, a number or an abbreviation, at any position."""
    for length in range(100):
        text = f"{PADDING[:length]} {span} {PADDING[:200]}"
        pieces = list(split_text(text, 100))

        assert text == "".join(pieces)
        assert any(span in piece for piece in pieces), pieces


@pytest.mark.parametrize(
    "span", ["<b>" + "x" * 60, "[" + "x " * 30, "*a" + " b" * 30, "/a" + " b" * 30]
)
def test_unclosed_markup_is_text(span):
    """A tag or a mark that is not closed does not prevent a break."""
    assert all(len(piece) <= 20 for piece in split_text(span, 20))


def test_a_span_that_is_too_long():
    """A part that is longer than a piece is split between two graphemes."""
    text = "word [" + "x" * 50 + "]"

    assert ["word ", "[" + "x" * 19, "x" * 20, "x" * 11 + "]"] == list(split_text(text, 20))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("We sell pens, ink etc. in Rome. Or so.", ["We sell pens, ink etc. in Rome. ", "Or so."]),
        ("He lives in the U.S. with a dog. Yes", ["He lives in the U.S. with a dog. ", "Yes"]),
    ],
)
def test_abbreviations_end_no_sentence(text, pieces):
    """The period of an abbreviation is not the end of a sentence."""
    assert pieces == list(split_text(text, len(text) - 2))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("漢字", 6),
        ("ひらがな", 12),
        ("한글", 6),
        ("a漢", 4),
        ('<break time="1.5s"/>', 20 + 18),
        ("<break time='500ms' />", 22 + 6),
        ("<break>", 7),
    ],
)
def test_effective_length(text, length):
    """A CJK character counts as 3 characters, and each second of a break tag as 12 characters."""
    padding = "x" * 10

    assert [padding + text] == list(split_text(padding + text, 10 + length))
    assert 1 < len(list(split_text(padding + " " + text, 10 + length)))


@pytest.mark.parametrize(
    "unit",
    [
        "<", "<a", "<break ", "[", "[a ", "*", "*a ", "/", " /a", "https://", "www.", "a@", "a.",
        "1.", "1 000 ", "Dr. ", "J. ", "\n", " ", "\n \n", ".", '."', "—", "e\u0301", "\u0301",
        "\u200d",
        "\U0001f1e9", "漢", "a", "-", "+", "9" * 40 + ",",
    ],
)  # fmt: skip
def test_long_texts_of_one_kind(unit):
    """100 KB of any text is split in a short time. A quadratic pattern would take minutes."""
    text = unit * (100_000 // len(unit))

    assert text == "".join(split_text(text, 1000))


@pytest.mark.parametrize(
    ("text", "blank"), [("", True), (" \n\t", True), ("\u3000", True), ("a", False)]
)
def test_blank(text, blank):
    """Text that has only white space, of any script, is blank."""
    assert blank == is_blank(text)


# (pieces of text, sentences)
SENTENCES = [
    (["Once", " upon", " a", " ti", "me", ".", " The", " end", "."],
     ["Once upon a time. ", "The end."]),
    (["Dr", ".", " Smith", " has", " 3", ".", "5", " cats", ".", " Yes", "!"],
     ["Dr. Smith has 3.5 cats. ", "Yes!"]),
    (["One", ".", " ", "\n", "Two", "."], ["One. \n", "Two."]),
    (["One. Two! Three? Fo", "ur.", " Five. "], ["One. Two! Three? ", "Four.", " Five. "]),
    (["今天天气很好", "。", "我们", "去", "吧", "。"], ["今天天气很好。", "我们去吧。"]),
    (["He said: \u201cYes", ".", "\u201d", " Then"], ["He said: \u201cYes.\u201d ", "Then"]),
    (["Hm. [say. ", "it", " low] No."], ["Hm. ", "[say. it low] No."]),
    (["A", "\n", "\n", "B"], ["A\n\n", "B"]),
    (["\n\n", " ", "Bo. ", "C", "  "], ["\n\n Bo. ", "C  "]),
    (["Mr. ", "Bo", "nd."], ["Mr. Bond."]),
    (["3", ".", "5", " or", " 4.", "5."], ["3.5 or 4.5."]),
    (["no end", " at all"], ["no end at all"]),
    ([], []),
]  # fmt: skip


@pytest.mark.parametrize(("pieces", "expected"), SENTENCES)
def test_sentences(pieces: list[str], expected: list[str]) -> None:
    """Pieces of text are joined to whole sentences, and no text is lost."""
    assert expected == list(sentences(pieces, 1000))
    assert "".join(pieces).strip() == "".join(expected).strip()


def test_a_sentence_is_yielded_when_the_next_begins() -> None:
    """A sentence is returned when the next sentence begins, before the end of the text."""
    asked: list[str] = []

    def tokens() -> Iterator[str]:
        for token in ("One", ".", " Two", " and", " three", "."):
            asked.append(token)
            yield token

    assert "One. " == next(sentences(tokens(), 1000))
    assert ["One", ".", " Two"] == asked


def test_a_piece_that_ends_a_sentence_is_returned() -> None:
    """If a piece ends with a whole sentence, the sentence is returned without another piece."""

    def lines() -> Iterator[str]:
        yield "First line.\n"
        pytest.fail("the next piece was read too early")

    assert "First line.\n" == next(sentences(lines(), 1000))


def test_a_long_sentence() -> None:
    """A sentence that is too long is split. The joined pieces are equal to the sentence."""
    tokens = ["word "] * 1000
    parts = list(sentences(tokens, 100))

    assert "".join(tokens) == "".join(parts)
    assert all(len(part) <= 100 for part in parts)


@pytest.mark.parametrize("token", ["a", "a ", ". ", "字", "。", "[", "\n", " "])
def test_sentences_of_a_long_text(token: str) -> None:
    """100 KB of text in small tokens is split without loss, in a short time."""
    parts = list(sentences(["x", *[token] * 100_000], 1000))

    assert ("x" + token * 100_000).rstrip() == "".join(parts).rstrip()
