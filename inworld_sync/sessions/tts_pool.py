r"""
The contexts of all TTS connections of a client, handed out one utterance at a time.

Lock rule: ``_changed`` guards the list of connections and the count of those being opened. It is
held while a connection is asked how many contexts it has free, so it comes before a connection's
condition; it is never held while a connection is opened, closed or sent to.
"""

from __future__ import annotations

import threading

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    ContextLimitError,
    QuotaError,
)
from inworld_sync.models.tts import ContextConfig
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.tts import TtsConnection, TtsContext
from inworld_sync.transport.deadline import Deadline

__all__ = ["TtsPool"]

# Places of a limiter that other processes share come free without a word to us.
_LOOK_AGAIN_SECONDS = 0.25

# One open socket saves the next utterance a handshake; more would hold places of the account.
_KEPT_IDLE = 1


class TtsPool:
    """
    Opens connections as contexts are needed, fills them, and lets idle ones go.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._changed = threading.Condition()
        self._connections: list[TtsConnection] = []
        self._opening = 0
        self._closed = False

    def context(self, config: ContextConfig, timeout: float) -> TtsContext:
        """
        Create a context on a connection that has room, or on a new one.

        Raises:
            QuotaError: The account's connections are all full and none came free in time.
            TransportError: No connection came about.
            ClosedError: The pool was closed.
        """
        deadline = Deadline(timeout, "waiting for a free TTS context")
        while True:
            connection = self._with_room() or self._open(deadline)
            if connection is not None:
                try:
                    return connection.context(config, timeout=0.0)
                except (ContextLimitError, ClosedError, ConnectionLost):
                    # Another thread was faster, or the service closed an idle socket.
                    if self._closed:
                        raise
            if deadline.expired:
                raise QuotaError(
                    f"no TTS context came free within {timeout:g} s: all connections are full "
                    "and the limit of connections is reached",
                    retryable=True,
                )

    def close(self) -> None:
        """Close every connection; contexts that speak end with ClosedError."""
        with self._changed:
            self._closed = True
            connections, self._connections = self._connections, []
            self._changed.notify_all()
        for connection in connections:
            connection.close()

    def _with_room(self) -> TtsConnection | None:
        with self._changed:
            if self._closed:
                raise ClosedError("the client was closed, make another")
            self._connections = [c for c in self._connections if c.ended is None]
            # The fullest first, so that others fall idle and can be let go.
            roomy = [(c.free_contexts, c) for c in self._connections]
            return min(
                ((free, c) for free, c in roomy if free),
                key=lambda pair: pair[0],
                default=(0, None),
            )[1]

    def _open(self, deadline: Deadline) -> TtsConnection | None:
        """Open a connection; None when the limit is reached and something may have come free."""
        if not self._connector.limiter.acquire(0.0):
            with self._changed:
                self._changed.wait(min(_LOOK_AGAIN_SECONDS, deadline.remaining() or 0.0))
            return None
        self._connector.limiter.release()
        connection = TtsConnection.open(
            self._connector, timeout=deadline.remaining(), on_room=self._room
        )
        with self._changed:
            closed = self._closed
            if not closed:
                self._connections.append(connection)
        if closed:
            connection.close()
            raise ClosedError("the client was closed, make another")
        return connection

    def _room(self) -> None:
        with self._changed:
            idle = [c for c in self._connections if c.is_idle]
            for connection in idle[_KEPT_IDLE:]:
                self._connections.remove(connection)
                connection.retire()
            self._changed.notify_all()
