"""
Opens the connection of a realtime session. If the connection is lost, opens another connection.

Threads: while a session has no connection, ``inworld-reconnect-...`` tries to open a connection.

Lock rule: the session's monitor guards ``_thread``. No connection is opened while the monitor is
held.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Literal

from inworld_sync.errors import ClosedError, ConnectionLost, InworldError, ServiceError
from inworld_sync.limits.limiter import Place
from inworld_sync.models.events import StreamEnded
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.realtime.commands import Phase
from inworld_sync.sessions.realtime.connection import RealtimeConnection
from inworld_sync.sessions.realtime.state import SessionState
from inworld_sync.sessions.reconnect import ReconnectPolicy
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.deadline import Deadline, RunningDeadline
from inworld_sync.transport.message_link import MessageLink

__all__ = ["OpenLink", "Reconnector"]

# The arguments are the name of the link, the timeout in seconds, whether the caller itself retries,
# and the place of the link. The place is released if the link cannot be opened.
OpenLink = Callable[[str, "float | None", bool, Place], MessageLink]

# The delay before the second attempt. The first attempt is made at once.
_FIRST_DELAY_SECONDS = 0.25

# If a connection lasted this long or had a response, the next reconnect begins with the first delay
# and the full time limit.
_GOOD_SECONDS = 10.0


class Reconnector:
    """
    Opens the connections of one session.

    Args:
        state: The state of the session.
        connector: Opens connections for the client.
        key: The key of the first connection. None generates a key.
        reconnect_timeout: Seconds that an outage may last before the session ends; with 0 the
            session ends at once.
        open_link: Opens a link that is not a WebSocket; None opens a WebSocket.

    Attributes:
        key: The key in the address of the latest connection.
    """

    def __init__(
        self,
        state: SessionState,
        connector: Connector,
        key: str | None,
        reconnect_timeout: float,
        open_link: OpenLink | None = None,
    ) -> None:
        self._state = state
        self._connector = connector
        self._open_link = open_link or self._open_websocket
        self.key = key
        self._policy = ReconnectPolicy(
            Backoff(_FIRST_DELAY_SECONDS, is_first_immediate=True),
            timeout=reconnect_timeout,
            renews_credential=connector.credential.is_renewable,
        )
        self._connections = 0
        self._thread: threading.Thread | None = None

    def open(self, timeout: float | None) -> None:
        """
        Open the first connection and wait until the service has accepted the session.

        Raises:
            TransportError: Could not connect, or the service did not answer in time.
            ServiceError: The service refused the connection or the session.
        """
        seconds = self._connector.options.connect_timeout if timeout is None else timeout
        try:
            self._connect(RunningDeadline(seconds, "opening the session"))
        except BaseException:
            with self._state.monitor:
                self._state.end(StreamEnded("client", reason="not opened"))
            raise

    def join(self, timeout: float) -> None:
        """Wait for the reconnect thread, which ends when the session is closing."""
        with self._state.monitor:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _connect(self, deadline: Deadline) -> None:
        state, connector = self._state, self._connector
        # The count is read now, since another thread may begin the next attempt before this thread
        # continues.
        attempts = self._policy.attempts
        self._connections += 1
        place = connector.new_place()
        # When the session reconnects, the policy retries, so opening the link must not retry.
        reconnects = self._connections > 1
        name, timeout = RealtimeConnection.next_name(), deadline.remaining()
        link: MessageLink | None = None
        try:
            link = self._open_link(name, timeout, reconnects, place)
            connection = RealtimeConnection(
                state,
                link,
                connector.options,
                on_closed=partial(self._connection_gone, place),
                renews_credential=connector.credential.is_renewable,
            )
            with state.monitor:
                messages, reply = state.begin(connection)
                # The connection starts with the monitor held, so that a thread that sees the
                # connection can close it. From now on, the threads of the connection release the
                # link.
                link = None
                connection.start()
        except BaseException:
            if link is not None:
                link.release()
            place.release()
            raise
        try:
            # If the connection is lost here, the reader records the reason, which is raised below.
            with contextlib.suppress(ConnectionLost, ClosedError):
                for message in messages:
                    connection.send(message, deadline.remaining())
            with state.monitor:
                state.commands.wait_for(
                    lambda: reply.is_over or state.commands.connection is not connection, deadline
                )
                state.opened(connection, reply, attempts)
            if attempts:
                state.input.resend()
        except BaseException:
            connection.close()
            raise

    def _open_websocket(
        self, name: str, timeout: float | None, reconnects: bool, place: Place
    ) -> MessageLink:
        endpoint = self._state.endpoint
        parameters = endpoint.parameters(self._next_key())
        self.key = parameters.get("key")
        return self._connector.open(
            endpoint.path,
            name,
            query=parameters,
            timeout=timeout,
            place=place,
            reconnects=reconnects,
        )

    def _next_key(self) -> str | None:
        if self.key is None or self._connections == 1:
            return self.key
        return f"{self.key.rpartition('~')[0] or self.key}~{self._connections}"

    # Reconnecting.

    def _connection_gone(self, place: Place) -> None:
        """Start to reconnect a lost session after the threads of its connection have ended."""
        place.release()
        with self._state.monitor:
            # If a connection fails while a thread opens it, this thread handles the failure.
            if self._state.commands.phase is not Phase.LOST or self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._reconnect, name=f"inworld-reconnect-{self._state.name}", daemon=True
            )
            # The thread starts with the monitor held, so that another thread that sees ``_thread``
            # can join it.
            try:
                self._thread.start()
            except RuntimeError as error:
                # No thread can start if the interpreter ends or the system has no more threads.
                self._thread = None
                lost = ConnectionLost(f"reconnecting failed, no thread could start: {error}")
                lost.__cause__ = error
                self._state.end(_ended(lost))

    def _reconnect(self) -> None:
        state = self._state
        is_lost = True
        while is_lost:
            try:
                error = self._connect_until_open()
            except Exception as failure:
                state.logger.exception("%s: reconnecting failed", state.name)
                error = ConnectionLost(f"reconnecting failed: {type(failure).__name__}")
                error.__cause__ = failure
            with state.monitor:
                if error is not None:
                    state.end(_ended(error))
                # The new connection may be lost already.
                is_lost = state.commands.phase is Phase.LOST
                if not is_lost:
                    self._thread = None

    def _connect_until_open(self) -> InworldError | None:
        """Connect until the session is open. Return None or the error that ends the session."""
        state = self._state
        with state.monitor:
            if state.had_response or state.lost_at - state.opened_at > _GOOD_SECONDS:
                self._policy.reset()
        cause = state.cause or ConnectionLost("the connection was closed")
        try:
            found = self._policy.reconnect(cause, self._wait, self._reopen, lost_at=state.lost_at)
        except InworldError as error:
            return error
        return None if found else ClosedError("the session was closed while it reconnected")

    def _reopen(self, left: float | None) -> bool:
        longest = self._connector.options.connect_timeout
        timeout = longest if left is None else min(left, longest)
        try:
            self._connect(RunningDeadline(timeout, "reopening the session"))
        except InworldError as error:
            self._state.logger.info("%s: not reconnected yet: %s", self._state.name, error)
            raise
        return True

    def _wait(self, seconds: float) -> bool:
        """Wait for *seconds* and return True; return False as soon as the session is closing."""
        commands = self._state.commands
        with commands.monitor:
            return not commands.monitor.wait_for(lambda: commands.is_over, seconds)


def _ended(error: InworldError) -> StreamEnded:
    if isinstance(error, ClosedError):
        return StreamEnded("client", reason="closed")
    by: Literal["server", "network"] = "server" if isinstance(error, ServiceError) else "network"
    return StreamEnded(by, 1006, str(error), error)
