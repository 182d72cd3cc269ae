"""
Runs the reader and the writer of a connection.

The two threads refer to the connection only while they handle a message or an event. So a
connection that its user has dropped without ``close()`` can be garbage-collected. Then its link is
aborted, its streams end, and both threads end.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from inworld_sync.errors import ClosedError, ConnectError, InworldError, ProtocolError
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.options import Options
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor, SessionThread
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.forgotten import close_if_forgotten
from inworld_sync.transport.message_link import MessageLink

__all__ = ["JOIN_SECONDS", "ConnectionThreads", "Handler"]

# This time is added to close_timeout, so that both threads have time to run and end.
JOIN_SECONDS = 1.0


class Handler(Protocol):
    """The methods of a connection that its threads call."""

    _failure: InworldError | None

    def _on_timer(self) -> None:
        """End the requests whose deadline has passed; called by the writer."""

    def _read_message(self, message: memoryview) -> None:
        """Handle one message; called by the reader."""

    def _end(self, failure: InworldError | None) -> None:
        """Handle the end of the link; called by the reader. *failure* is the reader's error."""


class ConnectionThreads:
    """
    The reader and the writer of one connection.

    Args:
        connection: The connection, which handles the messages.
        link: The link of the connection. The thread that ends last releases the link.
        monitor: The monitor of the connection.
        streams: The streams that end with the connection.
        options: The settings of the client.
        on_closed: Called once, when both threads have ended.

    Attributes:
        threads: The writer and the reader.
    """

    def __init__(
        self,
        connection: Handler,
        link: MessageLink,
        monitor: Monitor,
        streams: weakref.WeakSet[EventStream[Any]],
        options: Options,
        on_closed: Callable[[], None] | None,
    ) -> None:
        self._connection = weakref.ref(connection)
        self._link = link
        self._monitor = monitor
        self._streams = streams
        self._options = options
        self._on_closed = on_closed
        # A reference to the connection while it closes.
        self._closing: Handler | None = None
        # Threads that have not ended yet.
        self._running = 2
        name = link.name
        self.threads = (
            SessionThread(target=self._write, name=f"inworld-writer-{name}", daemon=True),
            SessionThread(target=self._read, name=f"inworld-reader-{name}", daemon=True),
        )
        self._cancel_watch = close_if_forgotten(
            connection,
            f"the connection {name}",
            lambda: link.end is None,
            lambda: link.abort("not closed"),
        )

    def start(self) -> None:
        """
        Start both threads. If this fails, free all that the connection holds.

        Raises:
            ConnectError: No thread can start, because the interpreter ends or the system has no
                more threads.
        """
        try:
            for thread in self.threads:
                thread.start()
        except BaseException as error:
            self._link.abort("its threads could not start")
            for thread in self.threads:
                if thread.ident is None:
                    self._leave()
                else:
                    thread.join(JOIN_SECONDS)
            self._report_closed()
            if isinstance(error, RuntimeError):
                raise ConnectError(f"{self._link.name}: no thread could start: {error}") from error
            raise

    def begin_close(self, connection: Handler) -> None:
        """Keep a reference to a connection that begins to close, until both threads have ended."""
        self._cancel_watch()
        if self._running:
            self._closing = connection

    def join(self, deadline: Deadline) -> None:
        """Wait for both threads. If one of them calls :meth:`join`, wait for the other only."""
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(deadline.remaining())

    def _write(self) -> None:
        try:
            self._link.run_writer(self._on_timer)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._fail("writer", error)
        self._leave()

    def _on_timer(self) -> None:
        connection = self._connection()
        if connection is not None:
            connection._on_timer()  # noqa: SLF001

    def _read(self) -> None:
        failure: InworldError | None = None
        try:
            while (message := self._link.receive()) is not None:
                connection = self._connection()
                if connection is not None:
                    connection._read_message(message)  # noqa: SLF001
                # The reader must not refer to the connection while it waits for a message.
                del connection
        except InworldError as error:
            failure = error
            self._link.abort(str(error))
        except Exception as error:  # noqa: BLE001 - it is logged
            failure = self._fail("reader", error)
        self._end_connection(failure)
        self.threads[0].join(self._options.close_timeout + JOIN_SECONDS)
        self._leave()
        self._report_closed()
        self._closing = None

    def _end_connection(self, failure: InworldError | None) -> None:
        connection = self._connection()
        if connection is not None:
            connection._end(failure)  # noqa: SLF001
            return
        error = ClosedError("the connection was dropped without close()")
        with self._monitor:
            for stream in self._streams:
                stream.end(StreamEnded("client", 1006, "not closed", error))
            self._monitor.notify_all()

    def _fail(self, thread: str, error: Exception) -> ProtocolError:
        """Log an error of this package, and end the link."""
        self._options.logger.error("%s: the %s failed", self._link.name, thread, exc_info=error)
        failure = ProtocolError(f"the {thread} failed: {type(error).__name__}")
        failure.__cause__ = error
        connection = self._connection()
        if connection is not None:
            connection._failure = failure  # noqa: SLF001
        self._link.abort(f"the {thread} failed")
        return failure

    def _leave(self) -> None:
        """Count the end of a thread. The last thread to end closes the socket."""
        with self._monitor:
            self._running -= 1
            is_last = not self._running
        if is_last:
            self._link.release()

    def _report_closed(self) -> None:
        # If a signal handler raises in start(), both start() and the reader call this method.
        with self._monitor:
            report, self._on_closed = self._on_closed, None
        if report is not None:
            try:
                report()
            except Exception:
                self._options.logger.exception(
                    "%s: the limiter's release() raised an exception", self._link.name
                )
