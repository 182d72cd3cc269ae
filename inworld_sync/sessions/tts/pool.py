r"""
Implements the pool of a client's TTS connections, and the utterances that share them.

Lock rule: the monitor ``_changed`` guards the list of connections and the counts. ``_changed`` is
held while the free contexts of a connection are read and while a connection stops accepting
contexts, so a thread acquires ``_changed`` before the monitor of a connection. ``_changed`` is
never held while a thread opens or closes a connection, waits for a connection or sends on it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from inworld_sync.errors import (
    AuthError,
    ClosedError,
    ConnectionLost,
    ContextLimitError,
    DeadlineExceeded,
    InworldError,
    QuotaError,
    ServiceError,
)
from inworld_sync.locks import Event
from inworld_sync.models.tts import ContextConfig, TtsUsage
from inworld_sync.sessions.connector import Connector, trace_wait
from inworld_sync.sessions.monitor import Monitor, require_may_wait
from inworld_sync.sessions.tts.connection import TtsConnection
from inworld_sync.sessions.tts.context import ContextOwner, TtsContext
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.sessions.tts.text_feed import PieceSource, TextFeed
from inworld_sync.transport.backoff import Backoff, retry_after_of
from inworld_sync.transport.deadline import Deadline, RunningDeadline
from inworld_sync.wire import tts

__all__ = ["TtsPool", "Utterance"]

# The time between two checks for a free place. A limiter of several processes sends no notice.
_LOOK_AGAIN_SECONDS = 0.25

# One idle connection saves the next utterance a handshake. Further idle connections would count
# against the limit of the account.
_KEPT_IDLE = 1

# The longest delay before the second retry of an utterance. The first retry has no delay.
_FIRST_DELAY_SECONDS = 0.2


class TtsPool:
    """
    Opens connections when contexts need them, and closes idle connections.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._changed = Monitor("the client's pool of TTS connections")
        self._connections: list[TtsConnection] = []
        # The calls of context() that are running, and the calls among them that open a connection.
        self._calls: deque[object] = deque()
        self._opening: set[object] = set()
        self._closed = False
        # This count increases when the service refuses the credential of a connection.
        self._generation = 0
        self._kept_idle = _KEPT_IDLE
        connector.add_pool(self)
        connector.adopt(self)

    @property
    def max_retries(self) -> int:
        """The maximum number of retries of an utterance."""
        return self._connector.options.max_retries

    def renew(self, refused: ContextOwner) -> bool:
        """
        If the credential can be renewed, create no further contexts on connections with the refused
        credential.

        Args:
            refused: A connection whose credential the service has refused.

        Returns:
            Whether the credential can be renewed.
        """
        if not self._connector.credential.is_renewable:
            return False
        with self._changed:
            if refused._generation == self._generation:
                self._generation += 1
            others = [c for c in self._connections if c._generation != self._generation]
        for connection in others:
            connection._mark_unhealthy()
        return True

    def context(
        self,
        config: ContextConfig,
        timeout: float,
        create_timeout: float | None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> TtsContext:
        """
        Create a context on a connection that has room, or on a new connection.

        Args:
            config: The settings of the context.
            timeout: Seconds to wait for a place and to connect, together. The ``message_timeout``
                of the context has the same value.
            create_timeout: The ``create_timeout`` of the context.
            is_stopped: Returns whether the caller no longer waits. :meth:`wake` makes the pool call
                this function again.

        Raises:
            QuotaError: All connections of the account are full, and no context ended in time.
            TransportError: Could not connect.
            ServiceError: The service refused a connection, or ended two connections with an error.
            ClosedError: The pool was closed, or the caller no longer waits.
        """
        deadline = RunningDeadline(timeout, "waiting for a TTS context")
        call = object()
        began, has_waited, was_refused = time.monotonic(), False, False
        try:
            self._calls.append(call)
            while True:
                connection = self._with_room(deadline, is_stopped, call)
                connection = connection or self._open(deadline, call)
                if connection is None:
                    has_waited = True
                    continue
                if has_waited:
                    trace_wait(self._connector.options, connection.name, began)
                    has_waited = False
                try:
                    return connection._new_context(config, 0.0, create_timeout, timeout)
                except ContextLimitError:
                    # Another thread has taken the last place of the connection.
                    continue
                except (ClosedError, ConnectionLost):
                    # The service or the network has just ended an idle connection.
                    connection._mark_unhealthy()
                except ServiceError as error:
                    # The service has just ended the connection with an error, such as a refusal of
                    # the credential, and has not received the request for this context.
                    is_renewable = not isinstance(error, AuthError) or self.renew(connection)
                    if was_refused or not is_renewable:
                        raise
                    was_refused = True
                    connection._mark_unhealthy()
        finally:
            self._calls.remove(call)
            self._opening.discard(call)

    def prewarm(self, deadline: Deadline) -> None:
        """
        Open a connection, unless a connection has room. The new connection stays open while idle.

        Raises:
            The errors of :meth:`context`.
        """
        call = object()
        try:
            self._calls.append(call)
            while not self._with_room(deadline, lambda: False, call):
                self._open(deadline, call)
        finally:
            self._calls.remove(call)
            self._opening.discard(call)

    def wake(self) -> None:
        """Make the pool check again whether the callers that wait have stopped."""
        if not self._changed.in_child:
            with self._changed:
                self._changed.notify_all()

    def evict_idle(self) -> None:
        """Close all idle connections, because other clients or processes need their places."""
        self._evict_idle(keep=0)

    def retire(self, count: int) -> int:
        """
        Let up to *count* connections close when their contexts have ended.

        Connections that were retired earlier and are still open are included in *count*. The
        connections with the fewest contexts are chosen, because they close first.

        Returns:
            The number of connections that will close.
        """
        if self._changed.in_child:
            return 0
        with self._changed:
            retired = sum(c._is_retired and c.ended is None for c in self._connections)
            usable = [(free, c) for c in self._connections if (free := c.free_contexts)]
            full = [c for c in self._connections if c._is_full]
            chosen = [c for _, c in sorted(usable, key=lambda pair: -pair[0])] + full
            chosen = chosen[: max(0, count - retired)]
            for connection in chosen:
                connection._retire()
        self._evict_idle()
        return min(count, retired + len(chosen))

    def evict_all(self) -> None:
        """Close every connection as soon as it is idle, since no utterances can follow."""
        # No lock is acquired, since a finalizer may call this method on a thread that holds a lock.
        # While the interpreter ends, no thread runs, and start() would wait for ever.
        if not self._changed.in_child and not sys.is_finalizing():
            self._kept_idle = 0
            with contextlib.suppress(RuntimeError):  # the system has no thread left
                threading.Thread(target=self._evict_idle, name="inworld-evict", daemon=True).start()

    def close(self) -> None:
        """Create no more contexts; the connector closes the connections."""
        self._closed = True
        self.wake()

    _begin_close = close

    def _with_room(
        self, deadline: Deadline, is_stopped: Callable[[], bool], call: object
    ) -> TtsConnection | None:
        """Wait for a connection with room. Return None if the caller must open a connection."""
        with self._changed:
            while True:
                if self._closed:
                    raise ClosedError("the client was closed, make another")
                if is_stopped():
                    raise ClosedError("the utterance was stopped")
                self._connections = [c for c in self._connections if c.ended is None]
                # The fullest connection is used first, so that other connections become idle and
                # can be closed. The service would refuse the credential of an earlier generation.
                present = [c for c in self._connections if c._generation == self._generation]
                roomy = [(free, c) for c in present if (free := c.free_contexts)]
                if roomy:
                    return min(roomy, key=lambda pair: pair[0])[1]
                # Each connection that is being opened has room for five callers.
                if len(self._calls) > len(self._opening) * tts.MAX_CONTEXTS:
                    self._opening.add(call)
                    return None
                self._wait(deadline)

    def _open(self, deadline: Deadline, call: object) -> TtsConnection | None:
        """Open a connection. If the limit is reached, wait for a change and return None."""
        connection = None
        place = self._connector.new_place()
        with self._changed:
            has_others = bool(self._connections)
            generation = self._generation
        try:
            if place.acquire(0.0):
                connection = TtsConnection._open(
                    self._connector,
                    timeout=deadline.remaining(),
                    on_room=self._evict_idle,
                    place=place,
                    # A place on another connection may become free before the service accepts a
                    # further connection.
                    retries_quota=not has_others,
                )
        except QuotaError:
            # The service answered with status 429. If this client has connections, one of their
            # contexts will end and leave room.
            with self._changed:
                if not self._connections and len(self._opening) == 1:
                    raise
        finally:
            if connection is None:
                place.release()
            with self._changed:
                self._opening.discard(call)
                if connection is not None:
                    connection._generation = generation
                    self._connections.append(connection)
                is_refused = generation != self._generation
                self._changed.notify_all()
        if connection is None:
            with self._changed:
                self._wait(deadline)
        elif is_refused:
            # Meanwhile the service has refused the same credential on another connection.
            connection._mark_unhealthy()
            return None
        return connection

    def _wait(self, deadline: Deadline) -> None:
        """Wait for a change; the monitor is held."""
        if deadline.expired:
            raise QuotaError(
                "no TTS context came free in time: all connections are full and the limit of "
                "connections is reached",
                retryable=True,
            )
        require_may_wait("waiting for a TTS context")
        self._changed.wait(deadline.at_most(_LOOK_AGAIN_SECONDS))

    def _evict_idle(self, keep: int | None = None) -> None:
        """Close idle connections, on any thread, and wake the callers that wait for room."""
        if self._changed.in_child:
            return
        keep = self._kept_idle if keep is None else keep
        healthy: list[TtsConnection] = []
        unhealthy: list[TtsConnection] = []
        with self._changed:
            for connection in [c for c in self._connections if c._is_idle]:
                is_usable = connection.free_contexts > 0
                if is_usable and keep:
                    keep -= 1
                elif connection._stop_accepting():
                    self._connections.remove(connection)
                    is_healthy = is_usable or connection._is_retired
                    (healthy if is_healthy else unhealthy).append(connection)
            self._changed.notify_all()
        for connection in healthy:
            connection._begin_close()
        for connection in unhealthy:
            # The service would not answer a close frame, and the connection takes a place until it
            # has ended.
            connection.abort()


class Utterance:
    """
    One utterance on a context of the pool. The utterance is retried if an attempt fails before the
    service has answered.

    Args:
        pool: Creates the contexts.
        text: The whole text, an iterable of its pieces, or a :class:`PieceSource`.
        config: The settings of the context.
        timeout: Seconds to wait for a context, and the ``message_timeout`` of the context.
        create_timeout: The ``create_timeout`` of the context.

    Thread safety: one thread iterates over :meth:`chunks`; any thread may call :meth:`stop`.

    Attributes:
        config: The settings of the context.
        context: The present context; None before the first attempt and between two attempts.
        from_cache: Always False.
        is_own_service: Always True.
    """

    from_cache = False
    is_own_service = True

    def __init__(
        self,
        pool: TtsPool,
        text: str | Iterable[str] | PieceSource,
        config: ContextConfig,
        timeout: float,
        create_timeout: float | None,
    ) -> None:
        self._pool = pool
        self._source = text if isinstance(text, PieceSource) else PieceSource(text)
        self._timeout = timeout
        self._create_timeout = create_timeout
        self._stopped = Event()
        self._has_renewed = False
        self.config = config
        self.context: TtsContext | None = None

    @property
    def state(self) -> str:
        """The state as text, for a repr."""
        if self.context is None:
            return "stopped" if self._stopped.is_set() else "not started"
        ended = self.context.ended
        return "open" if ended is None else f"ended: {ended.reason}"

    @property
    def usage(self) -> TtsUsage:
        """The characters that the service has counted so far."""
        return TtsUsage() if self.context is None else self.context.usage

    @property
    def is_read_here(self) -> bool:
        """Whether the current thread is running the user's iterator of the text."""
        return self._source.is_read_here

    def stop(self) -> None:
        """Interrupt the context, and end an iteration that waits."""
        self._stopped.set()
        if self.context is not None:
            self.context.interrupt()
        self._pool.wake()

    def chunks(self) -> Iterator[AudioChunk]:
        """Iterate over the audio. Raise the error of the last attempt if all attempts failed."""
        # The first attempt may have used a dead connection. In this case, a new connection helps,
        # so the first retry has no delay.
        backoff = Backoff(_FIRST_DELAY_SECONDS, is_first_immediate=True)
        while True:
            try:
                yield from self._try()
            except InworldError as error:
                # After stop(), errors are ignored.
                if self._stopped.is_set():
                    return
                if self._may_renew(error):
                    delay = 0.0
                elif backoff.attempts < self._pool.max_retries and self._may_retry(error):
                    delay = backoff.next_delay(error)
                else:
                    raise
            else:
                return
            if self._stopped.wait(delay):
                return

    def _may_renew(self, error: InworldError) -> bool:
        """Return True, at most once, if the first message refused a renewable credential."""
        context = self.context
        if context is None or context._progress.was_answered or self._has_renewed:
            return False
        # An error of the context alone is not about the credential.
        if not isinstance(error, AuthError) or context._connection.ended is None:
            return False
        self._has_renewed = True
        return self._pool.renew(context._connection)

    def _may_retry(self, error: InworldError) -> bool:
        """
        Return whether another attempt may help, and the service has spoken nothing so far.

        If a timeout passed because the service was silent, the utterance is not retried.
        """
        context = self.context
        if context is None or context._progress.was_answered:
            return False
        if isinstance(error, ContextLimitError):
            # The service has contexts on the connection that the client does not know.
            context._abandon()
            return True
        if isinstance(error, ServiceError):
            return error.retryable and retry_after_of(error) < self._timeout
        return isinstance(error, ConnectionLost)

    def _try(self) -> Iterator[AudioChunk]:
        self.context = None
        if self._stopped.is_set():
            return
        context = self._pool.context(
            self.config, self._timeout, self._create_timeout, self._stopped.is_set
        )
        self.context = context
        try:
            # stop() may have found no context to interrupt, so the flag of stop() is checked again.
            if self._stopped.is_set():
                return
            feed = TextFeed(context, self._source)
            feed.start()
            for event in context._stream.events():
                if isinstance(event, AudioChunk):
                    yield event
            if not self._stopped.is_set():
                feed.raise_failure()
        except DeadlineExceeded:
            context._abandon()
            raise
        finally:
            # Even if the context has ended: a signal handler may have interrupted stop().
            context.interrupt()
