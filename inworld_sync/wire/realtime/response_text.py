"""
Collects the text of one response. The text arrives in pieces, as a whole, or in both forms.

Rules:

- text and transcript may arrive for the same words; only the kind that arrives first is used;
- a delta is the next piece;
- a whole text (of a part, an item or the response) may begin with the pieces that have arrived for
  the same part, item or response. Then only the rest of the whole text is added. Otherwise nothing
  is added;
- text that arrives after the client has cancelled the response is held back. This text is used only
  if the response is completed in spite of the cancel.

This module has no clock and no lock. The owner serializes the calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

from inworld_sync.models.realtime import (
    ContentPart,
    ContentPartDone,
    InputAudio,
    InputText,
    Item,
    Message,
    OutputAudio,
    OutputItemDone,
    OutputText,
    TextDelta,
    TextDone,
    TranscriptDelta,
    TranscriptDone,
)

__all__ = ["ResponseText", "TextEvent", "TextKind", "part_text", "text_of"]

TextKind: TypeAlias = Literal["text", "transcript"]

# The events that :meth:`ResponseText.add` handles.
TextEvent: TypeAlias = (
    ContentPartDone | OutputItemDone | TextDelta | TextDone | TranscriptDelta | TranscriptDone
)


def part_text(part: ContentPart) -> str:
    """Return the text of a part, written or spoken; empty if the part has none."""
    if isinstance(part, (InputText, OutputText)):
        return part.text
    if isinstance(part, (InputAudio, OutputAudio)):
        return part.transcript or ""
    return ""


def text_of(event: TextDelta | TextDone | TranscriptDelta | TranscriptDone) -> tuple[TextKind, str]:
    """Return the kind and the text of a message."""
    if isinstance(event, TextDone):
        return "text", event.text
    if isinstance(event, TranscriptDone):
        return "transcript", event.transcript
    return ("text" if isinstance(event, TextDelta) else "transcript"), event.delta


def _kind_of(part: ContentPart) -> TextKind:
    return "transcript" if isinstance(part, OutputAudio) else "text"


@attrs.define
class ResponseText:
    """
    The text of one response.

    Attributes:
        pieces: The pieces that are used, in the order of their arrival.
    """

    pieces: list[str] = attrs.field(factory=list)
    _kind: TextKind | None = None
    # The text of each part, by the id of the item and the index of the part.
    _parts: dict[tuple[str, int], str] = attrs.field(factory=dict)
    _held_back: list[str] = attrs.field(factory=list)

    def add(self, event: TextEvent, *, is_cancelled: bool) -> bool:
        """Add the text of a message; return whether the pieces changed."""
        if isinstance(event, OutputItemDone):
            return self.add_items([event.item], is_cancelled=is_cancelled)
        if isinstance(event, ContentPartDone):
            kind, text = _kind_of(event.part), part_text(event.part)
        else:
            kind, text = text_of(event)
        if not text or not self._is_counted(kind):
            return False
        place = event.item_id, event.content_index
        if not isinstance(event, (TextDelta, TranscriptDelta)):
            before = self._parts.get(place, "")
            if not before and text == self._item_text(event.item_id):
                # The same text has arrived under another index.
                return False
            text = _rest(text, before)
        return self._append(place, text, is_cancelled=is_cancelled)

    def add_items(self, items: Iterable[Item], *, is_cancelled: bool) -> bool:
        """Add the text of complete items; return whether the pieces changed."""
        has_changed = False
        for item in items:
            if not isinstance(item, Message) or item.role != "assistant":
                continue
            parts = [part for part in item.content if part_text(part)]
            if not parts or not self._is_counted(self._kind or _kind_of(parts[0])):
                continue
            text = "".join(part_text(part) for part in parts if _kind_of(part) == self._kind)
            item_id = item.id or ""
            before = self._item_text(item_id)
            if not before and text in map(self._item_text, {name for name, _ in self._parts}):
                # The same text has arrived under another id.
                continue
            index = max((index for name, index in self._parts if name == item_id), default=0)
            rest = _rest(text, before)
            has_changed |= self._append((item_id, index), rest, is_cancelled=is_cancelled)
        return has_changed

    def release(self) -> None:
        """Use the text that was held back, because the response was completed."""
        self.pieces += self._held_back
        self._held_back.clear()

    def _is_counted(self, kind: TextKind) -> bool:
        self._kind = self._kind or kind
        return kind == self._kind

    def _item_text(self, item_id: str) -> str:
        return "".join(self._parts[place] for place in sorted(self._parts) if place[0] == item_id)

    def _append(self, place: tuple[str, int], text: str, *, is_cancelled: bool) -> bool:
        if not text:
            return False
        self._parts[place] = self._parts.get(place, "") + text
        (self._held_back if is_cancelled else self.pieces).append(text)
        return not is_cancelled


def _rest(whole: str, before: str) -> str:
    """Return the part of *whole* after *before*; empty if *whole* does not begin with *before*."""
    return whole[len(before) :] if whole.startswith(before) else ""
