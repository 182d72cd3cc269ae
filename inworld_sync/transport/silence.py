"""When a server that sends nothing is taken for dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync.errors import ConnectionLost

if TYPE_CHECKING:
    from inworld_sync.transport.stream import Stream

__all__ = ["receive_unless_silent"]

_STEPS = 5


def receive_unless_silent(stream: Stream, room: memoryview, ping_timeout: float) -> int:
    """
    Receive what there is, unless the server is silent; the receiving thread only.

    The wait is made of steps, and each step counts once, however long it took. If this process
    was stopped, or another thread kept the interpreter lock, then no ping was sent during the
    stall; the steps that are left give the server time to answer the next one.

    Args:
        stream: From the server.
        room: Where the bytes go; not empty.
        ping_timeout: Seconds without a byte, stalls of this process not counted.

    Returns:
        As :meth:`Stream.receive_into`.

    Raises:
        ConnectionLost: The server was silent.
        EOFError: The server ends the stream.
        WokenUp: The self-pipe was set.
        OSError: The network or TLS failed.
    """
    # The first step nearly always succeeds. In the loop it would take 0.2 us longer.
    try:
        return stream.receive_into(room, ping_timeout / _STEPS)
    except TimeoutError:
        pass
    for _ in range(_STEPS - 1):
        try:
            return stream.receive_into(room, ping_timeout / _STEPS)
        except TimeoutError:  # noqa: PERF203 - few steps, and the first is mostly the last
            continue
    try:
        # Bytes may have come while this thread waited for the interpreter lock.
        return stream.receive_into(room, 0)
    except TimeoutError:
        raise ConnectionLost(
            f"the server was silent for {ping_timeout:g} s, pings included; see ping_timeout"
        ) from None
