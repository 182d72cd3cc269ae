r"""
The contexts of all TTS connections of a client, handed out one utterance at a time.

Lock rule: the monitor ``_changed`` guards the list of connections and the counts. It is held while
a connection is asked how many contexts it has free and sealed, so it comes before a connection's
monitor; it is never held while a connection is opened, closed, waited for or sent to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    ContextLimitError,
    QuotaError,
)
from inworld_sync.models.tts import ContextConfig
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import Monitor
from inworld_sync.sessions.tts.core import ContextCore
from inworld_sync.sessions.tts.line import TtsLine
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire import tts

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
        self._changed = Monitor("the client's pool of TTS connections")
        self._connections: list[TtsLine] = []
        self._seeking = 0
        self._opening = 0
        self._closed = False
        self._kept_idle = _KEPT_IDLE
        connector.on_shortage(lambda: self._tidy(keep=0))
        connector.adopt(self)

    def context(
        self,
        config: ContextConfig,
        timeout: float,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> ContextCore:
        """
        Create a context on a connection that has room, or on a new one.

        Args:
            config: What is wanted.
            timeout: Seconds to wait for a place and to connect, together.
            is_stopped: Whether the wait was given up; :meth:`wake` has it asked.

        Raises:
            QuotaError: The account's connections are all full and none came free in time.
            TransportError: No connection came about.
            ClosedError: The pool was closed, or the wait was given up.
        """
        deadline = Deadline(timeout, "waiting for a TTS context")
        with self._seeker():
            while True:
                connection = self._with_room(deadline, is_stopped)
                if connection is None:
                    connection = self._open(deadline)
                if connection is None:
                    continue
                try:
                    return connection.context(config, 0.0)
                except ContextLimitError:
                    # Another thread was faster.
                    continue
                except (ClosedError, ConnectionLost):
                    # The service or the network ended an idle connection just now.
                    connection.distrust()

    def wake(self) -> None:
        """Have every wait look whether it was given up."""
        if not self._changed.in_child:
            with self._changed:
                self._changed.notify_all()

    def keep_none(self) -> None:
        """
        Let every connection go once it is idle, because nobody can ask for further utterances.

        Called by a finalizer, which may run on a thread that holds any lock; so it takes none.
        """
        if not self._changed.in_child:
            self._kept_idle = 0
            threading.Thread(target=self._tidy, name="inworld-tidy", daemon=True).start()

    def retire(self) -> None:
        """Hand out nothing more; the connector closes the connections."""
        if not self._changed.in_child:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def close(self) -> None:
        """As :meth:`retire`."""
        self.retire()

    @contextmanager
    def _seeker(self) -> Iterator[None]:
        with self._changed:
            self._seeking += 1
        try:
            yield
        finally:
            with self._changed:
                self._seeking -= 1

    def _with_room(self, deadline: Deadline, is_stopped: Callable[[], bool]) -> TtsLine | None:
        """Wait for a connection with room; None, and counted, if the caller should open one."""
        with self._changed:
            while True:
                if self._closed:
                    raise ClosedError("the client was closed, make another")
                if is_stopped():
                    raise ClosedError("the utterance was stopped")
                self._connections = [c for c in self._connections if c.ended is None]
                # The fullest first, so that others fall idle and can be let go.
                roomy = [(free, c) for c in self._connections if (free := c.free_contexts)]
                if roomy:
                    return min(roomy, key=lambda pair: pair[0])[1]
                # Those that are being opened will serve five seekers each.
                if self._seeking > self._opening * tts.MAX_CONTEXTS:
                    self._opening += 1
                    return None
                self._wait(deadline)

    def _open(self, deadline: Deadline) -> TtsLine | None:
        """Open a connection; None when the limit is reached and something may have come free."""
        connection = None
        try:
            if self._connector.limiter.acquire(0.0):
                connection = self._connected(deadline)
        finally:
            with self._changed:
                self._opening -= 1
                if connection is not None:
                    self._connections.append(connection)
                self._changed.notify_all()
        if connection is None:
            with self._changed:
                self._wait(deadline)
        return connection

    def _connected(self, deadline: Deadline) -> TtsLine | None:
        try:
            return TtsLine.open(
                self._connector,
                timeout=deadline.remaining(),
                on_room=self._tidy,
                has_place=True,
            )
        except QuotaError:
            # HTTP 429. Where this client has connections, their contexts will come free.
            with self._changed:
                if not self._connections and self._opening == 1:
                    raise
            return None

    def _wait(self, deadline: Deadline) -> None:
        """Wait for a change; the monitor is held."""
        if deadline.expired:
            raise QuotaError(
                "no TTS context came free in time: all connections are full and the limit of "
                "connections is reached",
                retryable=True,
            )
        self._changed.wait(deadline.at_most(_LOOK_AGAIN_SECONDS))

    def _tidy(self, keep: int | None = None) -> None:
        """Let idle connections go, on any thread, and tell those who wait for room."""
        if self._changed.in_child:
            return
        keep = self._kept_idle if keep is None else keep
        left: list[TtsLine] = []
        distrusted: list[TtsLine] = []
        with self._changed:
            for connection in [c for c in self._connections if c.is_idle]:
                is_usable = connection.free_contexts > 0
                if is_usable and keep:
                    keep -= 1
                elif connection.seal():
                    self._connections.remove(connection)
                    (left if is_usable else distrusted).append(connection)
            self._changed.notify_all()
        for connection in left:
            connection.retire()
        for connection in distrusted:
            # It would not answer a CLOSE, and holds a place of the account meanwhile.
            connection.abort()
