"""Sends server events, and the errors of client events."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from typing import Protocol

import attrs

__all__ = ["EventPeer", "EventSender", "InvalidRequest", "new_id"]

# The event names of the OpenAI beta, which some clients still expect. The beta has no event
# ``conversation.item.done``.
_BETA_PREFIXES = {
    "response.output_audio_transcript.": "response.audio_transcript.",
    "response.output_audio.": "response.audio.",
    "response.output_text.": "response.text.",
}
_BETA_NAMES = {"conversation.item.added": "conversation.item.created"}
_NOT_IN_BETA = "conversation.item.done"


@attrs.define
class InvalidRequest(Exception):
    """
    A client event that is refused, or that failed. The session continues.

    Attributes:
        code: The code, such as ``invalid_value``; None for a failure of the server.
        message: The text of the error.
        param: The wrong field, or None.
        kind: The ``type`` of the error.
    """

    code: str | None
    message: str
    param: str | None = None
    kind: str = attrs.field(default="invalid_request_error", kw_only=True)

    @classmethod
    def missing(cls, param: str) -> InvalidRequest:
        """Make the error for a missing field."""
        message = f"Missing required parameter: '{param}'."
        return cls("missing_required_parameter", message, param)

    @classmethod
    def wrong_type(cls, param: str, wanted: str, *, name: str | None = None) -> InvalidRequest:
        """
        Make the error for a field whose type is not *wanted*. The message names the field *name*,
        or *param* if *name* is None.
        """
        return cls("invalid_type", f"{name or param} must be {wanted}", param)

    @classmethod
    def failed(cls, error: Exception) -> InvalidRequest:
        """Make the error for a failure of the server while it handled an event."""
        return cls(None, f"{type(error).__name__}: {error}", kind="server_error")


def new_id(kind: str) -> str:
    """Make an id such as ``item_…``. *kind* is the prefix."""
    return f"{kind}_{secrets.token_hex(10)}"


class EventPeer(Protocol):
    """
    The client of one session, on a WebSocket or on a data channel.

    Thread safety: any thread may use this object.
    """

    @property
    def is_open(self) -> bool:
        """Whether events can still be sent."""
        ...

    def send(self, message: Mapping[str, object], *, wait: bool = True) -> None:
        """Queue one event. Raise PeerGone if the connection has ended."""
        ...

    def close(self) -> None:
        """Send the queued events, then close the connection."""
        ...


class EventSender:
    """
    Sends the events of one session.

    Args:
        peer: The client.
        beta_names: Whether to use the event names of the OpenAI beta.
        explains_errors: Whether errors have their code and the id of the client's event.

    Thread safety: any thread may use this object. Events of one thread keep their order.
    """

    def __init__(self, peer: EventPeer, *, beta_names: bool, explains_errors: bool = True) -> None:
        self._peer = peer
        self._beta_names = beta_names
        self._explains_errors = explains_errors
        self._numbers = itertools.count(1)
        self._session = secrets.token_hex(6)

    @property
    def is_open(self) -> bool:
        """Whether events can still be sent."""
        return self._peer.is_open

    def send(self, kind: str, **fields: object) -> None:
        """Queue an event without waiting. Raise PeerGone if the connection has ended."""
        name = self._name(kind)
        if name is not None:
            self._peer.send(self._event(name, fields), wait=False)

    def send_audio(self, kind: str, **fields: object) -> None:
        """Queue an event with audio. Wait while too many bytes are queued for a slow client."""
        self._peer.send(self._event(self._name(kind) or kind, fields))

    def error(self, cause: InvalidRequest, client_event_id: str | None = None) -> None:
        """Send an ``error`` event about a client event."""
        error = {
            "type": cause.kind,
            "code": cause.code if self._explains_errors else None,
            "message": cause.message,
            "param": cause.param,
            "event_id": client_event_id if self._explains_errors else None,
        }
        self.send("error", error=error)

    def end_session(self, error_type: str, message: str) -> None:
        """Send the message that ends a session, and close. This message has no ``type``."""
        last = {"errorType": error_type, "message": message, "reconnectType": "NO_RETRY"}
        self._peer.send(last, wait=False)
        self._peer.close()

    def _event(self, name: str, fields: dict[str, object]) -> dict[str, object]:
        return {"type": name, "event_id": f"event_{self._session}_{next(self._numbers)}", **fields}

    def _name(self, kind: str) -> str | None:
        if not self._beta_names:
            return kind
        for new, old in _BETA_PREFIXES.items():
            if kind.startswith(new):
                return old + kind[len(new) :]
        return None if kind == _NOT_IN_BETA else _BETA_NAMES.get(kind, kind)
