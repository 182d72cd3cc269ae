"""
Queues the client's requests for responses.

The service accepts one response of the conversation at a time and refuses further requests
meanwhile. So a request is queued until no response is in progress. A response with
``conversation="none"`` is out of band: its request is sent at once. If the service still refuses a
request because a response is in progress, the request is sent again: after the end of that
response, or after a delay if the client knows of no such response.

A request for an answer to tool outputs is dropped if the service has begun a response after the
service received these outputs.

This module has no clock and no lock. The owner serializes the calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from inworld_sync.models.realtime import (
    CreateResponse,
    ErrorInfo,
    ItemAdded,
    OutputItemAdded,
    RealtimeEvent,
    ResponseConfig,
    ResponseCreated,
    ResponseDone,
    ResponseInfo,
)
from inworld_sync.wire.realtime.faults import BUSY_CODE
from inworld_sync.wire.realtime.responses import CLIENT_EVENT_ID, Responses, ResponseState

__all__ = ["ResponseQueue"]

_MAX_TRIES = 3


@attrs.define(eq=False)
class _Request:
    """
    A request whose response has not begun.

    *unknown* are the tool outputs that the response is to answer and that the service has not
    acknowledged. *is_needless* is true once the service has begun a response with all these
    outputs. *tries* counts how often the request was refused while a response was in progress.
    *losses* counts how often the connection of the request was lost before the response began.
    """

    state: ResponseState
    command: CreateResponse
    is_answer: bool = False
    unknown: set[str] = attrs.field(factory=set)
    is_needless: bool = False
    tries: int = 0
    losses: int = 0
    refusal: ErrorInfo | None = None

    @property
    def id(self) -> str:
        """The id of the request, which is also in the metadata of the request."""
        return self.state.request_id or ""


class ResponseQueue:
    """
    The requests of a session whose responses have not begun, and the table of all its responses.

    Attributes:
        responses: The table of all responses.
        echoes_ids: Whether the service has repeated the metadata of a request.
        is_paused: True while no request may be sent, because the service was busy with a response
            that the client does not know; see :meth:`refuse`.
    """

    def __init__(self) -> None:
        self.responses = Responses()
        self.echoes_ids = False
        self.is_paused = False
        self._waiting: deque[_Request] = deque()
        self._sent: dict[str, _Request] = {}
        self._needless: list[ResponseState] = []

    def add(
        self,
        request_id: str,
        config: ResponseConfig | None = None,
        *,
        answers: Iterable[str] | None = None,
        event_id: str | None = None,
    ) -> ResponseState:
        """
        Queue a request for a response.

        Args:
            request_id: A string that no other request has.
            config: The response's settings.
            answers: The ids of the tool outputs that the response is to answer.
            event_id: The event id of the command; None means the request id.
        """
        state, command = self.responses.request(request_id, config, event_id)
        self._waiting.append(_Request(state, command, answers is not None, set(answers or ())))
        return state

    @property
    def has_waiting(self) -> bool:
        """True while a request still has to be sent."""
        return bool(self._waiting)

    def is_out_of_band(self, response_id: str) -> bool:
        """Return whether a response is out of band."""
        state = self.responses.get(response_id)
        return state is not None and state.is_out_of_band

    @property
    def _in_progress(self) -> list[ResponseState]:
        """The responses in progress that belong to the conversation."""
        return [state for state in self.responses.active if not state.is_out_of_band]

    def pop(self) -> tuple[ResponseState, CreateResponse] | None:
        """
        Return the next request that can be sent now, and record it as sent.

        Return None if no request can be sent.
        """
        sent = [each for each in self._sent.values() if not each.state.is_out_of_band]
        active = [state for state in self._in_progress if not state.is_presumed_over]
        is_busy = bool(sent or active or self.is_paused)
        for request in self._waiting:
            if request.state.is_out_of_band or not is_busy:
                self._waiting.remove(request)
                self._sent[request.id] = request
                return request.state, request.command
        return None

    def handle(self, event: RealtimeEvent, *, matches_by_order: bool) -> ResponseState | None:
        """
        Apply a message; see :meth:`Responses.handle`.

        Args:
            event: The message.
            matches_by_order: Whether a response without a request id belongs to the oldest request
                that was sent. The value is True if the service begins no response by itself, or
                does not repeat the metadata of requests.
        """
        if isinstance(event, ItemAdded):
            for request in self._all():
                request.unknown.discard(event.item.id or "")
        if isinstance(event, (ResponseCreated, ResponseDone)):
            request_id = event.response.metadata.get(CLIENT_EVENT_ID)
            self.echoes_ids = self.echoes_ids or request_id in self._sent
            event = self._matched(event) if matches_by_order else event
        begun = None
        if isinstance(event, OutputItemAdded) and matches_by_order:
            info = ResponseInfo(id=event.response_id, status="in_progress")
            begun = self.responses.handle(self._matched(ResponseCreated(info)))
        if isinstance(event, ResponseCreated):
            self._drop_needless(event)
        if isinstance(event, ResponseDone):
            self.is_paused = False
        state = self.responses.handle(event) or begun
        if state is not None and state.request_id is not None and state.status != "requested":
            self._sent.pop(state.request_id, None)
        return state

    def replaced_by(self, event: ResponseCreated) -> list[ResponseState]:
        """
        Return the responses that must have ended, since the service begins another response.

        The service gives one response of the conversation at a time.
        """
        request = self._sent.get(str(event.response.metadata.get(CLIENT_EVENT_ID)))
        is_known = self.responses.get(event.response.id) is not None
        if is_known or (request is not None and request.state.is_out_of_band):
            return []
        if request is None and any(each.state.is_out_of_band for each in self._sent.values()):
            # The new response may be out of band.
            return []
        return self._in_progress

    def refuse(self, request_id: str, error: ErrorInfo) -> ResponseState | None:
        """
        Record that the service has refused a request that was sent.

        If the service was busy with another response, the request is queued again. If the client
        knows of no such response, the queue is paused; the owner resumes the queue after a delay.

        Returns:
            The state that has failed; None if the request is queued again.
        """
        request = self._sent.pop(request_id, None)
        if request is None:
            return None
        if error.code == BUSY_CODE and not request.state.is_cancelling:
            in_progress = self._in_progress
            request.tries += 1 if in_progress else 0
            if request.is_needless:
                self._withdraw(request)
                return None
            if request.tries < _MAX_TRIES:
                for state in in_progress:
                    state.is_presumed_over = False
                self.is_paused = not in_progress
                request.refusal = error
                self._waiting.appendleft(request)
                return None
        status = "cancelled" if request.state.is_cancelling else "failed"
        return self.responses.withdraw(request_id, status, error)

    def give_up(self, request_id: str) -> tuple[ResponseState | None, ErrorInfo | None]:
        """
        End a request that was not answered in time.

        Returns:
            The state that has ended, and the last refusal, or None without a refusal.
        """
        request = self._sent.pop(request_id, None)
        was_sent = request is not None
        if request is None:
            request = next((each for each in self._waiting if each.id == request_id), None)
            if request is None:
                return None, None
            self._waiting.remove(request)
            self.is_paused = False
        status = "cancelled" if request.state.is_cancelling else "failed"
        end = self.responses.abandon if was_sent else self.responses.withdraw
        return end(request_id, status, request.refusal), request.refusal

    def pop_needless(self) -> list[ResponseState]:
        """Return the requests that were dropped as needless since the last call."""
        needless, self._needless = self._needless, []
        return needless

    def interrupt(self, *, includes_queued: bool = True) -> tuple[list[str], list[ResponseState]]:
        """
        Cancel the responses of the conversation that are in progress or requested.

        Args:
            includes_queued: Whether requests that were not sent yet are cancelled too.

        Returns:
            The ids for which ``response.cancel`` must be sent, and the states of all responses that
            this call has cancelled.
        """
        ids, states = [], []
        for state in self._in_progress:
            if self.responses.cancel(state.id or ""):
                ids.append(state.id or "")
                states.append(state)
        queued = [each for each in self._waiting if not each.state.is_out_of_band]
        for request in queued if includes_queued else ():
            self._waiting.remove(request)
            states += filter(None, [self.responses.withdraw(request.id)])
            self.is_paused = False
        for request in self._sent.values():
            if not request.state.is_out_of_band and not request.state.is_cancelling:
                # A response has no id before its beginning, so the cancel is sent at its beginning.
                request.state.is_cancelling = True
                states.append(request.state)
        return ids, states

    def cancel(self, state: ResponseState) -> str | None:
        """Cancel a response in any state. Return its id if ``response.cancel`` must be sent now."""
        for request in self._waiting:
            if request.state is state:
                self._waiting.remove(request)
                self.responses.withdraw(request.id)
                return None
        if state.id is not None:
            return state.id if self.responses.cancel(state.id) else None
        if not state.is_final:
            state.is_cancelling = True
        return None

    def lose_connection(self, error: ErrorInfo) -> tuple[ResponseState, ...]:
        """
        End the responses that have begun, and queue the other requests again.

        A request whose connection was lost three times ends too, because the request may be the
        cause.

        Returns:
            The responses that have ended.
        """
        cancelled = [each for each in self._sent.values() if each.state.is_cancelling]
        for request in cancelled:
            del self._sent[request.id]
            self.responses.withdraw(request.id)
        lost = []
        for request in list(self._sent.values()):
            request.tries = 0
            request.losses += 1
            if request.losses >= _MAX_TRIES:
                del self._sent[request.id]
                lost.append(self.responses.withdraw(request.id, "failed", error))
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self.is_paused = False
        ended = (*(each.state for each in cancelled), *filter(None, lost))
        return (*ended, *self.responses.lose_connection(error))

    def end_all(self, error: ErrorInfo) -> tuple[ResponseState, ...]:
        """End all responses, because the session is over, and return these responses."""
        self._waiting.clear()
        self._sent.clear()
        return self.responses.end_all(error)

    def _matched(self, event: ResponseCreated | ResponseDone) -> ResponseCreated | ResponseDone:
        """Return an event of an unknown response, with the id of the oldest request added."""
        info = event.response
        is_known = CLIENT_EVENT_ID in info.metadata or self.responses.get(info.id) is not None
        if is_known or not self._sent:
            return event
        metadata = {**info.metadata, CLIENT_EVENT_ID: next(iter(self._sent))}
        return attrs.evolve(event, response=attrs.evolve(info, metadata=metadata))

    def _drop_needless(self, event: ResponseCreated) -> None:
        request_id = str(event.response.metadata.get(CLIENT_EVENT_ID))
        begun = self._sent.get(request_id)
        state = self.responses.get(event.response.id) if begun is None else begun.state
        if state is not None and state.is_out_of_band:
            return
        for request in self._all():
            if request.is_answer and not request.unknown and request.id != request_id:
                request.is_needless = True
                if request in self._waiting:
                    self._waiting.remove(request)
                    self._withdraw(request)

    def _withdraw(self, request: _Request) -> None:
        self.responses.withdraw(request.id)
        self._needless.append(request.state)

    def _all(self) -> list[_Request]:
        return [*self._waiting, *self._sent.values()]
