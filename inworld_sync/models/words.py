"""
Joins the tokens of the service to words. The service lists words, punctuation and white space
separately.

A word includes its punctuation. For example, ``"Hello", ",", " "`` is the word ``Hello,``. In
scripts without spaces, each token is a word. If a service lists no white space, each of its tokens
is a whole word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeVar

import attrs

from inworld_sync.models.scripts import has_spaces_between, join_texts
from inworld_sync.models.tts import WordTime
from inworld_sync.models.turns import Word

__all__ = ["WordJoiner", "join_tokens", "text_of_tokens", "text_until"]

# Unicode classifies these characters as punctuation, but a voice speaks them.
_SPOKEN = frozenset("%‰&@#*/\\§")
_OPENING = frozenset("¿¡")
_SENTENCE_ENDS = frozenset(".?!…")

_Token = TypeVar("_Token", WordTime, Word)


class WordJoiner:
    """
    Finds the words in the tokens of an utterance. The tokens arrive in several messages.

    Attributes:
        continues: Whether the first word of the latest tokens continues the last word of earlier
            tokens.
    """

    def __init__(self) -> None:
        self.continues = False
        self._last = ""
        self._has_word = False
        self._lists_spaces = False

    def add(self, tokens: Sequence[str]) -> list[int | None]:
        """
        Return for each token the index of its word among the words of these tokens.

        The index is None for white space and for punctuation that belongs to no word. The index is
        -1 for punctuation that belongs to the last word of earlier tokens.
        """
        self._lists_spaces = self._lists_spaces or any(_has_outer_space(each) for each in tokens)
        self.continues = False
        # Each run has tokens without a space between them.
        runs: list[list[str]] = []
        is_old = False
        for token in tokens:
            is_joined = self._is_joined(self._last, token)
            if not runs and self._last in _SENTENCE_ENDS and _is_spoken(token):
                # The service speaks a text in several parts, and may leave out the white space
                # between two parts.
                is_joined = False
            if is_joined and runs:
                runs[-1].append(token)
            else:
                is_old = is_old or (is_joined and self._has_word)
                runs.append([token])
            self._has_word = (is_joined and self._has_word) or _is_spoken(token)
            self._last = token
        found: list[int | None] = []
        count = 0
        for number, run in enumerate(runs):
            index: int | None = -1 if is_old and not number else None
            if any(map(_is_spoken, run)):
                self.continues = self.continues or index == -1
                index, count = count, count + 1
            found += [index] * len(run)
        return found

    def _is_joined(self, left: str, right: str) -> bool:
        """Return whether two tokens that follow each other belong to one word."""
        if not left or not right or left[-1].isspace() or right[0].isspace():
            return False
        is_one_word = self._lists_spaces and has_spaces_between(left, right)
        if _is_punctuation(right) and not _is_opening(right):
            return True
        return is_one_word or (_is_punctuation(left) and _is_opening(left))


def join_tokens(
    tokens: Sequence[_Token], joiner: WordJoiner
) -> tuple[tuple[_Token, ...], list[int]]:
    """
    Join tokens to words.

    Args:
        tokens: Words, punctuation and white space, in the order of the text.
        joiner: The joiner that has got all earlier tokens of the utterance.

    Returns:
        The words, and for each token the index of its word. A word has the times of its spoken
        tokens. White space has the index of the word before it.
    """
    found = joiner.add([token.text for token in tokens])
    words: list[_Token] = []
    ends_in_space = True
    indexes = []
    for token, index in zip(tokens, found, strict=True):
        if index is not None and index >= 0:
            if index == len(words):
                words.append(attrs.evolve(token, text=""))
                ends_in_space = True
            words[index] = _extended(words[index], token, is_first=ends_in_space)
            ends_in_space = ends_in_space and not _is_spoken(token.text)
        indexes.append(max(0, len(words) - 1))
    return tuple(attrs.evolve(word, text=word.text.strip()) for word in words), indexes


def _extended(word: _Token, token: _Token, *, is_first: bool) -> _Token:
    """Return a word with one more token. *is_first* means that the word has no spoken token yet."""
    if not _is_spoken(token.text):
        return attrs.evolve(word, text=word.text + token.text)
    if is_first:
        return attrs.evolve(token, text=word.text + token.text)
    return attrs.evolve(word, text=word.text + token.text, end_ms=max(word.end_ms, token.end_ms))


def text_of_tokens(tokens: Sequence[str]) -> str:
    """
    Return the text of tokens. If no token is white space, add spaces as the script needs them.

    >>> text_of_tokens(["Hello", ",", " ", "world"])
    'Hello, world'
    >>> text_of_tokens(["Hello", ",", "world"])
    'Hello, world'
    """
    if any(_has_outer_space(token) for token in tokens):
        return "".join(tokens)
    words: list[str] = []
    last: int | None = None
    for token, index in zip(tokens, WordJoiner().add(tokens), strict=True):
        if index is None or index != last:
            words.append("")
        words[-1] += token
        last = index
    return join_texts(words)


def text_until(text: str, words: Iterable[str]) -> str:
    """
    Return *text* up to the end of the last word of *words*.

    The words are parts of *text*, in the order of the text.
    """
    end = 0
    for word in words:
        start = text.find(word, end)
        if start >= 0:
            end = start + len(word)
    while 0 < end < len(text) and _is_punctuation(text[end]) and not _is_opening(text[end]):
        end += 1
    return text[:end]


def _has_outer_space(token: str) -> bool:
    return token[:1].isspace() or token[-1:].isspace()


def _is_spoken(token: str) -> bool:
    return not token.isspace() and not _is_punctuation(token)


def _is_punctuation(token: str) -> bool:
    return all(each not in _SPOKEN and unicodedata.category(each).startswith("P") for each in token)


def _is_opening(token: str) -> bool:
    return token[0] in _OPENING or unicodedata.category(token[0]) in {"Ps", "Pi"}
