"""Events that every session knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from inworld_sync.errors import InworldError

__all__ = ["StreamEnded", "UnknownEvent"]


@attrs.frozen
class UnknownEvent:
    """
    A message that this version does not know; it is data, never an error.

    Attributes:
        type: The message's own name for itself, or ``""``.
        raw: The message as it came.
    """

    type: str
    raw: Mapping[str, object]


@attrs.frozen
class StreamEnded:
    """
    The last event of every stream; each has exactly one.

    Attributes:
        by: Who ended it.
        code: The WebSocket close code where the connection ended, else 1000.
        reason: In words.
        error: Why it ended before its work was done; None for a regular end.
    """

    by: Literal["client", "server", "network"]
    code: int = 1000
    reason: str = ""
    error: InworldError | None = None
