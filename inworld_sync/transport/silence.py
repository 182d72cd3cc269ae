"""Detects a dead server: nothing was received for ``ping_timeout`` seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync.errors import ConnectionLost

if TYPE_CHECKING:
    from inworld_sync.transport.stream import Stream

__all__ = ["receive_unless_silent"]

_STEPS = 5


def receive_unless_silent(stream: Stream, room: memoryview, ping_timeout: float) -> int:
    """
    Receive bytes as soon as they arrive. Raise an error if no bytes arrive for *ping_timeout*.

    Only the receiving thread may call this function. The wait has steps of equal length, and each
    step counts as this length even if the step took longer. A step takes longer if this process was
    stopped or another thread kept the interpreter lock. No ping was sent during that time, so the
    remaining steps give the server time to answer the next ping.

    Args:
        stream: The stream from the server.
        room: Receives the bytes; must not be empty.
        ping_timeout: Seconds without a byte. A stall of this process counts as one step.

    Returns:
        The number of bytes, as for :meth:`Stream.receive_into`.

    Raises:
        ConnectionLost: The server sent nothing.
        EOFError: The server ended the stream.
        WokenUp: The self-pipe was set.
        OSError: The network or TLS failed.
    """
    # The first step nearly always succeeds. In the loop, this step would take 0.2 us longer.
    try:
        return stream.receive_into(room, ping_timeout / _STEPS)
    except TimeoutError:
        pass
    for _ in range(_STEPS - 1):
        try:
            return stream.receive_into(room, ping_timeout / _STEPS)
        except TimeoutError:  # noqa: PERF203 - few steps, and usually the first one succeeds
            continue
    try:
        # Bytes may have arrived while this thread waited for the interpreter lock.
        return stream.receive_into(room, 0)
    except TimeoutError:
        raise ConnectionLost(
            f"the server was silent for {ping_timeout:g} s and answered no ping; see ping_timeout"
        ) from None
