"""
Sends the audio of an STT stream to the service, over as many connections as needed.

Threads: the sender thread sends and reconnects; each connection has a reader and a writer thread
(see ``base.py``). User code runs on none of these threads.

Locks: the monitor ``changed`` guards the audio, the turns and all state here, and is the monitor of
every connection and of the event stream. No message is sent, and no connection is opened or closed,
while the monitor is held. The monitor has two conditions: the sender thread waits for ``_work``;
threads that need room or wait for the end of the stream wait for ``_room``.

Audio that no final transcript covers is kept, up to ``KEEP_SECONDS``, and sent again after a
reconnect.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    ProtocolError,
    TransportError,
    fresh,
)
from inworld_sync.models import checks
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.stt import Reconnected, SttStats, TranscribeConfig
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor, require_may_wait
from inworld_sync.sessions.reconnect import ReconnectPolicy
from inworld_sync.sessions.stt import audio_buffer
from inworld_sync.sessions.stt.audio_buffer import AudioBuffer, EncodedBuffer, SendSettings, TurnEnd
from inworld_sync.sessions.stt.completion import Completion, CompletionState, is_regular_close
from inworld_sync.sessions.stt.connection import SttConnection
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.wire.stt_turns import SttEvent, TurnLog, is_manual

__all__ = ["KEEP_SECONDS", "Delivery"]

_Task: TypeAlias = Callable[[], object]

# If a turn is longer than this and its connection is lost, the beginning of the turn is lost. The
# service itself ends turns after about 30 s.
KEEP_SECONDS: Final = 60

# If the start of a turn was discarded, sending begins again at the quietest sample of this time.
_TRUNCATED_SEARCH_MS: Final = 500
_FIRST_DELAY_SECONDS: Final = 0.2
# If a connection was open for this long, its loss resets the count of attempts.
_GOOD_SECONDS: Final = 60.0
# The service reports speech within this time after the audio was sent. If the service closes the
# connection later without an error, no words are missing. The next audio reconnects.
_IDLE_SECONDS: Final = 5.0
# The shortest timeout of a reconnect just before the deadline of the stream.
_SHORTEST_CONNECT_SECONDS: Final = 0.1


class Delivery:
    """
    Sends one stream's audio, and follows the service's messages about this audio.

    Args:
        connector: Opens the connections.
        config: The service's settings; the audio is 16-bit mono PCM on this side.
        settings: How the audio is queued and sent.
        max_reconnects: The limit of attempts to reconnect without progress of the transcript.
        keeps_events: Whether to keep events. Without a consumer, kept events would accumulate.
        on_failed: Called by the sender thread before the stream ends with an error.

    Attributes:
        changed: The monitor of the stream and of its connections.
        stream: The events for the user.
        log: The turns; read them with the monitor held, or take a snapshot of a field.
        is_finishing: Whether the audio has ended and only messages of the service are due.
        reconnects: The number of connections that replaced a lost connection.

    Thread safety: any thread may call the public methods.
    """

    def __init__(
        self,
        connector: Connector,
        config: TranscribeConfig,
        settings: SendSettings,
        *,
        max_reconnects: int,
        keeps_events: bool = True,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        checks.require_whole("max_reconnects", max_reconnects, 0, 1_000_000)
        options = connector.options
        name = f"stream-{SttConnection.next_name()}"
        self.changed = Monitor(f"the {name}")
        self.stream: EventStream[SttEvent] = EventStream(
            self.changed, name=name, dispatch=options.dispatch, logger=options.logger
        )
        self.reconnects = 0
        self._connector, self._options = connector, options
        self._config, self._settings = config, settings
        self._keeps_events, self._on_failed = keeps_events, on_failed
        self._work, self._room = self.changed.part(), self.changed.part()
        rate_hz, is_raw = config.sample_rate_hz, config.encoding.is_raw
        keep_samples = KEEP_SECONDS * rate_hz
        self._audio = AudioBuffer(rate_hz, keep_samples) if is_raw else EncodedBuffer(rate_hz)
        self._queue = audio_buffer.AudioQueue(self._audio, settings, self._room)
        self._max_lead = audio_buffer.MaxLead(self._audio, rate_hz, keep_samples)
        self.log = TurnLog(is_manual=is_manual(config))
        self._connection: SttConnection | None = None
        backoff, renews = Backoff(_FIRST_DELAY_SECONDS), connector.credential.is_renewable
        self._reconnects = ReconnectPolicy(
            backoff, max_attempts=max_reconnects, renews_credential=renews
        )
        self._input_closed = self.is_finishing = False
        self._completion = Completion(
            self.log, self._audio.unanswered_ms, can_repeat=self._audio.can_repeat
        )
        self._turn_timeout, self._connected_at = math.inf, 0.0
        self._abort_error: InworldError | None = None
        self._send_error: InworldError | None = None
        self._sent_at = time.monotonic()
        self._sender = threading.Thread(target=self._run, name=f"inworld-{name}", daemon=True)

    # Any thread may call these methods.

    def open(self, timeout: float | None) -> None:
        """
        Connect and begin to send.

        Raises:
            InworldError: Could not connect; nothing is left open.
        """
        self._connection = self._open_connection(timeout)
        self._connected_at = time.monotonic()
        self._connection.begin()
        try:
            self._sender.start()
        except BaseException:
            self._connection.abort()
            self._connection.close()
            raise

    @property
    def stats(self) -> SttStats:
        """Return a snapshot, without the monitor, which a forked child must not acquire."""
        warnings = {} if self._connection is None else self._connection.stats.warnings
        return self._queue.stats(self.log.covered_ms, self.reconnects, warnings)

    def append(self, pcm: bytes | memoryview, timeout: float | None) -> None:
        """
        Queue whole samples to be sent, as :meth:`AudioQueue.append` does for each piece.

        Raises:
            ClosedError: The stream accepts no more audio.
            DeadlineExceeded: There was no room; the rest was not queued.
            InworldError: The error that ended the stream.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        for piece in self._queue.pieces(pcm):
            left = None if timeout is None else max(0.0, until - time.monotonic())
            with self.changed:
                self.require_open()
                self._queue.append(piece, left, self.require_open)
                self._work.notify_all()

    def append_rest(self, pcm: bytes) -> None:
        """Queue the last samples of a resampler. These few samples need no room."""
        with self.changed:
            self._audio.append(pcm)

    def end_turn(self, timeout: float) -> None:
        """End the turn after the audio that was queued. The errors are those of :meth:`append`."""
        with self.changed:
            self.require_open()
            self._turn_timeout = timeout
            self._audio.end_turn()
            self._work.notify_all()

    def stop_accepting(self) -> None:
        """Accept no more audio."""
        with self.changed:
            self._input_closed = True
            self._room.notify_all()

    def finish(self, timeout: float) -> None:
        """Send ``closeStream`` after the queued audio; end after *timeout* s without progress."""
        with self.changed:
            self._completion.begin_end(timeout)
            self._input_closed = self.is_finishing = True
            self._work.notify_all()
            self._room.notify_all()

    def _begin_close(self) -> None:
        """End at once, without waiting. A client that is closed calls this method."""
        self.abort(
            ClosedError(
                "the stream was ended before its last words came: call close() to wait for them"
            )
        )

    def abort(self, error: InworldError) -> None:
        """End at once, without waiting; the stream ends with *error*."""
        if self.changed.in_child:
            return
        with self.changed:
            self._abort_error = self._abort_error or error
            connection = self._connection
            self._work.notify_all()
            self._room.notify_all()
        if connection is not None:
            connection.abort()

    def close(self) -> None:
        """End at once, and wait until the threads and the connection are gone."""
        self._begin_close()
        if not self.changed.in_child:
            self.join()

    def pause_until(self, moment: float) -> bool:
        """Wait until *moment* of the monotonic clock; return whether audio is still accepted."""
        with self.changed:
            while self._accepts_audio and (left := moment - time.monotonic()) > 0:
                self._room.wait(min(left, LONGEST_WAIT_SECONDS))
            return self._accepts_audio

    def await_end(self) -> None:
        """
        Wait for the end of the stream and its threads, at most until the deadline.

        Raises:
            DeadlineExceeded: The sender thread could not end the stream.
        """
        with self.changed:
            # The sender thread may be waiting in a send or a connect.
            while self.stream.ended is None and not self._expire():
                require_may_wait("waiting for the last transcripts")
                self._room.wait(max(0.0, min(self._left(), LONGEST_WAIT_SECONDS)))
            error, connection = self._abort_error, self._connection
        if error is not None and connection is not None:
            connection.abort()
        self.join()
        if error is not None and self.stream.ended is None:
            raise fresh(error)

    def join(self) -> None:
        """Wait until the sender thread has ended and the handlers have handled all events."""
        deadline = Deadline(self._options.close_timeout + LONGEST_WAIT_SECONDS, "joining")
        if threading.current_thread() is not self._sender:
            self._sender.join(deadline.remaining())
        self.stream.join(deadline.remaining() or 0.0)

    @property
    def _accepts_audio(self) -> bool:
        return not self._input_closed and self._abort_error is None and self.stream.ended is None

    def require_open(self) -> None:
        """
        Raise an error unless the stream accepts audio.

        Raises:
            ClosedError: The stream was closed.
            InworldError: The error that ended the stream.
        """
        self.stream.raise_end()
        if self._abort_error is not None:
            raise fresh(self._abort_error)
        if not self._accepts_audio:
            raise ClosedError("the stream was closed and accepts no more audio")

    # The connection calls these methods. The monitor is held.

    def receive(self, event: SttEvent) -> None:
        """Handle an event of the service, and emit the events for the user."""
        if self.stream.ended is not None:
            return
        log, audio = self.log, self._audio
        before, turn_end = (log.covered_ms, log.turn_count), audio.sent_turn_end
        turn_end_ms = None if turn_end is None else self._audio.ms(turn_end)
        emitted = log.handle(event, audio.sent_ms, turn_end_ms)
        for each in emitted:
            self._emit(each)
        if log.answer is not None:
            audio.handle_answer(log.answer)
        if before != (log.covered_ms, log.turn_count):
            self._reconnects.reset()
            self._completion.handle_progress()
            audio.cover(self._audio.samples(log.covered_ms))
        self._completion.handle(event, emitted)
        self._work.notify_all()
        self._room.notify_all()

    def _emit(self, event: SttEvent) -> None:
        if self._keeps_events:
            self.stream.append(event)

    def handle_end(self) -> None:
        """Make the sender thread handle the end of the connection."""
        self._work.notify_all()

    def _left(self) -> float:
        """Return the seconds to the next deadline of the service; the monitor is held."""
        return self._completion.deadline(self._sent_at) - time.monotonic()

    def _expire(self) -> bool:
        """At the deadline, accept or abort the stream and return True. The monitor is held."""
        connection, deadline = self._connection, self._completion.deadline(self._sent_at)
        if connection is None or self.stream.ended is not None or deadline > time.monotonic():
            return False
        if self._completion.postpone(deadline, has_unread=connection.has_unread()):
            return False
        try:
            self._completion.expire()
        except DeadlineExceeded as error:
            self._abort_error = self._abort_error or connection.with_cause(error)
        self._work.notify_all()
        return True

    # The sender thread runs these methods.

    def _run(self) -> None:
        error: InworldError | None = None
        try:
            while (task := self._next_task()) is not None:
                task()
        except InworldError as failure:
            error = failure
        except Exception as failure:
            self._options.logger.exception("the sender thread of an STT stream failed")
            error = ProtocolError(f"the sender thread failed: {type(failure).__name__}")
            error.__cause__ = failure
        self._leave(error)

    def _next_task(self) -> _Task | None:
        """Wait for the next task; return None when the transcript is complete."""
        with self.changed:
            while True:
                self._expire()
                if self._abort_error is not None:
                    raise self._abort_error
                connection = self._connection
                assert connection is not None
                state = self._completion.state(connection.ended)
                if state is CompletionState.COMPLETE:
                    return None
                if state is CompletionState.UNCONFIRMED:
                    return functools.partial(self._reconnect, connection, is_confirming=True)
                task = self._task_for(connection)
                if task is not None:
                    return task
                self._work.wait(max(0.0, min(self._left(), LONGEST_WAIT_SECONDS)))

    def _task_for(self, connection: SttConnection) -> _Task | None:
        if connection.ended is not None:
            if self._must_connect(connection.ended):
                return functools.partial(self._reconnect, connection)
            self._audio.cover(self._audio.sent)
            return None
        if self._max_lead.is_reached(self._completion.heard_at if self.log.is_open else None):
            return None
        item = self._audio.pop(self._audio.chunk_samples, flush=self.is_finishing)
        if isinstance(item, TurnEnd):
            self._completion.handle_turn_end(self._audio.ms(self._audio.sent), self._turn_timeout)
            return functools.partial(self._attempt, connection, connection.end_turn)
        if item is not None:
            send = functools.partial(connection.send_audio, item)
            return functools.partial(self._attempt, connection, send, paced=True)
        if self.is_finishing and not self._completion.close_sent:
            self._completion.close_sent = True
            return functools.partial(self._attempt, connection, connection.close_stream)
        return None

    def _attempt(
        self, connection: SttConnection, send: Callable[[], None], *, paced: bool = False
    ) -> None:
        if paced and not self._sleep(self._settings.rate.reserve()):
            return
        try:
            send()
        except (TransportError, ClosedError) as error:
            self._send_error = error
            # The reader may still receive the reason, which a service sends before it closes.
            self._await_end(connection)
            connection.abort()
            self._await_end(connection)
            return
        with self.changed:
            self._sent_at = time.monotonic()
            if paced:
                self._max_lead.record_sent()
                self._room.notify_all()

    def _await_end(self, connection: SttConnection) -> None:
        deadline = Deadline(self._options.close_timeout + LONGEST_WAIT_SECONDS, "ending")
        with self.changed:
            while connection.ended is None and not deadline.expired:
                self._work.wait(deadline.remaining())

    def _must_connect(self, ended: StreamEnded) -> bool:
        """Return whether a lost connection must be replaced now; the monitor is held."""
        if not is_regular_close(ended) or self.log.is_open or self.is_finishing:
            return True
        is_idle = time.monotonic() - self._sent_at > _IDLE_SECONDS
        return not is_idle or self._audio.has_unsent or bool(self._completion.missing())

    def _reconnect(self, lost: SttConnection, *, is_confirming: bool = False) -> None:
        lost.close()
        assert lost.ended is not None
        error = lost.ended.error or self._send_error
        first = error or ConnectionLost("the connection was closed before the transcript ended")
        cause = ConnectionLost(str(first)) if isinstance(first, ClosedError) else first
        if self._audio.sent:
            self._completion.check_repeat(cause)
        if time.monotonic() - self._connected_at > _GOOD_SECONDS:
            self._reconnects.reset()
        self._send_error = None
        opened = self._reconnects.reconnect(cause, self._sleep, self._open_connection)
        if opened is None:
            return
        connection, attempts = opened
        with self.changed:
            self._connection = connection
            self._connected_at = time.monotonic()
            self._completion.restart(is_confirming=is_confirming)
            self._resume(attempts, first)
            is_aborted = self._abort_error is not None
        connection.begin()
        if is_aborted:
            connection.abort()

    def _open_connection(self, timeout: float | None) -> SttConnection:
        if self.is_finishing:
            left = max(self._left(), _SHORTEST_CONNECT_SECONDS)
            timeout = min(self._options.connect_timeout, left)
        is_first = self._connection is None
        return SttConnection.open(self._connector, self._config, self, timeout, is_first=is_first)

    def _sleep(self, seconds: float) -> bool:
        """Wait; return False if the stream was aborted."""
        until = time.monotonic() + seconds
        with self.changed:
            while self._abort_error is None and (left := until - time.monotonic()) > 0:
                self._work.wait(min(left, LONGEST_WAIT_SECONDS))
                self._expire()
            return self._abort_error is None

    def _resume(self, attempts: int, cause: InworldError) -> None:
        """Begin to send the kept audio again; the monitor is held."""
        audio, log = self._audio, self.log
        sent = audio.sent
        self._rewind()
        resent = sent - audio.start
        self._max_lead.reset()
        start_ms = self._audio.ms(audio.start)
        lost_ms = log.lost_ms(start_ms)
        log.restart(round(start_ms))
        self.reconnects += 1
        self._emit(
            Reconnected(
                round(start_ms), round(self._audio.ms(resent)), round(lost_ms), attempts, cause
            )
        )

    def _rewind(self) -> None:
        """Go back to the audio with which the next connection begins; the monitor is held."""
        self._audio.rewind(
            self._audio.samples(self.log.free_ms), self._audio.samples(_TRUNCATED_SEARCH_MS)
        )
        self.log.settle(self._audio.ms(self._audio.start))

    def _leave(self, error: InworldError | None) -> None:
        """End the stream and close the connection; the last step of the sender thread."""
        connection = self._connection
        assert connection is not None
        if error is not None:
            self._on_failed()
        with self.changed:
            if error is not None:
                error = fresh(error)
                self._rewind()
                error.partial = self._audio.partial(self.log.transcript)
            ended = None if error is None else connection.ended
            self.stream.end(attrs.evolve(ended or StreamEnded("client"), error=error))
            self._work.notify_all()
            self._room.notify_all()
        if error is not None:
            connection.abort()
        connection.close()
