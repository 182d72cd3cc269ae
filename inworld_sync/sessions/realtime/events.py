"""
Defines the events that a realtime session adds to the stream of the service's events.

A handler is registered for an event by its class, or by the name of the class.

A session may last for hours, and its users need not read its events. So only the newest events are
buffered until the first consumer attaches, and between two iterations.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import attrs

from inworld_sync.errors import InworldError
from inworld_sync.models.events import InvalidMessage, UnknownEvent
from inworld_sync.models.realtime import (
    FunctionCall,
    McpApprovalRequest,
    RealtimeEvent,
)
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.wire.realtime.events import EVENT_CLASSES

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.response import Response

__all__ = [
    "SESSION_EVENT_CLASSES",
    "ApprovalRequested",
    "Interrupted",
    "InvalidMessage",
    "ResponseStarted",
    "SessionEvent",
    "SessionReconnected",
    "SessionStream",
    "ToolCalled",
    "ToolOutputSent",
]


@attrs.frozen
class ResponseStarted:
    """
    A reply has begun, with or without a request of the client. Only the first round of a reply
    emits this event.

    Attributes:
        response: The reply. The reply buffers its text and audio from now on, as long as a
            reference to the reply exists.
    """

    response: Response


@attrs.frozen
class Interrupted:
    """
    Speech was interrupted: the user began to speak, or ``interrupt`` was called.

    Attributes:
        heard_ms: How much of each truncated item was heard, by the id of the item.
        cancelled: The ids of the responses that were cancelled.
    """

    heard_ms: Mapping[str, float]
    cancelled: tuple[str, ...] = ()


@attrs.frozen
class ToolCalled:
    """
    The model calls a function.

    Attributes:
        call: The call, with the name and the arguments of the function.
        response_id: The response that contains the call.
        is_ours: Whether the session runs the function and sends the output; otherwise the
            application calls ``submit_tool_output``.
    """

    call: FunctionCall
    response_id: str
    is_ours: bool


@attrs.frozen
class ToolOutputSent:
    """
    The output of a function was sent to the model.

    Attributes:
        call: The call of the function.
        output: The text that was sent.
        error: The exception of the function, or the reason why the function could not run. A
            ``ConfigError`` or a ``LocalProtocolError`` means that the result could not be sent.
            None means that there was no error.
        duration_ms: The time from the call to the output.
    """

    call: FunctionCall
    output: str
    error: Exception | None
    duration_ms: float


@attrs.frozen
class ApprovalRequested:
    """
    The service asks whether it may call a tool of an MCP server.

    Attributes:
        request: The call that needs approval.
        is_ours: Whether the session's ``on_approval`` decides; otherwise the application calls
            ``approve``.
    """

    request: McpApprovalRequest
    is_ours: bool


@attrs.frozen
class SessionReconnected:
    """
    Another connection continues the session.

    Attributes:
        cause: The error that ended the old connection; None if the client renewed the session.
        attempts: How often the client tried to connect.
        outage_ms: The time from the loss until the new session was ready, in milliseconds.
        replayed_items: How many items of the conversation were sent to the new session.
        lost_items: The ids of items that could not be sent again, such as a turn of the user that
            has no transcript yet.
        lost_input_ms: How much audio of the user's turn was lost. The last minute of a turn is sent
            again. Earlier audio of the turn is lost.
    """

    cause: InworldError | None
    attempts: int
    outage_ms: float
    replayed_items: int
    lost_items: tuple[str, ...]
    lost_input_ms: float


SessionEvent: TypeAlias = (
    RealtimeEvent
    | UnknownEvent
    | ApprovalRequested
    | Interrupted
    | InvalidMessage
    | SessionReconnected
    | ResponseStarted
    | ToolOutputSent
    | ToolCalled
)

SESSION_EVENT_CLASSES: tuple[type, ...] = (
    *EVENT_CLASSES,
    *(kind for kind in get_args(SessionEvent) if kind is not RealtimeEvent),
)

MAX_UNCLAIMED_EVENTS = 256
MAX_UNCLAIMED_BYTES = 4 * 1024 * 1024


class SessionStream(EventStream[SessionEvent]):
    """
    An :class:`EventStream` that keeps only the newest events while it has no consumer.

    Lock rule: as for the base class. The monitor also guards ``unclaimed``.

    Attributes:
        unclaimed: How many events were dropped.
    """

    def __init__(
        self,
        changed: Monitor,
        *,
        name: str,
        dispatch: Literal["thread", "poll"],
        logger: logging.Logger,
    ) -> None:
        super().__init__(changed, name=name, dispatch=dispatch, logger=logger)
        self.unclaimed = 0
        self._iterations: deque[object] = deque()

    def emit(self, event: SessionEvent) -> None:
        """Append an event for every consumer, or buffer it for the first consumer."""
        self.append(event)
        mailbox = self._backlog
        if mailbox is None and not self._iterations:
            mailbox = self._pull
        while mailbox is not None and (
            mailbox.queue.qsize() > MAX_UNCLAIMED_EVENTS
            or mailbox.waiting_bytes > MAX_UNCLAIMED_BYTES
        ):
            if not mailbox.drop_oldest():
                break
            self.unclaimed += 1

    def events(self, timeout: float | None = None) -> Iterator[SessionEvent]:
        """Iterate over the events; see :meth:`EventStream.events`."""
        return self._iterated(super().events(timeout))

    def _iterated(self, events: Iterator[SessionEvent]) -> Iterator[SessionEvent]:
        iteration = object()
        try:
            self._iterations.append(iteration)
            yield from events
        finally:
            self._iterations.remove(iteration)
