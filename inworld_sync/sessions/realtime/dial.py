"""
Opening a realtime session's connection, and opening another one when it is lost.

Threads: ``inworld-redial-...`` while a session is without a connection.

Lock rule: the session's monitor guards the thread; nothing is dialled under it.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Literal

from inworld_sync.errors import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectionLost,
    InworldError,
    ProtocolError,
    ServiceError,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.realtime.connection import RealtimeConnection
from inworld_sync.sessions.realtime.core import RealtimeCore
from inworld_sync.sessions.realtime.line import Phase
from inworld_sync.transport.deadline import Deadline

__all__ = ["Dialer"]

# From one try to the next, doubled each time, and shortened by chance so that clients that were
# cut off together do not come back together.
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0

# A connection that held so long, or gave a response, was a good one: its loss is another outage.
_GOOD_SECONDS = 10.0


class Dialer:
    """
    Opens the connections of one session.

    Args:
        core: The session.
        connector: Where and as whom.
        key: The first connection's key; None makes one.
        reconnect_timeout: Seconds that an outage may last before the session ends; 0 ends it at
            once.
    """

    def __init__(
        self, core: RealtimeCore, connector: Connector, key: str | None, reconnect_timeout: float
    ) -> None:
        self._core = core
        self._connector = connector
        self._key = key
        self._reconnect_timeout = reconnect_timeout
        self._connections = 0
        self._outage_at = 0.0
        self._attempts = 0
        self._thread: threading.Thread | None = None

    @property
    def key(self) -> str | None:
        """The name of the latest connection's session in its address."""
        return self._key

    def open(self, timeout: float | None) -> None:
        """
        Open the first connection and wait until the service has accepted the session.

        Raises:
            TransportError: No connection came about, or the service said nothing in time.
            ServiceError: The service refused the connection or the session.
        """
        seconds = self._connector.options.connect_timeout if timeout is None else timeout
        try:
            self._dial(Deadline(seconds, "opening the session"))
        except BaseException:
            with self._core.monitor:
                self._core.end(StreamEnded("client", reason="not opened"))
            raise

    def join(self, timeout: float) -> None:
        """Wait for a dialling that is under way; it heeds that the session is closing."""
        with self._core.monitor:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _dial(self, deadline: Deadline) -> None:
        core, connector = self._core, self._connector
        # Of this dialling: another thread may dial anew before this one goes on.
        attempts = self._attempts
        parameters = core.endpoint.parameters(self._next_key())
        self._key = parameters.get("key")
        link = connector.open(
            core.endpoint.path,
            RealtimeConnection.next_name(),
            query=parameters,
            timeout=deadline.remaining(),
        )
        connection = RealtimeConnection(
            core, link, connector.options, on_closed=self._connection_gone
        )
        with core.monitor:
            messages, answer = core.begin(connection)
            # Under the monitor, so that who sees it can close it.
            connection.start()
        try:
            # Why a connection takes no more is known to its reader, and said below.
            with contextlib.suppress(ConnectionLost, ClosedError):
                for message in messages:
                    connection.send(message, deadline.remaining())
            with core.monitor:
                core.wait_for(lambda: answer.is_over or core.connection is not connection, deadline)
                core.opened(connection, answer, attempts)
        except BaseException:
            connection.close()
            raise

    def _next_key(self) -> str | None:
        self._connections += 1
        if self._key is None or self._connections == 1:
            return self._key
        return f"{self._key.rpartition('~')[0] or self._key}~{self._connections}"

    # Reconnecting.

    def _connection_gone(self) -> None:
        """Follow the end of a connection's threads, on one of them."""
        self._connector.closed()
        with self._core.monitor:
            # A connection that failed while it was being opened is the dialling thread's affair.
            if self._core.phase is not Phase.LOST or self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._redial, name=f"inworld-redial-{self._core.name}", daemon=True
            )
            # Under the monitor, so that who sees it can wait for it.
            self._thread.start()

    def _redial(self) -> None:
        core = self._core
        is_lost = True
        while is_lost:
            try:
                error = self._dial_until_open()
            except Exception as failure:
                core.options.logger.exception("%s: reconnecting failed", core.name)
                error = ConnectionLost(f"reconnecting failed: {type(failure).__name__}")
                error.__cause__ = failure
            with core.monitor:
                if error is not None:
                    core.end(_ended(error))
                # It may be lost once more already.
                is_lost = core.phase is Phase.LOST
                if not is_lost:
                    self._thread = None

    def _dial_until_open(self) -> InworldError | None:
        """Dial until the session is open; give the error that it has to end with instead."""
        core = self._core
        with core.monitor:
            was_good = core.had_response or core.lost_at - core.opened_at > _GOOD_SECONDS
            if was_good or not self._attempts:
                self._outage_at, self._attempts = core.lost_at, 0
        while True:
            left = self._outage_at + self._reconnect_timeout - time.monotonic()
            if not self._pause(left):
                return ClosedError("the session was closed while it reconnected")
            if left <= 0:
                return _given_up(core.cause, self._attempts, self._reconnect_timeout)
            self._attempts += 1
            try:
                timeout = min(left, self._connector.options.connect_timeout)
                self._dial(Deadline(timeout, "reopening the session"))
            except InworldError as error:
                if not _is_passing(error):
                    return error
                core.options.logger.info("%s: not reconnected yet: %s", core.name, error)
            else:
                return None

    def _pause(self, left: float) -> bool:
        """Wait before the next try; False if the session is closing."""
        seconds = 0.0
        if self._attempts:
            longest = _FIRST_PAUSE_SECONDS * 2 ** min(self._attempts - 1, 10)
            seconds = min(longest, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
        with self._core.monitor:
            until = time.monotonic() + min(seconds, max(left, 0.0))
            while not self._core.is_closing and self._core.ended is None:
                wait = until - time.monotonic()
                if wait <= 0:
                    return True
                self._core.monitor.wait(wait)
        return False


def _is_passing(error: InworldError) -> bool:
    """Whether another try may succeed."""
    if isinstance(error, (AuthError, ConfigError, ClosedError, ProtocolError)):
        return False
    return error.retryable if isinstance(error, ServiceError) else True


def _given_up(cause: InworldError | None, attempts: int, seconds: float) -> InworldError:
    error = ConnectionLost(
        f"the connection was lost ({cause}) and no other one came about within {seconds:g} s and "
        f"{attempts} attempts; see reconnect_timeout"
    )
    error.__cause__ = cause
    return error


def _ended(error: InworldError) -> StreamEnded:
    if isinstance(error, ClosedError):
        return StreamEnded("client", reason="closed")
    by: Literal["server", "network"] = "server" if isinstance(error, ServiceError) else "network"
    return StreamEnded(by, 1006, str(error), error)
