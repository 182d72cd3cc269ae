"""
Reads markup in text: pauses, steering tags, emphasis and phonetic spelling.

Source: both official SDKs (``<break time="1.5s"/>``, ``time="300ms"``), the service's documentation
(steering tags such as ``[happy]``, ``*emphasis*``), and its clients (``/kriːt/``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import attrs

from inworld_sync.emulator.status import INVALID_ARGUMENT, Refused

__all__ = ["Passage", "check_readable", "is_phonetic", "read_markup"]

_MAX_PAUSE_SECONDS = 10.0
_BREAK = re.compile(r"<break\b([^<>]*)/?>", re.IGNORECASE)
_BREAK_TIME = re.compile(
    r"""time\s*=\s*["']?\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s)\b""", re.IGNORECASE
)
# A tag has words in brackets. A link such as [name](address) is not a tag.
_STEERING = re.compile(r"\[[A-Za-z][A-Za-z ,'-]{0,60}\](?!\()")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(?=[^\s*])([^*\n]*[^\s*])\1(?![\w*])")
_IPA = "abdefhijklmnoprstuvwzæðŋɐɑɒɔəɚɛɜɝɡgɪɹɾʃʊʌʒθʔˈˌː."
_PHONETIC = re.compile(rf"(?<![\w/])/[{_IPA}]+/(?![\w/])")


@attrs.frozen
class Passage:
    """
    A part of a text, with its markup removed, and the pause after this part.

    Attributes:
        text: The text to speak. Phonetic spelling keeps its slashes.
        places: For each character of *text*, its index in the text with markup.
        pause_seconds: The pause after the passage.
    """

    text: str
    places: tuple[int, ...]
    pause_seconds: float = 0.0


def read_markup(text: str) -> Iterator[Passage]:
    """Divide a text at its pauses, and remove its markup."""
    start = 0
    for found in _BREAK.finditer(text):
        yield _passage(text, start, found.start(), _seconds(found[1]))
        start = found.end()
    yield _passage(text, start, len(text), 0.0)


def is_phonetic(word: str) -> bool:
    """Return whether a word is written in phonetic symbols."""
    return bool(_PHONETIC.search(word))


def check_readable(text: str) -> str:
    """
    Check that an English voice can read a text.

    Returns:
        The letters and symbols of the text that are left out.

    Raises:
        Refused: The text has letters or symbols, and the voice can read none of them.
    """
    shown = _BREAK.sub(" ", text)
    unread = "".join(dict.fromkeys(one for one in shown if _is_unreadable(one)))
    if unread and not any(one.isalnum() and not _is_unreadable(one) for one in shown):
        raise Refused(
            INVALID_ARGUMENT,
            f"the text cannot be spoken: the emulator speaks English only, got {unread[:40]!r}",
        )
    return unread


def _is_unreadable(character: str) -> bool:
    kind = unicodedata.category(character)
    if kind in ("So", "Lo", "Nl"):
        return character not in "ªº°©®™"
    if kind[0] != "L":
        return False
    name = unicodedata.name(character, "")
    # The symbols of phonetic spelling are Latin letters, modifier letters and the theta.
    return not (
        name.startswith(("LATIN", "FULLWIDTH LATIN", "GREEK SMALL LETTER THETA")) or kind == "Lm"
    )


def _passage(text: str, start: int, end: int, pause_seconds: float) -> Passage:
    part = text[start:end]
    removed: set[int] = set()
    for found in _STEERING.finditer(part):
        removed.update(range(*found.span()))
    for found in _EMPHASIS.finditer(part):
        removed.update((*range(*found.span(1)), *range(found.end(2), found.end())))
    places = tuple(start + at for at in range(len(part)) if at not in removed)
    return Passage("".join(text[place] for place in places), places, pause_seconds)


def _seconds(attributes: str) -> float:
    found = _BREAK_TIME.search(attributes)
    if not found:
        return 0.0
    seconds = float(found[1]) / (1000 if found[2].lower() == "ms" else 1)
    return min(seconds, _MAX_PAUSE_SECONDS)
