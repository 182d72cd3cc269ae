"""
Keeps the items of a conversation, in order.

Locks: ``_lock`` guards the list. The lock is held while an event about a change is queued, so that
clients receive changes in order. Queueing never waits for the client.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import attrs

from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.events import EventSender, InvalidRequest, new_id

__all__ = ["Conversation", "Item", "SpokenText", "new_item", "read_item"]

Item = dict[str, object]

_TYPES = ("message", "function_call", "function_call_output", "mcp_approval_response")
_NEEDED = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
_ROLES = ("user", "assistant", "system", "tool")
_TEXT_TYPES = ("input_text", "text", "output_text")
_CONTENT_TYPES = (*_TEXT_TYPES, "input_audio", "input_image", "audio", "output_audio")
# The id that stands for the place before all items.
_ROOT = "root"
# The memory of an item besides its text.
_ITEM_BYTES = 1024


@attrs.frozen
class SpokenText:
    """
    The times of the words of a spoken reply. Truncation needs these times.

    Attributes:
        words: For each word, the index in the transcript at which the word ends, and the second at
            which the word begins.
        duration: The length of the audio in seconds.
    """

    words: tuple[tuple[int, float], ...]
    duration: float

    def heard(self, transcript: str, seconds: float) -> str:
        """Return the transcript up to the last word that begins before *seconds*."""
        ends = [end for end, start in self.words if start < seconds]
        return transcript[: max(ends)] if ends else ""


class Conversation:
    """
    The items of one session.

    Items are never changed in place, so the items that a caller has do not change.

    Args:
        events: The object that sends the events.
        max_bytes: The largest size of all items. Beyond this size, the oldest items are removed
            without an event.

    Thread safety: any thread may use this object.
    """

    def __init__(self, events: EventSender, max_bytes: int) -> None:
        self._events = events
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._items: list[Item] = []
        self._sizes: dict[str, int] = {}
        self._spoken: dict[str, SpokenText] = {}
        # Where the audio of truncated items ends, in seconds.
        self._ends: dict[str, float] = {}

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, oldest first."""
        with self._lock:
            return tuple(self._items)

    @property
    def last_id(self) -> str | None:
        """The id of the newest item."""
        with self._lock:
            return self._id_before(len(self._items))

    def add(self, item: Item, *, after: object = None, hides_previous: bool = False) -> None:
        """
        Add an item and send ``conversation.item.added``.

        Args:
            item: The item, with an id.
            after: The id of the item before the new item, ``root`` for the beginning, or None for
                the end.
            hides_previous: Whether to send null instead of the id of the previous item.

        Raises:
            InvalidRequest: The item *after* does not exist, the id is in use, or the item is too
                large.
        """
        size = _size_of(item)
        if size > self._max_bytes:
            message = f"An item can have at most {self._max_bytes} bytes."
            raise InvalidRequest("item_too_large", message, "item")
        with self._lock:
            if any(one["id"] == item["id"] for one in self._items):
                message = f"Item with id '{item['id']}' already exists."
                raise InvalidRequest("item_already_exists", message, "item.id")
            at = len(self._items)
            if after == _ROOT:
                at = 0
            elif after is not None:
                at = self._index(after, "item_create", "previous_item_id") + 1
            self._items.insert(at, item)
            previous = None if hides_previous else self._id_before(at)
            self._sizes[str(item["id"])] = size
            self._remove_oldest()
            self._events.send("conversation.item.added", previous_item_id=previous, item=item)

    def finish(self, item: Item) -> None:
        """Replace an item with its final form, and send ``conversation.item.done``."""
        kind = "conversation.item.done"
        with self._lock:
            for at, one in enumerate(self._items):
                if one["id"] == item["id"]:
                    item = self._items[at] = self._until_end(item)
                    self._sizes[str(item["id"])] = _size_of(item)
                    self._events.send(kind, previous_item_id=self._id_before(at), item=item)

    def change(self, item_id: str, **fields: object) -> None:
        """Change fields of an item, if the item still exists, without an event."""
        with self._lock:
            self._items = [
                {**one, **fields} if one["id"] == item_id else one for one in self._items
            ]

    def remember_speech(self, item_id: str, spoken: SpokenText) -> None:
        """Store the times of a spoken reply, as far as the reply was sent."""
        with self._lock:
            if item_id in self._sizes:
                self._spoken[item_id] = spoken

    def retrieve(self, item_id: object) -> None:
        """Send ``conversation.item.retrieved``."""
        with self._lock:
            item = self._items[self._index(item_id, "item_retrieve", "item_id")]
            self._events.send("conversation.item.retrieved", item=item)

    def delete(self, item_id: object) -> None:
        """Remove an item and send ``conversation.item.deleted``."""
        with self._lock:
            self._remove(self._index(item_id, "item_delete", "item_id"))
            self._events.send("conversation.item.deleted", item_id=item_id)

    def truncate(
        self, item_id: object, content_index: int, end_ms: float, audio_end_ms: object
    ) -> None:
        """
        Truncate a spoken reply to the part that was played.

        A reply that is still being spoken can be truncated too; its audio continues until the
        response is cancelled.

        Args:
            item_id: The id of the reply.
            content_index: The index of the reply's audio part.
            end_ms: The milliseconds of audio that were played.
            audio_end_ms: The value that the client sent.

        Raises:
            InvalidRequest: The item does not exist, is not a spoken reply, or is shorter than
                *end_ms*.
        """
        with self._lock:
            at = self._index(item_id, "item_truncate", "item_id")
            spoken = self._spoken.get(str(item_id))
            if spoken is None or content_index > 0:
                raise InvalidRequest(
                    "unsupported_content_type",
                    "Only model output audio messages can be truncated",
                    "item_id",
                )
            length = self._ends.get(str(item_id), spoken.duration)
            if end_ms > length * 1000 + 1:
                raise InvalidRequest(
                    "invalid_value",
                    f"Audio content of {length * 1000:.0f}ms is already shorter than "
                    f"{end_ms:.0f}ms",
                    "audio_end_ms",
                )
            self._ends[str(item_id)] = end_ms / 1000
            self._items[at] = self._until_end(self._items[at])
            self._events.send(
                "conversation.item.truncated",
                item_id=item_id,
                content_index=content_index,
                audio_end_ms=audio_end_ms,
            )

    def _until_end(self, item: Item) -> Item:
        """Return an item. If the item was truncated, keep only the transcript that was played."""
        item_id, content = str(item["id"]), item.get("content")
        end = self._ends.get(item_id)
        if end is None or not isinstance(content, list):
            return item
        spoken = self._spoken[item_id]
        parts = [
            {**part, "transcript": spoken.heard(str(part.get("transcript", "")), end)}
            for part in content
        ]
        return {**item, "content": parts}

    def forget_oldest(self, keep: int) -> int:
        """Remove all but the newest *keep* items, without an event; return the number removed."""
        with self._lock:
            count = max(0, len(self._items) - keep)
            for _ in range(count):
                self._remove(0)
            return count

    def _remove(self, at: int) -> None:
        item_id = str(self._items.pop(at)["id"])
        self._sizes.pop(item_id, None)
        self._spoken.pop(item_id, None)
        self._ends.pop(item_id, None)

    def _remove_oldest(self) -> None:
        total = sum(self._sizes.values())
        while total > self._max_bytes and len(self._items) > 1:
            total -= self._sizes.get(str(self._items[0]["id"]), 0)
            self._remove(0)

    def _index(self, item_id: object, what: str, param: str) -> int:
        for at, item in enumerate(self._items):
            if item["id"] == item_id:
                return at
        raise InvalidRequest(
            f"{what}_invalid_item_id", f"Item with id '{item_id}' does not exist.", param
        )

    def _id_before(self, at: int) -> str | None:
        return str(self._items[at - 1]["id"]) if at else None


def _size_of(item: Item) -> int:
    return _ITEM_BYTES + len(json.dumps(item))


def new_item(kind: str, id_prefix: str = "item", **fields: object) -> Item:
    """Make an item with a new id."""
    return {"id": new_id(id_prefix), "object": "realtime.item", "type": kind, **fields}


def read_item(value: object, known: Sequence[Item], param: str = "item") -> Item:
    """
    Read an item of ``conversation.item.create``.

    Args:
        value: The value from JSON.
        known: The items of the conversation. A tool output must belong to a call among these items.
        param: The field with the item.

    Raises:
        InvalidRequest: The value is not an item.
    """
    value = checks.an_object(value, param)
    checks.one_of(value.get("type", "message"), _TYPES, f"{param}.type")
    item: Item = {
        "id": checks.text(value, "id", param) or new_id("item"),
        "object": "realtime.item",
        "type": value.get("type", "message"),
        "status": "completed",
    }
    if item["type"] == "message":
        checks.one_of(value.get("role"), _ROLES, f"{param}.role")
        return {**item, "role": value["role"], "content": _content(value.get("content"), param)}
    for name in _NEEDED.get(str(item["type"]), ()):
        checks.required_text(value, name, param)
    if item["type"] == "function_call_output":
        calls = [one.get("call_id") for one in known if one["type"] == "function_call"]
        if value["call_id"] not in calls:
            message = f"Tool call ID '{value['call_id']}' not found in conversation."
            raise InvalidRequest("invalid_tool_call_id", message, f"{param}.call_id")
    return {**value, **item}


def _content(value: object, param: str) -> list[object]:
    if isinstance(value, str):
        return [{"type": "input_text", "text": value}]
    parts = checks.a_list(value, f"{param}.content")
    for at, one in enumerate(parts):
        where = f"{param}.content[{at}]"
        part = checks.an_object(one, where)
        checks.one_of(part.get("type"), _CONTENT_TYPES, f"{where}.type")
        if part["type"] in _TEXT_TYPES:
            checks.text(part, "text", where)
    return list(parts)
