"""
Converts the items of a conversation to commands for a new session.

The service cannot resume a session, so the client creates the items again with their old ids.
Speech is sent as text. If speech was truncated, only the part that was heard is sent.

This module has no clock and no lock.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import get_args

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
    UnknownPart,
)
from inworld_sync.models.scripts import has_spaces_between
from inworld_sync.wire.realtime.conversation import ROOT
from inworld_sync.wire.realtime.response_text import part_text

__all__ = ["Replay", "heard_text", "replay_of"]

# Items that the service creates by itself from the session's tools.
_CREATED_BY_SERVICE = (McpToolList, McpCall, McpApprovalRequest, McpApprovalResponse)


_KNOWN_PARTS = {kind.type for kind in get_args(ContentPart) if kind is not UnknownPart}


@attrs.frozen
class Replay:
    """
    A conversation as commands.

    Attributes:
        commands: The commands that create the items, in order.
        lost: The ids of items that cannot be sent.
    """

    commands: tuple[CreateItem, ...]
    lost: tuple[str, ...]


def replay_of(
    entries: Iterable[ConversationEntry],
    unacknowledged: Iterable[CreateItem],
    heard_share: Mapping[str, float],
) -> Replay:
    """
    Turn a conversation into commands for a new session.

    Args:
        entries: The items that the service had, in order.
        unacknowledged: Items that were sent and that the service has not acknowledged.
        heard_share: For each truncated item, the share that was heard, 0 to 1.
    """
    commands: list[CreateItem] = []
    lost: list[str] = []
    known = set()
    for entry in entries:
        known.add(entry.item.id)
        item = _replayed(entry, heard_share.get(entry.item.id or "", 1.0))
        if item is not None:
            commands.append(_create(item))
        elif not isinstance(entry.item, _CREATED_BY_SERVICE):
            lost.append(entry.item.id or "")
    # Only the old session may know the positions of these items, so the items are added at the end
    # or at the beginning.
    commands += [
        _create(each.item, ROOT if each.previous_item_id == ROOT else None)
        for each in unacknowledged
        if each.item.id not in known
    ]
    return Replay(tuple(commands), tuple(lost))


def _create(item: Item, previous_item_id: str | None = None) -> CreateItem:
    # An error of the service about the item has this event id.
    return CreateItem(item, previous_item_id, event_id=item.id)


def _replayed(entry: ConversationEntry, heard_share: float) -> Item | None:
    item = entry.item
    if isinstance(item, Message):
        content = [_part(part, heard_share) for part in item.content]
        parts = tuple(part for part in content if part is not None)
        return attrs.evolve(item, content=parts, status=None, extra={}) if parts else None
    if isinstance(item, FunctionCall):
        if not entry.is_done or not item.name:
            return None
        # Services refuse a call whose arguments are not JSON, and then also the output of the call.
        arguments = item.arguments if _is_json(item.arguments) else "{}"
        return attrs.evolve(item, arguments=arguments, status=None, extra={})
    if isinstance(item, FunctionCallOutput):
        return attrs.evolve(item, status=None, extra={})
    return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _part(part: ContentPart, heard_share: float) -> ContentPart | None:
    """Return a part in the form that can be sent, or None if there is nothing to send."""
    if isinstance(part, UnknownPart) and part.type in _KNOWN_PARTS:
        # The part is malformed, for example because the service does not send pictures back.
        return None
    if isinstance(part, InputAudio):
        return InputText(part.transcript) if part.transcript else None
    if isinstance(part, (OutputAudio, OutputText)):
        text = heard_text(part_text(part), heard_share)
        return OutputText(text) if text else None
    return part


def heard_text(text: str, share: float) -> str:
    """Return the whole words that were probably heard, if *share* of the audio was heard."""
    if share >= 1.0:
        return text
    end = round(len(text) * share)
    while 0 < end < len(text) and not _is_between_words(text[end - 1], text[end]):
        end -= 1
    return text[:end].rstrip()


def _is_between_words(before: str, after: str) -> bool:
    if after.isspace():
        return True
    # In a script without spaces, a text may end after any character and the marks of the character.
    return not (has_spaces_between(before, after) or unicodedata.category(after).startswith("M"))
