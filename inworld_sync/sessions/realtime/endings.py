"""What the end of a connection means for its session."""

from __future__ import annotations

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    InworldError,
    ProtocolError,
    ServiceError,
)
from inworld_sync.models.events import StreamEnded

__all__ = ["is_passing", "told", "unfinished"]

# The service's will, or this side's fault: another connection would end in the same way.
_FINAL_CODES = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})


def told(ended: StreamEnded) -> StreamEnded:
    """The end of a connection as its session tells it."""
    if isinstance(ended.error, ServiceError):
        # This side has hung up, because of what the service said.
        return StreamEnded("server", ended.code, ended.reason, ended.error)
    if ended.error is None and ended.by == "server" and ended.code != 1000:
        return StreamEnded(ended.by, ended.code, ended.reason, unfinished(ended))
    return ended


def is_passing(ended: StreamEnded) -> bool:
    """Whether another connection may carry the session on."""
    if ended.by == "client" or isinstance(ended.error, (ProtocolError, ServiceError)):
        return False
    return ended.by == "network" or ended.code not in _FINAL_CODES


def unfinished(ended: StreamEnded) -> InworldError:
    """The error of what a session leaves unfinished that itself ends without one."""
    if ended.by == "client":
        return ClosedError("the session was closed before it was done")
    return ConnectionLost(
        f"the {ended.by} closed the session (code {ended.code} {ended.reason!r})",
        code=ended.code,
        reason=ended.reason,
    )
