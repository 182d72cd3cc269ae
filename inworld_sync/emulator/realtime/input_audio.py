"""
Implements the input audio buffer, which divides the user's audio into turns and transcribes the
turns.

Times are milliseconds of appended audio since the session began.

Threads: the connection's thread uses the buffer. Other threads call only ``restart_idle``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs

from inworld_sync.emulator.realtime.backchannel import Backchannel
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.conversation import Conversation, new_item
from inworld_sync.emulator.realtime.events import EventSender, InvalidRequest, new_id
from inworld_sync.emulator.realtime.formats import SampleReader
from inworld_sync.emulator.realtime.settings import RealtimeSettings
from inworld_sync.emulator.realtime.turn_taking import turn_settings
from inworld_sync.emulator.recognition.events import (
    PartialTranscript,
    SpeechEvent,
    SpeechStarted,
    SpeechStopped,
)
from inworld_sync.emulator.recognition.listener import Listener
from inworld_sync.emulator.recognition.protocols import BYTES_PER_MS
from inworld_sync.emulator.recognition.turns import end_of_turn_confidence
from inworld_sync.emulator.shared_state import SharedState

__all__ = ["InputAudioBuffer", "SpeechInputView", "transcribe"]

_logger = logging.getLogger("inworld_sync.emulator")
# Source: the error of OpenAI's service for a shorter commit.
_MIN_COMMIT_MS = 100
# The interval at which the pause in a turn is checked.
_STEP_BYTES = 100 * BYTES_PER_MS
# The silence after which the end of a turn is suggested. Source: a sample in the reference.
_SUGGESTION_MS = 200
_PROFILE = {
    "age": [{"label": "adult", "confidence": 0.6}],
    "gender": [{"label": "unknown", "confidence": 0.5}],
    "emotion": [{"label": "neutral", "confidence": 0.8}],
}


class SpeechInputView(Protocol):
    """The parts of a session that its input audio buffer uses."""

    shared: SharedState
    events: EventSender
    conversation: Conversation
    settings: RealtimeSettings

    def user_speaks(self) -> None:
        """Handle the start of the user's speech."""
        ...

    def turn_ended(self) -> None:
        """Handle a turn of the user that is now in the conversation."""
        ...


@attrs.define
class _Turn:
    """
    The turn that is not committed yet.

    Attributes:
        item_id: The id of the turn's item.
        is_speaking: Whether the turn has speech.
        began_ms: The start of the speech.
        partial: The last partial transcript.
        emitted: The text that was sent as deltas.
        suggestions: How often the end of the turn was suggested.
        is_suggested: Whether the end of the turn is suggested now.
    """

    item_id: str = attrs.field(factory=lambda: new_id("item"))
    is_speaking: bool = False
    began_ms: int = 0
    partial: str = ""
    emitted: str = ""
    suggestions: int = 0
    is_suggested: bool = False


class InputAudioBuffer:
    """
    Detects and transcribes the turns of one session.

    Args:
        session: The session.
        config: The settings of the session; see ``configure``.
    """

    def __init__(self, session: SpeechInputView, config: SessionConfig) -> None:
        self._session = session
        self._send = session.events.send
        self._config = config
        self._settings = turn_settings(config)
        self._reader = SampleReader(config.input_format)
        self._listener: Listener | None = None
        self._listener_began_ms = 0
        self._processed_bytes = 0
        self._uncommitted_bytes = 0
        self._turn = _Turn()
        self._backchannel = Backchannel(session.shared, session.events)
        self._idle_since_ms: int | None = None

    def configure(self, config: SessionConfig) -> None:
        """Apply new settings. A switch to or from manual turns drops uncommitted audio."""
        old, self._config = self._config, config
        settings = turn_settings(config)
        if config.input_format != old.input_format:
            self._reader = SampleReader(config.input_format)
        if settings.is_manual != self._settings.is_manual:
            self._drop()
        self._settings = settings
        if self._listener is not None:
            self._listener.settings = settings

    def append(self, audio: bytes) -> None:
        """Process audio in the format of the session."""
        pcm = self._reader.feed(audio)
        for at in range(0, len(pcm), _STEP_BYTES):
            step = pcm[at : at + _STEP_BYTES]
            listener = self._open_listener()
            self._processed_bytes += len(step)
            self._uncommitted_bytes += len(step)
            self._handle(self._recognized(partial(listener.feed, step)))
            if self._turn.is_speaking:
                self._backchannel.listen(self._processed_ms, listener.pause_ms, self._config)
                self._suggest(listener.pause_ms)
            self._notice_idleness()

    def commit(self) -> None:
        """
        End the user's turn now.

        Raises:
            InvalidRequest: There is less than 100 ms of audio.
        """
        waiting_ms = self._uncommitted_bytes / BYTES_PER_MS
        if waiting_ms < _MIN_COMMIT_MS:
            raise InvalidRequest(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{_MIN_COMMIT_MS}ms of audio, but buffer only has {waiting_ms:.2f}ms of audio.",
            )
        events = self._recognized(self._open_listener().end_turn)
        self._handle(events)
        if not events and self._uncommitted_bytes:
            self._commit("", responds=False)

    def clear(self) -> None:
        """Discard the audio that is not committed."""
        self._drop()
        self._send("input_audio_buffer.cleared")

    def restart_idle(self) -> None:
        """Start to count the user's silence, because a reply has ended."""
        self._idle_since_ms = self._processed_ms

    @property
    def _processed_ms(self) -> int:
        return self._processed_bytes // BYTES_PER_MS

    def _open_listener(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(self._session.shared.speech_engine, self._settings)
            self._listener_began_ms = self._processed_ms
        return self._listener

    def _drop(self) -> None:
        self._listener = None
        self._uncommitted_bytes = 0
        self._turn = _Turn()

    def _handle(self, events: list[SpeechEvent]) -> None:
        for event in events:
            item_id = self._turn.item_id
            if isinstance(event, SpeechStarted):
                self._start(event)
            elif isinstance(event, PartialTranscript):
                if self._config.transcribes:
                    self._send_partial(event.text)
                self._turn.partial = event.text
            elif isinstance(event, SpeechStopped):
                end_ms = self._listener_began_ms + event.at_ms
                kind = "input_audio_buffer.speech_stopped"
                self._send(kind, audio_end_ms=end_ms, item_id=item_id)
            else:
                detection = self._config.turn_detection
                # Noise without words needs no reply.
                responds = detection is not None and detection.get("create_response") is not False
                self._commit(event.text, responds=responds and bool(event.text))

    def _start(self, event: SpeechStarted) -> None:
        self._turn.is_speaking = True
        self._turn.began_ms = self._listener_began_ms + event.at_ms
        self._backchannel.start_turn(self._turn.began_ms)
        self._idle_since_ms = None
        detection = self._config.turn_detection or {}
        padding = detection.get("prefix_padding_ms")
        start_ms = max(0, self._turn.began_ms - (padding if isinstance(padding, int) else 0))
        self._send(
            "input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._turn.item_id
        )
        if detection.get("interrupt_response") is not False:
            self._session.user_speaks()

    def _recognized(self, recognize: Callable[[], list[SpeechEvent]]) -> list[SpeechEvent]:
        """Return the events of *recognize*. If the engine fails, only the turn fails."""
        try:
            return recognize()
        except Exception as error:
            _logger.exception("a turn of the user could not be transcribed")
            item_id = self._turn.item_id
            self._add_item()
            self._drop()
            failure = {
                "type": "transcription_error",
                "code": "audio_unintelligible",
                "message": f"{type(error).__name__}: {error}",
                "param": None,
            }
            kind = "conversation.item.input_audio_transcription.failed"
            self._send(kind, item_id=item_id, content_index=0, error=failure)
            return []

    def _commit(self, text: str, *, responds: bool) -> None:
        turn = self._turn
        seconds = self._uncommitted_bytes / BYTES_PER_MS / 1000
        self._add_item()
        self._turn = _Turn()
        transcribe(
            self._session,
            self._config,
            turn.item_id,
            text,
            emitted=turn.emitted,
            seconds=seconds,
        )
        if responds:
            self._session.turn_ended()

    def _send_partial(self, text: str) -> None:
        """Send a partial transcript: the whole text, or only the new words, as the settings say."""
        turn, settings = self._turn, self._session.settings
        if not settings.rolling_transcription and settings.stable_transcription:
            # Words on which two partial transcripts do not agree may still change.
            text = _common_words(turn.partial, text)
            if len(text) <= len(turn.emitted) or not text.startswith(turn.emitted):
                return
        _send_delta(self._session, turn.item_id, text, turn.emitted)
        turn.emitted = text

    def _add_item(self) -> None:
        """Add the uncommitted audio to the conversation, as a message of the user."""
        item_id = self._turn.item_id
        self._uncommitted_bytes = 0
        conversation = self._session.conversation
        previous = conversation.last_id
        self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        content = [{"type": "input_audio", "transcript": None}]
        item = new_item("message", status="completed", role="user", content=content)
        item["id"] = item_id
        conversation.add(item)
        conversation.finish(item)

    def _suggest(self, pause_ms: int) -> None:
        """Suggest the end of the turn at a pause. Revoke the suggestion when speech continues."""
        kind = (self._config.turn_detection or {}).get("type")
        if kind != "semantic_vad" or not self._session.settings.turn_suggestions:
            return
        turn, is_pause = self._turn, pause_ms >= _SUGGESTION_MS
        if is_pause == turn.is_suggested:
            return
        turn.is_suggested = is_pause
        turn.suggestions += is_pause
        place: Json = {"item_id": turn.item_id, "utterance_index": turn.suggestions - 1}
        if not is_pause:
            self._send("input_audio_buffer.turn_suggestion_revoked", **place)
            return
        self._send(
            "input_audio_buffer.turn_suggestion",
            **place,
            probability=end_of_turn_confidence(turn.partial),
            trailing_silence_ms=pause_ms,
            audio_duration_ms=self._processed_ms - turn.began_ms,
            inference_ms=0,
        )

    def _notice_idleness(self) -> None:
        """Respond after a silence of ``idle_timeout_ms``, if the client has set this time."""
        detection = self._config.turn_detection or {}
        timeout_ms, since_ms = detection.get("idle_timeout_ms"), self._idle_since_ms
        if not isinstance(timeout_ms, int) or since_ms is None or self._turn.is_speaking:
            return
        if self._processed_ms - since_ms < timeout_ms:
            return
        self._idle_since_ms = None
        self._send(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=since_ms,
            audio_end_ms=self._processed_ms,
            item_id=self._turn.item_id,
        )
        self._commit("", responds=True)


def transcribe(
    session: SpeechInputView,
    config: SessionConfig,
    item_id: str,
    text: str,
    *,
    emitted: str = "",
    seconds: float = 0.0,
) -> None:
    """
    Store a transcript in the user's item, and send it if the session has transcription.

    Args:
        session: The session.
        config: The settings of the session.
        item_id: The id of the user's message.
        text: The transcript.
        emitted: The part of the transcript that was sent.
        seconds: The length of the user's audio.
    """
    content = [{"type": "input_audio", "transcript": text}]
    session.conversation.change(item_id, content=content)
    if not config.transcribes:
        return
    settings = session.settings
    is_addition = settings.rolling_transcription or not settings.stable_transcription
    if text and text != emitted and (is_addition or text.startswith(emitted)):
        _send_delta(session, item_id, text, emitted)
    kind = "conversation.item.input_audio_transcription.completed"
    place: Json = {"item_id": item_id, "content_index": 0}
    if config.branch("stt").get("voice_profile") is True:
        place["providerData"] = {"voiceProfile": _PROFILE}
    if settings.transcription_usage:
        place["usage"] = {"type": "duration", "seconds": round(seconds, 3)}
    for _ in range(1 + session.settings.repeats_completed):
        session.events.send(kind, **place, transcript=text)


def _common_words(one: str, other: str) -> str:
    """Return the words with which both texts begin."""
    pairs = zip(one.split(" "), other.split(" "), strict=False)
    return " ".join(word for word, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _send_delta(session: SpeechInputView, item_id: str, text: str, emitted: str) -> None:
    """Send a transcript without its prefix *emitted*. With rolling transcription, send it all."""
    delta = text if session.settings.rolling_transcription else text.removeprefix(emitted)
    kind = "conversation.item.input_audio_transcription.delta"
    session.events.send(kind, item_id=item_id, content_index=0, delta=delta)
