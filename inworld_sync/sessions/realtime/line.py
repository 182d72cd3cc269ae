"""
How a realtime session's commands leave and their answers come, whichever connection it has.

::

    phase      a connection opens   it accepts the session   it is lost                 close
    OPENING    -                    OPEN                     ENDED                      ENDED
    OPEN       -                    -                        LOST, or ENDED             ENDED
    LOST       REOPENING            -                        -                          ENDED
    REOPENING  -                    OPEN                     LOST                       ENDED

A command waits while the session is LOST or REOPENING, until its time is over.

Lock rule: the monitor guards all fields. It is the one of ``base.py`` for every connection of the
session, and outlives them. Nothing is sent under it.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    fresh,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import Command, ErrorInfo, RealtimeEvent
from inworld_sync.sessions.event_stream import Monitor
from inworld_sync.sessions.realtime.endpoint import RealtimeEndpoint
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.codec import JsonObject
from inworld_sync.wire.realtime.faults import service_error

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.connection import RealtimeConnection

__all__ = ["Answer", "Line", "Phase", "new_id"]

# Waits are cut into pieces so that Ctrl-C reaches a thread that waits on Windows too.
_LONGEST_WAIT_SECONDS = 1.0


def new_id(kind: str) -> str:
    """A name of this side's choice: 32 characters at most, as the field's common protocol asks."""
    return f"{kind}_{uuid.uuid4().hex[:24]}"


class Phase(enum.Enum):
    """Where a session is in its life."""

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"
    REOPENING = "reopening"
    ENDED = "ended"


@attrs.define(eq=False)
class Answer:
    """
    What the service is to answer to one command.

    Attributes:
        wants: Whether an event is the answer.
        text: The command.
        update: The session's settings that the command asks for, None for other commands.
        is_watched: Whether somebody waits for it.
        event: The answer.
        error: The service's refusal.
    """

    wants: Callable[[RealtimeEvent], bool]
    text: str
    update: JsonObject | None = None
    is_watched: bool = True
    event: RealtimeEvent | None = None
    error: InworldError | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has come."""
        return self.event is not None or self.error is not None


class Line:
    """
    The way of one session to the service.

    Args:
        name: The session's, for threads, logs and errors.
        options: The client's settings.
        endpoint: How commands are written.
    """

    def __init__(self, name: str, options: Options, endpoint: RealtimeEndpoint) -> None:
        self.name = name
        self.options = options
        self.endpoint = endpoint
        self.monitor = Monitor(f"the session {name}")
        self.ended: StreamEnded | None = None
        self.is_closing = False
        self._phase = Phase.OPENING
        self._connection: RealtimeConnection | None = None
        self._answers: dict[str, Answer] = {}
        self._opening: Answer | None = None
        self._awaiting = 0

    @property
    def phase(self) -> Phase:
        """Where the session is in its life."""
        return self._phase

    @property
    def connection(self) -> RealtimeConnection | None:
        """The connection of this moment."""
        return self._connection

    # The monitor is held.

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for an answer, so that the reader must go on."""
        return self._awaiting > 0

    def require_open(self) -> None:
        """
        Refuse a session that is over.

        Raises:
            ClosedError: It was closed by either side.
            InworldError: What it ended with, as the cause of a :class:`ConnectionLost`.
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

    def expect(self, event_id: str, answer: Answer) -> None:
        """Have an answer told from other messages."""
        self._answers[event_id] = answer

    def expect_first(self, event_id: str, answer: Answer) -> None:
        """Have the answer to a new connection's first command told from other messages."""
        others = {key: a for key, a in self._answers.items() if a is not self._opening}
        self._opening = answer
        self._answers = {event_id: answer, **others}

    def unheeded(self) -> list[str]:
        """Commands that nobody waits for and that an earlier connection has not answered."""
        return [a.text for a in self._answers.values() if not a.is_watched and not a.is_over]

    def answer_by(self, event: RealtimeEvent) -> None:
        """Take an event for the answer that it is, if it is one."""
        for answer in self._answers.values():
            if answer.update is None and not answer.is_over and answer.wants(event):
                answer.event = event
                return

    def accept_update(self, event: RealtimeEvent) -> JsonObject | None:
        """Take an event for the answer to the oldest update; give what that asked for."""
        answer = self._pending_update()
        if answer is None:
            return None
        answer.event = event
        self._forget_unwatched(answer)
        return answer.update

    def blame(self, error: ErrorInfo) -> Answer | None:
        """Take an error for the refusal that it is; give the answer that is over with it."""
        answer = self._answers.get(error.event_id or "")
        if answer is None and error.event_id is None:
            # Not every error names its command; while a session opens there is but one.
            is_opening = self._phase is not Phase.OPEN
            if is_opening or (error.param or "").startswith("session"):
                answer = self._pending_update()
        if answer is not None:
            answer.error = service_error(error)
            self._forget_unwatched(answer)
        return answer

    def _pending_update(self) -> Answer | None:
        pending = (a for a in self._answers.values() if a.update is not None and not a.is_over)
        return next(pending, None)

    def _forget_unwatched(self, answer: Answer) -> None:
        if not answer.is_watched:
            self._answers = {key: a for key, a in self._answers.items() if a is not answer}

    def wait_for(self, reached: Callable[[], bool], deadline: Deadline) -> None:
        """
        Wait for a state; the reader reads on, whoever does not take his events.

        Raises:
            DeadlineExceeded: It was not reached in time.
        """
        self._awaiting += 1
        self.monitor.notify_all()
        try:
            while not reached():
                left = deadline.remaining()
                if left == 0.0:
                    raise deadline.error()
                longest = _LONGEST_WAIT_SECONDS
                self.monitor.wait(longest if left is None else min(left, longest))
        finally:
            self._awaiting -= 1

    def taken(self, answer: Answer) -> RealtimeEvent:
        """
        Give an answer that was waited for.

        Raises:
            ServiceError: The service refused the command.
            ConnectionLost: The connection was lost before the answer.
        """
        if answer.error is not None:
            raise fresh(answer.error)
        if answer.event is None:
            self.require_open()
            raise ConnectionLost("the connection was lost before the service answered")
        return answer.event

    # The monitor is not held.

    def send(
        self, command: Command | str | bytes, timeout: float | None = None
    ) -> RealtimeConnection:
        """
        Queue a command; wait for a connection and for room.

        Args:
            command: Or its text, or a whole masked frame.
            timeout: Seconds; None takes ``send_timeout``.

        Returns:
            The connection that has it.

        Raises:
            ConfigError: It cannot be written.
            ClosedError: The session was closed.
            ConnectionLost: The session has ended.
            DeadlineExceeded: It could not be queued in time.
        """
        message = command if isinstance(command, (str, bytes)) else self.endpoint.write(command)
        deadline = Deadline(
            self.options.send_timeout if timeout is None else timeout, "sending a command"
        )
        gone: RealtimeConnection | None = None
        while True:
            connection = self._usable(gone, deadline)
            try:
                connection.send(message, deadline.remaining())
            except (ConnectionLost, ClosedError):
                # Nothing was queued, so it may go to the connection that follows.
                gone = connection
            else:
                return connection

    def send_now(self, command: Command) -> None:
        """Queue a small command that means nothing to another connection; never waits."""
        with self.monitor:
            connection = self._connection if self._phase is Phase.OPEN else None
        if connection is None:
            return
        try:
            connection.send(self.endpoint.write(command), needs_room=False)
        except (ConnectionLost, ClosedError) as error:
            self.options.logger.debug("%s: not sent, since %s", self.name, error)

    def ask(self, event_id: str, answer: Answer, deadline: Deadline) -> RealtimeEvent:
        """
        Send a command and wait for what answers it.

        Args:
            event_id: The command's, which the service names when it refuses.
            answer: What to wait for.
            deadline: For all of it.

        Raises:
            ServiceError: The service refused it.
            ConnectionLost: The connection was lost before the answer.
        """
        with self.monitor:
            self.require_open()
            self._answers[event_id] = answer
        try:
            connection = self.send(answer.text, deadline.remaining())
            with self.monitor:
                self.wait_for(
                    lambda: answer.is_over or self._connection is not connection, deadline
                )
                return self.taken(answer)
        finally:
            with self.monitor:
                self._answers.pop(event_id, None)

    def _usable(self, gone: RealtimeConnection | None, deadline: Deadline) -> RealtimeConnection:
        with self.monitor:
            while True:
                self.require_open()
                connection = self._connection
                if self._phase is Phase.OPEN and connection is not None and connection is not gone:
                    return connection
                left = deadline.remaining()
                if left == 0.0:
                    raise DeadlineExceeded(
                        "the session reconnects and was not ready in time: give the call a longer "
                        "timeout"
                    )
                longest = _LONGEST_WAIT_SECONDS
                self.monitor.wait(longest if left is None else min(left, longest))
