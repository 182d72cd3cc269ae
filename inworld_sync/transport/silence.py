"""Detects a dead server: nothing was received for ``ping_timeout`` seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync.errors import ConnectionLost

if TYPE_CHECKING:
    from inworld_sync.transport.stream import Stream

__all__ = ["SILENCE_STEPS", "receive_after_silence"]

# The wait for ``ping_timeout`` seconds has this many steps of equal length.
SILENCE_STEPS = 5


def receive_after_silence(stream: Stream, room: memoryview, ping_timeout: float) -> int:
    """
    Receive bytes after the first step of the wait has passed without a byte.

    Only the receiving thread may call this function. A step counts as ``ping_timeout`` divided by
    :data:`SILENCE_STEPS`, even if it took longer. A step takes longer if this process was stopped
    or another thread kept the interpreter lock. No ping was sent during that time, so the remaining
    steps give the server time to answer the next ping.

    Args:
        stream: The stream from the server.
        room: Receives the bytes; must not be empty.
        ping_timeout: Seconds without a byte, with the first step. A stall of this process counts as
            one step.

    Returns:
        The number of bytes, as for :meth:`Stream.receive_into`.

    Raises:
        ConnectionLost: The server sent nothing.
        EOFError: The server ended the stream.
        WokenUp: The self-pipe was set.
        OSError: The network or TLS failed.
    """
    for _ in range(SILENCE_STEPS - 1):
        try:
            return stream.receive_into(room, ping_timeout / SILENCE_STEPS)
        except TimeoutError:  # noqa: PERF203 - few steps
            continue
    try:
        # Bytes may have arrived while this thread waited for the interpreter lock.
        return stream.receive_into(room, 0)
    except TimeoutError:
        raise ConnectionLost(
            f"the server was silent for {ping_timeout:g} s and answered no ping; see ping_timeout"
        ) from None
