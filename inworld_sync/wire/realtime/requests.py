"""
Keeps the requests of a realtime session that the service has not answered, in the pending table.

An error of the service with an event id refuses the request with this id. An error without an event
id refuses the only pending request of the kind that the error shows. If the error shows no kind,
the error refuses the only pending request.

This module has no clock and no lock. The owner serializes the calls and passes times, in seconds of
one monotonic clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

import attrs

from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.models.realtime import (
    CreateItem,
    CreateResponse,
    DeleteItem,
    ErrorInfo,
    ItemDeleted,
    RealtimeEvent,
    RetrieveItem,
    SessionUpdated,
    TruncateItem,
    UpdateSession,
)
from inworld_sync.wire.codec import JsonObject, dump_text
from inworld_sync.wire.pending import Pending, PendingTable
from inworld_sync.wire.realtime.faults import refused_command, service_error

__all__ = ["PendingReply", "Request", "Requests"]


class Request(enum.Enum):
    """
    The kinds of entries of the pending table.

    The value of most kinds is the type of a command. ``OPEN`` is the update of settings that opens
    a session. ``ACTIVE`` is a response in progress. ``RETRY`` is the delay before a request is sent
    again. ``RENEWAL`` is the time until the session is renewed.
    """

    OPEN = "open"
    UPDATE = UpdateSession.type
    ITEM = CreateItem.type
    RETRIEVE = RetrieveItem.type
    TRUNCATE = TruncateItem.type
    DELETE = DeleteItem.type
    RESPONSE = CreateResponse.type
    ACTIVE = "active"
    RETRY = "retry"
    RENEWAL = "renewal"


_COMMANDS = frozenset(Request) - {Request.ACTIVE, Request.RETRY, Request.RENEWAL}


@attrs.define(eq=False)
class PendingReply:
    """
    The answer to one command.

    Attributes:
        kind: The kind of command.
        event_id: The command's id, which the service names in an error.
        text: The command as JSON text.
        change: The settings that the command asks for; None for other commands.
        item_id: The item that the command is about; None for an update.
        is_watched: Whether a thread waits for the answer.
        event: The event that is the answer.
        error: The error if there is no such event: a refusal, a timeout or a lost connection.
    """

    kind: Request
    event_id: str
    text: str
    change: JsonObject | None = None
    item_id: str | None = None
    is_watched: bool = True
    event: RealtimeEvent | None = None
    error: InworldError | None = None

    @classmethod
    def to_update(
        cls, kind: Request, change: JsonObject, event_id: str, *, is_watched: bool
    ) -> PendingReply:
        """Make the pending answer to an update of the session's settings."""
        command = {"type": UpdateSession.type, "event_id": event_id, "session": change}
        return cls(kind, event_id, dump_text(command), change, is_watched=is_watched)

    @property
    def is_unwatched_update(self) -> bool:
        """True for an update of settings for which no thread waits."""
        return self.kind is Request.UPDATE and not self.is_watched

    @property
    def is_over(self) -> bool:
        """True once the request has ended."""
        return self.event is not None or self.error is not None


class Requests:
    """
    The pending requests of one session.

    Attributes:
        table: The entries of these requests, and of responses, delays and the session's age.
    """

    def __init__(self) -> None:
        self.table: PendingTable[Request] = PendingTable()
        self._replies: dict[Pending[Request], PendingReply] = {}

    def next_deadline(self) -> float:
        """Return the earliest deadline, or infinity if there is none."""
        return self.table.next_deadline()

    def register(self, reply: PendingReply, now: float, seconds: float) -> None:
        """Add a command that is sent at the time *now* and has to be answered within *seconds*."""
        if reply.kind is Request.OPEN:
            for earlier in self.table.contradict(Request.OPEN):
                del self._replies[earlier]
        entry = self.table.add(reply.kind, reply.event_id, sent_at=now, deadline=now + seconds)
        self._replies[entry] = reply

    def match(self, kind: Request, item_id: str | None, event: RealtimeEvent) -> None:
        """Match an event with the oldest command of this kind about the event's item."""
        for entry in self.table.of_kind(kind):
            if self._replies[entry].item_id == item_id:
                self._resolve(entry).event = event
                return

    def match_update(self, event: SessionUpdated, *, is_cycle: bool) -> JsonObject | None:
        """
        Match an event with the oldest update; the service answers updates in their order.

        Args:
            event: The event of the service.
            is_cycle: Whether the event reports a cycle of the service's memory. Such an event
                answers an update only if the update opens the session or changes the memory.

        Returns:
            The settings that the update asked for; None if the event answers no update.
        """
        entry = self._oldest_update()
        if entry is None:
            return None
        change = self._replies[entry].change or {}
        provider_data = change.get("providerData")
        has_memory = isinstance(provider_data, dict) and "memory" in provider_data
        if is_cycle and entry.kind is Request.UPDATE and not has_memory:
            return None
        self._resolve(entry).event = event
        return change

    def match_error(self, error: ErrorInfo, *, is_opening: bool) -> Pending[Request] | None:
        """
        Return the entry of the request that an error refuses; None if the error refuses no request.

        While a session opens, an error without an event id refuses the settings of the session.
        """
        commands = [entry for kind in _COMMANDS for entry in self.table.of_kind(kind)]
        if error.event_id is not None:
            return next((e for e in commands if e.key == error.event_id), None)
        kind = refused_command(error)
        if is_opening or kind == Request.UPDATE.value:
            return self._oldest_update()
        found = [e for e in commands if kind is None or e.kind.value == kind]
        return found[0] if len(found) == 1 else None

    def refuse(self, entry: Pending[Request], error: ErrorInfo) -> PendingReply:
        """End a command that the service has refused, and return the command's pending answer."""
        reply = self._resolve(entry)
        reply.error = service_error(error)
        return reply

    def expire(self, entry: Pending[Request]) -> InworldError:
        """End a command that was not answered in time, and return the error."""
        seconds = entry.deadline - entry.sent_at
        error = DeadlineExceeded(
            f"the service has not answered {entry.kind.value} in {seconds:g} s"
        )
        reply = self._replies.pop(entry, None)
        if reply is not None:
            reply.error = error
        return error

    def accepted_before(self, moment: float) -> None:
        """
        Complete the commands that create items and that were sent before *moment*.

        The service has answered a request that was sent at *moment*. So the service has accepted
        all items that the client sent before *moment*.
        """
        for entry in self.table.contradict(Request.ITEM, sent_before=moment):
            reply = self._replies.pop(entry)
            reply.event = RealtimeEvent()

    def lose_connection(self, error: InworldError) -> list[str]:
        """
        End the pending commands that the next connection does not send again.

        Returns:
            The ids of the items whose deletion was not answered. These items are not sent to a new
            session.
        """
        deleted: list[str] = []
        for entry, reply in list(self._replies.items()):
            if reply.kind is Request.OPEN or self._is_sent_again(reply):
                entry.deadline = math.inf
                continue
            self._resolve(entry)
            if reply.kind is Request.DELETE:
                deleted.append(reply.item_id or "")
                reply.event = ItemDeleted(reply.item_id or "")
            else:
                reply.error = error
        for kind in set(Request) - {reply.kind for reply in self._replies.values()}:
            self.table.contradict(kind)
        return deleted

    def end_all(self, error: InworldError) -> None:
        """End all pending commands, since the session has ended."""
        self.table.clear()
        for reply in self._replies.values():
            reply.error = error
        self._replies.clear()

    @staticmethod
    def _is_sent_again(reply: PendingReply) -> bool:
        """
        Return whether the command stays pending, because the next connection sends it again.

        The replay sends all items. :meth:`replay` adds the items that no thread waits for.
        """
        return reply.is_watched if reply.kind is Request.ITEM else reply.is_unwatched_update

    def send_again(self, now: float, seconds: float) -> list[str]:
        """Return the updates for a new connection as texts. Restart their deadlines."""
        texts = []
        for entry, reply in self._replies.items():
            if reply.is_unwatched_update:
                entry.sent_at, entry.deadline = now, now + seconds
                texts.append(reply.text)
        return texts

    def replay(self, commands: Iterable[CreateItem], now: float, seconds: float) -> None:
        """Add the items that are sent on a new connection and are not pending yet."""
        known = {reply.item_id for reply in self._replies.values() if reply.kind is Request.ITEM}
        for command in commands:
            item_id = command.item.id or ""
            if item_id not in known:
                reply = PendingReply(Request.ITEM, command.event_id or item_id, "")
                reply.item_id, reply.is_watched = item_id, False
                self.register(reply, now, seconds)

    def forget(self, reply: PendingReply) -> None:
        """Remove a command that its caller no longer waits for."""
        for entry in [entry for entry, each in self._replies.items() if each is reply]:
            self._resolve(entry)

    def _oldest_update(self) -> Pending[Request] | None:
        entries = self.table.of_kind(Request.OPEN) + self.table.of_kind(Request.UPDATE)
        return entries[0] if entries else None

    def _resolve(self, entry: Pending[Request]) -> PendingReply:
        self.table.cancel(entry)
        return self._replies.pop(entry)
