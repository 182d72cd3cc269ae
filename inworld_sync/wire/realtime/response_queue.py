"""
Responses that the client requests, one after another.

The service makes one response of the conversation at a time and refuses other requests meanwhile,
so a request is queued until no response is in progress. A response with ``conversation="none"``
is out of band: its request is sent at once. If the service refuses a request because it has just
begun a response of its own, the request is sent again.

A request for a response to tool outputs is dropped once the service has begun a response after it
acknowledged these outputs.

Pure: no clock, no lock; the owner serializes calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from inworld_sync.models.realtime import (
    CreateResponse,
    ErrorInfo,
    ErrorReported,
    ItemAdded,
    RealtimeEvent,
    ResponseConfig,
    ResponseCreated,
)
from inworld_sync.wire.realtime.responses import CLIENT_EVENT_ID, Responses, ResponseState

__all__ = ["ResponseQueue"]

_BUSY_CODE = "conversation_already_has_active_response"

_MAX_TRIES = 3


@attrs.define(eq=False)
class _Request:
    """
    A request whose response has not begun.

    *unknown* has the tool outputs that the response answers and that the service has not
    acknowledged. *is_needless* is true if the service has begun a response after it acknowledged
    all of them.
    """

    state: ResponseState
    command: CreateResponse
    is_answer: bool = False
    unknown: set[str] = attrs.field(factory=set)
    is_needless: bool = False
    tries: int = 0

    @property
    def id(self) -> str:
        """The client event id of the request."""
        return self.state.request_id or ""


class ResponseQueue:
    """The requests of a session whose responses have not begun, and all its responses."""

    def __init__(self) -> None:
        self.responses = Responses()
        self._waiting: deque[_Request] = deque()
        self._sent: dict[str, _Request] = {}
        self._needless: list[ResponseState] = []

    def add(
        self,
        request_id: str,
        config: ResponseConfig | None = None,
        *,
        answers: Iterable[str] | None = None,
    ) -> ResponseState:
        """
        Queue a request for a response.

        Args:
            request_id: A string that no other request has.
            config: The response's settings.
            answers: The ids of the tool outputs that the response answers.
        """
        state, command = self.responses.request(request_id, config)
        self._waiting.append(_Request(state, command, answers is not None, set(answers or ())))
        return state

    @property
    def has_waiting(self) -> bool:
        """Whether a request is not sent yet."""
        return bool(self._waiting)

    def is_sent(self, request_id: str | None) -> bool:
        """Whether a request was sent and its response has neither begun nor been refused."""
        return request_id in self._sent

    def is_out_of_band(self, response_id: str) -> bool:
        """Whether a response is out of band."""
        state = self.responses.get(response_id)
        return state is not None and state.is_out_of_band

    def pop(self) -> CreateResponse | None:
        """Return the next request that may be sent now, and record it as sent; None if none may."""
        sent = (request.state for request in self._sent.values())
        is_busy = not all(state.is_out_of_band for state in (*sent, *self.responses.active))
        for request in self._waiting:
            if request.state.is_out_of_band or not is_busy:
                self._waiting.remove(request)
                self._sent[request.id] = request
                request.tries += 1
                return request.command
        return None

    def handle(self, event: RealtimeEvent, *, has_manual_turns: bool) -> ResponseState | None:
        """
        Apply a message; see :meth:`Responses.handle`.

        Args:
            event: The message.
            has_manual_turns: Whether the service begins no response by itself. If so, a response
                without a request id belongs to the pending request.
        """
        if isinstance(event, ErrorReported) and self._send_again(event.error):
            return None
        if isinstance(event, ItemAdded):
            for request in self._all():
                request.unknown.discard(event.item.id or "")
        if isinstance(event, ResponseCreated):
            event = self._attributed(event) if has_manual_turns else event
            self._drop_needless(event)
        state = self.responses.handle(event)
        if state is not None and state.request_id is not None and state.status != "requested":
            self._sent.pop(state.request_id, None)
        return state

    def pop_needless(self) -> list[ResponseState]:
        """Return the requests that were dropped as needless since the last call."""
        needless, self._needless = self._needless, []
        return needless

    def interrupt(self) -> tuple[list[str], list[ResponseState]]:
        """
        Cancel the responses of the conversation that are in progress or requested.

        Returns:
            The ids of responses to cancel at the service, and the states of all responses that
            end with this call.
        """
        ids, states = [], []
        for state in self.responses.active:
            if not state.is_out_of_band and self.responses.cancel(state.id or ""):
                ids.append(state.id or "")
                states.append(state)
        for request in [each for each in self._waiting if not each.state.is_out_of_band]:
            self._waiting.remove(request)
            states += filter(None, [self.responses.withdraw(request.id)])
        for request in self._sent.values():
            if not request.state.is_out_of_band and not request.state.is_cancelling:
                # It has no id before it begins, so the service is asked to cancel it then.
                request.state.is_cancelling = True
                states.append(request.state)
        return ids, states

    def cancel(self, state: ResponseState) -> str | None:
        """Cancel a response in any state; return its id if a command must be sent now."""
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
        """End the responses that have begun and queue the others again; return the ended ones."""
        cancelled = [each for each in self._sent.values() if each.state.is_cancelling]
        for request in cancelled:
            del self._sent[request.id]
            self.responses.withdraw(request.id)
        for request in self._sent.values():
            request.tries = 0
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        return (*(each.state for each in cancelled), *self.responses.lose_connection(error))

    def end_all(self, error: ErrorInfo) -> tuple[ResponseState, ...]:
        """End all responses, because the session is over; return the ended ones."""
        self._waiting.clear()
        self._sent.clear()
        return self.responses.end_all(error)

    def _send_again(self, error: ErrorInfo) -> bool:
        request = self._sent.get(error.event_id or "")
        if (
            request is None
            or error.code != _BUSY_CODE
            or request.tries >= _MAX_TRIES
            or request.state.is_cancelling
            or all(state.is_out_of_band for state in self.responses.active)
        ):
            return False
        del self._sent[request.id]
        if request.is_needless:
            self._withdraw(request)
        else:
            self._waiting.appendleft(request)
        return True

    def _attributed(self, event: ResponseCreated) -> ResponseCreated:
        info = event.response
        if CLIENT_EVENT_ID in info.metadata or len(self._sent) != 1:
            return event
        [request_id] = self._sent
        metadata = {**info.metadata, CLIENT_EVENT_ID: request_id}
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
