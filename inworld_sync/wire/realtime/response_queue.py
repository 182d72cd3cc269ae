"""
Responses that this side asks for, one after another.

The service gives one response of the conversation at a time and refuses a request meanwhile, so a
request waits here until nothing is being given. Responses beside the conversation wait for
nothing. One that the service refuses all the same, because it has just begun a response by
itself, is asked for again.

An answer to tools is not asked for any more once the service has begun a response that knows
their outputs.

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

__all__ = ["Requests"]

_BUSY_CODE = "conversation_already_has_active_response"

_MAX_TRIES = 3


@attrs.define(eq=False)
class _Request:
    """
    A request on its way.

    *unknown* are the outputs that it answers and that the service has not taken yet; *is_needless*
    says that the service has begun a response that knows all of them.
    """

    state: ResponseState
    command: CreateResponse
    is_beside: bool
    is_answer: bool = False
    unknown: set[str] = attrs.field(factory=set)
    is_needless: bool = False
    tries: int = 0

    @property
    def id(self) -> str:
        """The client event id that asks for it."""
        return self.state.request_id or ""


class Requests:
    """What was asked for and has not begun, above the table of all responses."""

    def __init__(self) -> None:
        self.responses = Responses()
        self._waiting: deque[_Request] = deque()
        self._sent: dict[str, _Request] = {}
        # Requests whose responses are beside the conversation, to know those when they begin.
        self._beside: set[str] = set()
        self._needless: list[ResponseState] = []

    def ask(
        self,
        request_id: str,
        config: ResponseConfig | None = None,
        *,
        answers: Iterable[str] | None = None,
    ) -> ResponseState:
        """
        Ask for a response.

        Args:
            request_id: A text that no other request has.
            config: What it is asked to be.
            answers: The ids of the outputs of tools that it is an answer to.
        """
        state, command = self.responses.request(request_id, config)
        is_beside = config is not None and config.conversation == "none"
        if is_beside:
            self._beside.add(request_id)
        self._waiting.append(
            _Request(state, command, is_beside, answers is not None, set(answers or ()))
        )
        return state

    @property
    def has_waiting(self) -> bool:
        """Whether a request is not sent yet."""
        return bool(self._waiting)

    def knows(self, request_id: str | None) -> bool:
        """Whether a request was sent and neither begun nor refused."""
        return request_id in self._sent

    def is_beside(self, response_id: str) -> bool:
        """Whether a response is beside the conversation."""
        state = self.responses.get(response_id)
        return state is not None and self._is_beside(state)

    def next(self) -> CreateResponse | None:
        """Give the next request that can be sent now; it counts as sent."""
        is_busy = self._is_busy
        for request in self._waiting:
            if request.is_beside or not is_busy:
                self._waiting.remove(request)
                self._sent[request.id] = request
                request.tries += 1
                return request.command
        return None

    def note(self, event: RealtimeEvent, *, is_quiet: bool) -> ResponseState | None:
        """
        Follow a message; see :meth:`Responses.note`.

        Args:
            event: The message.
            is_quiet: The service begins no response by itself; so one that does not say who
                asked for it is the one that was asked for.
        """
        if isinstance(event, ErrorReported) and self._ask_again(event.error):
            return None
        if isinstance(event, ItemAdded):
            for request in self._all():
                request.unknown.discard(event.item.id or "")
        if isinstance(event, ResponseCreated):
            event = self._attributed(event) if is_quiet else event
            self._drop_needless(event)
        state = self.responses.note(event)
        if state is not None and state.request_id is not None and state.status != "requested":
            self._sent.pop(state.request_id, None)
            if state.is_final:
                self._beside.discard(state.request_id)
        return state

    def take_needless(self) -> list[ResponseState]:
        """The answers to tools that are not asked for any more, each given once."""
        needless, self._needless = self._needless, []
        return needless

    def interrupt(self) -> tuple[list[str], list[ResponseState]]:
        """
        Cancel what the conversation is given and what was asked of it.

        Returns:
            The ids of those that the service must be told of, and the states of all that end by
            it: those are over, or will give nothing more.
        """
        ids, states = [], []
        for state in self.responses.active:
            if not self._is_beside(state) and self.responses.cancel(state.id or ""):
                ids.append(state.id or "")
                states.append(state)
        for request in [each for each in self._waiting if not each.is_beside]:
            self._waiting.remove(request)
            states += filter(None, [self.responses.withdraw(request.id)])
        for request in self._sent.values():
            if not request.is_beside and not request.state.is_cancelling:
                # It cannot be named before it begins; whoever sees it begin cancels it.
                request.state.is_cancelling = True
                states.append(request.state)
        return ids, states

    def cancel(self, state: ResponseState) -> str | None:
        """Cancel one response in whatever state; give its id if the service must be told now."""
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
        """End what has begun, and have the rest asked for once more; return what has ended."""
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
        """End everything, for the session is over; return what has ended."""
        self._waiting.clear()
        self._sent.clear()
        return self.responses.end_all(error)

    @property
    def _is_busy(self) -> bool:
        return any(not request.is_beside for request in self._sent.values()) or any(
            not self._is_beside(state) for state in self.responses.active
        )

    def _is_beside(self, state: ResponseState) -> bool:
        return state.request_id in self._beside

    def _ask_again(self, error: ErrorInfo) -> bool:
        request = self._sent.get(error.event_id or "")
        if (
            request is None
            or error.code != _BUSY_CODE
            or request.tries >= _MAX_TRIES
            or request.state.is_cancelling
            or not any(not self._is_beside(state) for state in self.responses.active)
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
        request_id = event.response.metadata.get(CLIENT_EVENT_ID)
        if request_id in self._beside:
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
