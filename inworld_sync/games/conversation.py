"""Runs a conversation with a character of a game: speech and text in both directions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import attrs

from inworld_sync.errors import (
    ConfigError,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
)
from inworld_sync.games.mouth_track import to_openxr
from inworld_sync.games.session_thread import OpenSession, SessionThread
from inworld_sync.games.threads import GameThread
from inworld_sync.games.tools import GameTools
from inworld_sync.games.voice import GameVoice
from inworld_sync.models.checks import require_seconds, require_whole
from inworld_sync.models.devices import AudioSource
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.realtime import (
    AudioDelta,
    InputSpeechStarted,
    InputSpeechStopped,
    ManualTurns,
    ProviderData,
    Session,
    TextDelta,
    TranscriptDelta,
    TtsTuning,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.models.tts import TimestampType
from inworld_sync.sessions.event_stream import require_callable
from inworld_sync.sessions.realtime.events import (
    SESSION_EVENT_CLASSES,
    Interrupted,
    ResponseStarted,
)
from inworld_sync.transport.forgotten import close_if_forgotten
from inworld_sync.wire.text import require_text

if TYPE_CHECKING:
    from inworld_sync.client import Inworld
    from inworld_sync.sessions.realtime.session import RealtimeSession

__all__ = ["Conversation"]

ConversationState: TypeAlias = Literal[
    "new", "connecting", "open", "reconnecting", "closed", "failed"
]

K = TypeVar("K")

_numbers = itertools.count(1)

# The service refuses a turn that has less audio than this.
_SHORTEST_TURN_MS = 100.0

# How often the conversation checks whether the connection is lost.
_CHECK_SECONDS = 0.25


@attrs.frozen(eq=False)
class _Listening:
    """One call of ``listen_to``, whose thread ends when another call follows."""

    microphone: AudioSource


class Conversation(GameVoice):
    """
    A conversation of the player with a character of the game, by speech and text.

    :meth:`start` returns at once. Threads of the package open the session and run all commands, in
    order. Commands wait until the session is open. The state is ``new``, ``connecting``, ``open``,
    ``reconnecting``, and at the end ``closed`` or ``failed``.

    When the player begins to speak, the character stops. The session then reports to the service
    how much of the speech was heard, so that the model knows what the player has heard.

    Args:
        client: The client. Only threads of the conversation use the client.
        session: The settings of the session. If ``provider_data`` is None, the conversation
            requests the times of words, which :attr:`mouth` and the handlers of words need.
        push_to_talk: Whether the player presses a key to speak; see :meth:`begin_talking`.
            Otherwise the service detects when the player speaks.
        tools_in_update: Whether the functions of the session run inside :meth:`update`, so that
            they may use the objects of the game. Otherwise they run on threads of the package.
        sample_rate_hz: The sample rate of the engine's mixer in Hz, 8000 to 48000. The speech of
            the session is converted to this rate.
        latency_ms: The time from the read of a sample until the sample is heard, 0 to 60000 ms.
        reconnect_timeout: For how many seconds the client tries to replace a lost connection; 0
            turns reconnecting off.

    Attributes:
        player_text: The transcript of the player's last turn.
        npc_text: The text of the newest reply, as far as it has arrived.
        is_user_speaking: Whether the service detects speech of the player.
        microphone_error: The error that ended the microphone of :meth:`listen_to`, or None.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self,
        client: Inworld,
        session: Session | None = None,
        *,
        push_to_talk: bool = False,
        tools_in_update: bool = True,
        sample_rate_hz: int = 24000,
        latency_ms: float = 0.0,
        reconnect_timeout: float = 30.0,
    ) -> None:
        if session is not None and not isinstance(session, Session):
            raise ConfigError(f"session must be a Session or None, got {type(session).__name__}")
        require_seconds("reconnect_timeout", reconnect_timeout, is_zero_allowed=True)
        super().__init__(sample_rate_hz, latency_ms)
        self.player_text = self.npc_text = ""
        self.is_user_speaking = False
        self.microphone_error: InworldError | None = None
        self._push_to_talk = push_to_talk
        self._is_talking = False
        self._talked_ms = 0.0
        self._tools = GameTools()
        settings = _settings(session or Session(), push_to_talk=push_to_talk)
        if tools_in_update and settings.tools is not None:
            settings = attrs.evolve(settings, tools=self._tools.bind(settings.tools))
        self._number = str(next(_numbers))
        self._thread = SessionThread(
            client, settings, reconnect_timeout, self._output, self._number
        )
        self._state: ConversationState = "new"
        self._error: InworldError | None = None
        self._is_received = False
        self._unchecked_seconds = 0.0
        self._handlers: list[tuple[type | str, Callable[..., object]]] = []
        # The call of `listen_to` whose microphone is read now; None if no microphone is read.
        self._listening: _Listening | None = None
        self._forgotten: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Conversation {self._state}>"

    # ---- state -------------------------------------------------------------------------------

    @property
    def state(self) -> ConversationState:
        """``new``, ``connecting``, ``open``, ``reconnecting``, ``closed`` or ``failed``."""
        return self._state

    @property
    def is_over(self) -> bool:
        """Whether the conversation is closed or failed."""
        return self._state in ("closed", "failed")

    @property
    def error(self) -> InworldError | None:
        """The error that ended the session, or prevented it from opening; otherwise None."""
        return self._error

    @property
    def session(self) -> RealtimeSession | None:
        """
        The session; None until it is open. Many of its methods wait for the service, so do not call
        them in the loop of the game.
        """
        opened = self._thread.opened
        return None if opened is None else opened.session

    @property
    def lost_input_ms(self) -> float:
        """
        How many milliseconds of the player's audio were dropped.

        While there is no connection, the last 30 seconds of audio are kept for the next connection.
        Older audio is dropped.
        """
        return self._thread.lost_input_ms

    # ---- commands ----------------------------------------------------------------------------

    def start(self) -> None:
        """
        Begin to open the session, and return at once.

        Raises:
            LocalProtocolError: The conversation was already started or closed.
        """
        if self._state != "new":
            raise LocalProtocolError(
                f"a conversation can be started once, and this one is {self._state}: make a new "
                "Conversation"
            )
        self._state = "connecting"
        self._thread.start()
        thread = self._thread
        self._forgotten = close_if_forgotten(
            self, f"conversation {self._number}", lambda: not thread.has_ended, thread.close
        )

    def say(self, text: str) -> None:
        """
        Send a text of the player, which the character answers.

        Raises:
            ConfigError: *text* is blank.
        """
        require_text(text)
        self._thread.put(lambda session: session.send_message(text))

    def send_audio(self, audio: bytes, sample_rate_hz: int = 24000) -> None:
        """
        Send audio of the player's microphone. Never waits.

        With ``push_to_talk``, audio is ignored while :attr:`is_talking` is False.

        Args:
            audio: 16-bit little-endian mono PCM.
            sample_rate_hz: The sample rate of *audio* in Hz, 8000 to 192000.

        Raises:
            ConfigError: *audio* is not bytes of whole samples, or the rate is out of its range.
        """
        require_whole("sample_rate_hz", sample_rate_hz, 8000, 192_000, " Hz")
        if not isinstance(audio, (bytes, bytearray, memoryview)):
            raise ConfigError(f"audio must be bytes, got {type(audio).__name__}")
        data = bytes(audio)
        if len(data) % 2:
            raise ConfigError(f"audio must have whole 16-bit samples, got {len(data)} bytes")
        if data and (self._is_talking or not self._push_to_talk) and not self.is_over:
            self._talked_ms += len(data) / 2 * 1000.0 / sample_rate_hz
            self._thread.put_audio(data, sample_rate_hz)

    def listen_to(self, microphone: AudioSource | None) -> None:
        """
        Send the audio of a microphone from now on. A thread of the package reads the microphone.

        Args:
            microphone: The microphone. The conversation does not close it, and stops reading it
                when the conversation is over. None ends the sending.

        Raises:
            ConfigError: *microphone* is not an :class:`~inworld_sync.AudioSource`.
        """
        if microphone is None or self.is_over:
            self._listening = None
            return
        if not isinstance(microphone, AudioSource):
            raise ConfigError(
                f"microphone must be an AudioSource or None, got {type(microphone).__name__}"
            )
        if self._listening is not None and self._listening.microphone is microphone:
            return
        self._listening = listening = _Listening(microphone)
        thread = GameThread(
            f"microphone-{self._number}", lambda: self._listen(listening), microphone.close
        )
        thread.start()

    def begin_talking(self) -> None:
        """
        Begin a turn of the player. Call this when the key is pressed. The character stops speaking.

        Raises:
            LocalProtocolError: The conversation was made without ``push_to_talk``.
        """
        self._require_push_to_talk("begin_talking")
        if not self._is_talking:
            self.cancel()
            self._thread.put(lambda session: session.clear())
            self._talked_ms = 0.0
            self._is_talking = True

    def end_talking(self) -> None:
        """
        End the turn of the player. Call this when the key is released. The character answers.

        A turn with less than 100 ms of audio is ignored.

        Raises:
            LocalProtocolError: The conversation was made without ``push_to_talk``.
        """
        self._require_push_to_talk("end_talking")
        if self._is_talking:
            self._is_talking = False
            is_long = self._talked_ms >= _SHORTEST_TURN_MS
            self._thread.put(_commit if is_long else lambda session: session.clear())

    @property
    def is_talking(self) -> bool:
        """Whether :meth:`begin_talking` was called, and the turn has not ended."""
        return self._is_talking

    def on(self, kind: type[K] | str, handler: Callable[[K], object]) -> Callable[[K], object]:
        """
        Call *handler* inside :meth:`update` with every event of the given kind.

        Args:
            kind: An event class of a realtime session, the name of an event class, or the type of a
                message.
            handler: Called with the event.

        Returns:
            *handler*.

        Raises:
            ConfigError: No event has the class *kind*, or *kind* is neither a class nor a text.
        """
        require_callable(handler, "handler")
        if not isinstance(kind, (type, str)):
            raise ConfigError(f"kind must be a class or a name, got {kind!r}")
        emitted = (*SESSION_EVENT_CLASSES, StreamEnded)
        if isinstance(kind, type) and not any(issubclass(each, kind) for each in emitted):
            raise ConfigError(f"a conversation never emits {kind.__name__}")
        self._handlers.append((kind, handler))
        return handler

    def cancel(self) -> None:
        """
        Interrupt the character. The speech stops at once, and the reply is cancelled.

        The session reports to the service how much was heard. The conversation continues.
        """
        if self._thread.opened is not None and not self.is_over:
            self._output.stop()
            self._words.forget(self._heard)
            self._thread.put_first(lambda session: session.interrupt())

    def close(self) -> None:
        """End the conversation, and return at once. May be called twice."""
        if not self.is_over:
            self._state = "closed"
        self._output.stop()
        self._output.close()
        self._words.forget(self._heard)
        if self._forgotten is not None:
            self._forgotten()
        self._end()

    def _end(self) -> None:
        """End the threads and the tool calls. The microphone is not read after its next block."""
        self._listening = None
        self._tools.close()
        self._thread.close()

    # ---- update ------------------------------------------------------------------------------

    def update(self, dt: float, budget_ms: float = 1.0) -> int:
        """See :meth:`GameVoice.update`."""
        processed = super().update(dt, budget_ms)
        self._unchecked_seconds += dt
        return processed

    def _handle_next(self) -> bool:
        if self._state == "connecting":
            self._check_open()
        elif self._state == "closed":
            return False
        opened = self._thread.opened
        if self._tools.run_next():
            return True
        if opened is None or self._is_received:
            return False
        event = self._next_event(opened)
        if event is None:
            return False
        self._handle(event)
        for kind, handler in self._handlers:
            if isinstance(event, kind) if isinstance(kind, type) else _is_named(event, kind):
                self._calls.append(self._call_of(handler, event))
        return True

    def _check_open(self) -> None:
        if self._thread.opened is not None:
            self._state = "open"
        elif self._thread.failure is not None:
            self._error, self._state = self._thread.failure, "failed"
            self._end()

    def _next_event(self, opened: OpenSession) -> object | None:
        session = opened.session
        ended = session.ended
        if ended is None and not session.waiting_bytes:
            return None
        try:
            return opened.events.get(timeout=0)
        except DeadlineExceeded:
            if ended is None:
                return None
        except InworldError as error:
            if session.ended is None:
                self._error = error  # the queue of events has overflowed
        self._is_received = True
        ended = session.ended
        if ended is not None and ended.error is not None:
            self._error = ended.error
        return ended or StreamEnded("client", error=self._error)

    def _handle(self, event: object) -> None:
        if isinstance(event, AudioDelta):
            self._words.add(event.item_id, event.words, event.tokens)
            visemes, source = to_openxr((), event.phonemes)
            if visemes:
                self._output.track(event.item_id).add_visemes(visemes, source)
        elif isinstance(event, (TranscriptDelta, TextDelta)):
            self.npc_text += event.delta
        elif isinstance(event, ResponseStarted):
            self.npc_text = ""
        elif isinstance(event, (UserTranscriptUpdated, UserTranscriptCompleted)):
            self.player_text = event.transcript
        elif isinstance(event, InputSpeechStarted):
            self.is_user_speaking = True
        elif isinstance(event, InputSpeechStopped):
            self.is_user_speaking = False
        elif isinstance(event, Interrupted):
            self._words.forget(self._heard)

    def _is_idle(self) -> bool:
        # Speech that was received before the end may not have reached the output yet.
        session = self.session
        return (session is None or not session.is_playing) and self._output.is_idle

    def _after_update(self) -> bool:
        if self._is_received and not self.is_over and self._is_idle():
            self._state = "closed" if self._error is None else "failed"
            self._end()
        elif self._state in ("open", "reconnecting") and self._unchecked_seconds >= _CHECK_SECONDS:
            self._unchecked_seconds = 0.0
            session = self.session
            # After the end of the session, the state stays until the last speech was heard.
            if session is not None and not self._is_received:
                self._state = "reconnecting" if session.stats is None else "open"
        return self.is_over

    def _require_push_to_talk(self, method: str) -> None:
        if not self._push_to_talk:
            raise LocalProtocolError(
                f"{method}() needs Conversation(push_to_talk=True); without it, the service "
                "detects when the player speaks"
            )

    # ---- the thread of the microphone --------------------------------------------------------

    def _listen(self, listening: _Listening) -> None:
        microphone = listening.microphone
        try:
            rate_hz = microphone.sample_rate_hz
            for block in microphone:
                if self._listening is not listening:
                    return
                self.send_audio(block, rate_hz)
        except InworldError as error:
            self.microphone_error = error
        except Exception as error:  # noqa: BLE001 - the source of a user may raise anything
            failure = InworldError(f"the microphone raised {type(error).__name__}")
            failure.__cause__ = error
            self.microphone_error = failure
        finally:
            if self._listening is listening:
                self._listening = None


def _commit(session: RealtimeSession) -> None:
    session.commit()
    session.respond()


def _is_named(event: object, kind: str) -> bool:
    return kind in (getattr(event, "type", None), type(event).__name__)


def _settings(session: Session, *, push_to_talk: bool) -> Session:
    if push_to_talk:
        session = attrs.evolve(session, turn_detection=ManualTurns())
    if session.provider_data is None:
        tuning = TtsTuning(timestamp_type=TimestampType.WORD)
        session = attrs.evolve(session, provider_data=ProviderData(tts=tuning))
    return session
