"""
What a realtime session itself tells, among the events of the service: one stream for both.

A handler is registered for one by its class, or by the class's name.

A session lives long, and much of what it tells is known by other ways. So events that nobody
waits for are kept in part only, the newest: those before the first consumer, and those between
two iterations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import attrs

from inworld_sync.errors import InworldError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.realtime import FunctionCall, McpApprovalRequest, RealtimeEvent
from inworld_sync.sessions.event_stream import EventStream

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.response import Response

__all__ = [
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
    A reply has begun, whoever asked for it; its further rounds are not told again.

    Attributes:
        response: Its handle; what it says from here on is kept there as long as somebody holds it.
    """

    response: Response


@attrs.frozen
class Interrupted:
    """
    Speech was cut short: the user began to speak, or ``interrupt`` was called.

    Attributes:
        heard_ms: For each item that was cut, by its id, how much of it was heard.
        cancelled: The ids of the responses that were cancelled.
    """

    heard_ms: Mapping[str, float]
    cancelled: tuple[str, ...] = ()


@attrs.frozen
class ToolCalled:
    """
    The model calls a function.

    Attributes:
        call: Its name and arguments.
        response_id: The response that calls it.
        is_ours: Whether a function of this session runs and answers; else the application answers
            with ``submit_tool_output``.
    """

    call: FunctionCall
    response_id: str
    is_ours: bool


@attrs.frozen
class ToolOutputSent:
    """
    The model was given what a function returned.

    Attributes:
        call: What was called.
        output: The text that the model was given.
        error: What the function raised, or why it could not run; None if all went well.
        duration_ms: From the call to the answer.
    """

    call: FunctionCall
    output: str
    error: Exception | None
    duration_ms: float


@attrs.frozen
class ApprovalRequested:
    """
    The service asks whether it may call a tool of a server.

    Attributes:
        request: What it wants to call.
        is_ours: Whether the session's ``on_approval`` decides; else the application answers with
            ``approve``.
    """

    request: McpApprovalRequest
    is_ours: bool


@attrs.frozen
class SessionReconnected:
    """
    The connection was lost, and another one carries the session on.

    Attributes:
        cause: How the old one ended.
        attempts: How often the service was dialled.
        outage_ms: From the loss to the new session's readiness.
        told_items: How many items of the conversation the new session was told.
        lost_items: The ids of those that it could not be told, such as a turn of the user that was
            not yet written down.
        lost_input_ms: Sound that was sent and belonged to no finished turn.
    """

    cause: InworldError | None
    attempts: int
    outage_ms: float
    told_items: int
    lost_items: tuple[str, ...]
    lost_input_ms: float


@attrs.frozen
class InvalidMessage:
    """
    A message of a known kind lacks what it must have; the session goes on without it.

    Attributes:
        type: The message's own name for itself.
        error: What is wrong with it.
        response_id: The response that it belongs to, which then cannot end well; None if it names
            none.
    """

    type: str
    error: InworldError
    response_id: str | None = None


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

E = TypeVar("E")

MAX_UNCLAIMED_EVENTS = 256
MAX_UNCLAIMED_BYTES = 4 * 1024 * 1024


class SessionStream(EventStream[E]):
    """
    An :class:`EventStream` that forgets what nobody has asked for.

    Lock rule: as its base; ``unclaimed`` and ``_iterating`` belong to the monitor.

    Attributes:
        unclaimed: How many events were forgotten.
    """

    unclaimed = 0
    _iterating = 0

    def append(self, event: E, size_bytes: int = 0) -> None:
        """Give an event to every consumer, or keep it for the first."""
        super().append(event, size_bytes)
        mailbox = self._backlog
        if mailbox is None and not self._iterating:
            mailbox = self._pull
        while mailbox is not None and (
            len(mailbox.events) > MAX_UNCLAIMED_EVENTS
            or mailbox.waiting_bytes > MAX_UNCLAIMED_BYTES
        ):
            _, forgotten_bytes = mailbox.events.popleft()
            mailbox.waiting_bytes -= forgotten_bytes
            self.unclaimed += 1

    def events(self, timeout: float | None = None) -> Iterator[E]:
        """Iterate over the events; see :meth:`EventStream.events`."""
        return self._iterated(super().events(timeout))

    def _iterated(self, events: Iterator[E]) -> Iterator[E]:
        with self._changed:
            self._iterating += 1
        try:
            yield from events
        finally:
            with self._changed:
                self._iterating -= 1
