"""
Makes ``timestampInfo``: the times of words, characters and visemes.

Source: the samples of the service's timestamp documentation, the viseme symbols that its clients
know, and its page about lip-sync. That page does not show the names inside ``lipsyncAlignment``, so
the names here are made like the names of the other alignments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inworld_sync.emulator.tts.speech import TimedText, TimedWord

__all__ = ["snake_case", "timestamp_info"]

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
# Source: the visemes of OpenXR, which are those of the Oculus lip-sync library.
_OPENXR = {
    "PP": "b m p",
    "FF": "f v",
    "TH": "θ ð",
    "DD": "d t ɾ",
    "kk": "ɡ k ŋ ʔ x h",
    "CH": "ʧ ʤ ʃ ʒ",
    "SS": "s z",
    "nn": "n l",
    "RR": "ɹ r ɜ ɚ",
    "aa": "a æ ɑ ʌ ɐ aɪ aʊ",
    "E": "ɛ e eɪ ə",
    "ih": "ɪ i j",
    "oh": "ɔ ɒ o oʊ əʊ ɔɪ",
    "ou": "u ʊ w",
}
_SILENCE = "sil"
# Matches a word or a single mark. A word may have inner marks, such as "it's" or "12.50".
_TOKEN = re.compile(r"\w+(?:['’.,:@/&+-]\w+)*|[^\w\s]")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _by_phoneme(table: dict[str, str]) -> dict[str, str]:
    return {symbol: viseme for viseme, symbols in table.items() for symbol in symbols.split()}


_VISEME_OF = _by_phoneme(_VISEMES)
_OPENXR_OF = _by_phoneme(_OPENXR)


def timestamp_info(
    words: Sequence[TimedWord],
    kind: str | None,
    *,
    spaces: bool = False,
    tokens: bool = False,
    lipsync: bool = False,
) -> dict[str, object] | None:
    """
    Describe the times of words, characters or visemes.

    Args:
        words: The words of this message.
        kind: ``"WORD"``, ``"CHARACTER"``, or None for neither.
        spaces: Whether to list the white space before each word as a separate word, without
            duration.
        tokens: Whether to list words, punctuation and white space as separate entries.
        lipsync: Whether to add the visemes of OpenXR.

    Returns:
        The object, or None if there is nothing to describe.
    """
    info: dict[str, object] = {}
    listed = [word for word in words if word.is_listed]
    if kind == "CHARACTER" and listed:
        info["characterAlignment"] = _characters(listed)
    elif kind == "WORD" and listed:
        info["wordAlignment"] = _words(listed, spaces=spaces or tokens, tokens=tokens)
    if lipsync and words:
        info["lipsyncAlignment"] = _lipsync(words)
    return info or None


def snake_case(value: object) -> object:
    """Return a JSON value with its keys in snake_case, as in the events of Realtime."""
    if isinstance(value, dict):
        return {_CAPITAL.sub("_", key).lower(): snake_case(inner) for key, inner in value.items()}
    return [snake_case(inner) for inner in value] if isinstance(value, list) else value


def _words(words: Sequence[TimedWord], *, spaces: bool, tokens: bool) -> dict[str, object]:
    entries: list[TimedText] = []
    details: list[dict[str, object]] = []
    for word in words:
        if spaces and word.gap:
            entries.append((word.gap, word.start, word.start))
        parts = _tokens(word) if tokens else [(word.text, word.start, word.end)]
        if word.phonemes:
            phonemes = [
                {
                    "phoneSymbol": symbol,
                    "startTimeSeconds": start,
                    "durationSeconds": round(end - start, 3),
                    "visemeSymbol": _VISEME_OF.get(symbol, _SILENCE),
                }
                for symbol, start, end in word.phonemes
            ]
            # The entry with the longest text is the word itself.
            index = len(entries) + max(range(len(parts)), key=lambda at: len(parts[at][0]))
            details.append({"wordIndex": index, "phones": phonemes, "isPartial": False})
        entries += parts
    return {**_columns("words", "word", entries), "phoneticDetails": details}


def _tokens(word: TimedWord) -> list[TimedText]:
    """Separate a word from its punctuation. Punctuation has no duration."""
    found = _TOKEN.findall(word.text)
    longest = max(range(len(found)), key=lambda at: len(found[at]))
    return [
        (text, word.start if at <= longest else word.end, word.start if at < longest else word.end)
        for at, text in enumerate(found)
    ]


def _columns(plural: str, singular: str, entries: Sequence[TimedText]) -> dict[str, object]:
    return {
        plural: [text for text, _, _ in entries],
        f"{singular}StartTimeSeconds": [start for _, start, _ in entries],
        f"{singular}EndTimeSeconds": [end for _, _, end in entries],
    }


def _characters(words: Sequence[TimedWord]) -> dict[str, object]:
    """Divide the time of each word among its characters. Spaces get the time between words."""
    entries: list[TimedText] = []
    for word in words:
        for space in word.gap:
            entries.append((space, entries[-1][2] if entries else word.start, word.start))
        step = (word.end - word.start) / len(word.text)
        for index, character in enumerate(word.text):
            start, end = word.start + index * step, word.start + (index + 1) * step
            entries.append((character, round(start, 3), round(end, 3)))
    return _columns("characters", "character", entries)


def _lipsync(words: Sequence[TimedWord]) -> dict[str, object]:
    """Return the viseme of each phoneme. A word without phonemes opens and closes the mouth."""
    entries: list[TimedText] = []
    for word in words:
        sounds = word.phonemes or (("a", word.start, word.end),)
        for symbol, start, end in sounds:
            last_end = entries[-1][2] if entries else start
            if start > last_end:
                entries.append((_SILENCE, last_end, start))
            entries.append((_OPENXR_OF.get(symbol, _SILENCE), start, end))
    return _columns("visemes", "viseme", entries)
