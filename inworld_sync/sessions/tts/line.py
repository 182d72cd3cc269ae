r"""
One socket to the TTS service and the contexts on it.

Threads and locks: those of ``base.py``.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

import attrs

from inworld_sync.audio.split import Splitter
from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    InworldError,
    fresh,
)
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.options import Options
from inworld_sync.models.tts import ContextClosed, ContextConfig
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.tts.core import ContextCore, ContextEvent
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.websocket import Link
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Contexts, ContextState

__all__ = ["TtsLine"]

# For what no message announces, such as that none came for a while.
_LOOK_AGAIN_SECONDS = 0.25


class TtsLine(Connection[tts.ContextMessage]):
    """
    One socket with up to five contexts.

    Args:
        link: Open, and owned by this object from now on.
        options: The client's.
        on_closed: As in :class:`Connection`.
        on_room: Called without a lock, on any thread, when a context or the whole connection
            is gone; must not block.
    """

    service = "tts"

    def __init__(
        self,
        link: Link,
        options: Options,
        *,
        on_closed: Callable[[], None] | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(link, options, on_closed=on_closed)
        self._on_room = on_room
        self._is_distrusted = False
        self._created = 0
        self._contexts = Contexts()
        self._living: dict[str, ContextCore] = {}
        self._splitter = Splitter(tts.AUDIO_PATH)

    @classmethod
    def open(
        cls,
        connector: Connector,
        *,
        timeout: float | None = None,
        on_room: Callable[[], None] | None = None,
        has_place: bool = False,
    ) -> TtsLine:
        """
        Connect; the service checks the credential with the first context, not here.

        Args:
            connector: Where and as whom.
            timeout: Seconds; None takes ``connect_timeout``.
            on_room: As in the constructor.
            has_place: Whether the caller took the limiter's place.
        """
        name = cls.next_name()
        link = connector.open(tts.PATH, name, timeout=timeout, has_place=has_place)

        def closed() -> None:
            try:
                connector.closed()
            finally:
                if on_room is not None:
                    on_room()

        connection = cls(link, connector.options, on_closed=closed, on_room=on_room)
        connection._start()
        connector.adopt(connection)
        return connection

    def context(self, config: ContextConfig, timeout: float | None) -> ContextCore:
        """
        Create a context; text may be sent at once.

        Args:
            config: Of the context.
            timeout: Seconds to wait for one of five contexts that is closing; None takes
                ``connect_timeout``.

        Raises:
            ContextLimitError: Five contexts are open, or none of them closed in time.
            TransportError: The connection is lost.
        """
        context_id = uuid.uuid4().hex
        stream: EventStream[ContextEvent] = self._new_stream(context_id[:8])
        context = ContextCore(self, context_id, config, stream)
        with self._changed:
            self._await_place(self._options.connect_timeout if timeout is None else timeout)
            message = self._contexts.create(context_id, config)
            self._living[context_id] = context
            self._created += 1
        try:
            self._send(message)
        except InworldError:
            with self._changed:
                self._living.pop(context_id, None)
                self._contexts.forget(context_id)
            raise
        except BaseException:
            # Interrupted by the user: the create may have left, so the service must hear of it.
            self.drop(context)
            raise
        return context

    @property
    def free_contexts(self) -> int:
        """How many contexts may be created now; those that are closing still count."""
        with self._changed:
            return self._contexts.free if self._is_usable else 0

    @property
    def is_idle(self) -> bool:
        """Whether it is open and nobody uses it."""
        with self._changed:
            if self._ended is not None or self._closing:
                return False
            # One that is distrusted may never hear that its contexts have closed.
            return not (self._living if self._is_distrusted else len(self._contexts))

    def seal(self) -> bool:
        """Take no further contexts if nobody uses it; return whether that is so."""
        with self._changed:
            if self.is_idle:
                self._closing = True
                return True
            return False

    @property
    def is_reused(self) -> bool:
        """Whether it had contexts before its newest one."""
        return self._created > 1

    def distrust(self) -> None:
        """Take no further contexts, because the service does not answer or the link is broken."""
        with self._changed:
            self._is_distrusted = True
        if self._on_room is not None:
            self._on_room()

    @property
    def _is_usable(self) -> bool:
        return (
            self._ended is None
            and not self._closing
            and not self._is_distrusted
            and self._link.end is None
        )

    def _await_place(self, timeout: float) -> None:
        """Wait while a place is about to come free; the monitor is held."""
        deadline = Deadline(timeout, "waiting for a context to close")
        with self._reader_needed():
            while True:
                self._require_open()
                # With all five open, nobody will make room but the caller.
                if self._contexts.free or not self._contexts.closing or deadline.expired:
                    return
                self._changed.wait(deadline.at_most(_LOOK_AGAIN_SECONDS))

    # For the contexts on it.

    def command(self, make: Callable[[Contexts], str], timeout: float | None = None) -> None:
        """Change the contexts' state and queue what that asks to be sent."""
        with self._changed:
            self._require_open()
            message = make(self._contexts)
        self._send(message, timeout)

    def _send(self, message: str, timeout: float | None = None) -> None:
        try:
            super()._send(message, timeout)
        except (ClosedError, ConnectionLost):
            error = self._known_end()
            if error is None:
                raise
        else:
            return
        raise fresh(error)

    def _known_end(self) -> InworldError | None:
        """What the reader makes of the end of a link that is over: what the service refused."""
        deadline = Deadline(_LOOK_AGAIN_SECONDS, "learning how the link ended")
        with self._changed:
            while self._ended is None and self._link.end is not None and not deadline.expired:
                self._changed.wait(deadline.remaining())
            return None if self._ended is None else self._ended.error

    def close_context(self, context_id: str) -> None:
        """Have the service speak the rest and end a context; at once, and whatever the state."""
        with self._changed:
            message = self._contexts.close(context_id)
        if message is not None:
            self._send_close(message)

    def drop(self, context: ContextCore) -> None:
        """Give a context nothing more; what is on its way to it is ignored."""
        if self._changed.in_child:
            return
        with self._changed:
            self._living.pop(context.id, None)
            context.end_interrupted()
            message = self._contexts.close(context.id)
        if message is not None:
            self._send_close(message)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait for a state of a context, which time may bring, or for the connection's end."""
        with self._changed:
            while self._ended is None and not reached():
                self._changed.wait(_LOOK_AGAIN_SECONDS)

    def _send_close(self, message: str) -> None:
        # It needs no room, since it must not wait: it may come from the reader, or interrupt.
        # Where the connection is over, the context is gone with it.
        with contextlib.suppress(InworldError):
            self._link.send(message, needs_room=False)

    # The reader's part.

    def _parse(self, message: memoryview) -> tts.TtsMessage:
        split = self._splitter.split(message)
        # What it leaves, or finds no audio in, is read whole.
        if split is None or split.audio is None:
            return tts.read(message)
        return tts.read(split.rest, split.audio)

    def _apply(self, event: tts.ContextMessage) -> None:
        context_id = _context_id(event)
        was_closing = self._contexts.state(context_id) is ContextState.CLOSING
        self._contexts.note(event)
        context = self._living.get(context_id)
        if context is None:
            # Of a context that was dropped, or the service's word that it never heard of one.
            return
        context.follow(event, was_closing=was_closing)
        if context.stream.ended is not None:
            del self._living[context_id]
            # The service still holds a context whose text it refused.
            if (message := self._contexts.close(context_id)) is not None:
                self._send_close(message)

    def _after(self, event: tts.ContextMessage) -> None:
        if not _context_id(event):
            self._options.logger.debug(
                "%s: a message of no context: %s", self.name, type(event).__name__
            )
        if self._on_room is not None and isinstance(event, (ContextClosed, tts.ContextFault)):
            self._on_room()

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        if ended.error is not None or not self._living:
            return ended
        error: InworldError
        if ended.by == "client":
            error = ClosedError("the connection was closed while the context was open")
        else:
            error = ConnectionLost(
                f"the {ended.by} closed the connection with {len(self._living)} contexts open "
                f"(code {ended.code} {ended.reason!r})",
                code=ended.code,
                reason=ended.reason,
            )
        return attrs.evolve(ended, error=error)

    def _streams(self) -> list[EventStream[Any]]:
        return [context.stream for context in self._living.values()]


def _context_id(event: tts.ContextMessage) -> str:
    if isinstance(event, UnknownEvent):
        result = event.raw.get("result")
        return str(result.get("contextId", "")) if isinstance(result, dict) else ""
    return event.context_id
