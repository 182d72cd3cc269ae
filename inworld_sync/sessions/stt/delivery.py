r"""
How the audio of an STT stream reaches the service, over as many connections as it takes.

Threads: one thread, the pump, sends and reconnects; each connection has a reader and a writer
beside it (see ``base.py``). User code runs on none of them.

Locks: the monitor ``changed`` guards the audio, the turns and all state here, and is the monitor
of every connection and of the event stream. It is never held while something is sent, opened or
closed. Two conditions stand on it: ``_work`` for the pump, ``_room`` for whoever waits for room or
for the end.

What no final transcript covers is kept, up to ``KEEP_SECONDS``, and sent again after a reconnect.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from inworld_sync.errors import (
    ClosedError,
    ConnectionLost,
    InworldError,
    ProtocolError,
    TransportError,
    fresh,
)
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.stt import (
    PartialTranscript,
    Reconnected,
    SttUsage,
    TranscribeConfig,
)
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import EventStream, Monitor
from inworld_sync.sessions.stt.connection import SttConnection
from inworld_sync.sessions.stt.ending import Ending, Verdict
from inworld_sync.sessions.stt.intake import DeliverySettings, Intake
from inworld_sync.sessions.stt.lead import Lead
from inworld_sync.sessions.stt.retry import Retries, is_regular
from inworld_sync.sessions.stt.stats import SttStats
from inworld_sync.sessions.stt.tape import SAMPLE_BYTES, Tape, TurnEnd
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.stt_turns import SttEvent, TurnLog, is_manual

__all__ = ["KEEP_SECONDS", "Delivery"]

_Task: TypeAlias = Callable[[], object]

# A turn that lasts for longer loses its beginning if its connection is lost; the service itself
# ends turns after about 30 s.
KEEP_SECONDS: Final = 60

_CHUNK_MS: Final = 100
# What could not be kept ends in the middle of a word; a pause between two is found within this.
_SEAM_MS: Final = 500
# A connection that lived for so long was a good one: the attempts are counted anew after it.
_GOOD_SECONDS: Final = 60.0
# By then the service has told of speech; if it closes without a reason later, nothing is missing
# and another connection can wait until there is more audio.
_QUIET_SECONDS: Final = 5.0
# Waits are cut into pieces so that Ctrl-C reaches a thread that waits on Windows too.
_LONGEST_WAIT_SECONDS: Final = 1.0


class Delivery:
    """
    Sends one stream's audio and follows what is said about it.

    Args:
        connector: Where and as whom.
        config: What the service is asked for; its audio is 16-bit mono at this side.
        settings: How.

    Attributes:
        changed: The monitor.
        stream: The events.
        reconnects: How often another connection took over.

    Thread safety: any thread.
    """

    def __init__(
        self, connector: Connector, config: TranscribeConfig, settings: DeliverySettings
    ) -> None:
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
        self._work = self.changed.part()
        self._room = self.changed.part()
        self._rate_hz = config.sample_rate_hz
        self._chunk_samples = self._rate_hz * _CHUNK_MS // 1000
        keep_samples = KEEP_SECONDS * self._rate_hz
        self._tape = Tape(keep_samples)
        self._lead = Lead(self._tape, self._rate_hz, keep_samples)
        self._intake = Intake(self._tape, self._room, settings, self.require_open)
        self._log = TurnLog(is_manual=is_manual(config))
        self._connection: SttConnection | None = None
        self._connected_at = 0.0
        self._retries = Retries(settings.max_reconnects)
        self._shut = self._finishing = False
        self._ending = Ending()
        self._retired: InworldError | None = None
        self._send_error: InworldError | None = None
        self._sent_at = self._heard_at = time.monotonic()
        self._pump = threading.Thread(target=self._run, name=f"inworld-{name}", daemon=True)

    # Any thread.

    def open(self, timeout: float | None) -> None:
        """
        Connect and begin to send.

        Raises:
            InworldError: No connection came about; nothing is left behind.
        """
        self._connection = self._open_another(timeout)
        self._connected_at = self._heard_at = time.monotonic()
        try:
            self._pump.start()
        except BaseException:
            self._connection.abort()
            self._connection.close()
            raise

    @property
    def log(self) -> TurnLog:
        """The turns; read them with the monitor held, or take a snapshot of a field."""
        return self._log

    @property
    def piece_bytes(self) -> int:
        """How much to :meth:`put` at once, so that it fits into what may wait."""
        return (
            min(self._rate_hz, self._settings.max_waiting_bytes // SAMPLE_BYTES or 1) * SAMPLE_BYTES
        )

    @property
    def is_finishing(self) -> bool:
        """Whether only the last words are waited for."""
        return self._finishing

    @property
    def stats(self) -> SttStats:
        """Figures of this moment; without the monitor, which a forked child may not take."""
        tape = self._tape
        return SttStats(
            sent_ms=self._ms(tape.sent),
            waiting_ms=self._ms(tape.end - tape.sent),
            dropped_ms=self._ms(self._intake.dropped_samples),
            covered_ms=self._log.covered_ms,
            reconnects=self.reconnects,
        )

    def put(self, pcm: bytes | memoryview, timeout: float | None) -> None:
        """
        Give whole samples; where there is no room, do what the settings say.

        Raises:
            ClosedError: No more audio is taken.
            DeadlineExceeded: There was no room.
            InworldError: What the stream ended with.
        """
        with self.changed:
            self._intake.put(pcm, timeout)
            self._work.notify_all()

    def put_rest(self, pcm: bytes) -> None:
        """Give the few samples that a resampler kept; they need no room."""
        with self.changed:
            self._tape.append(pcm)

    def end_turn(self) -> None:
        """Have the turn ended after what was given; raises as :meth:`put`."""
        with self.changed:
            self.require_open()
            self._tape.mark()
            self._work.notify_all()

    def shut(self) -> None:
        """Take no more audio."""
        with self.changed:
            self._shut = True
            self._room.notify_all()

    def finish(self) -> None:
        """Say after what was given that it was all, and follow the service's last words."""
        with self.changed:
            self._shut = self._finishing = True
            self._heard_at = time.monotonic()
            self._work.notify_all()
            self._room.notify_all()

    def retire(self, why: InworldError | None = None) -> None:
        """End at once, without waiting; the stream ends with *why*."""
        if self.changed.in_child:
            return
        with self.changed:
            self._retired = (
                self._retired
                or why
                or ClosedError(
                    "the stream was ended before its last words had come: close() waits for them"
                )
            )
            connection = self._connection
            self._work.notify_all()
            self._room.notify_all()
        if connection is not None:
            connection.abort()

    def close(self) -> None:
        """End at once, and wait until nothing is left."""
        self.retire()
        if not self.changed.in_child:
            self.join()

    def give_up(self, why: InworldError) -> None:
        """End now: well if nothing but the usage is missing, else with *why*."""
        with self.changed:
            if self._ending.close_sent and not self._log.is_open:
                self._ending.is_settled = True
                self._work.notify_all()
                return
        self.retire(why)

    def pause_until(self, moment: float) -> bool:
        """Wait for a moment of the monotonic clock; give whether audio is still taken then."""
        with self.changed:
            while not self._is_shut and (left := moment - time.monotonic()) > 0:
                self._room.wait(min(left, _LONGEST_WAIT_SECONDS))
            return not self._is_shut

    def wait_end(self, timeout: float) -> bool:
        """Wait for the end, *timeout* seconds from the latest progress; give whether it came."""
        with self.changed:
            while self.stream.ended is None:
                left = max(self._heard_at, self._sent_at) + timeout - time.monotonic()
                if left <= 0:
                    return False
                self._room.wait(min(left, _LONGEST_WAIT_SECONDS))
            return True

    def join(self) -> None:
        """Wait for the pump and for handlers to finish what waits."""
        deadline = Deadline(self._options.close_timeout + _LONGEST_WAIT_SECONDS, "joining")
        if threading.current_thread() is not self._pump:
            self._pump.join(deadline.remaining())
        self.stream.join(deadline.remaining() or 0.0)

    @property
    def _is_shut(self) -> bool:
        return self._shut or self._retired is not None or self.stream.ended is not None

    def require_open(self) -> None:
        """
        Go on only if audio is still taken.

        Raises:
            ClosedError: It is not.
            InworldError: What the stream ended with.
        """
        self.stream.raise_end()
        if self._retired is not None:
            raise fresh(self._retired)
        if self._is_shut:
            raise ClosedError("the stream takes no more audio, it was closed")

    # For the connection; the monitor is held.

    def receive(self, event: SttEvent) -> None:
        """Follow an event and tell the user of it."""
        if self.stream.ended is not None:
            return
        log, tape = self._log, self._tape
        before, mark = (log.covered_ms, log.turn_count), tape.sent_mark
        mark_ms = None if mark is None else self._ms(mark)
        for told in log.note(event, self._ms(tape.sent), mark_ms):
            self._tell(told)
        if before != (log.covered_ms, log.turn_count):
            self._retries.reset()
            self._ending.note_progress()
            tape.cover(self._samples(log.covered_ms))
        self._heard_at = time.monotonic()
        if isinstance(event, SttUsage):
            self._ending.note_usage()
        self._work.notify_all()
        self._room.notify_all()

    def _tell(self, event: SttEvent) -> None:
        if self._settings.keeps_events:
            self.stream.append(event)

    def note_end(self) -> None:
        """Look at what the end of the connection means."""
        self._work.notify_all()

    # The pump.

    def _run(self) -> None:
        error: InworldError | None = None
        try:
            while (task := self._next_task()) is not None:
                task()
        except InworldError as failure:
            error = failure
        except Exception as failure:
            self._options.logger.exception("the pump of an STT stream failed")
            error = ProtocolError(f"the pump failed: {type(failure).__name__}")
            error.__cause__ = failure
        self._leave(error)

    def _next_task(self) -> _Task | None:
        """Wait for something to do; None when everything is done."""
        with self.changed:
            while True:
                if self._retired is not None:
                    raise self._retired
                connection = self._connection
                assert connection is not None
                verdict = self._ending.verdict(self._log, connection.ended)
                if verdict is Verdict.COMPLETE:
                    return None
                if verdict is Verdict.DOUBTFUL:
                    return functools.partial(self._reconnect, connection, is_doubted=True)
                task = self._task_for(connection)
                if task is not None:
                    return task
                self._work.wait(_LONGEST_WAIT_SECONDS)

    def _task_for(self, connection: SttConnection) -> _Task | None:
        if connection.ended is not None:
            if self._must_connect(connection.ended):
                return functools.partial(self._reconnect, connection)
            self._tape.cover(self._tape.sent)
            return None
        if self._lead.is_too_long(self._heard_at if self._log.is_open else None):
            return None
        item = self._tape.next(self._chunk_samples, flush=self._finishing)
        if isinstance(item, TurnEnd):
            return functools.partial(self._attempt, connection, connection.end_turn)
        if item is not None:
            send = functools.partial(connection.send_audio, item)
            return functools.partial(self._attempt, connection, send, paced=True)
        if self._finishing and not self._ending.close_sent:
            self._ending.close_sent = True
            return functools.partial(self._attempt, connection, connection.close_stream)
        return None

    def _attempt(
        self, connection: SttConnection, send: Callable[[], None], *, paced: bool = False
    ) -> None:
        if paced and not self._sleep(self._settings.rate.wait_seconds()):
            return
        try:
            send()
        except (TransportError, ClosedError) as error:
            self._send_error = error
            # Its reader may still find out why: a service says so before it hangs up.
            self._await_end(connection)
            connection.abort()
            self._await_end(connection)
            return
        with self.changed:
            self._sent_at = time.monotonic()
            if paced:
                self._lead.note_sent()
                self._room.notify_all()

    def _await_end(self, connection: SttConnection) -> None:
        deadline = Deadline(self._options.close_timeout + _LONGEST_WAIT_SECONDS, "ending")
        with self.changed:
            while connection.ended is None and not deadline.expired:
                self._work.wait(deadline.remaining())

    def _must_connect(self, ended: StreamEnded) -> bool:
        """Whether a lost connection must be replaced now; the monitor is held."""
        if not is_regular(ended) or self._log.is_open or self._finishing:
            return True
        is_quiet = time.monotonic() - self._sent_at > _QUIET_SECONDS
        return not is_quiet or bool(self._tape.unsent_bytes) or self._tape.has_mark

    def _reconnect(self, lost: SttConnection, *, is_doubted: bool = False) -> None:
        lost.close()
        assert lost.ended is not None
        error = lost.ended.error or self._send_error
        first = error or ConnectionLost("the connection was closed before all was told")
        cause = ConnectionLost(str(first)) if isinstance(first, ClosedError) else first
        if time.monotonic() - self._connected_at > _GOOD_SECONDS:
            self._retries.reset()
        self._send_error = None
        opened = self._retries.replace(cause, self._sleep, self._open_another)
        if opened is None:
            return
        connection, attempts = opened
        with self.changed:
            self._connection = connection
            self._connected_at = self._heard_at = time.monotonic()
            self._ending.restart(is_doubted=is_doubted)
            self._resume(attempts, first)
            retired = self._retired is not None
        if retired:
            connection.abort()

    def _open_another(self, timeout: float | None = None) -> SttConnection:
        return SttConnection.open(self._connector, self._config, self, timeout)

    def _sleep(self, seconds: float) -> bool:
        """Wait; give whether the stream is still wanted."""
        until = time.monotonic() + seconds
        with self.changed:
            while self._retired is None and (left := until - time.monotonic()) > 0:
                self._work.wait(left)
            return self._retired is None

    def _resume(self, attempts: int, cause: InworldError) -> None:
        """Begin again with what is kept; the monitor is held."""
        tape, log = self._tape, self._log
        sent = tape.sent
        self._rewind()
        resent = sent - tape.start
        self._lead.restart()
        start_ms = self._ms(tape.start)
        open_from_ms = log.open_from_ms
        lost_ms = 0.0 if open_from_ms is None else max(0.0, start_ms - open_from_ms)
        log.restart(round(start_ms))
        self.reconnects += 1
        self._tell(
            Reconnected(round(start_ms), round(self._ms(resent)), round(lost_ms), attempts, cause)
        )

    def _rewind(self) -> None:
        """Go back to where the next connection begins; the monitor is held."""
        self._tape.rewind(self._samples(self._log.free_ms), self._samples(_SEAM_MS))
        self._log.settle(self._ms(self._tape.start))

    def _leave(self, error: InworldError | None) -> None:
        """End the stream and free everything; the pump's last deed."""
        connection = self._connection
        assert connection is not None
        is_clean = error is None
        with self.changed:
            if error is not None:
                error = fresh(error)
                self._rewind()
                error.partial = PartialTranscript(
                    self._log.transcript,
                    self._tape.rest(),
                    round(self._ms(self._tape.start)),
                    self._rate_hz,
                )
            ended = StreamEnded("client") if is_clean else connection.ended
            self.stream.end(attrs.evolve(ended or StreamEnded("client"), error=error))
            self._work.notify_all()
            self._room.notify_all()
        if not is_clean:
            connection.abort()
        connection.close()

    def _samples(self, milliseconds: float) -> int:
        return int(milliseconds * self._rate_hz / 1000)

    def _ms(self, samples: int) -> float:
        return samples * 1000.0 / self._rate_hz
