"""
Runs the realtime session of a conversation on a thread of its own, so that the game never waits.

Threads: ``inworld-game-session-...`` opens the session, and then runs the commands of the game in
order. ``inworld-game-microphone-...`` reads a microphone.

Lock rule: ``_changed`` guards the queue of commands and the count of lost audio. It is never held
while a command runs.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.games.output import SpeechOutput
from inworld_sync.games.threads import GameThread
from inworld_sync.locks import Condition
from inworld_sync.models.realtime import Session
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS

if TYPE_CHECKING:
    from inworld_sync.client import Inworld
    from inworld_sync.sessions.event_stream import Subscription
    from inworld_sync.sessions.realtime.events import SessionEvent
    from inworld_sync.sessions.realtime.session import RealtimeSession

__all__ = ["OpenSession", "SessionThread"]

# At most this much of the player's audio is kept while there is no connection.
_MAX_KEPT_MS = 30_000.0
# The service accepts 50 messages a second, and one message has 100 ms of audio. So while more than
# _BEHIND_MS of audio is queued, audio is sent at most at five times the speed of real time.
_CATCH_UP = 5.0
_BEHIND_MS = 200.0

_SEND_SECONDS = 0.2
_RECONNECT_LOOK_SECONDS = 0.05


@attrs.frozen
class OpenSession:
    """A session that is open, and the queue of its events."""

    session: RealtimeSession
    events: Subscription[SessionEvent]


@attrs.frozen(eq=False)
class _Audio:
    pcm: bytes
    sample_rate_hz: int

    @property
    def duration_ms(self) -> float:
        return len(self.pcm) / 2 * 1000.0 / self.sample_rate_hz


class SessionThread:
    """
    The session of one conversation.

    Args:
        client: Opens the session. Only the thread of this object uses the client.
        settings: The settings of the session.
        reconnect_timeout: For how many seconds the client tries to replace a lost connection.
        output: Plays the speech.
        name: The number of the conversation, for the name of the thread.

    Attributes:
        opened: The session; None until it is open.
        failure: Why the session could not be opened; None if there was no error.
        lost_input_ms: How many milliseconds of the player's audio were dropped.
        has_ended: Whether the thread has ended.
    """

    def __init__(
        self,
        client: Inworld,
        settings: Session,
        reconnect_timeout: float,
        output: SpeechOutput,
        name: str,
    ) -> None:
        self._client, self._settings, self._output = client, settings, output
        self._reconnect_timeout = reconnect_timeout
        self.opened: OpenSession | None = None
        self.failure: InworldError | None = None
        self.lost_input_ms = 0.0
        self.has_ended = False
        self._changed = Condition()
        self._commands: deque[_Audio | Callable[[RealtimeSession], object]] = deque()
        self._kept_ms = 0.0
        self._closing = False
        self._thread = GameThread(f"session-{name}", self._run, self._stop)

    def start(self) -> None:
        """Begin to open the session."""
        self._thread.start()

    def put(self, command: Callable[[RealtimeSession], object]) -> None:
        """Queue a command, which the thread calls with the session."""
        with self._changed:
            if not self._closing:
                self._commands.append(command)
                self._changed.notify_all()

    def put_first(self, command: Callable[[RealtimeSession], object]) -> None:
        """Queue a command before all commands that wait."""
        with self._changed:
            if not self._closing:
                self._commands.appendleft(command)
                self._changed.notify_all()

    def put_audio(self, pcm: bytes, sample_rate_hz: int) -> None:
        """Queue audio of the player. If too much is queued, the oldest audio is dropped."""
        audio = _Audio(pcm, sample_rate_hz)
        with self._changed:
            if self._closing:
                return
            self._commands.append(audio)
            self._kept_ms += audio.duration_ms
            while self._kept_ms > _MAX_KEPT_MS:
                oldest = next(each for each in self._commands if isinstance(each, _Audio))
                self._commands.remove(oldest)
                self._kept_ms -= oldest.duration_ms
                self.lost_input_ms += oldest.duration_ms
            self._changed.notify_all()

    def close(self) -> None:
        """End the session on another thread, and return at once."""
        with self._changed:
            self._closing = True
            self._commands.clear()
            self._changed.notify_all()
        # Closing the session also ends a command that waits.
        self._thread.stop_later()

    # The thread of the session.

    def _run(self) -> None:
        try:
            opened = self._open()
            if opened is None:
                return
            try:
                while (command := self._next()) is not None:
                    self._execute(opened.session, command)
            finally:
                opened.session.close()
        finally:
            self.has_ended = True

    def _open(self) -> OpenSession | None:
        session: RealtimeSession | None = None
        try:
            session = self._client.realtime.connect(
                self._settings, reconnect_timeout=self._reconnect_timeout
            )
            opened = OpenSession(session, session.subscribe())
            session.play(self._output)
        except InworldError as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - a credential of the user may raise anything
            self.failure = InworldError(f"opening the session raised {type(error).__name__}")
            self.failure.__cause__ = error
        else:
            with self._changed:
                if not self._closing:
                    self.opened = opened
                    return opened
        if session is not None:
            session.close()
        return None

    def _next(self) -> _Audio | Callable[[RealtimeSession], object] | None:
        """Wait for the next command; return None if the session has ended, or was closed."""
        opened = self.opened
        assert opened is not None
        while True:
            with self._changed:
                if self._closing or opened.session.ended is not None:
                    return None
                if self._commands:
                    command = self._commands[0]
                    is_kept = isinstance(command, _Audio) and opened.session.stats is None
                    if not is_kept:
                        if isinstance(command, _Audio):
                            self._kept_ms -= command.duration_ms
                        return self._commands.popleft()
                    self._changed.wait(_RECONNECT_LOOK_SECONDS)
                else:
                    self._changed.wait(LONGEST_WAIT_SECONDS)

    def _execute(
        self, session: RealtimeSession, command: _Audio | Callable[[RealtimeSession], object]
    ) -> None:
        # If the session has ended, its events have the error.
        with contextlib.suppress(InworldError):
            if isinstance(command, _Audio):
                self._send(session, command)
            else:
                command(session)

    def _send(self, session: RealtimeSession, audio: _Audio) -> None:
        try:
            session.send_audio(audio.pcm, audio.sample_rate_hz, timeout=_SEND_SECONDS)
        except DeadlineExceeded:
            with self._changed:
                self.lost_input_ms += audio.duration_ms
        with self._changed:
            if self._kept_ms > _BEHIND_MS and not self._closing:
                self._changed.wait_for(
                    lambda: self._closing, audio.duration_ms / 1000.0 / _CATCH_UP
                )

    def _stop(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self.opened is not None:
            self.opened.session.close()
