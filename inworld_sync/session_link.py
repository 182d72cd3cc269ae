"""
Connects a phone call or a browser with its realtime session: opens the session, keeps the user's
audio until the session is ready, and reads the session's events.

Threads: ``inworld-...-open`` opens a session; all other methods run on the thread of the call.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeAlias, TypeVar

from inworld_sync.errors import ConfigError, DeadlineExceeded, InworldError
from inworld_sync.locks import make_lock
from inworld_sync.models.devices import ItemSink
from inworld_sync.models.realtime import AudioFormat, ConversationEntry
from inworld_sync.sessions.event_stream import Subscription
from inworld_sync.sessions.realtime.events import SessionEvent
from inworld_sync.sessions.realtime.session import RealtimeSession

__all__ = ["Convert", "SessionLink"]

# A value of this type describes the call or the browser, for the function that opens the session.
StartT = TypeVar("StartT")

# A function that returns audio for the session, and whether the audio already has the input format
# of the session. Otherwise the audio is 16-bit PCM, which the session converts.
Convert: TypeAlias = Callable[[bytes, "AudioFormat | None"], "tuple[bytes, bool]"]

# At most this much audio of the user is kept while there is no connection to the model.
_MAX_KEPT_MS = 30_000.0

# Each call sends at most this much of the kept audio. With a call every 20 ms, this is five times
# the speed of real time. The service accepts at most 50 messages a second.
_CATCH_UP_MS = 100.0

_SEND_SECONDS = 0.2
_JOIN_SECONDS = 1.0


class SessionLink(Generic[StartT]):
    """
    The realtime session of a phone call or a browser.

    Args:
        source: An open session, or a function that opens a session. The program closes an open
            session. This object closes a session that the function has opened.
        name: The name of the call or relay, for the thread.

    Raises:
        ConfigError: *source* is neither a session nor a function.

    Attributes:
        session: The session; None until it is open.
        error: The error that ended the session, or prevented it from opening; otherwise None.
        is_over: Whether the session has ended.
        has_failed: Whether the session could not be opened.
        lost_input_ms: How many milliseconds of the user's audio could not be sent.
    """

    def __init__(
        self, source: RealtimeSession | Callable[[StartT], RealtimeSession], name: str
    ) -> None:
        if not isinstance(source, RealtimeSession) and not callable(source):
            raise ConfigError(
                "session must be the session that iw.realtime.connect() returns, or a function "
                f"that opens it, got {type(source).__name__}"
            )
        self._source, self._name = source, name
        self.session: RealtimeSession | None = None
        self.error: Exception | None = None
        self.is_over = self.has_failed = False
        self.lost_input_ms = 0.0
        self._lock = make_lock()
        self._opened: RealtimeSession | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._sink: ItemSink | None = None
        self._queue: Subscription[SessionEvent] | None = None
        self._convert: Convert = _pcm
        self._rate_hz = 8000
        self._kept: deque[tuple[bytes, float]] = deque()
        self._kept_ms = 0.0

    def start(
        self,
        start: StartT,
        sink: ItemSink,
        sample_rate_hz: int,
        convert: Convert | None = None,
        prepare: Callable[[RealtimeSession], object] | None = None,
    ) -> None:
        """
        Play the session's speech. Open the session first if necessary.

        Args:
            start: The argument of the function that opens the session.
            sink: Plays the speech.
            sample_rate_hz: The sample rate of the user's audio.
            convert: Converts the user's audio; None for 16-bit PCM.
            prepare: Called with the open session before it is used, on a thread of its own.
        """
        self._sink, self._rate_hz = sink, sample_rate_hz
        self._convert = convert or _pcm
        if isinstance(self._source, RealtimeSession) and prepare is None:
            self._opened = self._source
            return
        self._thread = threading.Thread(
            target=self._open,
            args=(start, prepare),
            name=f"inworld-{self._name}-open",
            daemon=True,
        )
        self._thread.start()

    def poll(self) -> None:
        """Use the session as soon as it is open."""
        if self.session is not None or self._sink is None or self.has_failed:
            return
        with self._lock:
            opened = self._opened
        if opened is None:
            return
        try:
            self._queue = opened.subscribe()
            opened.play(self._sink)
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
        """The conversation so far."""
        return () if self.session is None else self.session.conversation

    def send(self, audio: bytes, duration_ms: float) -> None:
        """Send audio of the user, or keep it until the session can send it."""
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

    @property
    def is_all_sent(self) -> bool:
        """Whether no audio of the user waits for the session."""
        return not self._kept

    def send_kept(self) -> None:
        """Send audio that was kept, if the session can send it."""
        if self._kept and self.is_connected:
            self._send_kept()

    def _send_kept(self) -> None:
        session = self.session
        assert session is not None
        left_ms = _CATCH_UP_MS
        target = session.session.input_format
        while self._kept and left_ms > 0:
            audio, duration_ms = self._kept.popleft()
            self._kept_ms -= duration_ms
            left_ms -= duration_ms
            data, is_encoded = self._convert(audio, target)
            try:
                session.send_audio(
                    data, self._rate_hz, timeout=_SEND_SECONDS, is_encoded=is_encoded
                )
            except DeadlineExceeded:
                # The socket to the model is full, or the connection was lost at this moment.
                self.lost_input_ms += duration_ms
                return
            except InworldError:
                return  # ``events`` has the end of the session

    def _open(self, start: StartT, prepare: Callable[[RealtimeSession], object] | None) -> None:
        source = self._source
        opened: RealtimeSession | None = None
        try:
            opened = source if isinstance(source, RealtimeSession) else _checked(source(start))
            if prepare is not None:
                prepare(opened)
        except BaseException as error:  # noqa: BLE001 - the function of the user may raise anything
            failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self.error, self.has_failed = failure, True
            self._close_unused(opened)
            return
        with self._lock:
            is_late = self._closed
            if not is_late:
                self._opened = opened
        if is_late:
            # The user has left while the session was being opened.
            self._close_unused(opened)

    def _close_unused(self, opened: RealtimeSession | None) -> None:
        if opened is not None and opened is not self._source:
            opened.close()


def _pcm(audio: bytes, _: AudioFormat | None) -> tuple[bytes, bool]:
    return audio, False


def _checked(session: object) -> RealtimeSession:
    if isinstance(session, RealtimeSession):
        return session
    raise ConfigError(
        f"the function that opens the session must return a session, got {type(session).__name__}"
    )
