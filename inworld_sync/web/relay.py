"""
Connects a page in a browser with a realtime session, over one WebSocket.

Threads: the thread that calls :meth:`Relay.run` reads the browser's messages and the session's
events, and applies the rules. ``SocketWriter`` sends on its own thread.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from inworld_sync.errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    LocalProtocolError,
    QuotaError,
    RemoteProtocolError,
)
from inworld_sync.models.realtime import (
    InputSpeechStarted,
    InputSpeechStopped,
    ManualTurns,
    Session,
)
from inworld_sync.session_link import SessionLink
from inworld_sync.sessions.realtime.events import SessionReconnected
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.transport.framework_socket import FrameworkSocket, Sender, SocketEnded
from inworld_sync.transport.framework_writer import SocketWriter
from inworld_sync.web.origin import check_origin, origins_of, require_headers
from inworld_sync.web.relay_events import PageEvents
from inworld_sync.web.relay_list import listed
from inworld_sync.web.relay_messages import (
    RATE_HZ,
    BrowserMessage,
    Finished,
    Heard,
    Interrupted,
    Push,
    Start,
    Typed,
    json_message,
    read_audio,
    read_json,
)
from inworld_sync.web.relay_models import (
    END_MESSAGES,
    RelayEnd,
    RelayOptions,
    RelayStart,
    RelaySummary,
)
from inworld_sync.web.relay_output import PageOutput
from inworld_sync.web.relay_rules import MessageRates
from inworld_sync.web.relay_turns import UserTurns, duration_ms_of
from inworld_sync.web.user_limit import UserLimit

__all__ = ["Relay"]

_TICK_SECONDS = 0.02
_ACTIVE_SECONDS = 0.03
_IDLE_SECONDS = 0.05
_JOIN_SECONDS = 1.0

# After the writer has failed, messages of the browser are still read for this time.
_BROKEN_SECONDS = 0.5

# The conversation ends after this many wrong messages. Only the first few are reported to the page.
_MAX_WRONG = 100
_MAX_WRONG_REPORTS = 5

# A longer message ends the conversation.
_MAX_MESSAGE_BYTES = 1024 * 1024

# Audio that arrives too fast is ignored. If more than this much audio, or more than this many
# messages with audio, were ignored, the conversation ends.
_MAX_EXCESS_MS = 60_000.0
_MAX_EXCESS_MESSAGES = 15_000

_relays = itertools.count(1)


class Relay:
    """
    One conversation of a page in a browser with a realtime session.

    Args:
        socket: The WebSocket: any object with ``send``, and with ``receive`` or ``recv``, such as a
            socket of flask-sock or ``websockets.sync``. If the server calls a function with each
            message, as Django Channels does, pass each message to :meth:`feed`.
        session: An open session, or a function that gets a :class:`RelayStart` and returns an open
            session. You close a session that you pass. The relay closes a session that the
            function has opened. The relay buffers the user's audio until the session is open.
        headers: The headers of the upgrade request, for the check of the origin. Required, unless
            *verify_origin* is False.
        allowed_origins: The sites whose pages may connect, such as ``https://www.example.com``. If
            the list is empty, the page must have the same host and port as the request.
        verify_origin: With False, every page and every program may connect.
        user: The name or id of the user, for *limit* and the summary. This text is never sent.
        limit: Limits the conversations of each user. A limit requires *user*.
        options: The settings of the relay.
        logger: Logs the problems of the conversation; None means the logger ``inworld_sync``.

    Raises:
        ConfigError: An argument is wrong or missing.

    Attributes:
        start: The mode that the page has chosen, and the user; None before the conversation starts.

    Thread safety: one thread calls :meth:`run`; any thread may call the other methods.
    """

    def __init__(
        self,
        socket: Sender,
        session: RealtimeSession | Callable[[RelayStart], RealtimeSession],
        *,
        headers: Mapping[str, str] | None = None,
        allowed_origins: Sequence[str] = (),
        verify_origin: bool = True,
        user: str = "",
        limit: UserLimit | None = None,
        options: RelayOptions | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if verify_origin and headers is None:
            raise ConfigError(
                "the origin of the page cannot be checked without headers: pass the headers of the "
                "request, or verify_origin=False"
            )
        if verify_origin:
            require_headers(headers)
        if not isinstance(user, str):
            raise ConfigError(f"user must be a text such as str(user.id), got {user!r}")
        if limit is not None and not isinstance(limit, UserLimit):
            raise ConfigError(f"limit must be a UserLimit, got {type(limit).__name__}")
        if options is not None and not isinstance(options, RelayOptions):
            raise ConfigError(f"options must be RelayOptions, got {type(options).__name__}")
        if limit is not None and not user:
            raise ConfigError("limit needs the user: pass user='...'")
        self._origins = origins_of(allowed_origins)
        self._headers = headers if verify_origin else None
        self._name = f"relay-{next(_relays)}"
        self._user, self._limit = user, limit
        self._options = options or RelayOptions()
        self._logger = logger or logging.getLogger("inworld_sync")
        self._socket = FrameworkSocket(socket, self._name, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._link: SessionLink[RelayStart] = SessionLink(session, self._name)
        self._output = PageOutput(self._options.lead_ms)
        self._events = PageEvents(self._output)
        self._turns = UserTurns(self._link, self._output, self._name, self._logger)
        self._rates = MessageRates()
        self._writer: SocketWriter | None = None
        self.start: RelayStart | None = None
        self._began = self._ticked = self._active_at = 0.0
        self._end: tuple[RelayEnd, Exception | None] | None = None
        # The end that another thread has requested.
        self._requested_end: RelayEnd | None = None
        self._is_ready = self._is_speaking = False
        self._excess_ms, self._excess_messages = 0.0, 0
        self._state = ""
        self._broken_at: float | None = None
        self._wrong = 0

    @property
    def session(self) -> RealtimeSession | None:
        """The session; None until it is open."""
        return self._link.session

    def run(self) -> RelaySummary:
        """
        Run the conversation until it ends. A lost connection or a wrong message raises no error.

        Returns:
            The reason for the end, and the conversation.

        Raises:
            LocalProtocolError: The method was already called.
        """
        if self._began:
            raise LocalProtocolError("run() can be called once: make another object for each page")
        self._began = self._active_at = time.monotonic()
        self._output.reader = threading.current_thread()
        with contextlib.ExitStack() as held:
            held.enter_context(listed(self))
            try:
                self._admit(held)
                self._loop()
            except Exception as error:
                self._logger.exception("%s: the relay failed", self._name)
                self._finish("failed", error)
            finally:
                self._release()
        return self._summary()

    def feed(self, message: str | bytes | None) -> None:
        """Pass a message that the program has received; None means that the socket has ended."""
        self._socket.feed(message)

    def close(self) -> None:
        """End the conversation. The page does not connect again."""
        self._requested_end = self._requested_end or "hung_up"

    def drain(self) -> None:
        """End the conversation, for example before a deployment. The page connects again."""
        self._requested_end = self._requested_end or "drained"

    # The methods below run on the thread of ``run``.

    def _admit(self, held: contextlib.ExitStack) -> None:
        """Check the origin and the limit, before any message of the page is read."""
        self._writer = SocketWriter(self._name, self._socket, self._output)
        try:
            if self._headers is not None:
                check_origin(self._headers, self._origins)
            if self._limit is not None:
                held.enter_context(self._limit.hold(self._user))
        except AuthError as error:
            self._logger.warning("%s: the page was refused: %s", self._name, error)
            self._finish("wrong_origin", error)
        except QuotaError as error:
            self._finish("user_limit", error)

    def _loop(self) -> None:
        while self._end is None:
            is_active = self._state in ("speaking", "thinking") or self._turns.is_interrupting
            try:
                message = self._socket.receive(_ACTIVE_SECONDS if is_active else _IDLE_SECONDS)
            except SocketEnded as ended:
                self._leave(ended)
                return
            now = time.monotonic()
            if message is not None:
                self._read(message, now)
            if self._end is None and (message is None or now - self._ticked >= _TICK_SECONDS):
                self._ticked = now
                self._tick(now)

    def _leave(self, ended: SocketEnded) -> None:
        lost = None
        if not ended.is_normal:
            lost = ConnectionLost(f"the browser's socket has ended: {ended}")
            lost.__cause__ = ended.__cause__
        self._finish("browser_left", lost)

    def _read(self, message: str | bytes, now: float) -> None:
        if not self._rates.allow(message, now):
            self._handle_excess(message)
            return
        try:
            if isinstance(message, bytes):
                self._handle_audio(read_audio(message))
            else:
                self._handle(read_json(message), now)
        except RemoteProtocolError as error:
            self._count_wrong(str(error))

    def _handle_excess(self, message: str | bytes) -> None:
        """Ignore a message that arrives too fast, for example after a stall of the network."""
        if isinstance(message, str):
            self._count_wrong("expected fewer messages in a second")
            return
        self._excess_ms += duration_ms_of(message)
        self._excess_messages += 1
        if self._excess_ms > _MAX_EXCESS_MS or self._excess_messages > _MAX_EXCESS_MESSAGES:
            error = RemoteProtocolError("expected audio at about the speed of real time")
            self._finish("wrong_messages", error)

    def _handle(self, message: BrowserMessage, now: float) -> None:
        if isinstance(message, Start):
            self._begin(message)
        elif self.start is None:
            raise RemoteProtocolError("expected 'start' as the first message")
        elif isinstance(message, Push):
            if self.start.mode != "push":
                raise RemoteProtocolError("expected no 'push' with an open microphone")
            self._active_at = now
            self._turns.push(now, is_down=message.is_down)
        elif isinstance(message, Typed):
            self._active_at = now
            self._turns.send_text(message.text, now)
        elif isinstance(message, Heard):
            _require_item(self._output.handle_heard(message.item, message.ms))
        elif isinstance(message, Finished):
            _require_item(self._output.handle_finished(message.item))
        elif isinstance(message, Interrupted):
            stop = self._output.handle_stop(message.item, message.ms)
            _require_item(stop != "wrong")
            if stop == "stopped":
                self._turns.handle_stop(now)
        self._turns.advance(now)

    def _begin(self, message: Start) -> None:
        if self.start is not None:
            raise RemoteProtocolError("expected 'start' only once")
        self.start = RelayStart(message.mode, self._user)
        self._link.start(self.start, self._output, RATE_HZ, prepare=self._prepare)

    def _prepare(self, session: RealtimeSession) -> None:
        """Choose turn detection or manual turns, on the thread that opens the session."""
        assert self.start is not None
        is_manual = session.session.turn_detection is None
        if self.start.mode == "push" and not is_manual:
            session.update(Session(turn_detection=ManualTurns()))
        elif self.start.mode == "open" and is_manual:
            raise ConfigError(
                "an open microphone needs a session with turn detection: remove "
                "turn_detection=ManualTurns() from the session"
            )

    def _handle_audio(self, audio: bytes) -> None:
        if self.start is None:
            raise RemoteProtocolError("expected 'start' as the first message")
        if self.start.mode == "open" or self._turns.is_down:
            self._turns.add_audio(audio)

    def _count_wrong(self, reason: str) -> None:
        self._wrong += 1
        if self._wrong == 1:
            self._logger.warning("%s: a message of the page was ignored: %s", self._name, reason)
        if self._wrong <= _MAX_WRONG_REPORTS:
            self._output.send("error", code="wrong_message", message=reason, fatal=False)
        elif self._wrong >= _MAX_WRONG:
            self._finish("wrong_messages", RemoteProtocolError(reason))

    # The rules. They are applied at every tick.

    def _tick(self, now: float) -> None:
        if self._requested_end is not None:
            self._finish(self._requested_end)
            return
        self._check_browser(now)
        self._link.poll()
        self._check_session()
        if self._end is None:
            self._turns.advance(now)
            self._show_state()
            self._check_durations(now)

    def _check_browser(self, now: float) -> None:
        writer, limit = self._writer, self._options.stall_timeout
        assert writer is not None
        if writer.error is not None:
            # The relay may not have read the browser's message that ends the conversation yet.
            self._broken_at = self._broken_at or now
            if now - self._broken_at > _BROKEN_SECONDS:
                self._finish("browser_left", writer.error)
        elif writer.stalled_seconds(now) > limit:
            error = DeadlineExceeded(f"the browser accepted nothing for {limit:g} s")
            self._finish("stalled", error)
        elif self._output.is_overfull:
            self._finish("stalled", DeadlineExceeded("the browser reads too slowly"))
        elif self.start is None and now - self._began > self._options.start_timeout:
            self._finish("not_started")

    def _check_session(self) -> None:
        link = self._link
        if link.has_failed:
            self._logger.warning("%s: the session could not be opened: %s", self._name, link.error)
            is_full = isinstance(link.error, QuotaError)
            self._finish("no_capacity" if is_full else "model_unavailable", link.error)
            return
        if link.session is None:
            return
        if not self._is_ready:
            assert self.start is not None
            self._is_ready = True
            self._output.send("ready", rate_hz=RATE_HZ, mode=self.start.mode)
        for event in link.events():
            if isinstance(event, InputSpeechStarted):
                self._is_speaking = True
            elif isinstance(event, (InputSpeechStopped, SessionReconnected)):
                # On a new connection, the service reports again if the user still speaks.
                self._is_speaking = False
            self._events.handle(event)
        if link.is_over:
            is_closed = link.is_closed_here
            self._finish("hung_up" if is_closed else "model_lost", link.error)

    def _show_state(self) -> None:
        session = self.session
        if session is None:
            return
        if not self._link.is_connected:
            state = "reconnecting"
        elif session.is_playing:
            state = "speaking"
        else:
            state = "thinking" if session.is_responding else "listening"
        if state != self._state:
            self._state = state
            self._output.send("state", state=state)

    def _check_durations(self, now: float) -> None:
        longest, idle = self._options.max_duration, self._options.idle_timeout
        if self._state in ("speaking", "thinking") or self._is_speaking or self._turns.is_down:
            self._active_at = now
        if longest is not None and now - self._began >= longest:
            self._finish("max_duration")
        elif idle is not None and now - self._active_at >= idle:
            self._finish("idle")

    # The end.

    def _finish(self, end: RelayEnd, error: Exception | None = None) -> None:
        if self._end is None:
            self._end = (end, error)

    def _release(self) -> None:
        """End all threads, and close everything that the relay has opened."""
        end = "failed" if self._end is None else self._end[0]
        # A thread of the session may wait for an answer of the browser. ``close`` ends this wait.
        self._output.close()
        self._link.close()
        code, text = END_MESSAGES.get(end, (1000, ""))
        message = json_message("error", code=end, message=text, fatal=True) if text else None
        if end == "stalled":
            self._socket.abort()
        if self._writer is not None:
            self._writer.finish(message, _JOIN_SECONDS)
        self._socket.close(_JOIN_SECONDS, code)

    def _summary(self) -> RelaySummary:
        end, error = self._end or ("failed", None)
        return RelaySummary(
            end=end,
            error=error,
            user=self._user,
            mode=None if self.start is None else self.start.mode,
            duration=time.monotonic() - self._began,
            heard_ms=self._output.heard_ms,
            interruptions=self._output.interruptions,
            wrong_messages=self._wrong,
            lost_input_ms=self._link.lost_input_ms + self._excess_ms,
            conversation=self._link.conversation,
        )


def _require_item(is_known: bool) -> None:
    if not is_known:
        raise RemoteProtocolError("expected an item that was sent")
