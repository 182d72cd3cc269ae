"""
Ends the pending requests of a realtime session.

A request ends when the service answers, when the service reports an error, or at its deadline. The
writer thread of the connection calls :meth:`PendingRequests.expire` at the deadlines. The reader
thread calls the other methods.

Lock rule: the session's monitor is held in every method.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import attrs

from inworld_sync.errors import InworldError, RemoteProtocolError, ServiceError, redact
from inworld_sync.models.realtime import (
    CancelResponse,
    ErrorInfo,
    ErrorReported,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ItemTruncated,
    ResponseCreated,
    ResponseDone,
    ResponseInfo,
)
from inworld_sync.sessions.realtime.commands import Commands, Phase
from inworld_sync.sessions.realtime.events import InvalidMessage
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.sessions.realtime.responses import SessionResponses
from inworld_sync.sessions.realtime.tool_calls import ToolCalls
from inworld_sync.wire.pending import Pending
from inworld_sync.wire.realtime.events import carries_output
from inworld_sync.wire.realtime.faults import HARMLESS_CODES, NOT_ACTIVE_CODE
from inworld_sync.wire.realtime.items import Items
from inworld_sync.wire.realtime.requests import Request
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["ANSWERS", "PendingRequests"]

# The kind of command that each event answers. The command and the event have the same item id.
_ANSWERED = {
    ItemAdded: Request.ITEM,
    ItemDone: Request.ITEM,
    ItemRetrieved: Request.RETRIEVE,
    ItemTruncated: Request.TRUNCATE,
    ItemDeleted: Request.DELETE,
}

# The events that :meth:`PendingRequests.match` handles.
ANSWERS = tuple(_ANSWERED)


@attrs.define(eq=False)
class PendingRequests:
    """
    Ends the pending requests of one session.

    Args:
        commands: The commands of the session, which include the table of pending requests.
        responses: The requests for responses, and the responses in progress.
        tools: The tool calls of the session.
        items: The items of the conversation. An item that the service refuses is removed.
        executor: Runs the function that sends ``response.cancel``.
        handle: Handles a ``ResponseDone`` in the same way as a ``ResponseDone`` from the service.
    """

    _commands: Commands
    _responses: SessionResponses
    _tools: ToolCalls
    _items: Items
    _executor: Executor
    _handle: Callable[[ResponseDone], object]

    def match(
        self, event: ItemAdded | ItemDone | ItemRetrieved | ItemTruncated | ItemDeleted
    ) -> object:
        """Match an event of :data:`ANSWERS` with the command that it answers; return the event."""
        if isinstance(event, (ItemTruncated, ItemDeleted)):
            item_id: str | None = event.item_id
        else:
            item_id = event.item.id
        self._commands.requests.match(_ANSWERED[type(event)], item_id, event)
        return event

    def refuse(self, event: ErrorReported) -> ErrorReported:
        """End the request that an error refuses; return the event."""
        error, requests = event.error, self._commands.requests
        is_known = error.code in HARMLESS_CODES
        is_opening = self._commands.phase is not Phase.OPEN
        # The service refuses a cancel that comes too late, maybe before it sends the end of the
        # response. If no end follows, the deadline that the cancel has set ends the response.
        is_late_cancel = error.code == NOT_ACTIVE_CODE
        entry = None if is_late_cancel else requests.match_error(error, is_opening=is_opening)
        if entry is None:
            self._items.remove(error.event_id)
        elif entry.kind is Request.RESPONSE:
            is_known = True
            self._responses.refuse(entry, error)
        else:
            reply = requests.refuse(entry, error)
            is_known = reply.is_watched
            if reply.kind is Request.ITEM:
                self._items.refuse(reply.item_id or "", error)
        self._commands.options.logger.log(
            logging.DEBUG if is_known else logging.WARNING,
            "%s: the service reports %s",
            self._commands.name,
            redact(f"{error.code or error.type}: {error.message}"),
        )
        # The end of a request that was refused makes room for the next request.
        self._responses.send_waiting()
        return event

    def end_replaced(self, event: ResponseCreated) -> ResponseCreated:
        """End the responses that must be over because another response begins; return the event."""
        for state in self._responses.queue.replaced_by(event):
            self.end_response(state)
        return event

    def handle_invalid(self, event: InvalidMessage) -> InvalidMessage:
        """Handle a message that could not be read, or an error without a type; return the event."""
        error = event.error
        if isinstance(error, ServiceError):
            # The service may refuse a command with this error, as with an error that has a type.
            code = None if error.code is None else str(error.code)
            self.refuse(ErrorReported(ErrorInfo(message=error.message, code=code)))
            return event
        self._commands.options.logger.warning("%s: %s", self._commands.name, error)
        if carries_output(event.type):
            self._responses.damage(event.response_id, error)
        return event

    def end_unreadable(self, event: InvalidMessage) -> None:
        """
        End the response whose ``response.done`` could not be read.

        Otherwise a thread that waits for the end of the response would not return.
        """
        active = self._responses.queue.responses.active
        for state in active if event.type == ResponseDone.type else ():
            is_only = event.response_id is None and len(active) == 1
            if event.response_id == state.id or is_only:
                self.end_response(state, event.error)

    def end_response(self, state: ResponseState, error: InworldError | None = None) -> None:
        """
        End a response for which no ``response.done`` can be read.

        Args:
            state: The state of the response, which is in progress.
            error: The reason for which the response failed. None if a later message shows that the
                response has ended.
        """
        response_id = state.id or ""
        status = state.last_status if error is None else "failed"
        if status == "incomplete":
            error = RemoteProtocolError("the service did not report the end of the response")
        if error is not None:
            self._responses.damage(response_id, error)
        self._handle(ResponseDone(ResponseInfo(id=response_id, status=status)))

    def expire(self, entry: Pending[Request]) -> None:
        """End a request whose deadline has passed, so that the next request is sent."""
        if entry.kind is Request.RETRY:
            self._responses.resume()
        elif entry.kind is Request.RESPONSE:
            self._responses.expire_request(entry)
        elif entry.kind is Request.ACTIVE:
            self._expire_response(entry)
        else:
            error = self._commands.requests.expire(entry)
            self._commands.options.logger.warning("%s: %s", self._commands.name, error)
        self._responses.send_waiting()

    def _expire_response(self, entry: Pending[Request]) -> None:
        state, error = self._responses.expire_active(entry)
        if state is None:
            return
        if error is not None:
            cancel = CancelResponse(state.id)
            self._executor.put(partial(self._commands.send_now, cancel))
        if error is not None or state.is_cancelling:
            self.end_response(state, error)
        elif not self._tools.presume_over(state.id or ""):
            # Set a new deadline only if the response has called no tools. While tools run, the
            # service sends nothing.
            self._responses.expect_end(state)
