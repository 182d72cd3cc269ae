"""
The responses of a session and their handles.

Lock rule: the session's monitor guards everything here.
"""

from __future__ import annotations

import weakref
from typing import Any

from inworld_sync.errors import InworldError
from inworld_sync.models.options import Options
from inworld_sync.models.realtime import (
    AudioDelta,
    ErrorInfo,
    OutputItemAdded,
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
from inworld_sync.sessions.realtime.line import new_id
from inworld_sync.sessions.realtime.reply import Reply
from inworld_sync.sessions.realtime.response import Owner, Response
from inworld_sync.wire.realtime.response_queue import ResponseQueue
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["Replies"]

_LOST = ErrorInfo(type="server_error", message="the connection was lost")


class Replies:
    """
    The responses of one session, over all its connections.

    Args:
        owner: The session, for the handles.
        options: The client's settings.
    """

    def __init__(self, owner: Owner, options: Options) -> None:
        self.requests = ResponseQueue()
        self._owner = owner
        self._options = options
        # By the identity of the state, which a handle keeps alive.
        self._handles: weakref.WeakValueDictionary[int, Reply] = weakref.WeakValueDictionary()
        # Requests for further rounds of replies that have begun, by their ids.
        self._rounds: set[str] = set()

    @property
    def streams(self) -> list[EventStream[Any]]:
        """Those of all responses that somebody holds."""
        return [stream for handle in self._held() for stream in handle.streams]

    def ask(self, config: ResponseConfig | None) -> Reply:
        """Ask for a response."""
        return self._handle(self.requests.add(new_id("evt"), config))

    def await_tools(self, response_id: str) -> Reply | None:
        """Have a reply not end with one of its rounds; give it if somebody holds it."""
        state = self.requests.responses.get(response_id)
        handle = None if state is None else self._handles.get(id(state))
        return handle if handle is not None and handle.await_tools() else None

    def ask_for_answer(
        self, reply: Reply | None, unknown: set[str], *, is_continued: bool
    ) -> Reply:
        """Ask for what follows from the outputs of tools; some the service may not know yet."""
        request_id = new_id("evt")
        state = self.requests.add(request_id, answers=unknown)
        if is_continued:
            self._rounds.add(request_id)
        if reply is not None:
            reply.go_on(state)
            self._handles[id(state)] = reply
        return self._handle(state)

    def takes(self, event: RealtimeEvent) -> bool:
        """Whether an event counts: a piece of a response that is cancelled or over does not."""
        if isinstance(event, (AudioDelta, TextDelta, TranscriptDelta)):
            return self.requests.responses.accepts(event.response_id)
        return True

    def note(
        self, event: RealtimeEvent, *, has_manual_turns: bool
    ) -> tuple[Reply | None, str | None]:
        """
        Follow a message.

        Returns:
            The handle of a reply that begins with it, and the id of a response that begins with
            it although this side has cancelled it already.
        """
        responses = self.requests.responses
        response_id = _beginning(event)
        is_new = response_id is not None and responses.get(response_id) is None
        state = self.requests.handle(event, has_manual_turns=has_manual_turns)
        for needless in self.requests.pop_needless():
            self._rounds.discard(needless.request_id or "")
            self._stop(needless)
        if state is None and response_id is None:
            state = self._complete_text(event)
        if state is None:
            return None, None
        is_round = state.request_id in self._rounds
        began = self._handle(state) if is_new and not is_round else None
        handle = self._handles.get(id(state))
        if handle is not None and handle.state is state:
            handle.follow_text()
            if state.is_final and not handle.awaits_tools:
                handle.end(None)
        if state.is_final:
            self._rounds.discard(state.request_id or "")
        if response_id is not None:
            self._end_replaced(response_id, state)
        return began, state.id if is_new and state.is_cancelling else None

    def add_audio(self, event: AudioDelta) -> None:
        """Give a piece of speech to the response's handle, if somebody holds it."""
        state = self.requests.responses.get(event.response_id)
        handle = None if state is None else self._handles.get(id(state))
        if handle is not None:
            handle.add_audio(event)

    @property
    def is_busy(self) -> bool:
        """Whether a response is being given or was asked for."""
        return bool(self.requests.responses.active or self.requests.responses.requested)

    def is_requested(self, request_id: str | None) -> bool:
        """Whether an id is that of a request whose response has not begun."""
        return self.requests.is_sent(request_id)

    def is_beside(self, event: RealtimeEvent) -> bool:
        """Whether an event is about a response beside the conversation."""
        if isinstance(event, ResponseDone):
            return self.requests.is_out_of_band(event.response.id)
        response_id = getattr(event, "response_id", None)
        return isinstance(response_id, str) and self.requests.is_out_of_band(response_id)

    def damage(self, response_id: str | None, error: InworldError) -> None:
        """Note that a message about a response was lost; None means that it may be any."""
        for handle in self._held():
            if response_id in (None, handle.id) and not handle.is_final:
                handle.damage(error)

    def interrupt(self) -> list[str]:
        """Cancel what is being given and asked for; see :meth:`ResponseQueue.interrupt`."""
        ids, states = self.requests.interrupt()
        for state in states:
            self._stop(state)
        return ids

    def cancel(self, response: Response) -> str | None:
        """Cancel one response; give its id if the service must be told now."""
        # Whoever calls holds the handle, so it is there.
        reply = next(handle for handle in self._held() if handle is response)
        response_id = self.requests.cancel(reply.state)
        reply.stop()
        return response_id

    def cancel_named(self, response_id: str) -> None:
        """Follow a cancelling that is sent anyway."""
        state = self.requests.responses.get(response_id)
        if state is not None and self.requests.responses.cancel(response_id):
            self._stop(state)

    def lose_connection(self, error: InworldError) -> None:
        """End what has begun; what has not is asked for again."""
        for state in self.requests.lose_connection(_LOST):
            self._end(state, error)

    def end_all(self, error: InworldError) -> None:
        """End everything."""
        for state in self.requests.end_all(_LOST):
            self._end(state, error)
        for handle in self._held():
            handle.end(error)

    def _held(self) -> list[Reply]:
        return list(self._handles.values())

    def _handle(self, state: ResponseState) -> Reply:
        handle = self._handles.get(id(state))
        if handle is None:
            handle = Reply(self._owner, state, self._new_stream(), self._new_stream())
            self._handles[id(state)] = handle
        return handle

    def _new_stream(self) -> EventStream[Any]:
        return EventStream(
            self._owner.monitor, name="response", dispatch="poll", logger=self._options.logger
        )

    def _complete_text(self, event: RealtimeEvent) -> ResponseState | None:
        """Take a text that is told at once; give the response if it had none before."""
        if not isinstance(event, (TextDone, TranscriptDone)):
            return None
        responses = self.requests.responses
        state = responses.get(event.response_id)
        is_text = isinstance(event, TextDone)
        text = event.text if isinstance(event, TextDone) else event.transcript
        if state is None or not text or state.text or not responses.accepts(event.response_id):
            return None
        state.add_text("text" if is_text else "transcript", text)
        return state

    def _end_replaced(self, response_id: str, state: ResponseState) -> None:
        """End handles of a response that turned out to be another one's."""
        for handle in self._held():
            if handle.state.id == response_id and handle.state is not state:
                handle.end(None)

    def _stop(self, state: ResponseState) -> None:
        handle = self._handles.get(id(state))
        if handle is not None:
            handle.stop()

    def _end(self, state: ResponseState, error: InworldError) -> None:
        handle = self._handles.get(id(state))
        if handle is not None:
            handle.end(error)


def _beginning(event: RealtimeEvent) -> str | None:
    """The response that an event may be the first to speak of."""
    if isinstance(event, (ResponseCreated, ResponseDone)):
        return event.response.id
    return event.response_id if isinstance(event, OutputItemAdded) else None
