"""Keeps the words of a voice with their times, until they were heard."""

from __future__ import annotations

from collections.abc import Iterable

from inworld_sync.games.output import HeardItem, SpeechOutput
from inworld_sync.models.tts import WordTime
from inworld_sync.models.words import text_of_tokens, text_until
from inworld_sync.sessions.cues import Cues

__all__ = ["SpokenWords"]

# The words of this many items are kept.
_MAX_ITEMS = 64


class _ItemWords:
    """The words of one item of speech, and the tokens of the text that has these words."""

    def __init__(self) -> None:
        self.cues: Cues[WordTime] = Cues()
        self.tokens: list[str] = []


class SpokenWords:
    """
    The words of all items of a voice.

    Args:
        output: The output that plays the items.

    Attributes:
        quiet_until_ms: No word becomes due while the present item is heard up to this position.

    Thread safety: none; only the thread of the game uses this object.
    """

    def __init__(self, output: SpeechOutput) -> None:
        self._output = output
        self._items: dict[str, _ItemWords] = {}
        # The item for which quiet_until_ms is valid.
        self._quiet_item: str | None = None
        self.quiet_until_ms = float("-inf")

    def add(self, item: str, words: Iterable[WordTime], tokens: Iterable[str]) -> None:
        """Add words with their times, and the tokens of the text that has these words."""
        self.quiet_until_ms = float("-inf")
        found = tuple(words)
        kept = self._items.setdefault(item, _ItemWords())
        kept.cues.add(found)
        kept.tokens += list(tokens) or [word.text for word in found]
        if len(self._items) > _MAX_ITEMS:
            # Words may arrive after their speech was dropped, and are then never heard. So the
            # oldest words are removed.
            del self._items[next(iter(self._items))]

    def forget(self, heard: HeardItem) -> None:
        """Forget the words of speech that was dropped, except the words of the present item."""
        self.quiet_until_ms = float("-inf")
        self._items = {name: words for name, words in self._items.items() if name == heard.name}

    def reach(self, heard: HeardItem) -> Iterable[WordTime]:
        """Return the words that were heard since the last call."""
        if heard.heard_ms <= self.quiet_until_ms and heard.name == self._quiet_item:
            return ()
        found: list[WordTime] = []
        for name, words in list(self._items.items()):
            heard_ms = self._output.heard_ms(name)
            if heard_ms > words.cues.next_ms:
                found.extend(words.cues.reach(heard_ms))
            if heard_ms and name != heard.name and self._output.is_heard(name):
                del self._items[name]
        now = self._of(heard)
        self._quiet_item = heard.name
        self.quiet_until_ms = float("inf") if now is None else now.cues.next_ms
        return found

    def at(self, heard: HeardItem) -> WordTime | None:
        """Return the word that is heard; None between words."""
        words = self._of(heard)
        return None if words is None else words.cues.at(heard.position_ms)

    def text(self, heard: HeardItem) -> str:
        """Return the text of the present item up to the last word that was heard."""
        words = self._of(heard)
        if words is None:
            return ""
        found = [word.text for word in words.cues.before(heard.position_ms)]
        return text_until(text_of_tokens(words.tokens), found)

    def _of(self, heard: HeardItem) -> _ItemWords | None:
        return None if heard.name is None else self._items.get(heard.name)
