"""
How a realtime session listens: who decides that a turn has ended, and what writes it down.

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
    The service ends a turn by what was said; its own default.

    Attributes:
        eagerness: How soon a pause counts as an end.
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
        threshold: 0 to 1; how sure it must be that it hears speech. Its default is 0.5.
        prefix_padding_ms: Audio kept from before the speech was noticed; its default is 300.
        silence_duration_ms: Silence that ends a turn; its default is 500.
        idle_timeout_ms: Silence after a response that makes it speak again.
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
    """The application ends the user's turns: it commits the audio and asks for responses."""


TurnDetection: TypeAlias = SemanticVad | ServerVad | ManualTurns


@attrs.frozen(kw_only=True)
class InputTranscription(Setting):
    """
    What writes down the user's speech.

    Attributes:
        model: Such as ``inworld/inworld-stt-1``; a name that the service does not know makes it
            drop the whole update.
        language: BCP-47.
        prompt: Words and names to expect.
    """

    model: str | None = optional(checks.string)
    language: str | None = optional(checks.string)
    prompt: str | None = optional(checks.string)
