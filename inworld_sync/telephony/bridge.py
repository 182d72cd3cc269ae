"""
Connects a phone call with a realtime session.

Threads: the thread that calls :meth:`Bridge.run` reads the carrier's messages, reads the session's
events, and applies the rules. ``SocketWriter`` sends on its own thread.

Lock rule: ``_lock`` guards the tasks of other threads. No task runs while ``_lock`` is held.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from inworld_sync.errors import (
    AudioError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
    QuotaError,
    RemoteProtocolError,
)
from inworld_sync.locks import make_lock
from inworld_sync.models.realtime import InputSpeechStarted, InputSpeechStopped, Message
from inworld_sync.session_link import SessionLink
from inworld_sync.sessions.realtime.events import SessionReconnected
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.sessions.tts.speech import Speech
from inworld_sync.telephony import active
from inworld_sync.telephony.call_messages import CallMessages
from inworld_sync.telephony.calls import (
    CallAudio,
    CallControl,
    CallEnd,
    CallStart,
    CallStopped,
    CallSummary,
    CarrierFault,
    CarrierMessage,
    Connect,
    FlowChanged,
    KeyPressed,
    MarkReturned,
    QueueReported,
    WrongFormat,
)
from inworld_sync.telephony.codec import Codec
from inworld_sync.telephony.control import ControlRunner
from inworld_sync.telephony.formats import FromCall
from inworld_sync.telephony.greeting import Greeting, announce
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.output import CallOutput
from inworld_sync.telephony.recording import Recorder
from inworld_sync.telephony.reorder import Reorder
from inworld_sync.telephony.rules import Closing, KeyRule, OutageRule, SilenceRule
from inworld_sync.telephony.tones import key_tones, require_digits
from inworld_sync.transport.framework_socket import FrameworkSocket, Sender, SocketEnded
from inworld_sync.transport.framework_writer import SocketWriter

__all__ = ["Bridge"]

_TICK_SECONDS = 0.02
_IDLE_SECONDS = 0.1
_JOIN_SECONDS = 1.0

# If a message could not be sent, the bridge still reads messages for this time.
_BROKEN_SECONDS = 0.5

# The longest wait for the last reply and the goodbye, before a call ends or is transferred.
_CLOSING_SECONDS = 60.0

_calls = itertools.count(1)


class Bridge:
    """
    One phone call with a realtime session.

    The carriers have the subclasses ``MediaStream`` and ``WebSocketChannel``.

    Args:
        socket: The socket of the carrier, see :mod:`inworld_sync.telephony`.
        session: An open session, which you close; or a function that gets the :class:`CallStart`
            and opens a session, which the bridge closes. Until the session is open, the caller's
            audio is kept.
        codec: Reads and writes the messages of the carrier.
        options: The settings of the call.
        control: Commands to the carrier that are not part of the stream, for transfers.
        logger: Receives the log of the call; None means the logger ``inworld_sync``.

    Attributes:
        start: The carrier's data about the call; None before the audio begins.
        session: The session; None until it is open.

    Thread safety: one thread calls :meth:`run`; any thread may call the other methods.
    """

    def __init__(
        self,
        socket: Sender,
        session: RealtimeSession | Connect,
        codec: Codec,
        *,
        options: CallOptions | None = None,
        control: CallControl | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._name = f"call-{next(_calls)}"
        self._options = options or CallOptions()
        self._codec = codec
        self._logger = logger or logging.getLogger("inworld_sync")
        self._control = ControlRunner(control, self._name, self._logger, self._put)
        self._socket = FrameworkSocket(socket, self._name)
        self._link = SessionLink(session, self._name)
        self._lock = make_lock()
        self._tasks: deque[Callable[[], object]] = deque()
        self._urgent_tasks: deque[Callable[[], object]] = deque()
        self.start: CallStart | None = None
        self._began = self._ticked = self._received_at = 0.0
        self._output: CallOutput | None = None
        self._writer: SocketWriter | None = None
        self._recorder: Recorder | None = None
        self._reorder = Reorder()
        self._greeting = Greeting(self._options)
        self._keys = KeyRule(self._options.key_timeout)
        self._silence = SilenceRule(self._options.silence_timeout, 0.0)
        self._closing: Closing | None = None
        self._end: tuple[CallEnd, Exception | None] | None = None
        self._target: str | None = None
        self._outage = OutageRule(self._options.apology_after)
        self._has_spoken = self._is_speaking = False
        self._broken_at: float | None = None
        self._faults = self._interruptions = 0

    @property
    def session(self) -> RealtimeSession | None:
        """The session; None until it is open."""
        return self._link.session

    def run(self) -> CallSummary:
        """
        Run the call until it ends. Neither a lost connection nor a wrong message raises an error.

        Returns:
            The reason for the end, and the conversation.

        Raises:
            LocalProtocolError: The method was already called.
        """
        if self._began:
            raise LocalProtocolError("run() can be called once: make another object for each call")
        self._began = self._received_at = time.monotonic()
        with active.listed(self):
            try:
                self._loop()
            except Exception as error:
                self._logger.exception("%s: the call failed", self._name)
                self._finish("failed", error)
            finally:
                self._release()
        return self._summary()

    def feed(self, message: str | bytes | None) -> None:
        """Pass a message that the program has received; None means that the socket has ended."""
        self._socket.feed(message)

    def hang_up(self, *, after_speech: bool = True) -> None:
        """End the call; see :class:`~inworld_sync.telephony.Call`."""
        if after_speech:
            self._put(partial(self._close_later, "hung_up", is_cancelable=True))
        else:
            self._put(partial(self._finish, "hung_up"), needs_start=False)

    def transfer(self, target: str, *, after_speech: bool = True) -> None:
        """Connect the caller with another target; see :class:`~inworld_sync.telephony.Call`."""
        self._control.require()
        if after_speech:
            close = partial(self._close_later, "transferred", target=target, is_cancelable=True)
            self._put(close)
        else:
            self._put(partial(self._transfer, target))

    def send_keys(self, digits: str) -> None:
        """Send keys; see :class:`~inworld_sync.telephony.Call`."""
        require_digits(digits)
        self._put(partial(self._send_keys, digits))

    def report_voicemail(self) -> None:
        """Report that a machine has answered; see :class:`~inworld_sync.telephony.Call`."""
        self._put(self._handle_voicemail)

    def end_soon(self) -> None:
        """End the call after the present reply and the ``goodbye`` of its options, if any."""
        self._put(partial(self._close_later, "drained", goodbye=self._options.goodbye))

    def _put(self, task: Callable[[], object], *, needs_start: bool = True) -> None:
        """Queue a task for :meth:`run`. With *needs_start*, the task runs after the audio began."""
        with self._lock:
            (self._tasks if needs_start else self._urgent_tasks).append(task)

    # The methods below run on the thread of ``run``.

    def _loop(self) -> None:
        while self._end is None:
            try:
                message = self._socket.receive(_IDLE_SECONDS)
            except SocketEnded as ended:
                if self._target or (self._codec.closing_ends_call and ended.is_normal):
                    self._stop()
                    return
                lost = ConnectionLost(f"the carrier's socket has ended: {ended}")
                lost.__cause__ = ended.__cause__
                self._finish("carrier_lost", lost)
                return
            now = time.monotonic()
            if message is not None:
                self._received_at = now
                self._read(message, now)
            if self._end is None and (message is None or now - self._ticked >= _TICK_SECONDS):
                self._ticked = now
                self._tick(now)

    def _read(self, message: str | bytes, now: float) -> None:
        try:
            found = self._codec.read(message)
        except RemoteProtocolError as error:
            self._handle_fault(str(error))
            return
        if found is not None:
            self._handle(found, now)

    def _handle(self, message: CarrierMessage, now: float) -> None:
        output = self._output
        if isinstance(message, CallAudio):
            if message.is_caller and self.start is not None:
                for piece in self._reorder.add(message):
                    self._handle_audio(piece, self.start, now)
        elif isinstance(message, CallStart):
            self._begin(message, now)
        elif isinstance(message, MarkReturned) and output is not None:
            output.handle_mark(message.name)
        elif isinstance(message, QueueReported) and output is not None:
            output.handle_queue(message.queued_ms)
        elif isinstance(message, FlowChanged) and output is not None:
            output.pause(is_paused=message.is_paused)
        elif isinstance(message, KeyPressed):
            self._handle_key(message.digit, now)
        elif isinstance(message, CallStopped):
            self._stop()
        elif isinstance(message, WrongFormat):
            self._finish("wrong_codec", AudioError(message.reason))
        elif isinstance(message, CarrierFault):
            self._handle_fault(message.reason)

    def _begin(self, start: CallStart, now: float) -> None:
        if self.start is not None:
            self._handle_fault("the call was started twice")
            return
        self.start = start
        self._began = now
        self._silence = SilenceRule(self._options.silence_timeout, now)
        pacing = self._codec.pacing.changed(self._options.lead_ms, self._options.start_ms)
        recording = self._options.recording
        if (path := recording(start) if callable(recording) else recording) is not None:
            self._recorder = Recorder(path, start, now, pacing.recorded_delay, self._logger)
        self._output = CallOutput(start.sent, pacing, self._recorder)
        messages = CallMessages(self._codec, self._output)
        self._writer = SocketWriter(self._name, self._socket, messages)
        convert = FromCall(start.received).convert
        self._link.start(start, self._output, start.received.sample_rate_hz, convert)
        self._tick(now)

    def _handle_audio(self, piece: CallAudio, start: CallStart, now: float) -> None:
        if self._recorder is not None:
            self._recorder.received(piece.audio, piece.timestamp_ms, now)
        self._link.send(piece.audio, start.received.ms_of(len(piece.audio)))

    def _handle_fault(self, reason: str) -> None:
        self._faults += 1
        if self._faults == 1:
            self._logger.warning("%s: %s", self._name, reason)

    def _handle_key(self, digit: str, now: float) -> None:
        is_first = self._keys.add(digit, now)
        if self._options.on_key is not None:
            self._call(partial(self._options.on_key, digit), "on_key")
        if self._options.keys == "model" and is_first and self.session is not None:
            self._do(self.session.interrupt)

    def _handle_voicemail(self) -> None:
        if self._options.on_voicemail is None:
            self._finish("voicemail")
        else:
            self._call(partial(self._options.on_voicemail, self), "on_voicemail")

    def _call(self, function: Callable[[], object], name: str) -> None:
        try:
            function()
        except Exception:
            self._logger.exception("%s: %s of the options failed", self._name, name)

    # The rules. They are applied at every tick.

    def _tick(self, now: float) -> None:
        self._run_tasks(self._urgent_tasks)
        if self.start is not None:
            self._run_tasks(self._tasks)
        self._check_carrier(now)
        output = self._output
        if output is None or self._end is not None:
            return
        self._link.poll()
        self._check_session(now, output)
        elapsed, has_spoken = now - self._began, self._has_spoken
        self._do(
            partial(self._greeting.check, output, self.session, elapsed, has_spoken=has_spoken)
        )
        if self.session is not None and (keys := self._keys.pop(now)):
            self._send_message(self.session, keys)
        self._check_end(now, output)
        if self._recorder is not None:
            self._recorder.write(now)

    def _run_tasks(self, tasks: deque[Callable[[], object]]) -> None:
        # A task may queue itself again.
        for _ in range(len(tasks)):
            with self._lock:
                task = tasks.popleft()
            if self._end is None:
                task()

    def _check_carrier(self, now: float) -> None:
        writer, limit = self._writer, self._options.stall_timeout
        if writer is not None and writer.error is not None:
            # Perhaps a message that ends the call was received, but was not read yet.
            self._broken_at = self._broken_at or now
            if now - self._broken_at > _BROKEN_SECONDS:
                self._finish("carrier_lost", writer.error)
        elif limit is not None and now - self._received_at > limit:
            self._finish("stalled", DeadlineExceeded(f"the carrier sent nothing for {limit:g} s"))
        elif limit is not None and self.start is None and now - self._began > limit:
            error = DeadlineExceeded(f"the carrier began no audio within {limit:g} s")
            self._finish("stalled", error)
        elif limit is not None and writer is not None and writer.stalled_seconds(now) > limit:
            error = DeadlineExceeded(f"the carrier accepted nothing for {limit:g} s")
            self._finish("stalled", error)

    def _check_session(self, now: float, output: CallOutput) -> None:
        link, options = self._link, self._options
        if link.has_failed and self._closing is None:
            end: CallEnd = (
                "no_capacity" if isinstance(link.error, QuotaError) else "model_unavailable"
            )
            self._close_later(end, goodbye=options.refusal)
            return
        for event in link.events():
            if isinstance(event, InputSpeechStarted):
                self._has_spoken = self._is_speaking = True
                self._cancel_closing()
            elif isinstance(event, (InputSpeechStopped, SessionReconnected)):
                # On a new connection, the service reports again if the caller still speaks.
                self._is_speaking = False
        if link.is_over and self._closing is None:
            self._close_later("hung_up" if link.is_closed_here else "model_lost")
        is_connected = link.session is None or link.is_connected
        if self._outage.handle(now, is_connected=is_connected) and options.apology is not None:
            announce(output, "apology", options.apology)

    def _send_message(self, session: RealtimeSession, keys: str) -> None:
        if self._options.keys == "model":
            text = f"The caller pressed these keys on the phone: {' '.join(keys)}"
            self._do(partial(session.send_message, text))

    def _do(self, command: Callable[[], object]) -> None:
        """Send a command to the session. Errors are only logged: the events report them too."""
        try:
            command()
        except InworldError as error:
            self._logger.warning("%s: a command was not sent: %s", self._name, error)

    def _check_end(self, now: float, output: CallOutput) -> None:
        session = self.session
        # Received speech may not have reached the output yet, although the response has ended.
        is_answering = session is not None and (session.is_responding or session.is_playing)
        is_active = self._is_speaking or is_answering or not output.is_idle
        is_silent = self._silence.handle(now, is_active=is_active)
        if output.interruptions > self._interruptions:
            self._cancel_closing()
        self._interruptions = output.interruptions
        closing, limit = self._closing, self._options.max_duration
        if closing is not None:
            is_heard = not is_answering and output.is_idle
            if is_heard and closing.goodbye is not None:
                announce(output, "goodbye", closing.goodbye)
                closing.goodbye = None
            elif is_heard or now >= closing.until:
                self._closing = None
                if closing.target is not None:
                    self._transfer(closing.target)
                else:
                    self._finish(closing.end, self._link.error)
        elif limit is not None and now - self._began >= limit:
            self._close_later("max_duration", goodbye=self._options.goodbye)
        elif is_silent:
            self._close_later("silence", goodbye=self._options.goodbye, is_cancelable=True)

    # The end.

    def _close_later(
        self,
        end: CallEnd,
        *,
        target: str | None = None,
        goodbye: Speech | None = None,
        is_cancelable: bool = False,
    ) -> None:
        until = time.monotonic() + _CLOSING_SECONDS
        self._closing = Closing(end, until, target, goodbye, is_cancelable)

    def _cancel_closing(self) -> None:
        # The caller has interrupted the last reply, so the model must decide again about the end.
        if self._closing is not None and self._closing.is_cancelable:
            self._closing = None

    def _send_keys(self, digits: str) -> None:
        output, start = self._output, self.start
        assert output is not None
        assert start is not None
        if not self._control.send_keys(start.call_id, digits):
            rate_hz = start.sent.sample_rate_hz
            output.announce(f"keys-{time.monotonic_ns()}", key_tones(digits, rate_hz), rate_hz)

    def _transfer(self, target: str) -> None:
        call_id = "" if self.start is None else self.start.call_id
        self._target = target
        self._control.transfer(call_id, target, self._transferred)

    def _transferred(self, error: Exception | None) -> None:
        session = self.session
        if error is None:
            self._finish("transferred")
            return
        self._target = None
        if session is None:
            # The model gets the message as soon as the session is open.
            self._put(partial(self._transferred, error))
        else:
            self._do(partial(session.add, Message.system("The transfer failed."), wait=False))
            self._do(session.respond)

    def _stop(self) -> None:
        # A transfer may end the stream before the answer to the transfer command arrives.
        self._finish("caller_hung_up" if self._target is None else "transferred")

    def _finish(self, end: CallEnd, error: Exception | None = None) -> None:
        if self._end is None:
            self._end = (end, error)

    def _release(self) -> None:
        """End all threads, and close everything that the call has opened."""
        end = "failed" if self._end is None else self._end[0]
        is_ours = end not in ("caller_hung_up", "carrier_lost", "transferred")
        self._link.close()
        output, recorder = self._output, self._recorder
        if output is not None:
            output.close()
        # After Ctrl-C, _end is None: Ctrl-C must not wait for a request.
        if is_ours and self.start is not None and self._end is not None:
            self._control.hang_up(self.start.call_id)
        if self._writer is not None:
            self._writer.finish(self._codec.hang_up() if is_ours else None, _JOIN_SECONDS)
        self._socket.close(_JOIN_SECONDS)
        if recorder is not None:
            recorder.close(time.monotonic())

    def _summary(self) -> CallSummary:
        end, error = self._end or ("failed", None)
        output = self._output
        return CallSummary(
            end=end,
            error=error,
            call_id="" if self.start is None else self.start.call_id,
            duration=time.monotonic() - self._began,
            heard_ms=0.0 if output is None else output.heard_ms,
            conversation=self._link.conversation,
            keys=self._keys.pressed,
            interruptions=0 if output is None else output.interruptions,
            lost_chunks=self._reorder.lost,
            late_chunks=self._reorder.late,
            lost_input_ms=self._link.lost_input_ms,
            stale_marks=0 if output is None else output.stale_marks,
            target=self._target,
            recording=None if self._recorder is None else self._recorder.completed,
        )
