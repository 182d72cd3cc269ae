"""
Defines the settings of a realtime session, and the session as the service describes it.

Source: Inworld Realtime reference, the ``session`` object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, TypeAlias, TypeVar, get_args

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.realtime.base import Extensible, Setting
from inworld_sync.models.realtime.formats import AudioFormat, audio_format
from inworld_sync.models.realtime.provider_data import ProviderData
from inworld_sync.models.realtime.tools import Tool, ToolChoice, check_tool_choice, to_tools
from inworld_sync.models.realtime.turns import InputTranscription, NoiseReduction, TurnDetection

__all__ = [
    "MemoryState",
    "Modality",
    "Prompt",
    "RetentionRatio",
    "Session",
    "SessionInfo",
    "modalities",
    "output_limit",
]

_T = TypeVar("_T")

Modality: TypeAlias = Literal["audio", "text"]

MAX_OUTPUT_TOKENS = 4096


@attrs.frozen
class RetentionRatio:
    """
    Remove the oldest items when the conversation is too large for the model.

    Attributes:
        retention_ratio: The share of the conversation that stays, 0 to 1.
    """

    type: ClassVar[str] = "retention_ratio"

    retention_ratio: float = attrs.field(validator=checks.number(0, 1))


@attrs.frozen(kw_only=True)
class Prompt(Setting):
    """A stored prompt, its version, and the values of its variables."""

    id: str = attrs.field(validator=checks.text)
    version: str | None = optional(checks.string)
    variables: Mapping[str, object] | None = optional(checks.mapping)


def modalities(value: Iterable[str] | None) -> tuple[Modality, ...] | None:
    """Return output modalities as a tuple."""
    found = checks.to_tuple(value)
    if found is None:
        return None
    known: tuple[Modality, ...] = tuple(each for each in get_args(Modality) if each in found)
    if not found or len(known) != len(found):
        raise ConfigError(f"output_modalities must be a list of audio, text or both, got {found!r}")
    return known


def output_limit(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Require a number of tokens that the service accepts, or ``inf``."""
    if value is None or value == "inf":
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_OUTPUT_TOKENS:
        raise ConfigError(f"{field.name} must be 1 to {MAX_OUTPUT_TOKENS} or 'inf', got {value!r}")


def _truncation(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if value not in (None, "auto", "disabled") and not isinstance(value, RetentionRatio):
        raise ConfigError(f"{field.name} must be auto, disabled or a RetentionRatio, got {value!r}")


def _transcription(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if value not in (None, "off") and not isinstance(value, InputTranscription):
        raise ConfigError(f"{field.name} must be an InputTranscription or 'off', got {value!r}")


def _tracing(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if value not in ("auto", "off"):
        checks.mapping(_, field, value)


@attrs.frozen(kw_only=True)
class _ResponseSettings(Setting):
    """The settings that a session and a single response both have."""

    instructions: str | None = optional(checks.string)
    voice: str | None = optional(checks.string)
    tools: tuple[Tool, ...] | None = attrs.field(default=None, converter=to_tools)
    tool_choice: ToolChoice | None = optional(check_tool_choice)
    output_modalities: tuple[Modality, ...] | None = attrs.field(default=None, converter=modalities)
    temperature: float | None = optional(checks.number(0, 2))
    max_output_tokens: int | Literal["inf"] | None = optional(output_limit)


@with_keyword_hints
@attrs.frozen(kw_only=True)
class Session(_ResponseSettings):
    """
    Settings of a session.

    A setting that is None does not change. The same class is used to open a session and
    to change an open session. ``"off"`` turns a feature off. The service accepts or refuses all
    settings of an update together.

    Attributes:
        model: The language model, as ``provider/model``. A change applies from the next response
            on.
        instructions: The system prompt.
        voice: A voice's id, such as ``Dennis``.
        tts_model: The speech model, such as ``inworld-tts-2``.
        speed: The speed of the speech, 0.25 to 1.5. 1 is the voice's normal speed.
        output_modalities: The kinds of output: ``audio``, ``text`` or both.
        input_format: The format of sent audio, in any form that ``audio_format`` accepts.
        output_format: The format of received audio, in any form that ``audio_format`` accepts.
        transcription: How the user's speech is transcribed, or ``off``.
        noise_reduction: ``near_field`` for a headset, ``far_field`` for a room, or ``off``.
        turn_detection: How the end of the user's turn is detected. With :class:`ManualTurns`, the
            application ends turns.
        tools: The tools that the model may call; an empty list means none.
        tool_choice: Whether the model calls tools: ``auto``, ``none``, ``required``, or the tool
            that must be called.
        temperature: The randomness of the model, 0 to 2.
        max_output_tokens: The maximum number of tokens of one response, 1 to 4096, or ``inf``.
        truncation: The action of the service when the conversation is too large for the model:
            ``auto``, ``disabled`` or a :class:`RetentionRatio`.
        provider_data: The service's extensions.
        prompt: A stored prompt instead of instructions.
        include: Further fields that the service is to send, such as
            ``item.input_audio_transcription.logprobs``.
        tracing: How the service traces the session: ``auto``, ``off``, or a mapping as the service
            documents it.
    """

    model: str | None = optional(checks.string)
    turn_detection: TurnDetection | None = optional(checks.instance(*get_args(TurnDetection)))
    transcription: InputTranscription | Literal["off"] | None = optional(_transcription)
    noise_reduction: NoiseReduction | None = optional(checks.one_of(get_args(NoiseReduction)))
    input_format: AudioFormat | None = attrs.field(default=None, converter=audio_format)
    output_format: AudioFormat | None = attrs.field(default=None, converter=audio_format)
    tts_model: str | None = optional(checks.string)
    speed: float | None = optional(checks.number(0.25, 1.5))
    truncation: Literal["auto", "disabled"] | RetentionRatio | None = optional(_truncation)
    provider_data: ProviderData | None = optional(checks.instance(ProviderData))
    prompt: Prompt | None = optional(checks.instance(Prompt))
    include: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    tracing: Literal["auto", "off"] | Mapping[str, object] | None = optional(_tracing)


@attrs.frozen(kw_only=True)
class MemoryState(Extensible):
    """
    The service's memory of the conversation.

    Attributes:
        version: A number that increases with each cycle.
        facts: The extracted facts, as strings or objects.
        summary: The summary of the conversation.
        context_text: The text of the facts and the summary in the model's context.
        turns_since_gen: The number of turns since the last cycle.
        total_turns: The number of turns of the session.
        items_trimmed: The number of items that were removed from the conversation.
    """

    version: int = 0
    facts: tuple[object, ...] = ()
    summary: str = ""
    context_text: str = ""
    turns_since_gen: int = 0
    total_turns: int = 0
    items_trimmed: int = 0


@attrs.frozen(kw_only=True)
class SessionInfo:
    """
    The session as the service describes it. A setting that the service leaves out is None.

    Attributes:
        id: The service's id for the session.
        expires_at: When the session ends, in seconds of Unix time. An update may change this time.
        model: The language model.
        instructions: The system prompt.
        output_modalities: The kinds of output: ``audio``, ``text`` or both.
        voice: The voice's id.
        tts_model: The speech model.
        speed: The speed of the speech. 1 is the voice's normal speed.
        input_format: The format of audio that the service expects.
        output_format: The format of audio that the service sends.
        turn_detection: The turn detection as the service sends it; None if the application ends
            turns.
        memory: The service's memory; None before its first cycle.
        raw: The service's whole session object, with all updates merged.
    """

    id: str | None = None
    expires_at: int | None = None
    model: str | None = None
    instructions: str | None = None
    output_modalities: tuple[str, ...] = ()
    voice: str | None = None
    tts_model: str | None = None
    speed: float | None = None
    input_format: AudioFormat | None = None
    output_format: AudioFormat | None = None
    turn_detection: Mapping[str, object] | None = None
    memory: MemoryState | None = None
    raw: Mapping[str, object] = attrs.field(factory=dict)
