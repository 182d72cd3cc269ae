"""How a link connected and ended, its figures, and its pings, which measure the round trip."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from typing import Literal

import attrs

from inworld_sync.errors import ClosedError, ConnectionLost, ProtocolError, TransportError

__all__ = ["ConnectTimes", "LinkEnd", "LinkStats", "Pings", "lost_by", "refusal"]


@attrs.frozen(kw_only=True)
class ConnectTimes:
    """
    How long each step of a connect took, in milliseconds; 0.0 for steps not taken.

    Attributes:
        dns_ms: Looking up the name, of the proxy if there is one.
        tcp_ms: Connecting, to the proxy if there is one.
        proxy_ms: Having the proxy open the tunnel.
        tls_ms: The TLS handshake.
        upgrade_ms: From the request of the upgrade to its answer.
    """

    dns_ms: float = 0.0
    tcp_ms: float = 0.0
    proxy_ms: float = 0.0
    tls_ms: float = 0.0
    upgrade_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """All steps together."""
        return self.dns_ms + self.tcp_ms + self.proxy_ms + self.tls_ms + self.upgrade_ms


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
        warnings: How often an optional field of a received message was ignored because it could
            not be read, by the message's type and the field's name.
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
    warnings: Mapping[str, int] = attrs.field(factory=dict)


class Pings:
    """
    Makes pings that carry the moment of their making, and knows their pongs.

    Attributes:
        rtt_ms: From the last ping to its pong; None before the first pong.
        rtt_min_ms: The shortest such time.

    Thread safety:
        The writer makes, the reader answers; each field is set by one of them alone, but for the
        open ping, whose loss in a race would cost one measurement.
    """

    def __init__(self) -> None:
        self.rtt_ms: float | None = None
        self.rtt_min_ms: float | None = None
        self._open = b""

    def make(self) -> bytes:
        """Give the payload of a new ping; a pong to an older one no longer counts."""
        self._open = struct.pack("!q", time.monotonic_ns())
        return self._open

    def answered(self, payload: bytes) -> float | None:
        """Take a pong; give its seconds, or None when it answers no ping of ours."""
        if not payload or payload != self._open:
            return None
        self._open = b""
        seconds: float = (time.monotonic_ns() - struct.unpack("!q", payload)[0]) / 1e9
        self.rtt_ms = seconds * 1000
        self.rtt_min_ms = min(self.rtt_ms, self.rtt_min_ms or self.rtt_ms)
        return seconds


def lost_by(error: Exception) -> ConnectionLost:
    """Make the error of a link that the network ended, from what the socket raised."""
    if isinstance(error, EOFError):
        words = "the server hung up without a close frame"
    else:
        words = f"the connection broke: {getattr(error, 'strerror', None) or error}"
    lost = ConnectionLost(words)
    lost.__cause__ = error
    return lost


def refusal(name: str, end: LinkEnd | None, is_closing: bool) -> ClosedError | ConnectionLost:
    """Make the error for a message that the link *name* no longer takes."""
    if (end and end.by == "client") or (end is None and is_closing):
        return ClosedError(f"the connection {name} is closed")
    if end is None:
        return ConnectionLost(f"the connection {name} takes no more messages")
    return ConnectionLost(
        f"the connection {name} was ended by the {end.by}", code=end.code, reason=end.reason
    )
