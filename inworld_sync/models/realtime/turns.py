"""
Defines the settings for turn detection, transcription and noise reduction of the user's speech.

Source: Inworld Realtime reference, ``audio.input``.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, get_args

import attrs

from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.base import Setting

__all__ = [
    "Eagerness",
    "InputTranscription",
    "ManualTurns",
    "NoiseReduction",
    "SemanticVad",
    "ServerVad",
    "TurnDetection",
]

Eagerness: TypeAlias = Literal["low", "medium", "high", "auto"]
NoiseReduction: TypeAlias = Literal["near_field", "far_field", "off"]


@attrs.frozen(kw_only=True)
class SemanticVad(Setting):
    """
    The service ends a turn by the meaning of the words. This is the service's default.

    Attributes:
        eagerness: How soon a pause ends the turn.
        create_response: Whether the end of a turn starts a response.
        interrupt_response: Whether speech cancels the response in progress.
    """

    type: ClassVar[str] = "semantic_vad"

    eagerness: Eagerness | None = optional(checks.one_of(get_args(Eagerness)))
    create_response: bool | None = optional(checks.flag)
    interrupt_response: bool | None = optional(checks.flag)


@attrs.frozen(kw_only=True)
class ServerVad(Setting):
    """
    The service ends a turn by silence alone.

    Attributes:
        threshold: Audio counts as speech if its probability of speech is at least this, 0 to 1;
            default 0.5.
        prefix_padding_ms: How much audio from before the detected speech is used; default 300.
        silence_duration_ms: The silence that ends a turn; default 500.
        idle_timeout_ms: If the user is silent for this long after a response, the service starts
            another response.
        create_response: Whether the end of a turn starts a response.
        interrupt_response: Whether speech cancels the response in progress.
    """

    type: ClassVar[str] = "server_vad"

    threshold: float | None = optional(checks.number(0, 1))
    prefix_padding_ms: int | None = optional(checks.whole(0, unit=" ms"))
    silence_duration_ms: int | None = optional(checks.whole(0, unit=" ms"))
    idle_timeout_ms: int | None = optional(checks.whole(0, unit=" ms"))
    create_response: bool | None = optional(checks.flag)
    interrupt_response: bool | None = optional(checks.flag)


@attrs.frozen
class ManualTurns:
    """The application ends the user's turns: it commits the audio and requests responses."""


TurnDetection: TypeAlias = SemanticVad | ServerVad | ManualTurns


@attrs.frozen(kw_only=True)
class InputTranscription(Setting):
    """
    The transcription of the user's speech.

    Attributes:
        model: A model such as ``inworld/inworld-stt-1``. The service ignores the whole update if
            the model is unknown.
        language: The language of the speech, as a BCP-47 tag.
        prompt: Words and names that are likely in the speech.
    """

    model: str | None = optional(checks.string)
    language: str | None = optional(checks.string)
    prompt: str | None = optional(checks.string)
