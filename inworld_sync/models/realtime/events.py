"""
Events about the session, the user's turn and the conversation.

One class for each message, named for what happened. ``type`` is the message's name on the wire,
which handlers may be registered by; older names of the same message are read as the same class.
The events about responses are in ``response_events``.
Source: Inworld Realtime reference, server events, and clients that log them.
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
    """The session is open, with the service's own settings."""

    type: ClassVar[str] = "session.created"

    session: SessionInfo


@attrs.frozen
class SessionUpdated(RealtimeEvent):
    """
    The session's settings are these now.

    It also comes unasked, after each cycle of the memory.
    """

    type: ClassVar[str] = "session.updated"

    session: SessionInfo


@attrs.frozen
class InputSpeechStarted(RealtimeEvent):
    """
    The user began to speak.

    Attributes:
        audio_start_ms: The position in the audio that was sent.
        item_id: The item that this speech will become.
    """

    type: ClassVar[str] = "input_audio_buffer.speech_started"

    audio_start_ms: int | None = None
    item_id: str | None = None


@attrs.frozen
class InputSpeechStopped(RealtimeEvent):
    """
    The user ceased to speak.

    Attributes:
        audio_end_ms: The position in the audio that was sent.
        item_id: The item that this speech will become.
    """

    type: ClassVar[str] = "input_audio_buffer.speech_stopped"

    audio_end_ms: int | None = None
    item_id: str | None = None


@attrs.frozen
class InputAudioCommitted(RealtimeEvent):
    """The user's turn is over and will be an item."""

    type: ClassVar[str] = "input_audio_buffer.committed"

    item_id: str
    previous_item_id: str | None = None


@attrs.frozen
class InputAudioCleared(RealtimeEvent):
    """The audio that was not committed is dropped."""

    type: ClassVar[str] = "input_audio_buffer.cleared"


@attrs.frozen
class IdleTimeoutTriggered(RealtimeEvent):
    """The user was silent for so long that the service speaks again."""

    type: ClassVar[str] = "input_audio_buffer.timeout_triggered"

    audio_start_ms: int | None = None
    audio_end_ms: int | None = None
    item_id: str | None = None


@attrs.frozen
class TurnSuggested(RealtimeEvent):
    """
    The service predicts that the user's turn is over.

    Attributes:
        item_id: The item that this speech will become.
        utterance_index: Counts the utterances of the turn.
        probability: 0 to 1.
        trailing_silence_ms: Silence so far.
        audio_duration_ms: Length of the turn so far.
        inference_ms: How long the prediction took.
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
    """The prediction was wrong: the turn goes on."""

    type: ClassVar[str] = "input_audio_buffer.turn_suggestion_revoked"

    item_id: str | None = None
    utterance_index: int | None = None


@attrs.frozen
class ItemAdded(RealtimeEvent):
    """
    An item joined the conversation, perhaps still empty.

    Attributes:
        item: The item.
        previous_item_id: The item before it; None also if the service leaves it out, as for
            function calls.
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
    """An item's audio is cut, in milliseconds from its start."""

    type: ClassVar[str] = "conversation.item.truncated"

    item_id: str
    content_index: int
    audio_end_ms: int


@attrs.frozen
class ItemRetrieved(RealtimeEvent):
    """An item that was requested, as the service has it."""

    type: ClassVar[str] = "conversation.item.retrieved"

    item: Item


@attrs.frozen
class VoiceLabel:
    """An estimate about a speaker; *confidence* is 0 to 1."""

    label: str
    confidence: float = 0.0


@attrs.frozen
class UserTranscriptUpdated(RealtimeEvent):
    """
    What the user seems to be saying.

    Attributes:
        item_id: The item of the user's turn.
        transcript: The whole turn so far; it replaces the earlier one and may drop words of it.
        content_index: The part of the item.
    """

    type: ClassVar[str] = "conversation.item.input_audio_transcription.delta"

    item_id: str
    transcript: str
    content_index: int = 0


@attrs.frozen
class UserTranscriptCompleted(RealtimeEvent):
    """
    What the user said; may come more than once for a turn, each time the whole.

    Attributes:
        item_id: The item of the user's turn.
        transcript: The whole turn.
        content_index: The part of the item.
        voice_profile: Estimates about the speaker by their subject, such as ``age``.
    """

    type: ClassVar[str] = "conversation.item.input_audio_transcription.completed"

    item_id: str
    transcript: str
    content_index: int = 0
    voice_profile: Mapping[str, tuple[VoiceLabel, ...]] = attrs.field(factory=dict)


@attrs.frozen
class UserTranscriptFailed(RealtimeEvent):
    """The user's speech could not be written down."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.failed"

    item_id: str
    content_index: int = 0
    error: ErrorInfo = attrs.field(factory=ErrorInfo)


@attrs.frozen
class PingReceived(RealtimeEvent):
    """The service is alive; *timestamp* is its Unix time in milliseconds. No answer is due."""

    type: ClassVar[str] = "ping"

    timestamp: int | None = None


@attrs.frozen
class RateLimit:
    """A limit, what is left of it, and when it is whole again."""

    name: str
    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None


@attrs.frozen
class RateLimitsUpdated(RealtimeEvent):
    """What is left of the account's limits; documented, and not yet seen."""

    type: ClassVar[str] = "rate_limits.updated"

    rate_limits: tuple[RateLimit, ...] = ()


@attrs.frozen
class ErrorReported(RealtimeEvent):
    """Something went wrong; most often the session goes on."""

    type: ClassVar[str] = "error"

    error: ErrorInfo
