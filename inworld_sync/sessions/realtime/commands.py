"""
Sends the commands of a realtime session on its present connection, and matches the replies.

::

    phase      a connection opens   it accepts the session   it is lost                 close
    OPENING    -                    OPEN                     ENDED                      ENDED
    OPEN       -                    -                        LOST, or ENDED             ENDED
    LOST       REOPENING            -                        -                          ENDED
    REOPENING  -                    OPEN                     LOST                       ENDED

While the session is LOST or REOPENING a command waits, until its deadline.

Lock rule: the monitor guards all fields. It is the one of ``base.py`` for every connection of the
session, and outlives them. Nothing is sent under it.
"""

from __future__ import annotations

import enum
import time
import uuid
from collections.abc import Callable

import attrs

from inworld_sync.errors import ClosedError, ConnectionLost, DeadlineExceeded, InworldError, fresh
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import (
    Command,
    CreateItem,
    ErrorInfo,
    Item,
    ItemRetrieved,
    RealtimeEvent,
    SessionUpdated,
    UpdateSession,
)
from inworld_sync.sessions.event_stream import Monitor
from inworld_sync.sessions.realtime.connection import RealtimeConnection
from inworld_sync.sessions.realtime.endpoint import RealtimeEndpoint
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.wire.codec import JsonObject, dump_text
from inworld_sync.wire.pending import Pending, PendingTable
from inworld_sync.wire.realtime.faults import service_error
from inworld_sync.wire.realtime.items import Items

__all__ = ["Commands", "PendingReply", "Phase", "Request", "new_id"]


def new_id(kind: str) -> str:
    """Make an id of at most 32 characters, the limit of the common realtime protocol."""
    return f"{kind}_{uuid.uuid4().hex[:24]}"


class Phase(enum.Enum):
    """The phase of a session."""

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"
    REOPENING = "reopening"
    ENDED = "ended"


class Request(enum.Enum):
    """The kinds of commands whose replies are matched."""

    OPEN = "open"
    UPDATE = "update"
    RETRIEVE = "retrieve"


@attrs.define(eq=False)
class PendingReply:
    """
    The reply to one command.

    Attributes:
        kind: The kind of command.
        event_id: The command's id, which the service names in an error.
        text: The command.
        change: The settings that the command asks for; None for other commands.
        item_id: The item that the command asks for; None for other commands.
        is_watched: Whether a thread waits for the reply.
        event: The event that is the reply.
        error: The service's refusal.
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
    def to_update(cls, kind: Request, change: JsonObject, *, is_watched: bool) -> PendingReply:
        """Make the reply to an update of the session's settings."""
        event_id = new_id("evt")
        command = {"type": UpdateSession.type, "event_id": event_id, "session": change}
        return cls(kind, event_id, dump_text(command), change, is_watched=is_watched)

    @property
    def is_over(self) -> bool:
        """Whether the service has replied."""
        return self.event is not None or self.error is not None


class Commands:
    """
    Sends the commands of one session.

    Args:
        name: The session's name, for threads, logs and errors.
        options: The client's settings.
        endpoint: Writes commands.
        items: Records the items that are sent.

    Attributes:
        monitor: Guards the session.
        phase: The phase of the session.
        connection: The present connection; None while there is none.
        ended: How the session ended; None while it has not.
        is_closing: Whether this side has begun to close the session.
    """

    def __init__(
        self, name: str, options: Options, endpoint: RealtimeEndpoint, items: Items
    ) -> None:
        self.name = name
        self.options = options
        self.endpoint = endpoint
        self.items = items
        self.monitor = Monitor(f"the session {name}")
        self.phase = Phase.OPENING
        self.connection: RealtimeConnection | None = None
        self.ended: StreamEnded | None = None
        self.is_closing = False
        self._pending: PendingTable[Request] = PendingTable()
        self._replies: dict[Pending[Request], PendingReply] = {}
        self._waiting = 0

    @property
    def is_over(self) -> bool:
        """Whether the session has ended or this side is closing it."""
        return self.ended is not None or self.is_closing

    # The monitor is held.

    @property
    def open_connection(self) -> RealtimeConnection | None:
        """The connection if the session is open; None while it is not."""
        return self.connection if self.phase is Phase.OPEN else None

    @property
    def has_waiting_threads(self) -> bool:
        """Whether a thread waits for a reply, so that the reader must not pause."""
        return self._waiting > 0

    def require_open(self) -> None:
        """
        Refuse a session that is over.

        Raises:
            ClosedError: Either side closed it.
            ConnectionLost: It ended with an error, which is the cause of this one.
        """
        ended = self.ended
        if ended is None:
            if self.is_closing:
                raise ClosedError("the session was closed, open another")
            return
        if ended.error is None or isinstance(ended.error, ClosedError):
            raise ClosedError(f"the session was closed by the {ended.by}, open another")
        raise ConnectionLost(
            f"the session has ended: {ended.error}", code=ended.code, reason=ended.reason
        ) from ended.error

    def register(self, reply: PendingReply) -> Pending[Request]:
        """Add an entry for a reply, and return it. The service answers updates in their order."""
        if reply.kind is Request.OPEN:
            for earlier in self._pending.contradict(Request.OPEN):
                del self._replies[earlier]
        entry = self._pending.add(reply.kind, reply.event_id, sent_at=time.monotonic())
        self._replies[entry] = reply
        return entry

    def not_acknowledged(self) -> list[str]:
        """Return the commands that no thread waits for and that the service has not answered."""
        return [reply.text for reply in self._replies.values() if not reply.is_watched]

    def match_update(self, event: SessionUpdated) -> JsonObject | None:
        """Match an event with the oldest update; return the settings that it asked for."""
        entry = self._oldest_update()
        if entry is None:
            return None
        reply = self._resolve(entry)
        reply.event = event
        return reply.change

    def match_item(self, event: ItemRetrieved) -> None:
        """Match an event with the oldest request for its item."""
        for entry in self._pending.of_kind(Request.RETRIEVE):
            if self._replies[entry].item_id == event.item.id:
                self._resolve(entry).event = event
                return

    def match_error(self, error: ErrorInfo) -> PendingReply | None:
        """Match an error with the command that it refuses; return its reply."""
        entry = next((e for e in self._replies if e.key == error.event_id), None)
        if entry is None and error.event_id is None:
            # An error may name no command; while a session opens there is only one.
            is_opening = self.phase is not Phase.OPEN
            if is_opening or (error.param or "").startswith("session"):
                entry = self._oldest_update()
        if entry is None:
            return None
        reply = self._resolve(entry)
        reply.error = service_error(error)
        return reply

    def _oldest_update(self) -> Pending[Request] | None:
        entries = self._pending.of_kind(Request.OPEN) + self._pending.of_kind(Request.UPDATE)
        return entries[0] if entries else None

    def _resolve(self, entry: Pending[Request]) -> PendingReply:
        self._pending.cancel(entry)
        return self._replies.pop(entry)

    def wait_for(self, reached: Callable[[], bool], deadline: Deadline) -> None:
        """
        Wait for a state, during which the reader does not pause for slow consumers.

        Raises:
            DeadlineExceeded: It was not reached in time.
        """
        self._waiting += 1
        self.monitor.notify_all()
        try:
            while not reached():
                deadline.check()
                self.monitor.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
        finally:
            self._waiting -= 1

    # The monitor is not held.

    def send(
        self, command: Command | str | bytes, timeout: float | None = None
    ) -> RealtimeConnection:
        """
        Queue a command; wait for a connection and for room.

        Args:
            command: A command, its text, or a whole masked frame.
            timeout: Seconds; None means ``send_timeout``.

        Returns:
            The connection on which it was queued.

        Raises:
            ConfigError: The command cannot be written as JSON.
            ClosedError: The session was closed.
            ConnectionLost: The session has ended.
            DeadlineExceeded: It could not be queued in time.
        """
        message = command if isinstance(command, (str, bytes)) else self.endpoint.write(command)
        deadline = Deadline(
            self.options.send_timeout if timeout is None else timeout, "sending a command"
        )
        lost: RealtimeConnection | None = None
        while True:
            connection = self._await_connection(lost, deadline)
            try:
                connection.send(message, deadline.remaining())
            except (ConnectionLost, ClosedError):
                # Nothing was queued, so the next connection may send it.
                lost = connection
            else:
                return connection

    def send_now(self, command: Command) -> None:
        """Queue a small command, or drop it if the session is not open; never waits."""
        with self.monitor:
            connection = self.open_connection
        if connection is None:
            return
        try:
            connection.send(self.endpoint.write(command), needs_room=False)
        except (ConnectionLost, ClosedError) as error:
            self.options.logger.debug("%s: not sent, since %s", self.name, error)

    def create_item(self, item: Item, previous_item_id: str | None = None) -> str:
        """Send an item, now or with the next connection; return its id."""
        if item.id is None:
            item = attrs.evolve(item, id=new_id("item"))
        item_id = item.id or ""
        command = CreateItem(item, previous_item_id, event_id=item_id)
        text = self.endpoint.write(command)
        with self.monitor:
            self.require_open()
            self.items.add(command)
            connection = self.open_connection
        if connection is not None:
            try:
                connection.send(text)
            except (ClosedError, ConnectionLost):
                with self.monitor:
                    if self.phase is Phase.ENDED or self.is_closing:
                        raise
                # The next connection sends it.
            except BaseException:
                with self.monitor:
                    self.items.remove(item_id)
                raise
        return item_id

    def ask(self, reply: PendingReply, deadline: Deadline) -> RealtimeEvent:
        """
        Send a command and wait for its reply.

        Args:
            reply: Has the command, and gets the reply.
            deadline: For both.

        Raises:
            ServiceError: The service refused the command.
            ConnectionLost: The connection was lost before the reply.
            DeadlineExceeded: The reply did not come in time.
        """
        with self.monitor:
            self.require_open()
            entry = self.register(reply)
        try:
            connection = self.send(reply.text, deadline.remaining())
            with self.monitor:
                self.wait_for(lambda: reply.is_over or self.connection is not connection, deadline)
                if reply.error is not None:
                    raise fresh(reply.error)
                if reply.event is None:
                    self.require_open()
                    raise ConnectionLost("the connection was lost before the service answered")
                return reply.event
        finally:
            with self.monitor:
                if entry in self._replies:
                    self._resolve(entry)

    def _await_connection(
        self, lost: RealtimeConnection | None, deadline: Deadline
    ) -> RealtimeConnection:
        with self.monitor:
            while True:
                self.require_open()
                connection = self.open_connection
                if connection is not None and connection is not lost:
                    return connection
                if deadline.expired:
                    raise DeadlineExceeded(
                        "the session reconnects and was not ready in time: give the call a longer "
                        "timeout"
                    )
                self.monitor.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
