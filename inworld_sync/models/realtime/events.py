"""
Defines the events about the session, the user's turn and the conversation.

There is one class for each message. ``type`` is the message's name on the wire. A handler can be
registered by the class or by this name. A message with an older name has the same class. The events
about responses are in ``response_events``.
Sources: Inworld Realtime reference, server events; logs of clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from inworld_sync.models.realtime.base import RealtimeEvent
from inworld_sync.models.realtime.items import Item
from inworld_sync.models.realtime.responses import ErrorInfo
from inworld_sync.models.realtime.session import SessionInfo

__all__ = [
    "ErrorReported",
    "IdleTimeoutTriggered",
    "InputAudioCleared",
    "InputAudioCommitted",
    "InputSpeechStarted",
    "InputSpeechStopped",
    "ItemAdded",
    "ItemDeleted",
    "ItemDone",
    "ItemRetrieved",
    "ItemTruncated",
    "PingReceived",
    "RateLimit",
    "RateLimitsUpdated",
    "SessionCreated",
    "SessionUpdated",
    "TurnSuggested",
    "TurnSuggestionRevoked",
    "UserTranscriptCompleted",
    "UserTranscriptFailed",
    "UserTranscriptUpdated",
    "VoiceLabel",
]


@attrs.frozen
class SessionCreated(RealtimeEvent):
    """The session is open, with the service's default settings."""

    type: ClassVar[str] = "session.created"

    session: SessionInfo


@attrs.frozen
class SessionUpdated(RealtimeEvent):
    """
    The settings of the session have changed.

    The service also sends this event after each cycle of its memory.
    """

    type: ClassVar[str] = "session.updated"

    session: SessionInfo


@attrs.frozen
class InputSpeechStarted(RealtimeEvent):
    """
    The user has begun to speak.

    Attributes:
        audio_start_ms: The position of this moment in the audio that was sent.
        item_id: The id of the item that this speech will become.
    """

    type: ClassVar[str] = "input_audio_buffer.speech_started"

    audio_start_ms: int | None = None
    item_id: str | None = None


@attrs.frozen
class InputSpeechStopped(RealtimeEvent):
    """
    The user has stopped speaking.

    Attributes:
        audio_end_ms: The position of this moment in the audio that was sent.
        item_id: The id of the item that this speech will become.
    """

    type: ClassVar[str] = "input_audio_buffer.speech_stopped"

    audio_end_ms: int | None = None
    item_id: str | None = None


@attrs.frozen
class InputAudioCommitted(RealtimeEvent):
    """The user's turn has ended and becomes an item."""

    type: ClassVar[str] = "input_audio_buffer.committed"

    item_id: str
    previous_item_id: str | None = None


@attrs.frozen
class InputAudioCleared(RealtimeEvent):
    """The service has dropped the user's audio that was not committed."""

    type: ClassVar[str] = "input_audio_buffer.cleared"


@attrs.frozen
class IdleTimeoutTriggered(RealtimeEvent):
    """The user was silent for ``idle_timeout_ms``, so the service starts a response."""

    type: ClassVar[str] = "input_audio_buffer.timeout_triggered"

    audio_start_ms: int | None = None
    audio_end_ms: int | None = None
    item_id: str | None = None


@attrs.frozen
class TurnSuggested(RealtimeEvent):
    """
    The service predicts that the user's turn has ended.

    Attributes:
        item_id: The id of the item that this speech will become.
        utterance_index: The number of the utterance in the turn.
        probability: The probability that the turn has ended, 0 to 1.
        trailing_silence_ms: The duration of the silence since the last speech.
        audio_duration_ms: The duration of the turn so far.
        inference_ms: The time that the prediction took.
    """

    type: ClassVar[str] = "input_audio_buffer.turn_suggestion"

    item_id: str | None = None
    utterance_index: int | None = None
    probability: float | None = None
    trailing_silence_ms: float | None = None
    audio_duration_ms: float | None = None
    inference_ms: float | None = None


@attrs.frozen
class TurnSuggestionRevoked(RealtimeEvent):
    """The prediction of :class:`TurnSuggested` was wrong. The user's turn continues."""

    type: ClassVar[str] = "input_audio_buffer.turn_suggestion_revoked"

    item_id: str | None = None
    utterance_index: int | None = None


@attrs.frozen
class ItemAdded(RealtimeEvent):
    """
    An item was added to the conversation. The item may still be empty.

    Attributes:
        item: The item that was added.
        previous_item_id: The id of the item before this item. None if the item is the first, or if
            the service leaves the id out, as for function calls.
    """

    type: ClassVar[str] = "conversation.item.added"

    item: Item
    previous_item_id: str | None = None


@attrs.frozen
class ItemDone(RealtimeEvent):
    """An item of the conversation is complete."""

    type: ClassVar[str] = "conversation.item.done"

    item: Item
    previous_item_id: str | None = None


@attrs.frozen
class ItemDeleted(RealtimeEvent):
    """An item was deleted from the conversation."""

    type: ClassVar[str] = "conversation.item.deleted"

    item_id: str


@attrs.frozen
class ItemTruncated(RealtimeEvent):
    """The audio of an item was truncated at *audio_end_ms*, counted from the audio's start."""

    type: ClassVar[str] = "conversation.item.truncated"

    item_id: str
    content_index: int
    audio_end_ms: int


@attrs.frozen
class ItemRetrieved(RealtimeEvent):
    """A requested item, as the service has it."""

    type: ClassVar[str] = "conversation.item.retrieved"

    item: Item


@attrs.frozen
class VoiceLabel:
    """An estimate about a speaker. *confidence* is 0 to 1."""

    label: str
    confidence: float = 0.0


@attrs.frozen
class UserTranscriptUpdated(RealtimeEvent):
    """
    The transcript of the user's turn so far.

    Attributes:
        item_id: The id of the item of the user's turn.
        transcript: The text of the whole turn so far. This text replaces the earlier transcript,
            and words may have changed.
        content_index: The index of the part of the item.
    """

    type: ClassVar[str] = "conversation.item.input_audio_transcription.delta"

    item_id: str
    transcript: str
    content_index: int = 0


@attrs.frozen
class UserTranscriptCompleted(RealtimeEvent):
    """
    The final transcript of the user's turn. This event may arrive more than once for a turn.

    Attributes:
        item_id: The id of the item of the user's turn.
        transcript: The text of the whole turn.
        content_index: The index of the part of the item.
        voice_profile: Estimates about the speaker by their subject, such as ``age``.
    """

    type: ClassVar[str] = "conversation.item.input_audio_transcription.completed"

    item_id: str
    transcript: str
    content_index: int = 0
    voice_profile: Mapping[str, tuple[VoiceLabel, ...]] = attrs.field(factory=dict)


@attrs.frozen
class UserTranscriptFailed(RealtimeEvent):
    """The service could not transcribe the user's speech."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.failed"

    item_id: str
    content_index: int = 0
    error: ErrorInfo = attrs.field(factory=ErrorInfo)


@attrs.frozen
class PingReceived(RealtimeEvent):
    """A ping of the service. *timestamp* is the ping's Unix time in ms. No answer is needed."""

    type: ClassVar[str] = "ping"

    timestamp: int | None = None


@attrs.frozen
class RateLimit:
    """A limit, its remaining amount, and the seconds until it is reset."""

    name: str = ""
    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None


@attrs.frozen
class RateLimitsUpdated(RealtimeEvent):
    """
    The remaining amounts of the account's limits.

    The event is documented, but was not observed yet.
    """

    type: ClassVar[str] = "rate_limits.updated"

    rate_limits: tuple[RateLimit, ...] = ()


@attrs.frozen
class ErrorReported(RealtimeEvent):
    """The service reports an error. After most errors the session continues."""

    type: ClassVar[str] = "error"

    error: ErrorInfo
