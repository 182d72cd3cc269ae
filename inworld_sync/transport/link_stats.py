"""Records how a connection was opened and ended, its statistics, and its pings."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from typing import Literal

import attrs

from inworld_sync.errors import ClosedError, ConnectionLost, ProtocolError, TransportError

__all__ = ["ConnectTimes", "LinkEnd", "LinkStats", "Pings", "lost_by", "unsent_error"]


@attrs.frozen(kw_only=True)
class ConnectTimes:
    """
    Milliseconds that each step of opening a connection took; 0.0 for a step that was not needed.

    Attributes:
        dns_ms: Lookup of the host name, or of the proxy's name.
        tcp_ms: TCP connect, to the proxy if there is one.
        proxy_ms: Request of a tunnel from the proxy, with the TLS handshake of the proxy.
        tls_ms: TLS handshake.
        upgrade_ms: WebSocket upgrade, from the request to the response.
    """

    dns_ms: float = 0.0
    tcp_ms: float = 0.0
    proxy_ms: float = 0.0
    tls_ms: float = 0.0
    upgrade_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The sum of all steps."""
        return self.dns_ms + self.tcp_ms + self.proxy_ms + self.tls_ms + self.upgrade_ms


@attrs.frozen(kw_only=True)
class LinkEnd:
    """
    How a connection ended.

    Attributes:
        by: Whether this client, the server or the network ended the connection.
        code: The close code; 1006 if the connection ended without a close code.
        reason: The reason sent with the code, or a description by this client.
        clean: Whether both sides sent a CLOSE frame.
        error: The error that ended the connection; None after a normal close.
    """

    by: Literal["client", "server", "network"]
    code: int
    reason: str = ""
    clean: bool = False
    error: TransportError | ProtocolError | None = None


@attrs.frozen(kw_only=True)
class LinkStats:
    """
    Statistics of a connection at one time.

    Attributes:
        messages_in: The number of messages received.
        binary_messages: How many of the received messages were in binary frames.
        messages_out: The number of messages sent.
        bytes_in: The bytes of all frames received, without TLS.
        bytes_out: The bytes of all frames sent, without TLS.
        queued_bytes: The bytes of the frames of all messages that wait to be sent.
        rtt_ms: Time from the last ping to its pong; None before the first pong.
        rtt_min_ms: The shortest time from a ping to its pong; None before the first pong.
        connect: How long each step of opening the connection took.
        proxy: URL of the proxy without credentials; None without a proxy.
        tls_version: The version of TLS, for example ``TLSv1.3``; None without TLS.
        warnings: How often optional fields of received messages were ignored, because they could
            not be read. Each key has the message's type and the field's name.
    """

    messages_in: int
    binary_messages: int
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
    Measures the round-trip time with pings. The payload of a ping is the time of sending.

    Attributes:
        rtt_ms: Time from the last ping to its pong; None before the first pong.
        rtt_min_ms: The shortest time from a ping to its pong; None before the first pong.

    Thread safety: the writer calls :meth:`make`, and the reader calls :meth:`answered`. Both
    methods change the ping that waits for its pong. A race between the two methods loses one
    measurement.
    """

    def __init__(self) -> None:
        self.rtt_ms: float | None = None
        self.rtt_min_ms: float | None = None
        self._open = b""

    def make(self) -> bytes:
        """Return the payload of a new ping; pongs to older pings are ignored from now on."""
        self._open = struct.pack("!q", time.monotonic_ns())
        return self._open

    def answered(self, payload: bytes) -> float | None:
        """Handle a pong; return the round-trip time in seconds, or None for an unknown ping."""
        if not payload or payload != self._open:
            return None
        self._open = b""
        seconds: float = (time.monotonic_ns() - struct.unpack("!q", payload)[0]) / 1e9
        self.rtt_ms = seconds * 1000
        self.rtt_min_ms = min(self.rtt_ms, self.rtt_min_ms or self.rtt_ms)
        return seconds


def lost_by(error: Exception) -> ConnectionLost:
    """Return the error for a connection that the network ended; *error* is from the socket."""
    if isinstance(error, EOFError):
        message = "the server closed the connection without a CLOSE frame"
    else:
        message = f"the connection broke: {getattr(error, 'strerror', None) or error}"
    lost = ConnectionLost(message)
    lost.__cause__ = error
    return lost


def unsent_error(
    name: str, end: LinkEnd | None, closing: tuple[int, str] | None
) -> ClosedError | ConnectionLost:
    """Return the error for a message that the connection *name* can no longer send."""
    if (end and end.by == "client") or (end is None and closing):
        return ClosedError(f"the connection {name} is closed")
    if end is None:
        return ConnectionLost(f"the connection {name} can no longer send messages")
    return ConnectionLost(
        f"the connection {name} was ended by the {end.by}", code=end.code, reason=end.reason
    )
