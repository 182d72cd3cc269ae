"""
The conversation's items over all connections of a session: what the service has, and is yet to get.

Pure: no clock, no lock; the owner serializes calls.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from inworld_sync.models.realtime import (
    ConversationEntry,
    CreateItem,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    RealtimeEvent,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.wire.realtime.conversation import Conversation
from inworld_sync.wire.realtime.replay import Replay, replay_of

__all__ = ["Items"]

# A service that acknowledges no items must not make a long session large.
_MAX_UNANSWERED = 1024


class Items:
    """
    The items of one session.

    Args:
        is_inworld: Whether transcripts of the user come whole each time.
    """

    def __init__(self, *, is_inworld: bool) -> None:
        self._is_inworld = is_inworld
        self._conversation = Conversation()
        self._heard_share: dict[str, float] = {}
        # Items that the service was given and has not said that it has, by their ids.
        self._unanswered: dict[str, CreateItem] = {}
        self._replay = Replay((), ())
        # Kinds and ids of messages that only repeat what users know from before a reconnect.
        self._echoes: set[tuple[type, str]] = set()
        self._transcripts: dict[str, str] = {}

    @property
    def entries(self) -> tuple[ConversationEntry, ...]:
        """All of them, in order."""
        return self._conversation.entries

    def get(self, item_id: str) -> ConversationEntry | None:
        """One of them."""
        return self._conversation.get(item_id)

    # What this side gives.

    def give(self, command: CreateItem) -> None:
        """Note an item that the service is given."""
        self._unanswered[command.item.id or ""] = command
        if len(self._unanswered) > _MAX_UNANSWERED:
            del self._unanswered[next(iter(self._unanswered))]

    def take_back(self, item_id: str | None) -> bool:
        """Forget an item that the service was not given after all, or refused; say if it was."""
        return self._unanswered.pop(item_id or "", None) is not None

    def unanswered(self, item_ids: set[str]) -> set[str]:
        """Those of some items that the service has not said that it has."""
        return item_ids & self._unanswered.keys()

    def cut(self, heard_share: Mapping[str, float]) -> None:
        """Note how much of items was heard, 0 to 1."""
        self._heard_share.update(heard_share)

    # What the service says.

    def note(self, event: RealtimeEvent) -> RealtimeEvent | None:
        """Follow a message; give it as it is told, or None if it tells nothing new."""
        if isinstance(event, UserTranscriptUpdated) and not self._is_inworld:
            event = self._whole(event)
        elif isinstance(event, UserTranscriptCompleted):
            self._transcripts.pop(event.item_id, None)
        self._conversation.note(event)
        if not isinstance(event, (ItemAdded, ItemDone)):
            return event
        item_id = event.item.id or ""
        self._unanswered.pop(item_id, None)
        is_echo = (type(event), item_id) in self._echoes
        self._echoes.discard((type(event), item_id))
        return None if is_echo else event

    def _whole(self, event: UserTranscriptUpdated) -> UserTranscriptUpdated:
        # The field's common protocol tells what is new, Inworld the whole turn.
        whole = self._transcripts.get(event.item_id, "") + event.transcript
        self._transcripts[event.item_id] = whole
        return attrs.evolve(event, transcript=whole)

    # Reconnecting.

    def retell(self) -> tuple[CreateItem, ...]:
        """Give what another connection is told; what it cannot be told leaves the conversation."""
        entries = self._conversation.entries
        self._replay = replay_of(entries, self._unanswered.values(), self._heard_share)
        known = {entry.item.id for entry in entries}
        self._echoes = {
            (kind, command.item.id or "")
            for command in self._replay.commands
            if command.item.id in known
            for kind in (ItemAdded, ItemDone)
        }
        for item_id in self._replay.lost:
            self._conversation.note(ItemDeleted(item_id))
        self._transcripts.clear()
        return self._replay.commands

    @property
    def told(self) -> Replay:
        """What the latest connection was told."""
        return self._replay

    def untold(self) -> list[CreateItem]:
        """Items that were given while another connection was being told."""
        told = {command.item.id for command in self._replay.commands}
        return [each for each in self._unanswered.values() if each.item.id not in told]
