"""
How the audio of an STT stream reaches the service, over as many connections as needed.

Threads: the sender thread sends and reconnects; each connection has a reader and a writer thread
(see ``base.py``). User code runs on none of them.

Locks: the monitor ``changed`` guards the audio, the turns and all state here, and is the monitor
of every connection and of the event stream. It is never held while a message is sent or a
connection is opened or closed. It has two conditions: ``_work`` for the sender thread, ``_room``
for threads that wait for room or for the end.

Audio that no final transcript covers is kept, up to ``KEEP_SECONDS``, and sent again after a
reconnect.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from inworld_sync.audio.pcm import SAMPLE_BYTES
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
from inworld_sync.models.stt import PartialTranscript, Reconnected, SttUsage, TranscribeConfig
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import EventStream, Monitor
from inworld_sync.sessions.reconnect import ReconnectPolicy
from inworld_sync.sessions.stt.audio_buffer import AudioBuffer, MaxLead, SendSettings, TurnEnd
from inworld_sync.sessions.stt.completion import Completion, CompletionState, is_regular_close
from inworld_sync.sessions.stt.connection import SttConnection
from inworld_sync.sessions.stt.stats import SttStats
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.wire.stt_turns import SttEvent, TurnLog, is_manual

__all__ = ["KEEP_SECONDS", "Delivery"]

_Task: TypeAlias = Callable[[], object]

# A turn that lasts for longer loses its beginning if its connection is lost; the service itself
# ends turns after about 30 s.
KEEP_SECONDS: Final = 60

_CHUNK_MS: Final = 100
# If the beginning of a turn was discarded, the quietest sample within this is between two words.
_TRUNCATED_SEARCH_MS: Final = 500
_FIRST_DELAY_SECONDS: Final = 0.2
# The loss of a connection that was open for this long resets the count of attempts.
_GOOD_SECONDS: Final = 60.0
# This long after audio was sent, the service has reported any speech in it. If it then closes
# without an error, no words are missing, and the next audio opens another connection.
_IDLE_SECONDS: Final = 5.0


class Delivery:
    """
    Sends one stream's audio and follows the service's messages about it.

    Args:
        connector: Opens the connections.
        config: The service's settings; the audio is 16-bit mono PCM on this side.
        settings: How the audio is queued and sent.
        max_reconnects: Attempts in a row to reconnect without progress of the transcript.
        keeps_events: Whether to keep events; without a consumer they would accumulate.

    Attributes:
        changed: The monitor.
        stream: The events.
        log: The turns; read them with the monitor held, or take a snapshot of a field.
        piece_bytes: The largest piece for :meth:`append` that fits into ``max_waiting_bytes``.
        is_finishing: Whether no more audio comes and the service's last messages are awaited.
        reconnects: How many connections were replaced.

    Thread safety: any thread.
    """

    def __init__(
        self,
        connector: Connector,
        config: TranscribeConfig,
        settings: SendSettings,
        *,
        max_reconnects: int,
        keeps_events: bool = True,
    ) -> None:
        checks.require_whole("max_reconnects", max_reconnects, 0, 1_000_000)
        options = connector.options
        name = f"stream-{SttConnection.next_name()}"
        self.changed = Monitor(f"the {name}")
        self.stream: EventStream[SttEvent] = EventStream(
            self.changed, name=name, dispatch=options.dispatch, logger=options.logger
        )
        self.reconnects = 0
        self._connector = connector
        self._options = options
        self._config = config
        self._settings = settings
        self._keeps_events = keeps_events
        self._work = self.changed.part()
        self._room = self.changed.part()
        self._rate_hz = config.sample_rate_hz
        piece_samples = min(self._rate_hz, settings.max_waiting_bytes // SAMPLE_BYTES or 1)
        self.piece_bytes = piece_samples * SAMPLE_BYTES
        self._chunk_samples = self._rate_hz * _CHUNK_MS // 1000
        keep_samples = KEEP_SECONDS * self._rate_hz
        self._audio = AudioBuffer(keep_samples)
        self._max_lead = MaxLead(self._audio, self._rate_hz, keep_samples)
        self._dropped_samples = 0
        self.log = TurnLog(is_manual=is_manual(config))
        self._connection: SttConnection | None = None
        self._connected_at = 0.0
        backoff = Backoff(_FIRST_DELAY_SECONDS)
        self._reconnects = ReconnectPolicy(backoff, max_attempts=max_reconnects)
        self._input_closed = self.is_finishing = False
        self._completion = Completion()
        self._abort_error: InworldError | None = None
        self._send_error: InworldError | None = None
        self._sent_at = self._heard_at = time.monotonic()
        self._sender = threading.Thread(target=self._run, name=f"inworld-{name}", daemon=True)

    # Any thread.

    def open(self, timeout: float | None) -> None:
        """
        Connect and begin to send.

        Raises:
            InworldError: Could not connect; nothing is left open.
        """
        self._connection = self._open_connection(timeout)
        self._connected_at = self._heard_at = time.monotonic()
        self._connection.begin()
        try:
            self._sender.start()
        except BaseException:
            self._connection.abort()
            self._connection.close()
            raise

    @property
    def stats(self) -> SttStats:
        """A snapshot, made without the monitor, which a forked child may not acquire."""
        audio = self._audio
        return SttStats(
            sent_ms=self._ms(audio.sent),
            waiting_ms=self._ms(audio.end - audio.sent),
            dropped_ms=self._ms(self._dropped_samples),
            covered_ms=self.log.covered_ms,
            reconnects=self.reconnects,
        )

    def append(self, pcm: bytes | memoryview, timeout: float | None) -> None:
        """
        Queue whole samples to be sent; without room, act as ``overflow`` says.

        A piece that is larger than the limit is accepted when nothing waits.

        Raises:
            ClosedError: The stream accepts no more audio.
            DeadlineExceeded: There was no room; nothing was queued.
            InworldError: The error that ended the stream.
        """
        audio, overflow = self._audio, self._settings.overflow
        with self.changed:
            self.require_open()
            if overflow != "drop_oldest":
                self._await_room(len(pcm), 0.0 if overflow == "raise" else timeout)
            audio.append(pcm)
            excess_bytes = audio.unsent_bytes - self._settings.max_waiting_bytes
            if overflow == "drop_oldest" and excess_bytes > 0:
                self._dropped_samples += audio.drop_oldest(excess_bytes)
            self._work.notify_all()

    def _await_room(self, size_bytes: int, timeout: float | None) -> None:
        """Wait until so much audio fits; the monitor is held."""
        audio, limit = self._audio, self._settings.max_waiting_bytes
        deadline = Deadline(timeout, "waiting for room for audio")
        while audio.unsent_bytes and audio.unsent_bytes + size_bytes > limit:
            if deadline.expired:
                raise DeadlineExceeded(
                    f"no room for {size_bytes} bytes of audio: {audio.unsent_bytes} wait to be "
                    f"sent, and max_waiting_bytes is {limit}"
                )
            self._room.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
            self.require_open()

    def append_rest(self, pcm: bytes) -> None:
        """Queue the last samples of a resampler; they are few and need no room."""
        with self.changed:
            self._audio.append(pcm)

    def end_turn(self) -> None:
        """End the turn after the audio that was queued; raises as :meth:`append`."""
        with self.changed:
            self.require_open()
            self._audio.end_turn()
            self._work.notify_all()

    def stop_accepting(self) -> None:
        """Accept no more audio."""
        with self.changed:
            self._input_closed = True
            self._room.notify_all()

    def finish(self) -> None:
        """Send ``closeStream`` after the queued audio, and follow the service's last messages."""
        with self.changed:
            self._input_closed = self.is_finishing = True
            self._heard_at = time.monotonic()
            self._work.notify_all()
            self._room.notify_all()

    def _begin_close(self) -> None:
        """End at once, without waiting; the client calls it when it is closed."""
        self.abort(
            ClosedError(
                "the stream was ended before its last words had come: close() waits for them"
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

    def give_up(self, error: InworldError) -> None:
        """End now: without an error if only the usage is missing, else with *error*."""
        with self.changed:
            if self._completion.close_sent and not self.log.is_open:
                self._completion.is_accepted = True
                self._work.notify_all()
                return
        self.abort(error)

    def pause_until(self, moment: float) -> bool:
        """Wait until *moment* of the monotonic clock; return whether audio is still accepted."""
        with self.changed:
            while self._accepts_audio and (left := moment - time.monotonic()) > 0:
                self._room.wait(min(left, LONGEST_WAIT_SECONDS))
            return self._accepts_audio

    def wait_end(self, timeout: float) -> bool:
        """Wait for the end, *timeout* seconds from the latest progress; return whether it came."""
        with self.changed:
            while self.stream.ended is None:
                left = max(self._heard_at, self._sent_at) + timeout - time.monotonic()
                if left <= 0:
                    return False
                self._room.wait(min(left, LONGEST_WAIT_SECONDS))
            return True

    def join(self) -> None:
        """Wait for the sender thread, and for handlers to finish the events that wait."""
        deadline = Deadline(self._options.close_timeout + LONGEST_WAIT_SECONDS, "joining")
        if threading.current_thread() is not self._sender:
            self._sender.join(deadline.remaining())
        self.stream.join(deadline.remaining() or 0.0)

    @property
    def _accepts_audio(self) -> bool:
        return not self._input_closed and self._abort_error is None and self.stream.ended is None

    def require_open(self) -> None:
        """
        Return if the stream accepts audio.

        Raises:
            ClosedError: The stream was closed.
            InworldError: The error that ended the stream.
        """
        self.stream.raise_end()
        if self._abort_error is not None:
            raise fresh(self._abort_error)
        if not self._accepts_audio:
            raise ClosedError("the stream accepts no more audio, it was closed")

    # For the connection; the monitor is held.

    def receive(self, event: SttEvent) -> None:
        """Handle an event of the service, and emit the events for the user."""
        if self.stream.ended is not None:
            return
        log, audio = self.log, self._audio
        before, turn_end = (log.covered_ms, log.turn_count), audio.sent_turn_end
        turn_end_ms = None if turn_end is None else self._ms(turn_end)
        for emitted in log.handle(event, self._ms(audio.sent), turn_end_ms):
            self._emit(emitted)
        if before != (log.covered_ms, log.turn_count):
            self._reconnects.reset()
            self._completion.handle_progress()
            audio.cover(self._samples(log.covered_ms))
        self._heard_at = time.monotonic()
        if isinstance(event, SttUsage):
            self._completion.handle_usage()
        self._work.notify_all()
        self._room.notify_all()

    def _emit(self, event: SttEvent) -> None:
        if self._keeps_events:
            self.stream.append(event)

    def handle_end(self) -> None:
        """Have the sender thread handle the end of the connection."""
        self._work.notify_all()

    # The sender thread.

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
                if self._abort_error is not None:
                    raise self._abort_error
                connection = self._connection
                assert connection is not None
                state = self._completion.state(self.log, connection.ended)
                if state is CompletionState.COMPLETE:
                    return None
                if state is CompletionState.UNCONFIRMED:
                    return functools.partial(self._reconnect, connection, is_confirming=True)
                task = self._task_for(connection)
                if task is not None:
                    return task
                self._work.wait(LONGEST_WAIT_SECONDS)

    def _task_for(self, connection: SttConnection) -> _Task | None:
        if connection.ended is not None:
            if self._must_connect(connection.ended):
                return functools.partial(self._reconnect, connection)
            self._audio.cover(self._audio.sent)
            return None
        if self._max_lead.is_reached(self._heard_at if self.log.is_open else None):
            return None
        item = self._audio.pop(self._chunk_samples, flush=self.is_finishing)
        if isinstance(item, TurnEnd):
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
            # The reader may still receive the reason: a service sends it before it closes.
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
        """Whether a lost connection must be replaced now; the monitor is held."""
        if not is_regular_close(ended) or self.log.is_open or self.is_finishing:
            return True
        is_idle = time.monotonic() - self._sent_at > _IDLE_SECONDS
        return not is_idle or self._audio.has_unsent

    def _reconnect(self, lost: SttConnection, *, is_confirming: bool = False) -> None:
        lost.close()
        assert lost.ended is not None
        error = lost.ended.error or self._send_error
        first = error or ConnectionLost("the connection was closed before the transcript ended")
        cause = ConnectionLost(str(first)) if isinstance(first, ClosedError) else first
        if time.monotonic() - self._connected_at > _GOOD_SECONDS:
            self._reconnects.reset()
        self._send_error = None
        opened = self._reconnects.reconnect(cause, self._sleep, self._open_connection)
        if opened is None:
            return
        connection, attempts = opened
        with self.changed:
            self._connection = connection
            self._connected_at = self._heard_at = time.monotonic()
            self._completion.restart(is_confirming=is_confirming)
            self._resume(attempts, first)
            is_aborted = self._abort_error is not None
        connection.begin()
        if is_aborted:
            connection.abort()

    def _open_connection(self, timeout: float | None) -> SttConnection:
        return SttConnection.open(self._connector, self._config, self, timeout)

    def _sleep(self, seconds: float) -> bool:
        """Wait; return False if the stream was aborted."""
        until = time.monotonic() + seconds
        with self.changed:
            while self._abort_error is None and (left := until - time.monotonic()) > 0:
                self._work.wait(left)
            return self._abort_error is None

    def _resume(self, attempts: int, cause: InworldError) -> None:
        """Begin to send the kept audio again; the monitor is held."""
        audio, log = self._audio, self.log
        sent = audio.sent
        self._rewind()
        resent = sent - audio.start
        self._max_lead.reset()
        start_ms = self._ms(audio.start)
        open_from_ms = log.open_from_ms
        lost_ms = 0.0 if open_from_ms is None else max(0.0, start_ms - open_from_ms)
        log.restart(round(start_ms))
        self.reconnects += 1
        self._emit(
            Reconnected(round(start_ms), round(self._ms(resent)), round(lost_ms), attempts, cause)
        )

    def _rewind(self) -> None:
        """Go back to where the next connection begins; the monitor is held."""
        self._audio.rewind(self._samples(self.log.free_ms), self._samples(_TRUNCATED_SEARCH_MS))
        self.log.settle(self._ms(self._audio.start))

    def _leave(self, error: InworldError | None) -> None:
        """End the stream and close the connection; the last step of the sender thread."""
        connection = self._connection
        assert connection is not None
        with self.changed:
            if error is not None:
                error = fresh(error)
                self._rewind()
                error.partial = PartialTranscript(
                    self.log.transcript,
                    self._audio.pcm(),
                    round(self._ms(self._audio.start)),
                    self._rate_hz,
                )
            ended = None if error is None else connection.ended
            self.stream.end(attrs.evolve(ended or StreamEnded("client"), error=error))
            self._work.notify_all()
            self._room.notify_all()
        if error is not None:
            connection.abort()
        connection.close()

    def _samples(self, milliseconds: float) -> int:
        return int(milliseconds * self._rate_hz / 1000)

    def _ms(self, samples: int) -> float:
        return samples * 1000.0 / self._rate_hz
