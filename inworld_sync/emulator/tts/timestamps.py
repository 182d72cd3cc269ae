"""
Word and character times as ``timestampInfo``.

Source: the samples of the service's timestamp documentation, and the viseme symbols that clients
of it know.
"""

from __future__ import annotations

from collections.abc import Sequence

from inworld_sync.emulator.tts.speech import TimedPhoneme, TimedWord

__all__ = ["timestamp_info"]

_VISEMES = {
    "aei": "a æ ɑ ʌ ə ɐ aɪ eɪ ɛ e ɪ h ɜ ɚ",
    "bmp": "b m p",
    "cdgknstxyz": "d ɡ k n s t z ŋ j ɾ ʔ x",
    "chjsh": "ʧ ʤ ʃ ʒ",
    "ee": "i",
    "fv": "f v",
    "l": "l",
    "o": "ɔ ɒ o oʊ əʊ aʊ ɔɪ",
    "qw": "w",
    "r": "ɹ r",
    "th": "θ ð",
    "u": "u ʊ",
}
_VISEME_OF = {symbol: viseme for viseme, symbols in _VISEMES.items() for symbol in symbols.split()}


def timestamp_info(
    text: str, words: Sequence[TimedWord], kind: str | None, *, spaces: bool = False
) -> dict[str, object] | None:
    """
    Describe when words or characters are heard.

    Args:
        text: The flushed text.
        words: Those that this message covers.
        kind: ``"WORD"``, ``"CHARACTER"``, or None for nothing.
        spaces: List the white space before each word as a word of its own, without sound.
    """
    if kind is None or not words:
        return None
    if kind == "CHARACTER":
        return {"characterAlignment": _characters(text, words)}
    return {"wordAlignment": _words(text, words, spaces=spaces)}


def _words(text: str, words: Sequence[TimedWord], *, spaces: bool) -> dict[str, object]:
    names: list[str] = []
    starts: list[float] = []
    ends: list[float] = []
    details: list[dict[str, object]] = []
    for word in words:
        gap = _gap_before(text, word) if spaces else ""
        if gap:
            names.append(gap)
            starts.append(word.start)
            ends.append(word.start)
        if word.phonemes:
            phonemes = [_phoneme(phoneme) for phoneme in word.phonemes]
            details.append({"wordIndex": len(names), "phones": phonemes, "isPartial": False})
        names.append(text[word.start_char : word.end_char])
        starts.append(word.start)
        ends.append(word.end)
    return {
        "words": names,
        "wordStartTimeSeconds": starts,
        "wordEndTimeSeconds": ends,
        "phoneticDetails": details,
    }


def _gap_before(text: str, word: TimedWord) -> str:
    before = text[: word.start_char]
    return before[len(before.rstrip()) :]


def _phoneme(phoneme: TimedPhoneme) -> dict[str, object]:
    return {
        "phoneSymbol": phoneme.symbol,
        "startTimeSeconds": phoneme.start,
        "durationSeconds": round(phoneme.end - phoneme.start, 3),
        "visemeSymbol": _VISEME_OF.get(phoneme.symbol, "sil"),
    }


def _characters(text: str, words: Sequence[TimedWord]) -> dict[str, object]:
    """Share each word's time among its characters; the space before it gets the gap."""
    characters: list[str] = []
    starts: list[float] = []
    ends: list[float] = []
    for word in words:
        for space in _gap_before(text, word):
            characters.append(space)
            starts.append(ends[-1] if ends else word.start)
            ends.append(word.start)
        count = word.end_char - word.start_char
        step = (word.end - word.start) / count
        for index in range(count):
            characters.append(text[word.start_char + index])
            starts.append(round(word.start + index * step, 3))
            ends.append(round(word.start + (index + 1) * step, 3))
    return {
        "characters": characters,
        "characterStartTimeSeconds": starts,
        "characterEndTimeSeconds": ends,
    }
