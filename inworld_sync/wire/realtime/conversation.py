"""
Keeps the conversation as the service's messages describe it.

Items are in the service's order. The text of an item is updated with each message: deltas of the
assistant are joined, and each transcript of a user's turn replaces the previous transcript. When an
item is done, the text in the item replaces this text, unless the item's text is empty.

Rules that follow from the observed behavior of services:

- if ``previous_item_id`` is null, the item is at the end of the conversation, even if the item is a
  function call;
- a user's transcript may arrive before its item, so such transcripts are kept, for at most 32
  items;
- text deltas and transcript deltas may both arrive for one item; only the kind that arrives first
  is used;
- after a transcript is completed, only another completed transcript replaces the first;
- the end of a response, with any status, ends all items of the response.

This module has no clock and no lock. The owner serializes the calls.
Sources: Inworld Realtime reference; clients that log the behavior of services.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs

from inworld_sync.models import realtime as rt
from inworld_sync.wire.realtime.response_text import TextKind, part_text, text_of

__all__ = ["CONVERSATION_EVENTS", "ROOT", "Conversation"]

_MAX_WAITING = 32

# The ``previous_item_id`` of an item that is the first of the conversation.
ROOT = "root"


@attrs.define
class _Draft:
    """An item in progress, with its parts by index and the kind of text that is used."""

    item: rt.Item | None = None
    parts: dict[int, rt.ContentPart] = attrs.field(factory=dict)
    stream: TextKind | None = None
    completed: set[int] = attrs.field(factory=set)
    response_id: str | None = None
    is_done: bool = False
    truncated_ms: int | None = None

    def update_item(self, item: rt.Item) -> None:
        """Replace the item with the item of a message."""
        self.item = item
        if isinstance(item, rt.Message):
            for index, part in enumerate(item.content):
                self.update_part(index, part)

    def update_part(self, index: int, part: rt.ContentPart) -> None:
        """Replace a part with the part of a message, unless the text of the part would be lost."""
        before = self.parts.get(index)
        if before is None or part_text(part) or not part_text(before):
            self.parts[index] = part

    def entry(self) -> rt.ConversationEntry:
        """Return the item with its present content."""
        assert self.item is not None
        item = self.item
        if isinstance(item, rt.Message):
            item = attrs.evolve(item, content=tuple(self.parts[i] for i in sorted(self.parts)))
        return rt.ConversationEntry(item, self.is_done, self.truncated_ms)


def _with_text(part: rt.ContentPart, text: str) -> rt.ContentPart:
    if isinstance(part, (rt.InputText, rt.OutputText)):
        return attrs.evolve(part, text=text)
    if isinstance(part, (rt.InputAudio, rt.OutputAudio)):
        return attrs.evolve(part, transcript=text)
    return part


class Conversation:
    """
    The items of one session in their order.

    Attributes:
        handlers: The method for each class of events.
    """

    def __init__(self) -> None:
        self._order: list[str] = []
        self._drafts: dict[str, _Draft] = {}
        # Items that messages name, but that are not in the conversation yet; the oldest is first.
        self._waiting: dict[str, _Draft] = {}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def entries(self) -> tuple[rt.ConversationEntry, ...]:
        """All items, in order."""
        return tuple(self._drafts[item_id].entry() for item_id in self._order)

    def get(self, item_id: str) -> rt.ConversationEntry | None:
        """Return the item with this id, or None if the conversation has no such item."""
        draft = self._drafts.get(item_id)
        return None if draft is None else draft.entry()

    def handle(self, event: rt.RealtimeEvent) -> None:
        """Apply a message; a message that is not about items changes nothing."""
        handler = self.handlers.get(type(event))
        if handler is not None:
            handler(self, event)

    def _handle_truncated(self, event: rt.ItemTruncated) -> None:
        if event.item_id in self._drafts:
            self._drafts[event.item_id].truncated_ms = event.audio_end_ms

    def _handle_output(self, event: rt.OutputItemAdded | rt.OutputItemDone) -> None:
        assert event.item.id is not None
        self._draft(event.item.id, event.response_id).update_item(event.item)

    def _handle_part(self, event: rt.ContentPartAdded | rt.ContentPartDone) -> None:
        self._draft(event.item_id, event.response_id).update_part(event.content_index, event.part)

    def _handle_text(
        self, event: rt.TextDelta | rt.TextDone | rt.TranscriptDelta | rt.TranscriptDone
    ) -> None:
        kind, text = text_of(event)
        draft = self._draft(event.item_id, event.response_id)
        part = draft.parts.get(event.content_index)
        if part is not None and isinstance(event, (rt.TextDelta, rt.TranscriptDelta)):
            text = part_text(part) + text
        # A spoken reply comes as text and as transcript. Only the kind that comes first is used.
        draft.stream = draft.stream or kind
        if kind == draft.stream:
            empty = rt.OutputText() if kind == "text" else rt.OutputAudio()
            draft.parts[event.content_index] = _with_text(part or empty, text)

    def _handle_arguments(self, event: rt.FunctionArgumentsDone) -> None:
        draft = self._draft(event.item_id, event.response_id)
        if isinstance(draft.item, rt.FunctionCall):
            draft.item = attrs.evolve(draft.item, arguments=event.arguments)

    def _draft(self, item_id: str, response_id: str | None = None) -> _Draft:
        draft = self._drafts.get(item_id) or self._waiting.get(item_id)
        if draft is None:
            draft = self._waiting[item_id] = _Draft()
            if len(self._waiting) > _MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
        if response_id is not None:
            draft.response_id = response_id
        return draft

    def _join(self, event: rt.ItemAdded | rt.ItemDone | rt.ItemRetrieved) -> None:
        item, item_id = event.item, event.item.id
        assert item_id is not None
        draft = self._drafts.get(item_id) or self._waiting.pop(item_id, None) or _Draft()
        draft.update_item(item)
        is_done = isinstance(event, rt.ItemDone) or getattr(item, "status", None) == "completed"
        draft.is_done = draft.is_done or is_done
        if item_id not in self._drafts:
            previous_id = None if isinstance(event, rt.ItemRetrieved) else event.previous_item_id
            self._order.insert(self._place_after(previous_id), item_id)
            self._drafts[item_id] = draft

    def _place_after(self, previous_item_id: str | None) -> int:
        if previous_item_id == ROOT:
            return 0
        if previous_item_id in self._drafts:
            return self._order.index(previous_item_id) + 1
        return len(self._order)

    def _delete(self, event: rt.ItemDeleted) -> None:
        self._waiting.pop(event.item_id, None)
        if self._drafts.pop(event.item_id, None) is not None:
            self._order.remove(event.item_id)

    def _handle_transcript(
        self, event: rt.UserTranscriptUpdated | rt.UserTranscriptCompleted
    ) -> None:
        draft = self._draft(event.item_id)
        index = event.content_index
        if isinstance(event, rt.UserTranscriptCompleted):
            draft.completed.add(index)
        elif index in draft.completed:
            return
        draft.parts[index] = _with_text(draft.parts.get(index, rt.InputAudio()), event.transcript)

    def _end_response(self, event: rt.ResponseDone) -> None:
        response = event.response
        for item in response.output:
            if item.id in self._drafts:
                self._drafts[item.id].update_item(item)
                self._drafts[item.id].is_done = True
        for draft in self._drafts.values():
            if draft.response_id == response.id:
                draft.is_done = True
        for item_id, draft in list(self._waiting.items()):
            if draft.response_id == response.id:
                del self._waiting[item_id]

    handlers: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        rt.ContentPartAdded: _handle_part,
        rt.ContentPartDone: _handle_part,
        rt.FunctionArgumentsDone: _handle_arguments,
        rt.ItemAdded: _join,
        rt.ItemDeleted: _delete,
        rt.ItemDone: _join,
        rt.ItemRetrieved: _join,
        rt.ItemTruncated: _handle_truncated,
        rt.OutputItemAdded: _handle_output,
        rt.OutputItemDone: _handle_output,
        rt.ResponseDone: _end_response,
        rt.TextDelta: _handle_text,
        rt.TextDone: _handle_text,
        rt.TranscriptDelta: _handle_text,
        rt.TranscriptDone: _handle_text,
        rt.UserTranscriptCompleted: _handle_transcript,
        rt.UserTranscriptUpdated: _handle_transcript,
    }


# The events that :meth:`Conversation.handle` handles.
CONVERSATION_EVENTS = tuple(Conversation.handlers)
