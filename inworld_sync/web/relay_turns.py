"""
Sends the input of the user to the session: audio, the turns of push-to-talk, and typed messages.

If the page is playing speech, an interruption begins with the message ``clear`` to the page. The
session is interrupted when the page has answered how much was heard. Typed messages and the ends of
turns wait until the interruption is finished. They also wait until the session is open, and while
the session reconnects.

All methods run on the thread of the relay.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from inworld_sync.errors import InworldError, RemoteProtocolError
from inworld_sync.session_link import SessionLink
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.web.relay_messages import RATE_HZ
from inworld_sync.web.relay_models import RelayStart
from inworld_sync.web.relay_output import ANSWER_SECONDS, PageOutput

__all__ = ["UserTurns", "duration_ms_of"]

# A shorter turn of push-to-talk is dropped, since the service refuses less than 100 ms of audio.
_LEAST_TURN_MS = 100.0

# At most this many typed messages and turns wait for the session.
_MAX_ACTIONS = 50


def duration_ms_of(audio: bytes) -> float:
    """Return the duration of audio from the browser, in milliseconds."""
    return len(audio) / 2 * 1000.0 / RATE_HZ


class UserTurns:
    """
    The input of the user in one conversation.

    Args:
        link: The link to the session.
        output: The messages to the page.
        name: The name of the relay, for logs.
        logger: Logs the commands that could not be sent.

    Attributes:
        is_down: Whether the button of push-to-talk is pressed.
    """

    def __init__(
        self, link: SessionLink[RelayStart], output: PageOutput, name: str, logger: logging.Logger
    ) -> None:
        self._link, self._output = link, output
        self._name, self._logger = name, logger
        self.is_down = False
        self._turn_ms = 0.0
        # The time until which the page may answer a clear; None if no answer is awaited.
        self._clear_until: float | None = None
        self._actions: deque[Callable[[RealtimeSession], object]] = deque()

    @property
    def is_interrupting(self) -> bool:
        """Whether the relay still waits until the page answers how much was heard."""
        return self._clear_until is not None

    def add_audio(self, audio: bytes) -> None:
        """Send audio of the microphone."""
        duration_ms = duration_ms_of(audio)
        self._turn_ms += duration_ms
        self._link.send(audio, duration_ms)

    def push(self, now: float, *, is_down: bool) -> None:
        """Handle the button. A press interrupts the session, and a release ends the turn."""
        if is_down and not self.is_down:
            self._turn_ms = 0.0
            self._interrupt(now)
        elif self.is_down and not is_down:
            self._put(_drop_turn if self._turn_ms < _LEAST_TURN_MS else _end_turn)
        self.is_down = is_down

    def send_text(self, text: str, now: float) -> None:
        """Interrupt the speech, and send a typed message."""
        self._interrupt(now)
        self._put(partial(_send_text, text))

    def handle_stop(self, now: float) -> None:
        """Interrupt the session at the next :meth:`advance`: the page has stopped the speech."""
        self._clear_until = now

    def advance(self, now: float) -> None:
        """Finish an interruption, and then run the commands that wait for it or for the session."""
        if self._clear_until is not None:
            if now < self._clear_until and not self._output.is_clear_answered:
                return
            self._clear_until = None
            if self._link.session is not None:
                self._do(RealtimeSession.interrupt)
        self._link.send_kept()
        while self._actions and self._link.is_connected and self._link.is_all_sent:
            self._do(self._actions.popleft())

    def _interrupt(self, now: float) -> None:
        session = self._link.session
        if self._output.begin_clear():
            self._clear_until = now + ANSWER_SECONDS
        elif session is not None and (session.is_responding or session.is_playing):
            self._do(RealtimeSession.interrupt)

    def _put(self, action: Callable[[RealtimeSession], object]) -> None:
        if len(self._actions) >= _MAX_ACTIONS:
            raise RemoteProtocolError("expected fewer messages before the session is ready")
        self._actions.append(action)

    def _do(self, action: Callable[[RealtimeSession], object]) -> None:
        """Send a command to the session. If this fails, report the failure to the page."""
        session = self._link.session
        assert session is not None
        try:
            action(session)
        except InworldError as error:
            self._logger.warning("%s: a command was not sent: %s", self._name, error)
            text = "The server could not send this to the model."
            self._output.send("error", code="not_sent", message=text, fatal=False)


def _send_text(text: str, session: RealtimeSession) -> None:
    session.send_message(text)


def _drop_turn(session: RealtimeSession) -> None:
    session.clear()


def _end_turn(session: RealtimeSession) -> None:
    session.commit()
    session.respond()
