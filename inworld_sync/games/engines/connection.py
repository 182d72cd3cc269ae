"""
Serves one engine: reads its commands, and owns its lines, its conversation and its writer.

Threads: the thread of the connection reads, and ``inworld-engine-...-writer`` writes. The thread
that reads never waits for a command to end. So it notices in time that an engine reads no messages.
"""

from __future__ import annotations

import contextlib
import hmac
import itertools
import logging
import socket
import threading
from typing import TYPE_CHECKING

import attrs

from inworld_sync.client import Inworld
from inworld_sync.errors import InworldError
from inworld_sync.games.engines.conversation import EngineConversation
from inworld_sync.games.engines.line import SpokenLine
from inworld_sync.games.engines.messages import (
    VERSION,
    BadMessage,
    Command,
    Heard,
    Hello,
    Interrupt,
    Push,
    Say,
    Speak,
    Start,
    read_command,
    write_event,
)
from inworld_sync.games.engines.outgoing import RATE_HZ, Outgoing
from inworld_sync.games.shapes import SHAPE_SETS
from inworld_sync.locks import Event
from inworld_sync.models.realtime import Session
from inworld_sync.secret import Secret
from inworld_sync.transport.deadline import Deadline

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

__all__ = ["EngineConnection", "EngineSettings"]

# Status codes of WebSocket closes.
_GOING_AWAY, _POLICY, _INTERNAL = 1001, 1008, 1011

_HELLO_SECONDS = 5.0
_CHECK_SECONDS = 0.5
_STALL_SECONDS = 10.0
_FLUSH_SECONDS = 1.0
_JOIN_SECONDS = 2.0

_MAX_LINES = 8
# A conversation that was stopped may still be closing its session. If more conversations than this
# are closing their sessions, the engine cannot start another conversation.
_MAX_ENDING_CONVERSATIONS = 4


@attrs.frozen(kw_only=True)
class EngineSettings:
    """
    The settings of all engines; :func:`~inworld_sync.games.serve` describes them.

    Attributes:
        session: The settings of every conversation.
        token: The token that an engine must send, or None.
        logger: Receives the log.
    """

    session: Session | None
    token: Secret | None
    logger: logging.Logger


class EngineConnection:
    """
    The connection of one engine.

    Args:
        client: Speaks the lines, and opens the sessions.
        connection: The WebSocket, after its handshake.
        settings: The settings of the server.
        name: The name for threads and the log.

    Thread safety: one thread calls :meth:`run`; any thread may call :meth:`close`.
    """

    def __init__(
        self, client: Inworld, connection: ServerConnection, settings: EngineSettings, name: str
    ) -> None:
        self._client, self._socket, self._settings = client, connection, settings
        self._name, self._logger = name, settings.logger
        self._outgoing = Outgoing(self._send)
        self._shapes = "openxr"
        self._is_over = Event()
        self._lines: list[SpokenLine] = []
        self._conversation: EngineConversation | None = None
        # Conversations that have ended. Their threads may still be closing a session.
        self._ended: list[EngineConversation] = []
        self._reply_numbers = itertools.count(-1, -1)
        # Whether an error about audio was reported. An engine sends audio many times a second, so
        # only the first of several errors is reported.
        self._is_audio_refused = False

    def run(self) -> None:
        """Serve the engine until the engine disconnects or breaks a rule, or the server closes."""
        writer = threading.Thread(target=self._write, name=f"{self._name}-writer", daemon=True)
        writer.start()
        code, reason = _GOING_AWAY, "the server is closing"
        try:
            if self._greet():
                code, reason = self._read()
            elif not self._is_over.is_set():
                code, reason = _POLICY, "expected 'hello' with the right token"
        except Exception:
            self._logger.exception("%s: the connection failed", self._name)
            code, reason = _INTERNAL, "internal error"
        finally:
            self._end(writer, code, reason)

    def close(self) -> None:
        """Make :meth:`run` end soon, and return at once."""
        self._is_over.set()

    # Reading.

    def _greet(self) -> bool:
        """Return whether the engine has sent a valid ``hello`` in time."""
        deadline = Deadline(_HELLO_SECONDS, "the hello of the engine")
        message = None
        while message is None and not deadline.expired:
            message = self._receive(deadline.at_most(_CHECK_SECONDS))
            if self._is_over.is_set():
                return False
        try:
            command = _read_hello(message)
        except BadMessage as error:
            self._report("bad_message", str(error))
            return False
        token = self._settings.token
        if token is not None and not _is_equal(token, command.token or ""):
            self._report("bad_token", "'hello' must have the token of the server")
            return False
        self._shapes = command.shapes
        self._outgoing.ahead_ms = command.ahead_ms
        names = SHAPE_SETS[command.shapes]
        self._outgoing.event(
            write_event("ready", version=VERSION, rate_hz=RATE_HZ, shapes=list(names))
        )
        return True

    def _read(self) -> tuple[int, str]:
        """Handle messages until the connection ends. Return the code and reason for its close."""
        while not self._is_over.is_set():
            if self._outgoing.stalled > _STALL_SECONDS:
                self._logger.warning("%s: the engine reads no messages", self._name)
                return _POLICY, "the engine reads no messages"
            message = self._receive(_CHECK_SECONDS)
            if isinstance(message, bytes):
                self._hear(message)
            elif message is not None:
                self._handle(message)
        return _GOING_AWAY, "the server is closing"

    def _receive(self, timeout: float) -> str | bytes | None:
        """Return the next message; None after the timeout, or if the engine has disconnected."""
        from websockets.exceptions import ConnectionClosed

        try:
            return self._socket.recv(timeout)
        except TimeoutError:
            return None
        except ConnectionClosed:
            self._is_over.set()
            return None

    def _handle(self, message: str) -> None:
        try:
            self._do(read_command(message, tuple(SHAPE_SETS)))
        except BadMessage as error:
            self._report("bad_message", str(error), error.line)
        except InworldError as error:
            self._report("service", str(error))

    def _do(self, command: Command) -> None:
        if isinstance(command, Speak):
            self._speak(command)
        elif isinstance(command, Heard):
            self._outgoing.heard(command.line, command.ms)
        elif isinstance(command, Interrupt):
            self._interrupt(command)
        elif isinstance(command, Start):
            self._start(command)
        elif isinstance(command, (Say, Push)):
            self._open_conversation().put(command)
        elif isinstance(command, Hello):
            raise BadMessage("'hello' was sent before")
        else:
            self._open_conversation().stop()

    def _speak(self, command: Speak) -> None:
        if self._outgoing.has_line(command.line):
            raise BadMessage("this line is in use: a new line needs another number", command.line)
        if self._outgoing.open_lines(are_replies=False) >= _MAX_LINES:
            self._report(
                "too_many_lines",
                f"{_MAX_LINES} lines were not heard to their end: send 'heard' while a line is "
                "played, and 'interrupt' for a line that is dropped",
                command.line,
            )
            return
        line = SpokenLine(
            self._client,
            command,
            self._outgoing,
            shapes=self._shapes,
            name=self._name,
            logger=self._logger,
        )
        self._lines = [each for each in self._lines if each.is_running]
        self._lines.append(line)
        line.start()

    def _interrupt(self, command: Interrupt) -> None:
        # The line may have ended while this command was on its way, because the player has heard
        # the whole line or has interrupted it. So an unknown line is not an error.
        outgoing = self._outgoing.heard(command.line, command.heard_ms)
        if outgoing is None:
            return
        if command.line > 0:
            self._outgoing.end(outgoing, "interrupted")
            for line in self._lines:
                if line.number == command.line:
                    line.stop()
        elif self._conversation is not None:
            self._conversation.interrupt()

    def _start(self, command: Start) -> None:
        if self._conversation is not None:
            if not self._conversation.is_over:
                raise BadMessage("the engine has a conversation already: send 'stop' first")
            ended = [each for each in (*self._ended, self._conversation) if each.is_running]
            if len(ended) > _MAX_ENDING_CONVERSATIONS:
                raise BadMessage("earlier conversations are still closing: send 'start' later")
            self._ended = ended
        self._is_audio_refused = False
        self._conversation = EngineConversation(
            self._client,
            self._settings.session,
            command,
            self._outgoing,
            shapes=self._shapes,
            numbers=self._reply_numbers,
            name=self._name,
            logger=self._logger,
        )
        self._conversation.start()

    def _open_conversation(self) -> EngineConversation:
        if self._conversation is None or self._conversation.is_over:
            raise BadMessage("there is no conversation: send 'start' first")
        return self._conversation

    def _hear(self, audio: bytes) -> None:
        """Pass audio of the player to the conversation."""
        try:
            _require_samples(audio)
            self._open_conversation().put(audio)
            self._is_audio_refused = False
        except BadMessage as error:
            if not self._is_audio_refused:
                self._is_audio_refused = True
                self._report("bad_message", str(error))

    # Writing.

    def _write(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            self._outgoing.run()
        except ConnectionClosed:
            self.close()
        except Exception:
            self._logger.exception("%s: the writer failed", self._name)
            self.close()

    def _send(self, message: str | bytes) -> None:
        self._socket.send(message)

    def _report(self, code: str, message: str, line: int | None = None) -> None:
        self._outgoing.event(write_event("error", code=code, message=message, line=line))

    def _end(self, writer: threading.Thread, code: int, reason: str) -> None:
        """Stop everything that the engine has begun, and close the connection."""
        for line in self._lines:
            line.stop()
        if self._conversation is not None:
            self._conversation.stop()
        self._outgoing.flush(_FLUSH_SECONDS)
        self._outgoing.close()
        writer.join(_JOIN_SECONDS)
        if writer.is_alive():
            # The engine reads nothing. A send in progress ends when the socket is shut down.
            self._shut_down()
            writer.join(_JOIN_SECONDS)
        self._socket.close(code, reason)
        deadline = Deadline(_JOIN_SECONDS, "ending the lines and conversations of the engine")
        for line in self._lines:
            line.join(deadline)
        for conversation in (*self._ended, self._conversation):
            if conversation is not None:
                conversation.join(deadline)

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # the engine may have closed the connection
            self._socket.socket.shutdown(socket.SHUT_RDWR)


def _require_samples(audio: bytes) -> None:
    if len(audio) % 2:
        raise BadMessage(f"audio must be 16-bit samples, got {len(audio)} bytes")


def _read_hello(message: str | bytes | None) -> Hello:
    command = None
    if isinstance(message, str):
        command = read_command(message, tuple(SHAPE_SETS))
    if not isinstance(command, Hello):
        raise BadMessage("the first message must be 'hello'")
    return command


def _is_equal(token: str, sent: str) -> bool:
    return hmac.compare_digest(token.encode(), sent.encode())
