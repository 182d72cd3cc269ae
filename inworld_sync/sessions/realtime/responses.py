"""
Manages the responses of a session, and the :class:`Response` objects that users hold.

Lock rule: the session's monitor guards everything here.
"""

from __future__ import annotations

import time
import weakref
from typing import Any

from inworld_sync.errors import ClosedError, ConnectionLost, DeadlineExceeded, InworldError
from inworld_sync.models.realtime import (
    AudioDelta,
    ContentPartDone,
    ErrorInfo,
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
from inworld_sync.transport.backoff import Backoff
from inworld_sync.wire.pending import Pending
from inworld_sync.wire.realtime.faults import service_error
from inworld_sync.wire.realtime.requests import Request
from inworld_sync.wire.realtime.response_queue import ResponseQueue
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["RESPONSE_EVENTS", "SessionResponses"]

# If a response has sent nothing for this time and all its items are done, the next request is sent.
_FINISHED_SECONDS = 2.0

# The client waits this long for the end of a response that it has cancelled. Then the next request
# is sent.
_CANCEL_SECONDS = 1.0

# If the service refuses a request although the client knows of no response in progress, the request
# is sent again after this delay.
_FIRST_RETRY_SECONDS = 0.25
_MAX_RETRY_SECONDS = 2.0

_LOST = ErrorInfo(type="server_error", message="the connection was lost")

# The events that :meth:`SessionResponses.handle` handles.
RESPONSE_EVENTS = (
    ContentPartDone,
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
        owner: The session to which the responses belong.
        commands: Has the present connection, on which requests are sent.
        executor: Sends the queued requests.

    Attributes:
        queue: The queue of requests, which uses the table of all responses.
        accepts: The method :meth:`Responses.accepts`, which returns whether text and audio of a
            response are used.
    """

    def __init__(self, owner: Owner, commands: Commands, executor: Executor) -> None:
        self.queue = ResponseQueue()
        self._owner = owner
        self._commands = commands
        self._executor = executor
        self._states = self.queue.responses
        self.accepts = self._states.accepts
        # The key is the ``id()`` of a round's state. The response keeps the state alive.
        self._held: weakref.WeakValueDictionary[int, Response] = weakref.WeakValueDictionary()
        # The ids of requests for further rounds of replies.
        self._rounds: set[str] = set()
        # The entries of requests whose responses have not begun, by request id.
        self._requested: dict[str, Pending[Request]] = {}
        # The entries of responses in progress, by response id.
        self._active: dict[str, Pending[Request]] = {}
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS)

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

    def request(self, config: ResponseConfig | None, event_id: str | None = None) -> Response:
        """Queue a request for a response."""
        return self._response(self.queue.add(new_id("evt"), config, event_id=event_id))

    def await_tools(self, response_id: str) -> Response | None:
        """Keep a reply open and return it. Return None if it is over or no user holds it."""
        response = self._held.get(id(self._states.get(response_id)))
        return response if response is not None and response._await_tools() else None

    def request_continuation(
        self, reply: Response | None, unacknowledged: set[str], *, is_round: bool
    ) -> Response | None:
        """
        Queue a request for a response to tool outputs.

        Args:
            reply: The reply that continues with this response; None if no user holds the reply.
            unacknowledged: The outputs that the service has not acknowledged.
            is_round: Whether the response is a further round of a reply, even if no user holds this
                reply.

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
        """
        End a reply that awaits tools. The final state of its last round becomes the final state of
        the reply.
        """
        if reply._awaits_tools:
            reply._end(None)

    def end_cancelled(self, response_id: str) -> None:
        """End the reply of a response as cancelled, although the service completes the response."""
        response = self._held.get(id(self._states.get(response_id)))
        if response is not None:
            response._awaits_tools = True
            response._stop()

    def drop_late(self, event: Any) -> Any:
        """Return an event; None for text after a cancel or an end, and for a second end."""
        if isinstance(event, ResponseDone):
            state = self._states.get(event.response.id)
            if state is not None and state.is_final:
                self.resume()  # the service is no longer busy
                return None
            return event
        return event if self.accepts(event.response_id) else None

    def handle(
        self, event: RealtimeEvent, *, has_manual_turns: bool
    ) -> tuple[Response | None, str | None]:
        """
        Handle an event of :data:`RESPONSE_EVENTS`.

        Returns:
            Two values. The first is the reply that begins with the event, or None. The second is
            the id of a response that begins, or turns out to be the response to a known request,
            although the client has already cancelled it; otherwise None.
        """
        response_id = _beginning(event)
        known = self._states.get(response_id or "")
        is_new = response_id is not None and known is None
        has_ids = self._commands.endpoint.is_inworld or self.queue.echoes_ids
        matches_by_order = has_manual_turns or not has_ids
        state = self.queue.handle(event, matches_by_order=matches_by_order)
        self._drop_needless()
        if state is None:
            return None, None
        if state.status != "requested":
            self._begun(state)
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
        is_other = response_id is not None and state is not known and not state.is_final
        return began, state.id if is_other and state.is_cancelling else None

    def update_deadline(self, response_id: str) -> None:
        """Restart the deadline of a response. After the last message, remove the deadline."""
        state, entry = self._states.get(response_id), self._active.get(response_id)
        if state is None or state.is_final:
            if entry is not None:
                self._commands.requests.table.cancel(self._active.pop(response_id))
            return
        state.is_presumed_over = False
        seconds = self._seconds_of(state)
        if entry is None:
            self._active[response_id] = self._add_entry(Request.ACTIVE, response_id, seconds)
        elif state.is_cancelling:
            self._hasten(state)
        else:
            entry.sent_at = time.monotonic()
            self._set_deadline(entry, entry.sent_at + seconds)

    def _seconds_of(self, state: ResponseState) -> float:
        """Return the longest accepted time in s between two messages of a response."""
        if state.is_cancelling:
            return _CANCEL_SECONDS
        seconds = self._commands.timeouts.response
        return min(seconds, _FINISHED_SECONDS) if state.has_whole_items else seconds

    def refuse(self, entry: Pending[Request], error: ErrorInfo) -> None:
        """Handle the refusal of a request. The request may be sent again."""
        request_id = self._request_of(entry)
        state = self.queue.refuse(request_id, error)
        self._drop_needless()
        if state is not None:
            self._end_request(state)
        elif self.queue.is_paused:
            # The request keeps its deadline.
            self._add_entry(Request.RETRY, None, self._backoff.next_delay())
        else:
            # The request is sent again after the end of the response in progress.
            self._requested.pop(request_id, None)
            self._commands.requests.table.cancel(entry)
            for active in self._states.active:
                self.expect_end(active)

    def expire_request(self, entry: Pending[Request]) -> None:
        """End a request that was not answered in time, so that the next request is sent."""
        state, refusal = self.queue.give_up(self._request_of(entry))
        if state is None:
            return
        error: InworldError | None = None
        if refusal is not None:
            error = service_error(refusal)
        elif not state.is_cancelling:
            seconds = self._commands.timeouts.response_start
            error = DeadlineExceeded(f"the service has not begun the response in {seconds:g} s")
        self._end_request(state, error)

    def expire_active(
        self, entry: Pending[Request]
    ) -> tuple[ResponseState | None, InworldError | None]:
        """
        Handle a response that has sent no message for too long.

        Returns:
            Two values. The first is the state of the response; None if the response has ended
            meanwhile or has more time. The second is the error with which to end the response; None
            if the response is presumed over, or if the caller must end the response as cancelled.
        """
        response_id = entry.key or ""
        state = self._states.get(response_id)
        if state is None or self._active.get(response_id) is not entry:
            return None, None
        del self._active[response_id]
        if state.is_cancelling:
            return state, None
        left = entry.sent_at + self._seconds_of(state) - time.monotonic()
        if left > 0:
            # Audio arrived after the deadline was set. Audio messages do not move the deadline.
            later = self._active[response_id] = self._add_entry(Request.ACTIVE, response_id, left)
            later.sent_at = entry.sent_at
            return None, None
        if state.has_whole_items and not state.is_presumed_over:
            state.is_presumed_over = True
            return state, None
        seconds = self._commands.timeouts.response
        return state, DeadlineExceeded(f"the response has sent no message for {seconds:g} s")

    def expect_end(self, state: ResponseState) -> None:
        """Set the deadline of a response that has no deadline yet."""
        if state.id is not None and state.id not in self._active:
            seconds = self._commands.timeouts.response
            self._active[state.id] = self._add_entry(Request.ACTIVE, state.id, seconds)

    def resume(self) -> None:
        """Send refused requests again, because the delay after the refusal is over."""
        self.queue.is_paused = False
        self.send_waiting()

    def handle_audio(self, event: AudioDelta, *, is_accepted: bool) -> None:
        """
        Append a piece of speech to its response, if users hold this response.

        Record when the audio arrived, so that :meth:`expire_active` can extend the deadline.
        """
        response_id = event.response_id
        # If no user holds a response, a look-up would raise and catch an exception each time.
        if is_accepted and len(self._held):
            response = self._held.get(id(self._states.get(response_id)))
            if response is not None:
                response._audio.append(event, len(event.audio))
        entry = self._active.get(response_id)
        if entry is None:
            self.update_deadline(response_id)
        else:
            entry.sent_at = time.monotonic()

    def send_waiting(self) -> None:
        """Make the executor send the requests that can be sent now."""
        if self._commands.open_connection is not None and self.queue.has_waiting:
            self._executor.put(self.send)

    def send(self) -> None:
        """Send the requests that can be sent now. The caller does not hold the monitor."""
        while True:
            with self._commands.monitor:
                connection = self._commands.open_connection
                found = None if connection is None else self.queue.pop()
                if connection is None or found is None:
                    return
                state, command = found
                request_id = state.request_id or ""
                if request_id not in self._requested:
                    seconds = self._commands.timeouts.response_start
                    entry = self._add_entry(Request.RESPONSE, command.event_id, seconds)
                    self._requested[request_id] = entry
            try:
                connection.send(self._commands.endpoint.write(command), needs_room=False)
            except (ClosedError, ConnectionLost):
                # A request that is lost with its connection is sent again on the next connection.
                return

    def damage(self, response_id: str | None, error: InworldError) -> None:
        """
        Record that output of a response was lost. Without an id, the lost output belongs to the
        only response in progress.
        """
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
        self._stop_awaiting()
        return ids

    def cancel(self, response: Response) -> str | None:
        """Cancel a response, and return its id if ``response.cancel`` must be sent now."""
        response_id = self.queue.cancel(response._state)
        self._stop(response._state)
        return response_id

    def cancel_present(self) -> None:
        """Record that the conversation's response, in progress or requested, is cancelled."""
        _, states = self.queue.interrupt(includes_queued=False)
        self._stop(*states)
        self._stop_awaiting()

    def cancel_named(self, response_id: str) -> None:
        """Record that the response with this id is being cancelled."""
        state = self._states.get(response_id)
        if state is not None and self._states.cancel(response_id):
            self._stop(state)

    def lose_connection(self, error: InworldError) -> None:
        """End the responses in progress. Requests whose responses have not begun are sent again."""
        self._forget_entries()
        for response in self._held_of(*self.queue.lose_connection(_LOST)):
            response._end(error)

    def end_all(self, error: InworldError) -> None:
        """End all responses, since the session has ended."""
        self._forget_entries()
        self.queue.end_all(_LOST)
        for response in list(self._held.values()):
            response._end(error)

    def _stop(self, *states: ResponseState) -> None:
        for state in states:
            self._hasten(state)
            if state.is_final:
                self._forget_request(state)
        for response in self._held_of(*states):
            response._stop()

    def _stop_awaiting(self) -> None:
        for response in list(self._held.values()):
            if response._awaits_tools:
                response._stop()

    def _drop_needless(self) -> None:
        needless = self.queue.pop_needless()
        self._rounds.difference_update(each.request_id or "" for each in needless)
        self._stop(*needless)

    # The entries of the pending table.

    def _add_entry(self, kind: Request, key: str | None, seconds: float) -> Pending[Request]:
        now = time.monotonic()
        table = self._commands.requests.table
        entry = table.add(kind, key, sent_at=now, deadline=now + seconds)
        self._commands.schedule(entry.deadline)
        return entry

    def _set_deadline(self, entry: Pending[Request], deadline: float) -> None:
        entry.deadline = deadline
        self._commands.schedule(deadline)

    def _hasten(self, state: ResponseState) -> None:
        """Set or shorten the deadline of a cancelled response, so that the response ends soon."""
        if state.is_cancelling and not state.is_final:
            self.expect_end(state)
            entry = self._active.get(state.id or "") or self._requested.get(state.request_id or "")
            deadline = time.monotonic() + _CANCEL_SECONDS
            if entry is not None and entry.deadline > deadline:
                self._set_deadline(entry, deadline)

    def _begun(self, state: ResponseState) -> None:
        """End the entry of a request whose response has begun."""
        entry = self._forget_request(state)
        self._backoff.reset()
        if entry is not None and not state.is_out_of_band:
            # The service handles commands in order, so the service has the items of earlier
            # commands.
            self._commands.requests.accepted_before(entry.sent_at)

    def _forget_request(self, state: ResponseState) -> Pending[Request] | None:
        entry = self._requested.pop(state.request_id or "", None)
        if entry is not None:
            self._commands.requests.table.cancel(entry)
        return entry

    def _forget_entries(self) -> None:
        for entry in (*self._requested.values(), *self._active.values()):
            self._commands.requests.table.cancel(entry)
        self._requested.clear()
        self._active.clear()
        self._backoff.reset()

    def _request_of(self, entry: Pending[Request]) -> str:
        return next((key for key, each in self._requested.items() if each is entry), "")

    def _end_request(self, state: ResponseState, error: InworldError | None = None) -> None:
        """End the reply to a request that has failed."""
        self._forget_request(state)
        self._rounds.discard(state.request_id or "")
        for response in self._held_of(state):
            if response._state is state:
                response._end(error)

    def _held_of(self, *states: ResponseState) -> list[Response]:
        return list(filter(None, (self._held.get(id(state)) for state in states)))

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
    """If this event may be the first message of a response, return the id of the response."""
    if isinstance(event, (ResponseCreated, ResponseDone)):
        return event.response.id
    return event.response_id if isinstance(event, OutputItemAdded) else None
