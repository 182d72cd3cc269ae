"""
Sends the commands of a realtime session on its present connection, and matches the answers.

::

    phase      a connection opens   it accepts the session   it is lost                 close
    OPENING    -                    OPEN                     ENDED                      ENDED
    OPEN       -                    -                        LOST, or ENDED             ENDED
    LOST       REOPENING            -                        -                          ENDED
    REOPENING  -                    OPEN                     LOST                       ENDED

An OPEN session is ENDED instead of LOST if it must not reconnect. While the session is LOST or
REOPENING, a command waits until its deadline.

Lock rule: the monitor guards all fields. All connections of the session use the same monitor (see
``base.py``), which outlives the connections. No thread sends while it holds the monitor.
"""

from __future__ import annotations

import enum
import math
import time
import uuid
from collections.abc import Callable, Iterable

import attrs

from inworld_sync.errors import ClosedError, ConnectionLost, DeadlineExceeded, fresh
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import Command, CreateItem, Item, RealtimeEvent
from inworld_sync.sessions.monitor import Monitor, require_may_wait
from inworld_sync.sessions.realtime.connection import RealtimeConnection
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline, RunningDeadline
from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint
from inworld_sync.wire.realtime.items import Items
from inworld_sync.wire.realtime.requests import PendingReply, Request, Requests

__all__ = ["OPEN", "REOPENING", "Commands", "Phase", "Timeouts", "new_id"]


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


# For the code that runs for each message. Before Python 3.12, reading a member of an enum takes as
# long as a short function.
OPEN, REOPENING = Phase.OPEN, Phase.REOPENING


@attrs.frozen(kw_only=True)
class Timeouts:
    """
    The timeouts of one session, in seconds.

    Attributes:
        request: The longest time for the answer to an update, or to a command about an item.
        response_start: The longest time from the request of a response to its beginning.
        response: The longest time between two messages of a response.
    """

    request: float
    response_start: float
    response: float


class Commands:
    """
    Sends the commands of one session.

    Args:
        name: The session's name, for threads, logs and errors.
        options: The client's settings.
        endpoint: Writes commands as JSON text.
        items: Records the items that are sent.
        timeouts: The timeouts for the answers of the service.

    Attributes:
        monitor: Guards the session.
        phase: The phase of the session.
        connection: The present connection; None if there is no connection.
        ended: How the session ended; None before its end.
        is_closing: Whether this side has begun to close the session.
        requests: The requests that the service has not answered yet.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        endpoint: RealtimeEndpoint,
        items: Items,
        timeouts: Timeouts,
    ) -> None:
        self.name = name
        self.options = options
        self.endpoint = endpoint
        self.items = items
        self.timeouts = timeouts
        self.monitor = Monitor(f"the session {name}")
        self.phase = Phase.OPENING
        self.connection: RealtimeConnection | None = None
        self.ended: StreamEnded | None = None
        self.is_closing = False
        self.requests = Requests()
        self._waiting = 0

    @property
    def is_over(self) -> bool:
        """Whether the session has ended or this side is closing it."""
        return self.ended is not None or self.is_closing

    # The callers of these methods hold the monitor.

    @property
    def open_connection(self) -> RealtimeConnection | None:
        """The connection, or None while the session is not open."""
        return self.connection if self.phase is Phase.OPEN else None

    @property
    def has_waiting_threads(self) -> bool:
        """Whether a thread waits for an answer, so that the reader must not pause."""
        return self._waiting > 0

    def require_open(self) -> None:
        """
        Refuse a session that is over.

        Raises:
            ClosedError: Either side closed the session.
            ConnectionLost: The session ended with an error, which is the cause of this error.
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

    def schedule(self, deadline: float) -> None:
        """Make the connection's writer check the pending requests at *deadline* or earlier."""
        if self.connection is not None and deadline < math.inf:
            self.connection.expire_at(deadline)

    def register(self, reply: PendingReply) -> None:
        """
        Add a command to the pending requests. If a thread waits for the answer, the entry has no
        deadline.
        """
        seconds = math.inf if reply.is_watched else self.timeouts.request
        now = time.monotonic()
        self.requests.register(reply, now, seconds)
        self.schedule(now + seconds)

    def add_entry(self, kind: Request, seconds: float) -> None:
        """Add an entry without an id to the pending table."""
        now = time.monotonic()
        self.requests.table.add(kind, sent_at=now, deadline=now + seconds)
        self.schedule(now + seconds)

    def expect_items(self, commands: Iterable[CreateItem]) -> None:
        """Expect the answers to items that are sent on a new connection."""
        now, seconds = time.monotonic(), self.timeouts.request
        self.requests.replay(commands, now, seconds)
        self.schedule(now + seconds)

    def updates_to_send_again(self) -> list[str]:
        """Return the updates to send on a new connection, and expect their answers."""
        now, seconds = time.monotonic(), self.timeouts.request
        texts = self.requests.send_again(now, seconds)
        self.schedule(now + seconds)
        return texts

    def wait_for(self, reached: Callable[[], bool], deadline: Deadline) -> None:
        """
        Wait until *reached* returns True. Meanwhile the reader does not pause for slow consumers.

        Raises:
            DeadlineExceeded: *reached* did not return True in time.
            LocalProtocolError: This thread handles the messages of the service.
        """
        self._waiting += 1
        try:
            self.monitor.notify_all()
            while not reached():
                deadline.check()
                require_may_wait("waiting for an answer")
                self.monitor.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
        finally:
            self._waiting -= 1

    # The callers of these methods do not hold the monitor.

    def send(
        self, command: Command | str | bytes, timeout: float | None = None
    ) -> RealtimeConnection:
        """
        Queue a command. Wait for a connection and for room in its outbox, if needed.

        Args:
            command: A command, its text, or a whole masked frame.
            timeout: Seconds; None means ``send_timeout``.

        Returns:
            The connection on which the command was queued.

        Raises:
            ConfigError: The command cannot be written as JSON.
            ClosedError: The session was closed.
            ConnectionLost: The session has ended.
            DeadlineExceeded: The command could not be queued in time.
        """
        message = command if isinstance(command, (str, bytes)) else self.endpoint.write(command)
        deadline = RunningDeadline(
            self.options.send_timeout if timeout is None else timeout, "sending a command"
        )
        lost: RealtimeConnection | None = None
        while True:
            connection = self._await_connection(lost, deadline)
            try:
                connection.send(message, deadline.remaining())
            except (ConnectionLost, ClosedError):
                # Nothing was queued, so the next connection may send the command.
                lost = connection
            else:
                return connection

    def await_open(self, timeout: float | None) -> None:
        """Wait until the session has a connection; see :meth:`send` for *timeout* and errors."""
        seconds = self.options.send_timeout if timeout is None else timeout
        self._await_connection(None, RunningDeadline(seconds, "sending a command"))

    def send_now(self, command: Command) -> None:
        """Queue a small command, or drop it if the session is not open; never waits."""
        with self.monitor:
            connection = self.open_connection
        if connection is None:
            return
        try:
            connection.send(self.endpoint.write(command), needs_room=False)
        except (ConnectionLost, ClosedError) as error:
            self.options.logger.debug("%s: a command was not sent: %s", self.name, error)

    def create_item(self, command: CreateItem | Item, *, is_watched: bool = False) -> PendingReply:
        """
        Send an item now or on the next connection, and return its pending answer, which has the
        item's id.

        Args:
            command: The item, or the command that creates it. An item without an id gets a new id.
            is_watched: Whether the caller waits for the answer.
        """
        if not isinstance(command, CreateItem):
            command = CreateItem(command)
        item_id = command.item.id or new_id("item")
        # An error of the service names the event id, which is the item's id unless the user has set
        # an event id.
        event_id = command.event_id or item_id
        item = attrs.evolve(command.item, id=item_id)
        command = attrs.evolve(command, item=item, event_id=event_id)
        text = self.endpoint.write(command)
        reply = PendingReply(Request.ITEM, event_id, text, item_id=item_id, is_watched=is_watched)
        with self.monitor:
            self.require_open()
            self.items.add(command)
            connection = self.open_connection
            if is_watched or connection is not None:
                self.register(reply)
        if connection is not None:
            try:
                connection.send(text)
            except (ClosedError, ConnectionLost):
                with self.monitor:
                    if self.phase is Phase.ENDED or self.is_closing:
                        raise
                # The next connection sends the item.
            except BaseException:
                with self.monitor:
                    self.items.remove(item_id)
                    self.requests.forget(reply)
                raise
        return reply

    def ask(self, reply: PendingReply, deadline: Deadline | None = None) -> RealtimeEvent | None:
        """
        Send a command and wait for its answer.

        Args:
            reply: Has the command, and gets the answer.
            deadline: The deadline for sending and for the answer. With None, the method does not
                wait for the answer and returns None.

        Raises:
            ServiceError: The service refused the command.
            ConnectionLost: The connection was lost before the answer.
            DeadlineExceeded: The answer did not arrive in time.
        """
        reply.is_watched = deadline is not None
        with self.monitor:
            self.require_open()
            self.register(reply)
            if reply.is_unwatched_update and self.open_connection is None:
                # The next connection sends the update, see ``updates_to_send_again``.
                return None
        try:
            self.send(reply.text, None if deadline is None else deadline.remaining())
        except BaseException:
            with self.monitor:
                self.requests.forget(reply)
            raise
        return None if deadline is None else self.await_reply(reply, deadline)

    def await_reply(self, reply: PendingReply, deadline: Deadline) -> RealtimeEvent:
        """Wait for the answer to a command that was sent; see :meth:`ask` for the errors."""
        with self.monitor:
            try:
                self.wait_for(lambda: reply.is_over, deadline)
            finally:
                self.requests.forget(reply)
            if reply.event is None:
                self.require_open()
                assert reply.error is not None
                raise fresh(reply.error)
            return reply.event

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
