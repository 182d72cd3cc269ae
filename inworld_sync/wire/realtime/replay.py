"""
What a new session is told of a conversation that an earlier one has had.

The service cannot take a session up again, so its items are made anew, under their old ids. What
was spoken is told as text; speech that was cut is told as far as it was heard.

Pure: no clock, no lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from inworld_sync.models.realtime import (
    ContentPart,
    ConversationEntry,
    CreateItem,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputText,
    Item,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    McpToolList,
    Message,
    OutputAudio,
    OutputText,
)

__all__ = ["Replay", "replay_of"]

# What the service makes by itself from the session's tools, or what was about them alone.
_LEFT_TO_THE_SERVICE = (McpToolList, McpCall, McpApprovalRequest, McpApprovalResponse)


@attrs.frozen
class Replay:
    """
    How a conversation is told again.

    Attributes:
        commands: In order.
        lost: The ids of items that cannot be told.
    """

    commands: tuple[CreateItem, ...]
    lost: tuple[str, ...]


def replay_of(
    entries: Iterable[ConversationEntry],
    unanswered: Iterable[CreateItem],
    heard_share: Mapping[str, float],
) -> Replay:
    """
    Tell a conversation again.

    Args:
        entries: What the service had, in order.
        unanswered: Items that it was given and has not said that it has.
        heard_share: For items that were cut, how much of them was heard, 0 to 1.
    """
    commands: list[CreateItem] = []
    lost: list[str] = []
    known = set()
    for entry in entries:
        known.add(entry.item.id)
        item = _told(entry, heard_share.get(entry.item.id or "", 1.0))
        if item is not None:
            commands.append(_create(item))
        elif not isinstance(entry.item, _LEFT_TO_THE_SERVICE):
            lost.append(entry.item.id or "")
    # Where they were to stand may be known to the old session alone, so they go last.
    commands += [_create(each.item) for each in unanswered if each.item.id not in known]
    return Replay(tuple(commands), tuple(lost))


def _create(item: Item) -> CreateItem:
    # Its own id names it in an error too.
    return CreateItem(item, event_id=item.id)


def _told(entry: ConversationEntry, heard_share: float) -> Item | None:
    item = entry.item
    if isinstance(item, Message):
        content = [_part(part, heard_share) for part in item.content]
        parts = tuple(part for part in content if part is not None)
        return attrs.evolve(item, content=parts, status=None, extra={}) if parts else None
    if isinstance(item, FunctionCall):
        if not entry.is_done or not item.name:
            return None
        return attrs.evolve(item, arguments=item.arguments or "{}", status=None, extra={})
    if isinstance(item, FunctionCallOutput):
        return attrs.evolve(item, status=None, extra={})
    return None


def _part(part: ContentPart, heard_share: float) -> ContentPart | None:
    """A part as it can be told; None if there is nothing to tell."""
    if isinstance(part, InputAudio):
        return InputText(part.transcript) if part.transcript else None
    if isinstance(part, OutputAudio):
        text = _heard_text(part.transcript or "", heard_share)
        return OutputText(text) if text else None
    if isinstance(part, OutputText):
        text = _heard_text(part.text, heard_share)
        return OutputText(text) if text else None
    return part


def _heard_text(text: str, share: float) -> str:
    """About the words that were heard: whole words, by their share of the letters."""
    if share >= 1.0:
        return text
    end = round(len(text) * share)
    if end < len(text) and not text[end].isspace():
        end = text.rfind(" ", 0, end) + 1
    return text[:end].rstrip()
