"""
Makes ``timestampInfo``: the times of words and characters.

Source: the samples of the service's timestamp documentation, and the viseme symbols that its
clients know.
"""

from __future__ import annotations

from collections.abc import Sequence

from inworld_sync.emulator.tts.speech import TimedText, TimedWord

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
    Describe the times of words or characters.

    Args:
        text: The flushed text.
        words: The words of this message.
        kind: ``"WORD"``, ``"CHARACTER"``, or None for no times.
        spaces: List the white space before each word as a word of its own, without duration.
    """
    if kind is None or not words:
        return None
    if kind == "CHARACTER":
        return {"characterAlignment": _characters(text, words)}
    return {"wordAlignment": _words(text, words, spaces=spaces)}


def _words(text: str, words: Sequence[TimedWord], *, spaces: bool) -> dict[str, object]:
    entries: list[TimedText] = []
    details: list[dict[str, object]] = []
    for word in words:
        if spaces and (gap := _gap_before(text, word)):
            entries.append((gap, word.start, word.start))
        if word.phonemes:
            phonemes = [
                {
                    "phoneSymbol": symbol,
                    "startTimeSeconds": start,
                    "durationSeconds": round(end - start, 3),
                    "visemeSymbol": _VISEME_OF.get(symbol, "sil"),
                }
                for symbol, start, end in word.phonemes
            ]
            details.append({"wordIndex": len(entries), "phones": phonemes, "isPartial": False})
        entries.append((text[word.start_char : word.end_char], word.start, word.end))
    return {**_columns("words", "word", entries), "phoneticDetails": details}


def _columns(plural: str, singular: str, entries: Sequence[TimedText]) -> dict[str, object]:
    return {
        plural: [text for text, _, _ in entries],
        f"{singular}StartTimeSeconds": [start for _, start, _ in entries],
        f"{singular}EndTimeSeconds": [end for _, _, end in entries],
    }


def _gap_before(text: str, word: TimedWord) -> str:
    before = text[: word.start_char]
    return before[len(before.rstrip()) :]


def _characters(text: str, words: Sequence[TimedWord]) -> dict[str, object]:
    """Divide the time of each word among its characters; spaces get the time between words."""
    entries: list[TimedText] = []
    for word in words:
        for space in _gap_before(text, word):
            entries.append((space, entries[-1][2] if entries else word.start, word.start))
        step = (word.end - word.start) / (word.end_char - word.start_char)
        for index, character in enumerate(text[word.start_char : word.end_char]):
            start, end = word.start + index * step, word.start + (index + 1) * step
            entries.append((character, round(start, 3), round(end, 3)))
    return _columns("characters", "character", entries)
