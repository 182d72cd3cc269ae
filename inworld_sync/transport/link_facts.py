"""What a link can tell of itself: how it ended, and its figures."""

from __future__ import annotations

from typing import Literal

import attrs

from inworld_sync.errors import ConnectionLost, ProtocolError, TransportError
from inworld_sync.transport.opening import ConnectTimes

__all__ = ["LinkEnd", "LinkStats", "lost_by"]


@attrs.frozen(kw_only=True)
class LinkEnd:
    """
    How a link ended; there is exactly one for each.

    Attributes:
        by: Who ended it: this side, the server, or the network between them.
        code: The close code; 1006 when the link was cut without one.
        reason: The words that came with the code, or what this side saw.
        clean: Whether both sides said CLOSE.
        error: What went wrong; None after a close that either side asked for.
    """

    by: Literal["client", "server", "network"]
    code: int
    reason: str = ""
    clean: bool = False
    error: TransportError | ProtocolError | None = None


@attrs.frozen(kw_only=True)
class LinkStats:
    """
    Figures of a link at one moment.

    Attributes:
        messages_in: Text messages received whole.
        messages_out: Text messages that left.
        bytes_in: Bytes of frames received, before TLS.
        bytes_out: Bytes of frames that left, before TLS.
        queued_bytes: Bytes of messages that wait to leave.
        rtt_ms: From the last ping to its pong, or None before the first pong.
        rtt_min_ms: The shortest such time, or None.
        connect: How long each step of the connect took.
        proxy: Where the proxy in use is, without credentials, or None.
        tls_version: For example ``TLSv1.3``; None without TLS.
    """

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    queued_bytes: int
    rtt_ms: float | None
    rtt_min_ms: float | None
    connect: ConnectTimes
    proxy: str | None
    tls_version: str | None


def lost_by(error: Exception) -> ConnectionLost:
    """Make the error of a link that the network ended, from what the socket raised."""
    if isinstance(error, EOFError):
        words = "the server hung up without a close frame"
    else:
        words = f"the connection broke: {getattr(error, 'strerror', None) or error}"
    lost = ConnectionLost(words)
    lost.__cause__ = error
    return lost
