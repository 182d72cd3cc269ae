"""
Connects a call with its realtime session: opens the session, keeps the caller's audio until the
session is ready, and reads the session's events.

Threads: ``inworld-call-...-open`` opens a session; all other methods run on the thread of the
bridge.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeAlias

from inworld_sync.errors import ConfigError, DeadlineExceeded, InworldError
from inworld_sync.models.realtime import ConversationEntry
from inworld_sync.sessions.event_stream import Subscription
from inworld_sync.sessions.realtime.events import SessionEvent
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.telephony.calls import CallStart
from inworld_sync.telephony.formats import FromCall
from inworld_sync.telephony.output import CallOutput

__all__ = ["Connect", "SessionLink"]

Connect: TypeAlias = Callable[[CallStart], RealtimeSession]

# The caller's audio that is kept while there is no connection to the model.
_MAX_KEPT_MS = 30_000.0

# The service accepts 50 messages a second. So audio that was kept is sent at most at five times the
# speed of real time.
_CATCH_UP_MS = 100.0

_SEND_SECONDS = 0.2
_JOIN_SECONDS = 1.0


class SessionLink:
    """
    The realtime session of a call.

    Args:
        source: An open session, which the program closes, or a function that opens a session, which
            the bridge closes.
        name: The name of the call, for the thread.

    Attributes:
        session: The session; None until it is open.
        error: The error because of which the session could not be opened, or ended.
        is_over: Whether the session has ended.
        lost_input_ms: How many milliseconds of the caller's audio could not be sent.
    """

    def __init__(self, source: RealtimeSession | Connect, name: str) -> None:
        self._source, self._name = source, name
        self.session: RealtimeSession | None = None
        self.error: Exception | None = None
        self.is_over = self.has_failed = False
        self.lost_input_ms = 0.0
        self._lock = threading.Lock()
        self._opened: RealtimeSession | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._output: CallOutput | None = None
        self._queue: Subscription[SessionEvent] | None = None
        self._from_call: FromCall | None = None
        self._kept: deque[tuple[bytes, float]] = deque()
        self._kept_ms = 0.0
        self._call_hz = 8000

    def start(self, start: CallStart, output: CallOutput) -> None:
        """Play the session's speech. Open the session first if necessary."""
        self._output = output
        self._from_call = FromCall(start.received)
        self._call_hz = start.received.sample_rate_hz
        source = self._source
        if isinstance(source, RealtimeSession):
            self._opened = source
            return
        self._thread = threading.Thread(
            target=self._open, args=(source, start), name=f"inworld-{self._name}-open", daemon=True
        )
        self._thread.start()

    def poll(self) -> None:
        """Use the session as soon as it is open."""
        if self.session is not None or self._output is None or self.has_failed:
            return
        with self._lock:
            opened = self._opened
        if opened is None:
            return
        try:
            self._queue = opened.subscribe()
            opened.play(self._output)
        except InworldError as error:
            self.error, self.has_failed = error, True
        else:
            self.session = opened

    def events(self) -> Iterator[SessionEvent]:
        """Yield the events that have arrived."""
        while (event := self._next()) is not None:
            yield event

    @property
    def is_closed_here(self) -> bool:
        """Whether the program has closed the session."""
        ended = None if self.session is None else self.session.ended
        return ended is not None and ended.by == "client" and ended.error is None

    @property
    def is_connected(self) -> bool:
        """Whether the session is open and has a connection."""
        return self.session is not None and self.session.stats is not None

    @property
    def conversation(self) -> tuple[ConversationEntry, ...]:
        """What was said so far."""
        return () if self.session is None else self.session.conversation

    def send(self, audio: bytes, duration_ms: float) -> None:
        """Send audio of the caller, or keep it until the session can send it."""
        self._kept.append((audio, duration_ms))
        self._kept_ms += duration_ms
        if self.is_connected:
            self._send_kept()
        while self._kept_ms > _MAX_KEPT_MS:
            lost_ms = self._kept.popleft()[1]
            self._kept_ms -= lost_ms
            self.lost_input_ms += lost_ms

    def close(self) -> None:
        """Stop playing. Close a session that this object has opened."""
        with self._lock:
            self._closed = True
            opened = self._opened
        if self._queue is not None:
            self._queue.close()
        if opened is not None:
            with contextlib.suppress(InworldError):  # the session may have ended
                opened.play(None)
            if opened is not self._source:
                opened.close()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _next(self) -> SessionEvent | None:
        queue, session = self._queue, self.session
        if queue is None or session is None or self.is_over:
            return None
        ended = session.ended
        try:
            return queue.get(timeout=0)
        except DeadlineExceeded:
            if ended is None:
                return None
            self.error = ended.error
        except InworldError as error:
            # When a session ends normally, the queue raises an error, but the session has no error.
            self.error = error if session.ended is None else session.ended.error
        self.is_over = True
        return None

    def _send_kept(self) -> None:
        session, from_call = self.session, self._from_call
        assert session is not None
        assert from_call is not None
        left_ms = _CATCH_UP_MS
        target = session.session.input_format
        while self._kept and left_ms > 0:
            audio, duration_ms = self._kept.popleft()
            self._kept_ms -= duration_ms
            left_ms -= duration_ms
            data, is_encoded = from_call.convert(audio, target)
            try:
                session.send_audio(
                    data, self._call_hz, timeout=_SEND_SECONDS, is_encoded=is_encoded
                )
            except DeadlineExceeded:
                # The socket to the model is full, or the connection was lost at this moment.
                self.lost_input_ms += duration_ms
                return
            except InworldError:
                return  # ``events`` has the end of the session

    def _open(self, connect: Connect, start: CallStart) -> None:
        opened: RealtimeSession | None = None
        try:
            opened = _checked(connect(start))
        except BaseException as error:  # noqa: BLE001 - the function of the user may raise anything
            failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self.error, self.has_failed = failure, True
            return
        with self._lock:
            is_late = self._closed
            if not is_late:
                self._opened = opened
        if is_late:
            # The caller has hung up while the session was being opened.
            opened.close()


def _checked(session: object) -> RealtimeSession:
    if isinstance(session, RealtimeSession):
        return session
    raise ConfigError(
        "the function that opens the session of a call must return a session, got "
        f"{type(session).__name__}"
    )
