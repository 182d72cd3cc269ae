r"""
Implements one connection to the TTS service, with its contexts.

The threads and locks are those of ``base.py``.
"""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from inworld_sync.audio.split import Splitter
from inworld_sync.errors import ClosedError, ConnectionLost, InworldError, fresh
from inworld_sync.limits.limiter import Place
from inworld_sync.models import checks
from inworld_sync.models.events import StreamEnded, UnknownEvent
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.options import Options
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.tts import (
    AudioConfig,
    ContextClosed,
    ContextConfig,
    DeliveryMode,
    SynthesisContext,
    TextNormalization,
    TimestampTransport,
    TimestampType,
    VisemeSet,
)
from inworld_sync.sessions.base import Connection
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import require_may_wait
from inworld_sync.sessions.tts.assembler import INTERRUPTED, ContextReceiver
from inworld_sync.sessions.tts.context import TtsContext
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.websocket import Link
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import Command, ContextProgress, Contexts

__all__ = ["CREATE_TIMEOUT_SECONDS", "MESSAGE_TIMEOUT_SECONDS", "TtsConnection"]

# Defaults of the deadlines of a context.
CREATE_TIMEOUT_SECONDS = 10.0
MESSAGE_TIMEOUT_SECONDS = 30.0

# The time between two checks for a change that no message reports, such as a silent service.
_LOOK_AGAIN_SECONDS = 0.25


class TtsConnection(Connection[tts.ContextMessage]):
    """
    One connection to the TTS service with up to five contexts.

    ``iw.tts.connect()`` opens a connection. Leaving a ``with`` block closes the connection.

    Thread safety: every method may be called from any thread.
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
        # How many credentials of the pool were refused before the connection was opened.
        self._generation = 0
        self._on_room = on_room
        self._is_unhealthy = False
        self._is_retired = False
        self._has_expired = False
        self._contexts = Contexts()
        self._open_contexts: dict[str, ContextReceiver] = {}
        self._splitter = Splitter(tts.AUDIO_PATH)
        # The text of the latest message with audio but without times, and the event of the message.
        self._latest_text = b""
        self._latest: tts.AudioReceived | None = None

    @classmethod
    def _open(
        cls,
        connector: Connector,
        *,
        timeout: float | None = None,
        on_room: Callable[[], None] | None = None,
        place: Place | None = None,
        retries_quota: bool = True,
    ) -> TtsConnection:
        """
        Connect. The service checks the credential with the first context, not with the connection.

        Args:
            connector: Has the address and the credential.
            timeout: Seconds; None means ``connect_timeout``.
            on_room: Called without a lock, on any thread, when a context or the whole connection
                has ended; must not block.
            place: The place of the connection, if the caller has taken one.
            retries_quota: Whether to retry after HTTP status 429.
        """
        name = cls.next_name()
        place = place or connector.new_place()

        def closed() -> None:
            try:
                place.release()
            finally:
                if on_room is not None:
                    on_room()

        connection = None
        try:
            link = connector.open(
                tts.PATH, name, timeout=timeout, place=place, retries_quota=retries_quota
            )
            connection = cls(link, connector.options, on_closed=closed, on_room=on_room)
            connection._threads.start()
            connector.adopt(connection)
        except BaseException:
            if connection is not None:
                connection.abort()
            place.release()
            raise
        return connection

    @with_keyword_hints
    def context(
        self,
        config: ContextConfig | None = None,
        *,
        voice: str | None = None,
        model: str | None = None,
        audio: AudioConfig | None = None,
        temperature: float | None = None,
        language: str | None = None,
        delivery_mode: DeliveryMode | str | None = None,
        timestamp_type: TimestampType | str | None = None,
        timestamp_transport: TimestampTransport | str | None = None,
        text_normalization: TextNormalization | str | None = None,
        auto_mode: bool | None = None,
        max_buffer_delay_ms: int | None = None,
        buffer_char_threshold: int | None = None,
        pronunciation_dictionaries: Sequence[str] | None = None,
        enable_custom_pronunciation: bool | None = None,
        synthesis_context: SynthesisContext | None = None,
        viseme_set: VisemeSet | str | None = None,
        extra: Mapping[str, object] | None = None,
        timeout: float | None = None,
        create_timeout: float | None = CREATE_TIMEOUT_SECONDS,
        message_timeout: float | None = MESSAGE_TIMEOUT_SECONDS,
    ) -> TtsContext:
        """
        Create a context. Text may be sent to the context at once.

        If the service does not answer in time, the context ends with
        :class:`~inworld_sync.DeadlineExceeded`; the other contexts of the connection continue.

        Args:
            config: All settings in one object. Each setting below that is not None replaces the
                same setting of *config*.
            voice: Id of a voice; ``Ashley`` by default.
            model: Id of a model; ``inworld-tts-2`` by default.
            audio: Encoding and sample rate; 24 kHz PCM by default.
            temperature: 0 to 2, how much the speech varies; ``inworld-tts-2`` ignores it.
            language: BCP-47 tag, or ``AUTO``; ``inworld-tts-2`` only.
            delivery_mode: ``STABLE``, ``BALANCED`` or ``CREATIVE``; ``inworld-tts-2`` only.
            timestamp_type: ``WORD`` or ``CHARACTER``; no times by default.
            timestamp_transport: ``SYNC`` sends times with their audio; ``ASYNC`` may send them
                later.
            text_normalization: ``ON`` spells out numbers and abbreviations, ``OFF`` does not.
            auto_mode: Whether the service decides when to speak; False by default.
            max_buffer_delay_ms: The longest time in ms that text waits for more text.
            buffer_char_threshold: When this many characters wait, 1 to 1000, the service speaks
                them without a flush.
            pronunciation_dictionaries: Names of up to three dictionaries.
            enable_custom_pronunciation: See the service's documentation.
            synthesis_context: Texts that were spoken before. The speech continues these texts.
            viseme_set: ``OPENXR`` requests mouth shapes computed from the audio.
            extra: Further fields of the message ``create``, sent unchanged.
            timeout: Seconds to wait for the end of a context that is closing, if the connection
                has five contexts; None means ``connect_timeout``.
            create_timeout: Seconds to wait until the service confirms the context; None means no
                limit.
            message_timeout: Seconds that may pass between two messages about the context, while the
                service has to answer a flush, an update or :meth:`TtsContext.close`. None means no
                limit. At other times there is no limit, because the service may wait for more text.

        Raises:
            ConfigError: A setting is out of its range.
            ContextLimitError: Five contexts are open. None of them is closing, or none has closed
                in time.
            TransportError: The connection is lost.
        """
        settings = combine_settings(config, ContextConfig(), locals())
        return self._new_context(settings, timeout, create_timeout, message_timeout)

    @property
    def free_contexts(self) -> int:
        """How many contexts may be created now. A context that is closing still takes a place."""
        with self._changed:
            return self._contexts.free if self._is_usable else 0

    def __enter__(self) -> TtsConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TtsConnection {self.name} ended={self.ended}>"

    # The pool calls these methods, on any thread.

    def _new_context(
        self,
        config: ContextConfig,
        timeout: float | None,
        create_timeout: float | None,
        message_timeout: float | None,
    ) -> TtsContext:
        create = _limit("create_timeout", create_timeout)
        progress = ContextProgress(create, _limit("message_timeout", message_timeout))
        context_id = uuid.uuid4().hex
        stream = self._new_stream(context_id[:8])
        receiver = ContextReceiver(context_id, config.audio, stream, progress)
        context = TtsContext(self, config, receiver)
        command = None
        try:
            with self._changed:
                self._await_place(self._options.connect_timeout if timeout is None else timeout)
                command = self._contexts.create(context_id, config, progress, time.monotonic())
                self._open_contexts[context_id] = receiver
                self._expire_at(self._contexts.next_deadline())
            self._send(command.message)
            context._close_if_forgotten()
        except InworldError:
            if command is not None:
                with self._changed:
                    self._open_contexts.pop(context_id, None)
                    self._contexts.cancel(command)
            raise
        except BaseException:
            # A signal handler raised an exception, maybe after the message was sent.
            self._drop(receiver)
            raise
        return context

    @property
    def _is_idle(self) -> bool:
        """Whether the connection is open and has no context."""
        with self._changed:
            if self.ended is not None or self._closing:
                return False
            # On an unhealthy connection, the service may never confirm that a context has closed.
            return not (self._open_contexts if self._is_unhealthy else len(self._contexts))

    def _stop_accepting(self) -> bool:
        """Accept no further contexts if the connection is idle; return whether it is idle."""
        with self._changed:
            if self._is_idle:
                self._closing = True
                return True
            return False

    def _mark_unhealthy(self) -> None:
        """Accept no further contexts, because the service does not answer or the link is lost."""
        with self._changed:
            self._is_unhealthy = True
        if self._on_room is not None:
            self._on_room()

    def _retire(self) -> None:
        """Accept no further contexts, because another process needs the place."""
        with self._changed:
            self._is_retired = True

    @property
    def _is_full(self) -> bool:
        """Whether the connection would accept a context if one of its contexts ended."""
        with self._changed:
            return self._is_usable and not self._contexts.free

    @property
    def _is_usable(self) -> bool:
        return (
            self.ended is None
            and not self._closing
            and not self._is_unhealthy
            and not self._is_retired
            and self._link.end is None
        )

    def _await_place(self, timeout: float) -> None:
        """Wait while all places are in use and a context is closing; the monitor is held."""
        deadline = Deadline(timeout, "waiting for a context to close")
        self._needing += 1
        try:
            self._changed.notify_all()
            while True:
                self._require_open()
                # If all five contexts are open and none is closing, only the caller can close a
                # context.
                if self._contexts.free or not self._contexts.closing or deadline.expired:
                    return
                require_may_wait("waiting for a context to close")
                self._changed.wait(deadline.at_most(_LOOK_AGAIN_SECONDS))
        finally:
            self._needing -= 1

    # The contexts call these methods, on any thread.

    def _command(
        self, make: Callable[[Contexts, float], Command], timeout: float | None = None
    ) -> None:
        """Record a command and queue its message; *make* gets the table and the time."""
        with self._changed:
            self._require_open()
            command = make(self._contexts, time.monotonic())
            self._expire_at(self._contexts.next_deadline())
        try:
            self._send(command.message, timeout)
        except InworldError:
            with self._changed:
                self._contexts.cancel(command)
            raise

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
        """Return the error of a link that has ended, such as a refusal by the service."""
        deadline = Deadline(_LOOK_AGAIN_SECONDS, "learning how the link ended")
        with self._changed:
            while self.ended is None and self._link.end is not None and not deadline.expired:
                self._changed.wait(deadline.remaining())
            return None if self.ended is None else self.ended.error

    def _close_context(self, context_id: str, *, is_cancelled: bool = False) -> None:
        """Ask the service to end a context, and if *is_cancelled*, to drop its unspoken text."""
        try:
            with self._changed:
                end = self._contexts.interrupt if is_cancelled else self._contexts.close
                end(context_id, time.monotonic())
                self._expire_at(self._contexts.next_deadline())
        finally:
            # The message is sent by one thread, also after an exception of a signal handler.
            with self._changed:
                self._send_close(context_id, self._contexts.unsent_close(context_id))

    def _drop(self, receiver: ContextReceiver, ended: StreamEnded = INTERRUPTED) -> None:
        """End a context at once; further messages about it are ignored."""
        if self._changed.in_child:
            return
        is_cancelled = False
        try:
            with self._changed:
                is_cancelled = receiver.stream.ended is None and self._options.sends_cancel_context
                receiver.end_early(ended)
                self._open_contexts.pop(receiver.id, None)
        finally:
            if receiver.stream.ended is not None:
                self._close_context(receiver.id, is_cancelled=is_cancelled)

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until a condition, such as room in a mailbox, is true or the connection ends."""
        with self._changed:
            try:
                self._changed.watchers += 1
                while self.ended is None and not reached():
                    require_may_wait("waiting for room for text")
                    self._changed.wait(_LOOK_AGAIN_SECONDS)
            finally:
                self._changed.watchers -= 1

    def _send_close(self, context_id: str, message: str | None) -> None:
        if message is None:
            return
        # This method must not wait, since the reader and interrupt() call it. So the message needs
        # no room in the queue. If the connection has ended, the context has ended too.
        with contextlib.suppress(InworldError):
            self._link.send(message, needs_room=False)
        self._contexts.close_sent(context_id, message)

    # The reader runs these methods.

    def _parse(self, message: memoryview) -> tts.TtsMessage:
        warnings: list[str] = []
        split = self._splitter.split(message)
        # A message that the splitter does not split, or that has no audio, is read whole.
        audio, text, _ = split or (None, b"", ())
        if audio is None:
            event = tts.read(message, warnings=warnings)
            self._warn(warnings)
            return event
        self._json_bytes, self._audio_bytes = len(text), len(audio)
        like = self._latest
        if like is not None and text == self._latest_text:
            # Equal text has equal meaning, so only the audio differs.
            return tts.AudioReceived(like.context_id, audio, like.usage)
        event = tts.read(text, audio, warnings)
        if type(event) is tts.AudioReceived and not warnings and event.is_plain:
            self._latest, self._latest_text = event, text
        self._warn(warnings)
        return event

    def _apply(self, event: tts.ContextMessage) -> None:
        if isinstance(event, tts.AudioReceived):
            context_id, was_closing = event.context_id, False
        else:
            context_id = _context_id(event)
            was_closing = self._contexts.is_closing(context_id)
        self._contexts.handle(context_id, event, time.monotonic())
        receiver = self._open_contexts.get(context_id)
        if receiver is None:
            # The context was dropped, or the service does not know it.
            return
        receiver.handle(event, was_closing=was_closing)
        if receiver.stream.ended is not None:
            del self._open_contexts[context_id]
            # The service refused a text, but still has the context.
            self._close_context(context_id)

    def _after(self, event: tts.ContextMessage) -> None:
        if type(event) is tts.AudioReceived:
            return
        if not _context_id(event):
            self._options.logger.debug(
                "%s: a message without a context: %s", self.name, type(event).__name__
            )
        if self._on_room is not None and isinstance(event, (ContextClosed, tts.ContextFault)):
            self._on_room()

    # The writer runs these methods.

    def _expire(self, now: float) -> float:
        for expired in self._contexts.expire(now):
            self._has_expired = True
            self._send_close(expired.context_id, expired.close)
            receiver = self._open_contexts.pop(expired.context_id, None)
            if receiver is not None:
                receiver.end_expired(self.with_cause(expired.error))
        return self._contexts.next_deadline()

    def _on_timer(self) -> None:
        super()._on_timer()
        if self._has_expired and self._on_room is not None:
            # This connection belongs to a pool. The next utterance uses another connection.
            self._has_expired = False
            self._mark_unhealthy()

    def _conclude(self, ended: StreamEnded) -> StreamEnded:
        if ended.error is not None or not self._open_contexts:
            return ended
        error: InworldError
        if ended.by == "client":
            error = ClosedError("the connection was closed while the context was open")
        else:
            count = len(self._open_contexts)
            error = ConnectionLost(
                f"the {ended.by} closed the connection with {count} contexts open "
                f"(code {ended.code} {ended.reason!r})",
                code=ended.code,
                reason=ended.reason,
            )
        return attrs.evolve(ended, error=error)

    def _streams(self) -> list[EventStream[Any]]:
        return [receiver.stream for receiver in self._open_contexts.values()]


def _limit(name: str, seconds: float | None) -> float:
    """Return the seconds of a timeout, or infinity for None."""
    checks.require_timeout(seconds, name)
    return math.inf if seconds is None else seconds


def _context_id(event: tts.ContextMessage) -> str:
    if isinstance(event, UnknownEvent):
        result = event.raw.get("result")
        return str(result.get("contextId", "")) if isinstance(result, dict) else ""
    return event.context_id
