"""
Splits a text into pieces that the service accepts.

A piece ends at the best place that fits: the end of a paragraph, a sentence, a clause or a word. If
no such place fits, the piece ends between two graphemes. Nothing is dropped or changed, so the
joined pieces are the text.

A piece never ends inside a protected span, unless the span alone is too long. Protected spans are:
a tag such as ``<break time="1s"/>``, ``[a steering tag]``, ``*emphasis*``, ``/IPA/``, a URL, an
e-mail address, a number, and an abbreviation with the word that belongs to it.

The size of a piece is its effective length, as in Inworld's own SDKs. A CJK character has the
length 3. A break has the length of its tag plus 12 for each second.

The time for splitting is linear in the length of the text. Each pattern visits each character once,
because all repetitions in a pattern are bounded. For each piece, only the places within it are
examined.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

import attrs

__all__ = ["sentences", "split_text"]

# Closing quotes and brackets belong to the sentence before them.
_CLOSERS = "\"'”’»）」』】)\\]}"
# Each of these ends a sentence if white space follows. These characters occur in Latin, Greek,
# Cyrillic, Arabic, Urdu, Indic, Armenian, Ethiopic, Khmer and Burmese texts.
_SPACED_ENDS = ".!?…؟۔।॥։።៕။;·"
# Each of these ends a sentence even without white space. These characters occur in Chinese and
# Japanese texts, or are full-width forms.
_CLOSED_ENDS = "。！？．"

# The kinds of places, the best first. White space after a place may belong to either piece.
_PARAGRAPH, _SENTENCE, _CLAUSE, _WORD = range(4)
_PLACES = re.compile(
    r"(?P<paragraph>\n[^\S\n]*\n)\s*"
    rf"|(?P<sentence>[{_SPACED_ENDS}]{{1,8}}[{_CLOSERS}]{{0,8}}(?=\s)"
    rf"|[{_CLOSED_ENDS}]+[{_CLOSERS}]*)\s*"
    # 1,000 and 12:30 are one word each.
    rf"|(?P<clause>[,:][{_CLOSERS}]{{0,8}}(?=\s)|[،、，；—–]+|\n+)\s*"
    r"|(?P<word>)\s+"
)
_KINDS = {"paragraph": _PARAGRAPH, "sentence": _SENTENCE, "clause": _CLAUSE, "word": _WORD}

# Abbreviations that belong to the next word, as in "Dr. Smith" and "No. 5".
_TITLES = (
    "Dr|Mr|Mrs|Ms|Mx|Prof|Rev|Hon|Gen|Col|Capt|Cpt|Lt|Sgt|Sen|Rep|Gov|Pres|St|Mt|Ft"
    "|No|Nos|Nr|Art|Fig|Figs|Eq|Vol|Ch|Sec|pp|p|vs|cf|ca|approx"
    "|Hr|Fr|Sr|Sra|Srta|Dra|Mme|Mlle|Mgr|Sig|Ing|Tel|bzw|Str"
)
# Abbreviations after which a sentence does not end, but a piece may end.
_OTHERS = "etc|Inc|Ltd|Co|Corp|Jr|Dept|Ave|Blvd|Rd|Jan|Feb|Apr|Aug|Sept|Oct|Nov|Dec|usw|evtl|ggf"

# Spans inside which no piece ends. Every repetition has a bound, so that a match that fails costs
# a constant time.
_SPANS = re.compile(
    r"<[A-Za-z/][^<>]{0,300}>"
    r"|\[[^\[\]]{1,200}\]"
    r"|\*{1,2}(?=[^\s*])[^*\n]{1,200}(?<=\S)\*{1,2}"
    r"|(?<![^\s(\[\"'“‘])/(?=[^\s/])[^/\n]{1,100}(?<=\S)/(?![^\s.,;:!?)\]\"'”’])"
    r"|\b(?:https?://|www\.)[^\s<>]{1,500}"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    # One separator between two groups of digits, or a space before a group of three digits.
    r"|\d{1,40}(?:[.,:/'’\u2013-]\d{1,40}|[ \u00a0\u202f]\d{3}(?!\d)){1,12}"
    rf"|\b(?:{_TITLES})\.[^\S\n]{{1,3}}\S"
    # "J. R. R. Tolkien", "U. S. A.", "z. B."
    r"|\b(?:[^\W\d_]\.[^\S\n]?){1,6}(?<=\s)\S"
)
# A possible end of a sentence, and the first character of the text after this end.
_END_HINT = re.compile(rf"(?:[{_SPACED_ENDS}{_CLOSED_ENDS}][{_CLOSERS}]{{0,8}}|\n)\s*\S")
_HINT_CHARACTERS = 32
_ENDED = re.compile(
    rf"(?:[^\W\d_][{_SPACED_ENDS}]{{1,8}}|[{_CLOSED_ENDS}])[{_CLOSERS}]{{0,8}}\s*\Z"
)

_NOT_A_SENTENCE = re.compile(
    rf"\b(?:{_OTHERS}|(?:[^\W\d_]\.){{1,5}}[^\W\d_])\.[{_CLOSERS}]{{0,3}}(?=\s)"
)
_BREAK = re.compile(
    r"<break\b[^<>]{0,100}?\btime\s{0,3}=\s{0,3}[\"']?(\d{1,6}(?:\.\d{1,6})?)(ms|s)\b"
)

_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u303f\u3040-\u30ff\u3100-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
# The weights are those of @inworld/tts and inworld-tts.
_CJK_WEIGHT = 3
_BREAK_WEIGHT_PER_SECOND = 12

# A piece shorter than this share of the limit would be too short to be spoken well. So a worse kind
# of place is used instead.
_EARLIEST_SHARE = 1 / 3

_ZERO_WIDTH_JOINER = "\u200d"
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# The characters that spell the flags of England, Scotland and Wales.
_TAGS = range(0xE0020, 0xE0080)


def split_text(text: str, max_characters: int) -> Iterator[str]:
    """
    Split a text into pieces whose effective length is at most *max_characters*.

    Args:
        text: Any text.
        max_characters: The largest effective length of a piece, at least 1.

    Yields:
        The pieces in order. The joined pieces are *text*. A single grapheme or break that is longer
        than *max_characters* is either split or becomes a piece that is too long.

    >>> list(split_text("One. Two. Three.", 10))
    ['One. Two. ', 'Three.']
    """
    weights = _weights(text)
    if weights is None and len(text) <= max_characters:
        if text:
            yield text
        return
    spans = _spans(text)
    places = _places(text, spans)
    start = 0
    while start < len(text):
        if weights is None:
            limit = min(start + max_characters, len(text))
        else:
            limit = max(start + 1, bisect_right(weights, weights[start] + max_characters) - 1)
        end = limit if limit == len(text) else _end(text, start, limit, spans, places)
        yield text[start:end]
        start = end


def _weights(text: str) -> Sequence[int] | None:
    """
    Return the effective length of the text before each index, or None if each length equals its
    index.
    """
    has_break = "<break" in text
    if not has_break and _CJK.search(text) is None:
        return None
    weights = [1] * len(text)
    for match in _CJK.finditer(text):
        weights[match.start()] = _CJK_WEIGHT
    for match in _BREAK.finditer(text) if has_break else ():
        seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
        weights[match.start()] += round(seconds * _BREAK_WEIGHT_PER_SECOND)
    return list(itertools.accumulate(weights, initial=0))


@attrs.frozen
class _Spans:
    """The protected spans of a text, in order. They do not overlap."""

    starts: list[int]
    ends: list[int]

    def around(self, index: int) -> tuple[int, int] | None:
        """Return the span that contains *index*, but not a span that starts or ends at *index*."""
        number = bisect_left(self.starts, index) - 1
        if number >= 0 and index < self.ends[number]:
            return self.starts[number], self.ends[number]
        return None


def _spans(text: str) -> _Spans:
    matches = [match.span() for match in _SPANS.finditer(text)]
    return _Spans([start for start, _ in matches], [end for _, end in matches])


@attrs.frozen
class _Places:
    """The places where a piece may end, by kind and in order. Each place is a range."""

    firsts: tuple[list[int], ...] = attrs.field(factory=lambda: tuple([] for _ in _KINDS))
    lasts: tuple[list[int], ...] = attrs.field(factory=lambda: tuple([] for _ in _KINDS))

    def last(self, kind: int, start: int, limit: int) -> int:
        """
        Return the last place of a kind after *start* and up to *limit*, or *start* if there is
        none.
        """
        number = bisect_right(self.firsts[kind], limit) - 1
        if number < 0:
            return start
        return max(start, min(self.lasts[kind][number], limit))


def _places(text: str, spans: _Spans) -> _Places:
    places = _Places()
    not_sentences = {match.end() for match in _NOT_A_SENTENCE.finditer(text)}
    for match in _PLACES.finditer(text):
        kind = _KINDS[match.lastgroup or "word"]
        first, last = match.end(match.lastgroup or 0), match.end()
        if kind == _SENTENCE and first in not_sentences:
            kind = _WORD
        if kind == _WORD:
            first = min(first + 1, last)
        around = spans.around(last)
        if around is None:
            places.firsts[kind].append(first)
            places.lasts[kind].append(last)
    return places


def sentences(pieces: Iterable[str], max_length: int) -> Iterator[str]:
    """
    Join the pieces of a text, such as tokens of a model, to whole sentences.

    A sentence is complete when the text after it begins. A sentence is also complete when one piece
    has both its last word and its end mark. An end mark alone is not enough, since a dot may be a
    part of a number or a name. A sentence that is longer than *max_length* is split by
    :func:`split_text` and yielded in parts.
    """
    held = ""
    for piece in pieces:
        start = max(0, len(held) - _HINT_CHARACTERS)
        held += piece
        is_ended = _ENDED.search(piece) is not None
        if is_ended or _END_HINT.search(held, start):
            end = _end_of_sentences(held.rstrip() + " X" if is_ended else held)
            if held[:end].strip():
                yield held[:end]
                held = held[end:]
        if len(held) > max_length:
            *parts, held = split_text(held, max_length)
            yield from parts
    if held.strip():
        yield held


def _end_of_sentences(text: str) -> int:
    """Return the end of the last sentence that is certainly complete, or 0 if there is none."""
    places = _places(text, _spans(text))
    end = max(
        (
            last
            for kind in (_PARAGRAPH, _SENTENCE)
            for last in places.lasts[kind]
            if last < len(text)
        ),
        default=0,
    )
    # A tag may continue in the next piece.
    for opening, closing in ("[]", "<>"):
        start = text.rfind(opening)
        if start > text.rfind(closing):
            end = end if end <= start else start if text[:start].strip() else 0
    return end


def _end(text: str, start: int, limit: int, spans: _Spans, places: _Places) -> int:
    """Return the end of the piece that begins at *start*. The end is not after *limit*."""
    earliest = start + int((limit - start) * _EARLIEST_SHARE)
    fallback = start
    for kind in _KINDS.values():
        end = places.last(kind, start, limit)
        if end > earliest:
            return end
        fallback = max(fallback, end)
    around = spans.around(limit)
    if fallback == start and around is not None and around[0] > start:
        fallback = around[0]
    if fallback > start:
        return fallback
    end = limit
    while end > start and _is_joined(text, start, end):
        end -= 1
    return end if end > start else limit


def _is_joined(text: str, start: int, index: int) -> bool:
    """Return whether *index* is inside a grapheme (UAX 29, the main rules)."""
    before, after = text[index - 1], text[index]
    if before == _ZERO_WIDTH_JOINER or after == _ZERO_WIDTH_JOINER:
        return True
    if before == "\r" and after == "\n":
        return True
    # Marks, variation selectors and vowel signs of Indic scripts have the categories Mn, Mc or Me.
    if unicodedata.category(after).startswith("M"):
        return True
    if ord(after) in _SKIN_TONES or ord(after) in _TAGS:
        return True
    if ord(before) in _REGIONAL and ord(after) in _REGIONAL:
        first = index
        while first > start and ord(text[first - 1]) in _REGIONAL:
            first -= 1
        return (index - first) % 2 == 1
    return _is_jamo(before) and _is_jamo(after)


def _is_jamo(character: str) -> bool:
    return 0x1100 <= ord(character) < 0x1200
