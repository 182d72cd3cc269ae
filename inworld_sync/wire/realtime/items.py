"""
Keeps the items of a session over all its connections, including items that are being sent.

This module has no clock and no lock. The owner serializes the calls.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from inworld_sync.models.realtime import (
    CreateItem,
    ErrorInfo,
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

# The largest number of unacknowledged items that are kept. This limits the memory if the service
# acknowledges no items.
_MAX_UNACKNOWLEDGED = 1024


class Items:
    """
    The items of one session.

    Args:
        is_inworld: Whether each transcript of the user is the whole turn so far.

    Attributes:
        conversation: The items that the service has.
        last_replay: The replay that was made for the latest connection.
    """

    def __init__(self, *, is_inworld: bool) -> None:
        self._is_inworld = is_inworld
        self.conversation = Conversation()
        self._heard_share: dict[str, float] = {}
        # Items that were sent and that the service has not acknowledged, by their ids.
        self._unacknowledged: dict[str, CreateItem] = {}
        self.last_replay = Replay((), ())
        # Classes and ids of events that users already got before the reconnect.
        self._echoes: set[tuple[type, str]] = set()
        self._transcripts: dict[str, str] = {}

    # Items that the client sends.

    def add(self, command: CreateItem) -> None:
        """Record an item that is being sent."""
        self._unacknowledged[command.item.id or ""] = command
        if len(self._unacknowledged) > _MAX_UNACKNOWLEDGED:
            del self._unacknowledged[next(iter(self._unacknowledged))]

    def remove(self, item_id: str | None) -> bool:
        """Remove an item that was not sent or was refused; return whether it was unacknowledged."""
        return self._unacknowledged.pop(item_id or "", None) is not None

    def refuse(self, item_id: str, error: ErrorInfo) -> None:
        """Forget an item that the service has refused. The item may be a replayed item."""
        self.remove(item_id)
        if "duplicate" not in (error.code or ""):
            self.conversation.handle(ItemDeleted(item_id))

    def unacknowledged(self, item_ids: set[str]) -> set[str]:
        """Return which of these items the service has not acknowledged."""
        return item_ids & self._unacknowledged.keys()

    def set_heard_share(self, heard_share: Mapping[str, float]) -> None:
        """Record how much of each truncated item was heard, 0 to 1."""
        self._heard_share.update(heard_share)

    # Messages of the service.

    def handle(self, event: RealtimeEvent) -> RealtimeEvent | None:
        """Apply a message; return the event for users, or None if the message has nothing new."""
        if isinstance(event, UserTranscriptUpdated) and not self._is_inworld:
            event = self._whole(event)
        elif isinstance(event, UserTranscriptCompleted):
            self._transcripts.pop(event.item_id, None)
        if not isinstance(event, (ItemAdded, ItemDone)):
            self.conversation.handle(event)
            return event
        item_id = event.item.id or ""
        command = self._unacknowledged.pop(item_id, None)
        if command is not None and event.previous_item_id is None:
            # The service may send null as ``previous_item_id`` for an item at the beginning. The
            # command has the id that the client sent.
            previous_id = command.previous_item_id
            self.conversation.handle(attrs.evolve(event, previous_item_id=previous_id))
        else:
            self.conversation.handle(event)
        is_echo = (type(event), item_id) in self._echoes
        self._echoes.discard((type(event), item_id))
        return None if is_echo else event

    def _whole(self, event: UserTranscriptUpdated) -> UserTranscriptUpdated:
        # OpenAI sends the new part of the transcript. Inworld sends the whole turn.
        whole = self._transcripts.get(event.item_id, "") + event.transcript
        self._transcripts[event.item_id] = whole
        return attrs.evolve(event, transcript=whole)

    # Reconnecting.

    def replay(self) -> tuple[CreateItem, ...]:
        """Return the commands for a new connection; items that cannot be sent are removed."""
        entries = self.conversation.entries
        self.last_replay = replay_of(entries, self._unacknowledged.values(), self._heard_share)
        known = {entry.item.id for entry in entries}
        self._echoes = {
            (kind, command.item.id or "")
            for command in self.last_replay.commands
            if command.item.id in known
            for kind in (ItemAdded, ItemDone)
        }
        for item_id in self.last_replay.lost:
            self.conversation.handle(ItemDeleted(item_id))
        self._transcripts.clear()
        return self.last_replay.commands

    def not_replayed(self) -> list[CreateItem]:
        """Return items that were added while the replay was being sent."""
        replayed = {command.item.id for command in self.last_replay.commands}
        return [each for each in self._unacknowledged.values() if each.item.id not in replayed]
