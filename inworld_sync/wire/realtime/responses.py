"""
Follows the responses of one session, each from its request to its final state.

::

    state        response.created   response.done   withdraw, abandon
    requested    IN_PROGRESS        its status      CANCELLED or FAILED
    in_progress  -                  its status      -
    final        ignored            ignored         -

The service also starts responses by itself; the states of such a response begin with
``response.created``. The client sends the id of a request as ``client_event_id`` in the metadata.
The service repeats the metadata in the response, so the response can be matched with its request. A
missing or unknown status at the end counts as ``incomplete``. If a request is abandoned and its
response begins later, the response is cancelled. Audio and text of a cancelled response may still
arrive; :meth:`Responses.accepts` returns False for such audio and text.

This module has no clock and no lock. The owner serializes the calls.
Source: Inworld Realtime reference, ``response.create`` and ``response.done``.
"""

from __future__ import annotations

import attrs

from inworld_sync.models.realtime import (
    CreateResponse,
    ErrorInfo,
    OutputItemAdded,
    OutputItemDone,
    RealtimeEvent,
    ResponseConfig,
    ResponseCreated,
    ResponseDone,
    ResponseInfo,
)
from inworld_sync.wire.realtime.response_text import ResponseText, TextEvent

__all__ = ["CLIENT_EVENT_ID", "ResponseState", "Responses"]

CLIENT_EVENT_ID = "client_event_id"

_FINAL = frozenset({"completed", "cancelled", "failed", "incomplete"})

# At most this many ended responses are kept, so that their late messages are recognized.
_MAX_ENDED = 64


@attrs.define
class ResponseState:
    """
    The state of one response.

    Attributes:
        request_id: The client event id of the request for the response; None if the service began
            the response.
        id: The service's id of the response; None until the response is created.
        status: ``requested``, ``in_progress``, or the final ``completed``, ``cancelled``,
            ``failed`` or ``incomplete``.
        info: The service's last description of the response.
        error: The error that ended the response or its request, or None.
        is_cancelling: Whether the client has cancelled the response.
        is_out_of_band: Whether the response was requested with ``conversation="none"``.
        is_presumed_over: Whether the response seems to have ended without ``response.done``, so
            that the next request may be sent.
        text: The text or transcript of the response so far.
    """

    request_id: str | None = None
    id: str | None = None
    status: str = "requested"
    info: ResponseInfo | None = None
    error: ErrorInfo | None = None
    is_cancelling: bool = False
    is_out_of_band: bool = False
    is_presumed_over: bool = False
    # Whether each item of the response is done.
    _items: dict[str, bool] = attrs.field(factory=dict)
    _text: ResponseText = attrs.field(factory=ResponseText)

    @property
    def is_final(self) -> bool:
        """True once the response has ended."""
        return self.status in _FINAL

    @property
    def has_whole_items(self) -> bool:
        """True if the response has items and all its items are done."""
        return bool(self._items) and all(self._items.values())

    @property
    def last_status(self) -> str:
        """The final status if the response has ended without ``response.done``."""
        if self.is_cancelling:
            return "cancelled"
        return "completed" if self.has_whole_items else "incomplete"

    def update_item(self, item_id: str, *, is_done: bool) -> None:
        """Record that an item of the response has begun or is done."""
        self._items[item_id] = is_done or self._items.get(item_id, False)

    @property
    def text(self) -> str:
        """The text or transcript of the response so far."""
        return "".join(self._text.pieces)

    def pieces(self, start: int) -> list[str]:
        """Return the pieces of the text, from the piece with index *start*."""
        return self._text.pieces[start:]

    def adopt(self, other: ResponseState) -> None:
        """Take over the state of a response that began before its request was known."""
        self.id, self.status, self.info = other.id, other.status, other.info
        self.is_cancelling = self.is_cancelling or other.is_cancelling
        self._text, self._items = other._text, other._items
        if not other.is_final:
            other.status = "cancelled"

    def add_text(self, event: TextEvent) -> bool:
        """Add the text of a message; return whether the text changed."""
        return self._text.add(event, is_cancelled=self.is_cancelling)

    def add_output(self, info: ResponseInfo) -> None:
        """Add the text of the output that ``response.done`` has."""
        self._text.add_items(info.output, is_cancelled=self.is_cancelling)
        if info.status == "completed":
            self._text.release()


class Responses:
    """The responses that are requested, in progress, or ended a short time ago."""

    def __init__(self) -> None:
        self._requests: dict[str, ResponseState] = {}
        self._active: dict[str, ResponseState] = {}
        self._ended: dict[str, ResponseState] = {}
        # The ids of requests that were sent and given up, the oldest first.
        self._abandoned: dict[str, None] = {}

    @property
    def active(self) -> tuple[ResponseState, ...]:
        """The responses in progress, the oldest first."""
        return tuple(self._active.values())

    @property
    def requested(self) -> tuple[ResponseState, ...]:
        """The responses that are requested and have not begun, the oldest first."""
        return tuple(self._requests.values())

    def get(self, response_id: str) -> ResponseState | None:
        """Return the response with this id, or None if the id is unknown or no longer kept."""
        return self._active.get(response_id) or self._ended.get(response_id)

    def request(
        self,
        request_id: str,
        config: ResponseConfig | None = None,
        event_id: str | None = None,
    ) -> tuple[ResponseState, CreateResponse]:
        """
        Request a response.

        Args:
            request_id: A string that no other request of the session has.
            config: The settings of the response; the request id is added to the metadata of the
                response.
            event_id: The event id of the command; None means the request id.

        Returns:
            The response's state, and the command to send.
        """
        config = config or ResponseConfig()
        metadata = {**(config.metadata or {}), CLIENT_EVENT_ID: request_id}
        state = ResponseState(request_id, is_out_of_band=config.conversation == "none")
        self._requests[request_id] = state
        config = attrs.evolve(config, metadata=metadata)
        command = CreateResponse(config, event_id=event_id or request_id)
        return state, command

    def cancel(self, response_id: str) -> bool:
        """Record that the client cancels a response; return whether to send ``response.cancel``."""
        state = self._active.get(response_id)
        if state is None or state.is_cancelling:
            return False
        state.is_cancelling = True
        return True

    def withdraw(
        self, request_id: str, status: str = "cancelled", error: ErrorInfo | None = None
    ) -> ResponseState | None:
        """Remove a request that was not sent, or that the service has refused."""
        state = self._requests.pop(request_id, None)
        if state is not None:
            self._finish(state, status, error)
        return state

    def abandon(
        self, request_id: str, status: str, error: ErrorInfo | None = None
    ) -> ResponseState | None:
        """Stop waiting for the response to a request. If the response begins later, cancel it."""
        self._abandoned[request_id] = None
        if len(self._abandoned) > _MAX_ENDED:
            del self._abandoned[next(iter(self._abandoned))]
        return self.withdraw(request_id, status, error)

    def accepts(self, response_id: str) -> bool:
        """Return whether audio and text of a response are used; True for an unknown response."""
        state = self._active.get(response_id)
        return response_id not in self._ended if state is None else not state.is_cancelling

    def handle(self, event: RealtimeEvent) -> ResponseState | None:
        """Apply a message; return the response that the message changed, or None."""
        changed = self._add_text(event) if isinstance(event, TextEvent) else None
        return self._handle_state(event) or changed

    def _add_text(self, event: TextEvent) -> ResponseState | None:
        state = self._active.get(event.response_id)
        return state if state is not None and state.add_text(event) else None

    def _handle_state(self, event: RealtimeEvent) -> ResponseState | None:
        if isinstance(event, ResponseCreated):
            return self._begin(event.response)
        if isinstance(event, ResponseDone):
            return self._end(event.response)
        if isinstance(event, (OutputItemAdded, OutputItemDone)):
            return self._handle_item(event)
        return None

    def lose_connection(self, error: ErrorInfo) -> tuple[ResponseState, ...]:
        """
        End the responses that have begun, because their connection is lost, and return these
        responses.

        Requests are kept, so that they can be sent again. The ids of responses are forgotten,
        because another connection may use the same ids.
        """
        active = tuple(self._active.values())
        for state in active:
            self._finish(state, "failed", error)
        self._ended.clear()
        self._abandoned.clear()
        return active

    def end_all(self, error: ErrorInfo) -> tuple[ResponseState, ...]:
        """End all responses, because the session is over, and return these responses."""
        requested = tuple(self._requests.values())
        self._requests.clear()
        for state in requested:
            self._finish(state, "failed", error)
        return (*requested, *self.lose_connection(error))

    def _handle_item(self, event: OutputItemAdded | OutputItemDone) -> ResponseState | None:
        state, changed = self.get(event.response_id), None
        if state is None and isinstance(event, OutputItemAdded):
            info = ResponseInfo(id=event.response_id, status="in_progress")
            state = changed = self._begin(info)
        if state is not None:
            state.update_item(event.item.id or "", is_done=isinstance(event, OutputItemDone))
        return changed

    def _begin(self, info: ResponseInfo) -> ResponseState | None:
        state = self.get(info.id)
        request = self._claim(info, state)
        if state is None:
            state = self._active[info.id] = request or ResponseState()
        elif request is not None:
            # The first message of the response was lost, or had no request id.
            table = self._active if info.id in self._active else self._ended
            request.adopt(state)
            state = table[info.id] = request
            if state.is_final:
                return state
        elif state.is_final:
            return None
        if state.info is not None and not info.metadata:
            # The service may leave out the metadata at the end.
            info = attrs.evolve(info, metadata=state.info.metadata)
        state.id, state.status, state.info = info.id, "in_progress", info
        return state

    def _claim(self, info: ResponseInfo, state: ResponseState | None) -> ResponseState | None:
        """Return the request that a response names; None if the response already has a request."""
        request_id = info.metadata.get(CLIENT_EVENT_ID)
        if not isinstance(request_id, str) or (state is not None and state.request_id is not None):
            return None
        if request_id in self._abandoned:
            del self._abandoned[request_id]
            return ResponseState(request_id, is_cancelling=True)
        return self._requests.pop(request_id, None)

    def _end(self, info: ResponseInfo) -> ResponseState | None:
        state = self._begin(info)
        if state is not None and not state.is_final:
            state.add_output(info)
            self._finish(state, info.status if info.status in _FINAL else "incomplete", None)
        return state

    def _finish(self, state: ResponseState, status: str, error: ErrorInfo | None) -> None:
        state.status, state.error = status, error
        if state.id is None:
            return
        self._active.pop(state.id, None)
        self._ended[state.id] = state
        if len(self._ended) > _MAX_ENDED:
            del self._ended[next(iter(self._ended))]
