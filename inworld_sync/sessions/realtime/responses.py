"""
The responses of a session, and the :class:`Response` objects that users hold.

Lock rule: the session's monitor guards everything here.
"""

from __future__ import annotations

import weakref
from typing import Any

from inworld_sync.errors import ClosedError, ConnectionLost, InworldError
from inworld_sync.models.realtime import (
    AudioDelta,
    ContentPartDone,
    ErrorInfo,
    ErrorReported,
    ItemAdded,
    OutputItemAdded,
    OutputItemDone,
    RealtimeEvent,
    ResponseConfig,
    ResponseCreated,
    ResponseDone,
    TextDelta,
    TextDone,
    TranscriptDelta,
    TranscriptDone,
)
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.realtime.commands import Commands, new_id
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.sessions.realtime.response import Owner, Response
from inworld_sync.wire.realtime.response_queue import ResponseQueue
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["RESPONSE_EVENTS", "SessionResponses"]

_LOST = ErrorInfo(type="server_error", message="the connection was lost")

# The events that :meth:`SessionResponses.handle` handles.
RESPONSE_EVENTS = (
    ContentPartDone,
    ErrorReported,
    ItemAdded,
    OutputItemAdded,
    OutputItemDone,
    ResponseCreated,
    ResponseDone,
    TextDelta,
    TextDone,
    TranscriptDelta,
    TranscriptDone,
)


class SessionResponses:
    """
    The responses of one session, over all its connections.

    Args:
        owner: The session, for the responses.
        commands: Hold the present connection, on which requests are sent.
        executor: Sends the queued requests.

    Attributes:
        queue: The requests, above the table of all responses.
        accepts: Whether text and audio of a response count; see :meth:`Responses.accepts`.
    """

    def __init__(self, owner: Owner, commands: Commands, executor: Executor) -> None:
        self.queue = ResponseQueue()
        self._owner = owner
        self._commands = commands
        self._executor = executor
        self._states = self.queue.responses
        self.accepts = self._states.accepts
        # By the identity of a round's state, which the response keeps alive.
        self._held: weakref.WeakValueDictionary[int, Response] = weakref.WeakValueDictionary()
        # The ids of requests for further rounds of replies.
        self._rounds: set[str] = set()

    @property
    def streams(self) -> list[EventStream[Any]]:
        """The streams of all responses that users hold."""
        return [
            stream
            for response in list(self._held.values())
            for stream in (response._text, response._audio)
        ]

    @property
    def is_busy(self) -> bool:
        """Whether a response is in progress or requested."""
        return bool(self._states.active or self._states.requested)

    def request(self, config: ResponseConfig | None) -> Response:
        """Queue a request for a response."""
        return self._response(self.queue.add(new_id("evt"), config))

    def await_tools(self, response_id: str) -> Response | None:
        """Keep a reply open after this round; return it, or None if users do not hold it."""
        response = self._held.get(id(self._states.get(response_id)))
        return response if response is not None and response._await_tools() else None

    def request_continuation(
        self, reply: Response | None, unacknowledged: set[str], *, is_round: bool
    ) -> Response | None:
        """
        Queue a request for a response to tool outputs.

        Args:
            reply: The reply that continues with it, if users hold it.
            unacknowledged: The outputs that the service has not acknowledged.
            is_round: Whether the response is a further round of a reply, held or not.

        Returns:
            The response; None if the reply has ended meanwhile.
        """
        if reply is not None and not reply._awaits_tools:
            return None
        request_id = new_id("evt")
        state = self.queue.add(request_id, answers=unacknowledged)
        if is_round:
            self._rounds.add(request_id)
        if reply is not None:
            reply._begin_round(state)
            self._held[id(state)] = reply
        return self._response(state)

    def end_reply(self, reply: Response) -> None:
        """End a reply that awaits tools with its last round."""
        if reply._awaits_tools:
            reply._end(None)

    def drop_cancelled(
        self, event: TextDelta | TranscriptDelta
    ) -> TextDelta | TranscriptDelta | None:
        """Return an event, or None if its response is cancelled or over."""
        return event if self.accepts(event.response_id) else None

    def handle(
        self, event: RealtimeEvent, *, has_manual_turns: bool
    ) -> tuple[Response | None, str | None]:
        """
        Handle an event of :data:`RESPONSE_EVENTS`.

        Returns:
            The reply that begins with it, and the id of a response that begins with it although
            this side has cancelled it already.
        """
        response_id = _beginning(event)
        is_new = response_id is not None and self._states.get(response_id) is None
        state = self.queue.handle(event, has_manual_turns=has_manual_turns)
        needless = self.queue.pop_needless()
        self._rounds.difference_update(each.request_id or "" for each in needless)
        self._stop(*needless)
        if state is None:
            return None, None
        is_round = state.request_id in self._rounds
        began = self._response(state) if is_new and not is_round else None
        response = self._held.get(id(state))
        if response is not None and response._state is state:
            response._emit_text()
            if state.is_final and not response._awaits_tools:
                response._end(None)
        if state.is_final:
            self._rounds.discard(state.request_id or "")
        if response_id is not None:
            self._end_replaced(response_id, state)
        return began, state.id if is_new and state.is_cancelling else None

    def add_audio(self, event: AudioDelta) -> None:
        """Append a piece of speech to its response, if users hold it."""
        response = self._held.get(id(self._states.get(event.response_id)))
        if response is not None:
            response._audio.append(event, len(event.audio))

    def send_waiting(self) -> None:
        """Have the executor send the requests that can be sent now."""
        if self._commands.open_connection is not None and self.queue.has_waiting:
            self._executor.put(self.send)

    def send(self) -> None:
        """Send the requests that can be sent now; the monitor is not held."""
        while True:
            with self._commands.monitor:
                connection = self._commands.open_connection
                command = None if connection is None else self.queue.pop()
            if connection is None or command is None:
                return
            try:
                connection.send(self._commands.endpoint.write(command), needs_room=False)
            except (ClosedError, ConnectionLost):
                # A request that is lost with its connection is sent again with the next.
                return

    def damage(self, response_id: str | None, error: InworldError) -> None:
        """Record that output of a response was lost; None means the only one in progress."""
        active = self._states.active
        if response_id is None and len(active) == 1:
            response_id = active[0].id
        for response in list(self._held.values()):
            if response_id is not None and response.id == response_id and not response.is_final:
                response._damage = response._damage or error

    def interrupt(self) -> list[str]:
        """Cancel the conversation's responses; see :meth:`ResponseQueue.interrupt`."""
        ids, states = self.queue.interrupt()
        self._stop(*states)
        return ids

    def cancel(self, response: Response) -> str | None:
        """Cancel a response; return its id if a command must be sent now."""
        response_id = self.queue.cancel(response._state)
        response._stop()
        return response_id

    def cancel_named(self, response_id: str) -> None:
        """Record that a response is being cancelled by its id."""
        state = self._states.get(response_id)
        if state is not None and self._states.cancel(response_id):
            self._stop(state)

    def lose_connection(self, error: InworldError) -> None:
        """End the responses in progress; those that have not begun are requested again."""
        for response in self._held_of(*self.queue.lose_connection(_LOST)):
            response._end(error)

    def end_all(self, error: InworldError) -> None:
        """End all responses, since the session has ended."""
        self.queue.end_all(_LOST)
        for response in list(self._held.values()):
            response._end(error)

    def _stop(self, *states: ResponseState) -> None:
        for response in self._held_of(*states):
            response._stop()

    def _held_of(self, *states: ResponseState) -> list[Response]:
        found = (self._held.get(id(state)) for state in states)
        return [response for response in found if response is not None]

    def _response(self, state: ResponseState) -> Response:
        response = self._held.get(id(state))
        if response is None:
            response = Response(self._owner, [state], self._new_stream(), self._new_stream())
            self._held[id(state)] = response
        return response

    def _new_stream(self) -> EventStream[Any]:
        logger = self._commands.options.logger
        return EventStream(self._commands.monitor, name="response", dispatch="poll", logger=logger)

    def _end_replaced(self, response_id: str, state: ResponseState) -> None:
        """End a response whose id turned out to belong to another request."""
        for response in list(self._held.values()):
            if response._state.id == response_id and response._state is not state:
                response._end(None)


def _beginning(event: RealtimeEvent) -> str | None:
    """Return the response that an event may be the first message of."""
    if isinstance(event, (ResponseCreated, ResponseDone)):
        return event.response.id
    return event.response_id if isinstance(event, OutputItemAdded) else None
