"""
A response as its session knows it: what it says to the handle that the user holds.

Lock rule: the session's monitor is held in every method.
"""

from __future__ import annotations

from inworld_sync.errors import InworldError, ServiceError
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.realtime import AudioDelta
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.realtime.response import Owner, Response
from inworld_sync.wire.realtime.faults import service_error
from inworld_sync.wire.realtime.responses import ResponseState

__all__ = ["Reply"]


class Reply(Response):
    """The session's side of a :class:`Response`; users see that class alone."""

    def __init__(
        self,
        owner: Owner,
        state: ResponseState,
        text: EventStream[str],
        audio: EventStream[AudioDelta],
    ) -> None:
        super().__init__(owner, state, text, audio)
        self._given_pieces = 0
        self._is_over = False
        self._damage: InworldError | None = None

    @property
    def state(self) -> ResponseState:
        """What is known of its newest round."""
        return self._states[-1]

    @property
    def streams(self) -> tuple[EventStream[str], EventStream[AudioDelta]]:
        """Its text and its speech."""
        return self._text, self._audio

    @property
    def awaits_tools(self) -> bool:
        """Whether it goes on once its functions are answered for."""
        return self._awaits_tools

    def await_tools(self) -> bool:
        """Do not end with the round of this moment; say whether it was not over before."""
        self._awaits_tools = not (self._is_over or self.state.is_cancelling)
        return self._awaits_tools

    def go_on(self, state: ResponseState) -> None:
        """Begin another round."""
        self.follow_text()
        self._awaits_tools = False
        self._states.append(state)
        self._given_pieces = 0

    def follow_text(self) -> None:
        """Give the text that has come since the last time."""
        for piece in self.state.pieces(self._given_pieces):
            if not self._given_pieces and any(each.text for each in self._states[:-1]):
                self._text.append("\n", 1)
            self._given_pieces += 1
            self._text.append(piece, len(piece))

    def add_audio(self, event: AudioDelta) -> None:
        """Take a piece of its speech."""
        self._audio.append(event, len(event.audio))

    def damage(self, error: InworldError) -> None:
        """Note that a part of it was lost; it cannot end well any more."""
        self._damage = self._damage or error

    def stop(self) -> None:
        """Give no more, for this side has cancelled it; what nobody has heard is dropped."""
        if self._awaits_tools:
            self._awaits_tools, self._outcome, self._is_over = False, "cancelled", True
        ended = StreamEnded("client", reason="cancelled")
        self._text.end(ended)
        self._audio.end(ended)
        self._audio.discard()

    def end(self, error: InworldError | None) -> None:
        """Follow the end of it; *error* is what ended the session, None for its own end."""
        if self._awaits_tools:
            # It has ended between two rounds: with the one before, if there is no reason to go on.
            self._awaits_tools = False
            self._outcome = None if error is None else "failed"
        if self.status != "cancelled" and not self._is_over:
            self._error = error or _failure_of(self.state) or self._damage
        self._is_over = True
        ended = StreamEnded("server", reason=self.status, error=self._error)
        self._text.end(ended)
        self._audio.end(ended)


def _failure_of(state: ResponseState) -> ServiceError | None:
    """The error that a response ended with, None if it ended well."""
    if state.status in ("completed", "cancelled"):
        return None
    if state.error is not None:
        return service_error(state.error)
    details = None if state.info is None else state.info.status_details
    cause = None if details is None else details.error
    if cause is not None and (cause.code or cause.message):
        return service_error(cause)
    reason = details.reason if details is not None else ""
    return ServiceError(
        f"the response is {state.status}: {reason or 'the service gives no reason'}",
        code=reason or None,
        retryable=reason == "server_error",
    )
