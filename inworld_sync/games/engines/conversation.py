"""
Runs the conversation of an engine: its realtime session, the player's audio, and the replies.

Threads: ``inworld-engine-...-talk`` opens the session, and then passes the audio and the commands
of the engine to the session, in order. ``inworld-engine-...-events`` reads the events of the
session.

Lock rule: ``_news`` guards the commands that wait and the fields that both threads use. No thread
holds ``_news`` while it calls a method of the session.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator

import attrs

from inworld_sync.client import Inworld
from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.games.engines.messages import (
    BadMessage,
    Push,
    Say,
    Start,
    write_event,
)
from inworld_sync.games.engines.outgoing import RATE_HZ, Outgoing
from inworld_sync.games.engines.replies import Replies
from inworld_sync.locks import Condition
from inworld_sync.models.realtime import (
    AudioDelta,
    AudioDone,
    ErrorReported,
    InputSpeechStarted,
    InputSpeechStopped,
    ManualTurns,
    OutputItemDone,
    PcmFormat,
    ProviderData,
    ResponseDone,
    Session,
    TranscriptDelta,
    TtsTuning,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.sessions.realtime.events import (
    ResponseStarted,
    SessionEvent,
    SessionReconnected,
)
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.transport.deadline import Deadline

__all__ = ["EngineConversation"]

# Audio of the player waits for a connection at most this long. After this time, the audio is lost.
_SEND_SECONDS = 2.0

# The thread checks at least this often whether the session has a connection.
_CHECK_SECONDS = 0.5

# After a session has ended, the thread waits at most this long until the last audio of the session
# has reached the replies.
_LAST_PUSH_SECONDS = 0.3

# At most this much audio of the player, and this many commands, wait for the session. If more audio
# arrives, the oldest audio is dropped.
_MAX_WAITING_SECONDS = 30
_MAX_WAITING_COMMANDS = 3000


class EngineConversation:
    """
    The conversation of one engine.

    Args:
        client: Opens the session.
        template: The settings of every session; *command* may replace some of these settings.
        command: The command with which the engine starts this conversation.
        outgoing: Gets the replies and the events.
        shapes: The name of the set of mouth shapes.
        numbers: Yields the next unused negative number, for the line of each reply.
        name: The name of the engine's connection, for the threads.
        logger: Receives the log.

    Thread safety: any thread may call the methods. Only :meth:`join` waits.
    """

    def __init__(
        self,
        client: Inworld,
        template: Session | None,
        command: Start,
        outgoing: Outgoing,
        *,
        shapes: str,
        numbers: Iterator[int],
        name: str,
        logger: logging.Logger,
    ) -> None:
        self._client, self._command, self._outgoing = client, command, outgoing
        self._session_config = _configured(template or Session(), command)
        self._name, self._logger = name, logger
        self._replies = Replies(outgoing, shapes, numbers)
        self._news = Condition()
        self._waiting: deque[bytes | Say | Push] = deque()
        self._waiting_bytes = 0
        self._max_waiting_bytes = _MAX_WAITING_SECONDS * command.rate_hz * 2
        self._session: RealtimeSession | None = None
        # Whether the conversation has ended, and whether stop() has ended it.
        self._is_over = self._is_stopped = False
        self._has_failed = False
        self._state = ""
        self._has_audio = False
        self._is_down = not command.push_to_talk
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-talk", daemon=True),
        ]

    def start(self) -> None:
        """Open the session on a thread, and return at once."""
        self._send_state("connecting")
        self._threads[0].start()

    @property
    def is_over(self) -> bool:
        """Whether the conversation has ended."""
        with self._news:
            return self._is_over

    def put(self, command: bytes | Say | Push) -> None:
        """
        Queue audio of the player, a text, or the state of the button. The session gets all of them
        in the order of the calls.

        Raises:
            BadMessage: *command* is a ``Push``, but the conversation was started without
                ``push_to_talk``; or too many commands wait.
        """
        if isinstance(command, Push) and not self._command.push_to_talk:
            raise BadMessage("'push' needs a conversation that was started with push_to_talk")
        lost_bytes = 0
        with self._news:
            if isinstance(command, bytes):
                if not self._is_down:
                    return
                self._waiting_bytes += len(command)
            elif len(self._waiting) > _MAX_WAITING_COMMANDS:
                raise BadMessage("too many commands wait for the session")
            if isinstance(command, Push):
                self._is_down = command.down
            self._waiting.append(command)
            while (
                self._waiting_bytes > self._max_waiting_bytes
                or len(self._waiting) > _MAX_WAITING_COMMANDS
            ) and (dropped := self._drop_oldest_audio()):
                lost_bytes += dropped
            self._news.notify_all()
        if lost_bytes:
            self._report_lost(lost_bytes)

    def interrupt(self) -> None:
        """Interrupt the replies. The engine's report of what was heard was already handled."""
        with self._news:
            session = self._session
        if session is not None:
            with contextlib.suppress(InworldError):  # the session may have ended
                session.interrupt()

    def stop(self) -> None:
        """
        End the conversation, and return at once.

        The session may need longer to close. After the state ``closed``, the engine gets nothing
        more of this conversation.
        """
        with self._news:
            self._is_over = self._is_stopped = True
            self._news.notify_all()
        self._replies.close()
        self._replies.clear()
        self._send_state("closed")

    @property
    def is_running(self) -> bool:
        """Whether a thread still runs, for example because the session is being closed."""
        return any(thread.is_alive() for thread in list(self._threads))

    def join(self, deadline: Deadline) -> None:
        """Wait until the threads have ended. Call :meth:`stop` first."""
        for thread in list(self._threads):
            thread.join(deadline.remaining())

    # The thread ``talk``.

    def _run(self) -> None:
        try:
            self._talk()
        except InworldError as error:
            self._fail("service", str(error))
        except Exception:
            self._logger.exception("the conversation of a game engine failed")
            self._fail("internal", "the conversation failed, see the log of the server")
        finally:
            self._end()
            self._replies.end_all()
            self._send_state("closed")

    def _talk(self) -> None:
        with self._client.realtime.connect(self._session_config) as session:
            events = threading.Thread(
                target=self._read_events, args=(session,), name=f"{self._name}-events", daemon=True
            )
            session.play(self._replies)
            with self._news:
                self._session = session
            events.start()
            self._threads.append(events)
            self._send_state("listening")
            while not self._is_over:
                command = self._next()
                # Without a connection, _send() may wait.
                self._check_connection(session)
                if command is not None:
                    self._send(session, command)
            if not self._is_stopped:
                # The session has ended, but the engine still plays the audio that has arrived.
                with contextlib.suppress(InworldError):
                    session.drain(_LAST_PUSH_SECONDS)

    def _next(self) -> bytes | Say | Push | None:
        """Wait for a command of the engine, at most _CHECK_SECONDS; None means that none came."""
        with self._news:
            if not (self._waiting or self._is_over):
                self._news.wait(_CHECK_SECONDS)
            if self._is_over or not self._waiting:
                return None
            command = self._waiting.popleft()
            if isinstance(command, bytes):
                self._waiting_bytes -= len(command)
            return command

    def _check_connection(self, session: RealtimeSession) -> None:
        if _is_lost(session) and self._state != "reconnecting":
            self._send_state("reconnecting")
            # The events thread may have reported the new connection meanwhile.
            if not _is_lost(session) and self._state == "reconnecting":
                self._send_state("listening")

    def _send(self, session: RealtimeSession, command: bytes | Say | Push) -> None:
        if isinstance(command, Say):
            session.send_message(command.text)
        elif isinstance(command, Push):
            self._push(session, command)
        else:
            self._has_audio = True
            try:
                session.send_audio(command, self._command.rate_hz, timeout=_SEND_SECONDS)
            except DeadlineExceeded:
                self._report_lost(len(command))

    def _push(self, session: RealtimeSession, command: Push) -> None:
        if command.down:
            self._has_audio = False
            session.interrupt()
            session.clear()
        elif self._has_audio:
            self._has_audio = False
            session.commit()
            session.respond()
        else:
            message = "the button was released, but no audio was sent while it was pressed"
            self._outgoing.event(write_event("error", code="no_audio", message=message))

    # The thread ``events``.

    def _read_events(self, session: RealtimeSession) -> None:
        try:
            for event in session:
                self._handle(event)
        except InworldError as error:
            self._fail("service", str(error))
        except Exception:
            self._logger.exception("an event of a game engine's conversation failed")
            self._fail("internal", "the conversation failed, see the log of the server")
        finally:
            self._end()

    def _handle(self, event: SessionEvent) -> None:
        if self._is_stopped:
            return
        if isinstance(event, AudioDelta):
            self._replies.add_times(event)
            if event.audio and self._state != "responding":
                self._send_state("responding")
        elif isinstance(event, AudioDone):
            self._replies.finish_times(event.item_id)
        elif isinstance(event, OutputItemDone):
            self._replies.finish_times(event.item.id or "")
        elif isinstance(event, TranscriptDelta):
            number = self._replies.number_of(event.item_id)
            if number is not None:
                self._outgoing.event(write_event("reply", line=number, text=event.delta))
        elif isinstance(event, (UserTranscriptUpdated, UserTranscriptCompleted)):
            is_final = isinstance(event, UserTranscriptCompleted)
            self._outgoing.event(write_event("player", text=event.transcript, final=is_final))
        elif isinstance(event, InputSpeechStarted):
            self._send_state("hearing")
        elif isinstance(event, SessionReconnected):
            self._send_state("listening")
        elif isinstance(event, (InputSpeechStopped, ResponseStarted)):
            self._send_state("thinking")
        elif isinstance(event, ResponseDone):
            self._replies.finish_times()
            self._send_state("listening")
        elif isinstance(event, ErrorReported):
            message = event.error.message or "the service reports an error"
            self._outgoing.event(write_event("error", code="service", message=message))

    # Any thread.

    def _send_state(self, state: str) -> None:
        with self._news:
            if self._state == "closed":
                return
            self._state = state
            self._outgoing.event(write_event("state", state=state))

    def _fail(self, code: str, message: str) -> None:
        with self._news:
            is_expected = self._is_stopped or self._has_failed
            self._has_failed = True
        if not is_expected:
            self._outgoing.event(write_event("error", code=code, message=message))

    def _end(self) -> None:
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _report_lost(self, lost_bytes: int) -> None:
        lost_ms = lost_bytes * 500 / self._command.rate_hz
        message = f"{lost_ms:.0f} ms of the player's audio were lost: the session is not connected"
        self._outgoing.event(write_event("error", code="input_lost", message=message))

    def _drop_oldest_audio(self) -> int:
        """Drop the oldest audio, and return its size. The caller holds ``_news``."""
        for index, command in enumerate(self._waiting):
            if isinstance(command, bytes):
                del self._waiting[index]
                self._waiting_bytes -= len(command)
                return len(command)
        return 0


def _is_lost(session: RealtimeSession) -> bool:
    # A session without a connection has no stats.
    return session.stats is None and session.ended is None


def _configured(template: Session, command: Start) -> Session:
    """Return the settings of a session: the template, changed by the command."""
    provider_data = template.provider_data or ProviderData()
    tuning = provider_data.tts or TtsTuning()
    if tuning.timestamp_type is None:
        # The words and the mouth shapes need the times of words.
        tuning = attrs.evolve(tuning, timestamp_type="WORD")
    turn_detection = ManualTurns() if command.push_to_talk else template.turn_detection
    return attrs.evolve(
        template,
        input_format=PcmFormat(RATE_HZ),
        output_format=PcmFormat(RATE_HZ),
        instructions=command.instructions or template.instructions,
        voice=command.voice or template.voice,
        model=command.model or template.model,
        turn_detection=turn_detection,
        provider_data=attrs.evolve(provider_data, tts=tuning),
    )
