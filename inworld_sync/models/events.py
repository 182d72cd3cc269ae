"""Defines the events that every service may emit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from inworld_sync.errors import InworldError

__all__ = ["InvalidMessage", "StreamEnded", "UnknownEvent"]


@attrs.frozen
class UnknownEvent:
    """
    A message of a kind that this version of the client does not know. Such a message is not an
    error.

    Attributes:
        type: The kind of the message; empty if the message names no kind.
        raw: The message as received.
    """

    type: str
    raw: Mapping[str, object]


@attrs.frozen
class InvalidMessage:
    """
    A message that cannot be read, or an error of the service that names no request.

    The connection continues without this message.

    Attributes:
        type: The type of the message, or ``""`` if it is unknown.
        error: The fault of the message, or the error that the service reported.
        response_id: The response of a realtime session to which the message belongs. This response
            ends with an error. None if the message names no response.
    """

    type: str
    error: InworldError
    response_id: str | None = None


@attrs.frozen
class StreamEnded:
    """
    The last event of every event stream. Each stream has exactly one such event.

    Attributes:
        by: The side that ended the stream; ``network`` if the connection was lost.
        code: The WebSocket close code if the connection ended; 1000 otherwise.
        reason: The reason as text; may be empty.
        error: The error that ended the stream early; None after a regular end.
    """

    by: Literal["client", "server", "network"]
    code: int = 1000
    reason: str = ""
    error: InworldError | None = None
