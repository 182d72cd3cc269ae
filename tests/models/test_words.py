"""Tokens of the service are joined to words, in every script and across messages."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from inworld_sync import Word, WordTime
from inworld_sync.models.words import WordJoiner, join_tokens, text_of_tokens, text_until

# (tokens separated by "|", expected words)
TOKENS = [
    ("Hello|,| |and| |thanks|.", ["Hello,", "and", "thanks."]),
    ("I| |don|'|t| |know|!|?", ["I", "don't", "know!?"]),
    ("a| |well|-|known| |$|5| |bill", ["a", "well-known", "$5", "bill"]),
    ("He| |(|you| |know|)| |said| |“|yes|”|.", ["He", "(you", "know)", "said", "“yes”."]),
    ("a| |—| |b| |&| |c| |5|%", ["a", "b", "&", "c", "5%"]),
    ("Hel|lo| walk|ing| fast", ["Hello", "walking", "fast"]),
    ("Hello |world|. |Bye", ["Hello", "world.", "Bye"]),
    # Without white space, each token that is not punctuation is a word.
    ("Hello|,|world|.", ["Hello,", "world."]),
    ("Hello,|world.", ["Hello,", "world."]),
    ("今天|好|，|我|去|「|公园|」|吧|。", ["今天", "好，", "我", "去", "「公园」", "吧。"]),
    ("我|有| |3| |个|iPhone| |15|。", ["我", "有", "3", "个", "iPhone", "15。"]),
    ("วันนี้|อากาศ|ดี| |ครับ", ["วันนี้", "อากาศ", "ดี", "ครับ"]),
    ("नमस्ते| |दुनिया|।| |ठीक", ["नमस्ते", "दुनिया।", "ठीक"]),
    ("¿|Qué| |tal|?", ["¿Qué", "tal?"]),
    (" |,| ", []),
    ("", []),
]  # fmt: skip


def timed(tokens: list[str]) -> list[WordTime]:
    return [WordTime(text, 100.0 * i, 100.0 * i + 50) for i, text in enumerate(tokens)]


@pytest.mark.parametrize(("tokens", "words"), TOKENS)
def test_words(tokens: str, words: list[str]) -> None:
    """Punctuation is joined to its word, and the parts of a word are joined."""
    assert words == [w.text for w in join_tokens(timed(tokens.split("|")), WordJoiner())[0]]


def test_times_and_indexes() -> None:
    """
    A word lasts from its first to its last spoken token.

    Each token has the index of its word.
    """
    tokens = ["“", "don", "'", "t", "”", " ", "go", "."]
    words, indexes = join_tokens(timed(tokens), WordJoiner())

    assert (WordTime("“don't”", 100, 350), WordTime("go.", 600, 650)) == words
    assert [0, 0, 0, 0, 0, 0, 1, 1] == indexes


def test_other_fields_are_kept() -> None:
    """A joined word has the speaker and the other fields of its first token."""
    tokens = [Word("Hel", 0, 10, 0.5, "A"), Word("lo", 10, 20, 0.9, "A"), Word(" you", 30, 40)]
    words, _ = join_tokens(tokens, WordJoiner())

    assert (Word("Hello", 0, 20, 0.5, "A"), Word("you", 30, 40)) == words


def test_a_word_in_two_messages() -> None:
    """The joiner reports which tokens continue the last word of the previous message."""
    joiner = WordJoiner()

    assert [0, None, 1] == joiner.add(["a", " ", "Hel"])
    assert ([0, 0, None], True) == (joiner.add(["lo", ",", " "]), joiner.continues)
    assert ([0], False) == (joiner.add(["World"]), joiner.continues)
    assert ([-1, None, 0], False) == (joiner.add([".", " ", "Yes"]), joiner.continues)


def test_the_next_sentence_without_a_space() -> None:
    """The first token after the end of a sentence begins a word, even without a space before it."""
    joiner = WordJoiner()
    joiner.add(["One", " ", "two", "."])

    assert ([0, None, 1], False) == (joiner.add(["Three", " ", "four"]), joiner.continues)


TEXTS = [
    "Hello, and thanks for joining.",
    "今天天气很好，我们去公园吧。",
    "อากาศดี ครับ",
    "One\n\ntwo",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text(text: str) -> None:
    """
    If the tokens include white space, the joined tokens are the whole text. text_until() of all
    words returns the same text.
    """
    tokens = list(text)

    assert text == text_of_tokens(tokens)
    assert text == text_until(
        text, [word.text for word in join_tokens(timed(tokens), WordJoiner())[0]]
    )


def test_text_without_white_space() -> None:
    """Tokens without white space are joined with spaces only if their script uses spaces."""
    assert "Hello, world. OK?" == text_of_tokens(["Hello", ",", "world", ".", "OK", "?"])
    assert "我去，你去。" == text_of_tokens(["我", "去", "，", "你", "去", "。"])


def test_text_until() -> None:
    """The heard text ends after the last heard word, with the punctuation of this word."""
    text = "Yes, a cat (the black one) and a dog."

    assert "Yes," == text_until(text, ["Yes"])
    assert "Yes, a cat (the black one)" == text_until(text, ["Yes", "a", "cat", "black", "one"])
    assert "" == text_until(text, [])


@given(st.lists(st.text(" a.'(今ก", max_size=3)), st.lists(st.integers(0, 30)))
def test_any_tokens(tokens: list[str], cuts: list[int]) -> None:
    """No spoken character is lost or repeated, for any division of the tokens into messages."""
    joiner, words, start = WordJoiner(), [], 0
    for end in [*sorted(cut for cut in cuts if cut < len(tokens)), len(tokens)]:
        words += join_tokens(timed(tokens[start:end]), joiner)[0]
        start = end

    wanted = [c for c in "".join(tokens) if c not in " .'("]
    assert wanted == [c for word in words for c in word.text if c not in " .'("]
