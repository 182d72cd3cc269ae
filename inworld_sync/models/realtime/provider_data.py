"""
Defines the service's extensions of the OpenAI Realtime protocol.

All settings can be changed during a session, except for the two fields that are marked. None means
the service's default.
Source: Inworld Realtime reference, ``providerData``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import attrs

from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.base import Setting
from inworld_sync.models.tts import (
    DeliveryMode,
    TimestampTransport,
    TimestampType,
    delivery_mode_or_none,
    timestamp_transport_or_none,
    timestamp_type_or_none,
)

__all__ = [
    "Backchannel",
    "Caching",
    "DeciderKind",
    "Memory",
    "ProviderData",
    "Reasoning",
    "ReasoningEffort",
    "Responsiveness",
    "SegmenterStrategy",
    "SteeringHandling",
    "SttTuning",
    "TextGeneration",
    "TtsTuning",
    "UserTurnMode",
]

SegmenterStrategy: TypeAlias = Literal[
    "auto", "balanced", "sentence", "full_turn", "fast_start", "per_segment_context"
]
SteeringHandling: TypeAlias = Literal["repeat_each_chunk", "emit_once"]
UserTurnMode: TypeAlias = Literal["both", "audio_only", "text_only", "none"]
DeciderKind: TypeAlias = Literal["llm", "rule"]
ReasoningEffort: TypeAlias = Literal["NONE", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"]


@attrs.frozen(kw_only=True)
class SttTuning(Setting):
    """
    How the user's speech is recognized.

    Attributes:
        prompt: Words and names that are likely in the speech.
        voice_profile: Whether transcripts have estimates about the speaker.
        language_hints: BCP-47 tags, the most likely first.
        end_of_turn_confidence_threshold: As in :class:`~inworld_sync.TranscribeConfig`, 0 to 1.
        vad_threshold: Audio counts as speech if its probability of speech is at least this, 0 to 1.
        min_end_of_turn_silence_ms: The silence that ends a turn which sounds complete. The name on
            the wire is ``min_end_of_turn_silence``.
        max_turn_silence_ms: The silence that ends any turn. The name on the wire is
            ``max_turn_silence``.
    """

    prompt: str | None = optional(checks.string)
    voice_profile: bool | None = optional(checks.flag)
    language_hints: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    end_of_turn_confidence_threshold: float | None = optional(checks.number(0, 1))
    vad_threshold: float | None = optional(checks.number(0, 1))
    min_end_of_turn_silence_ms: int | None = optional(checks.whole(0, unit=" ms"))
    max_turn_silence_ms: int | None = optional(checks.whole(0, unit=" ms"))


@attrs.frozen(kw_only=True)
class TtsTuning(Setting):
    """
    How responses are synthesized.

    Attributes:
        segmenter_strategy: How the text is divided for synthesis.
        steering_handling: How often instructions for the voice within the text are applied.
        language: The language of the speech, as a BCP-47 tag.
        delivery_mode: How expressive the voice is.
        conversational: Whether synthesis uses the conversation. **It can be set only when a session
            opens.**
        user_turn_mode: Which parts of the user's turns synthesis uses. **It can be set only when a
            session opens.**
        timestamp_type: Whether the service sends times of words or of characters.
        timestamp_transport: Whether the times may arrive after their audio.
    """

    segmenter_strategy: SegmenterStrategy | None = optional(
        checks.one_of(get_args(SegmenterStrategy))
    )
    steering_handling: SteeringHandling | None = optional(checks.one_of(get_args(SteeringHandling)))
    language: str | None = optional(checks.string)
    delivery_mode: DeliveryMode | None = attrs.field(default=None, converter=delivery_mode_or_none)
    conversational: bool | None = optional(checks.flag)
    user_turn_mode: UserTurnMode | None = optional(checks.one_of(get_args(UserTurnMode)))
    timestamp_type: TimestampType | None = attrs.field(
        default=None, converter=timestamp_type_or_none
    )
    timestamp_transport: TimestampTransport | None = attrs.field(
        default=None, converter=timestamp_transport_or_none
    )


@attrs.frozen(kw_only=True)
class Memory(Setting):
    """
    Settings of the service's memory, which keeps facts and a summary of the conversation.

    The service updates the memory in cycles, and sends ``session.updated`` after each cycle; see
    :attr:`~inworld_sync.models.realtime.SessionInfo.memory`.

    Attributes:
        enabled: Whether the memory is on.
        turn_interval: The number of turns from one cycle to the next.
        max_memory_length: See the service's documentation.
        max_transcript_items: See the service's documentation.
        max_facts: The maximum number of facts.
        trim_after_summarize: Whether items that are summarized are removed from the conversation.
    """

    enabled: bool | None = optional(checks.flag)
    turn_interval: int | None = optional(checks.whole(1))
    max_memory_length: int | None = optional(checks.whole(0))
    max_transcript_items: int | None = optional(checks.whole(0))
    max_facts: int | None = optional(checks.whole(0))
    trim_after_summarize: bool | None = optional(checks.flag)


@attrs.frozen(kw_only=True)
class _SmallModel(Setting):
    """Settings of a small model that adds speech to the conversation."""

    enabled: bool | None = optional(checks.flag)
    small_model: str | None = optional(checks.string)
    hard_deadline_ms: int | None = optional(checks.whole(0, unit=" ms"))
    history_tail_items: int | None = optional(checks.whole(0))
    temperature: float | None = optional(checks.number(0, 2))
    max_tokens: int | None = optional(checks.whole(1))
    prompt_template: str | None = optional(checks.string)


@attrs.frozen(kw_only=True)
class Backchannel(_SmallModel):
    """
    Settings of backchannels, which are short sounds of listening ("uh-huh") while the user speaks.

    Backchannels are off by default. They have their own events and do not belong to a response.

    Attributes:
        enabled: Whether backchannels are on.
        small_model: The model that decides when to send a backchannel.
        eval_interval_ms: The time from one decision to the next; default 800.
        min_speech_ms: How long the user must speak before the first backchannel; default 800.
        min_gap_ms: The least time from one backchannel to the next; default 4000.
        max_per_turn: The maximum number of backchannels in a turn; default 3.
        hard_deadline_ms: The time after which a decision is dropped; default 1500.
        history_tail_items: How many of the latest items the model gets; default 4.
        temperature: The randomness of the model, 0 to 2; default 0.7.
        max_tokens: The maximum number of tokens of a backchannel; default 6.
        volume_gain: The factor of the volume; default 0.6, and 0 is silent.
        require_pause: Whether backchannels are played only in pauses of the user.
        allowed_phrases: The only allowed phrases.
        prompt_template: The prompt of the model.
        decider_kind: ``llm`` if the model decides, ``rule`` if a rule decides.
        rule_fire_probability: The probability of a backchannel with ``rule``, 0 to 1.
    """

    eval_interval_ms: int | None = optional(checks.whole(0, unit=" ms"))
    min_speech_ms: int | None = optional(checks.whole(0, unit=" ms"))
    min_gap_ms: int | None = optional(checks.whole(0, unit=" ms"))
    max_per_turn: int | None = optional(checks.whole(0))
    volume_gain: float | None = optional(checks.number(0))
    require_pause: bool | None = optional(checks.flag)
    allowed_phrases: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    decider_kind: DeciderKind | None = optional(checks.one_of(get_args(DeciderKind)))
    rule_fire_probability: float | None = optional(checks.number(0, 1))


@attrs.frozen(kw_only=True)
class Responsiveness(_SmallModel):
    """
    Settings of fillers, which are spoken before the model answers.

    Fillers are part of the response's speech. They are off by default.

    Attributes:
        enabled: Whether fillers are on.
        small_model: The model that writes fillers.
        initial_wait_timeout_ms: The time that the service waits before the first filler.
        hard_deadline_ms: The time after which a filler is dropped; default 2000.
        history_tail_items: How many of the latest items the small model gets.
        temperature: The randomness of the model, 0 to 2.
        max_tokens: The maximum number of tokens of a filler; default 12.
        min_filler_gap_ms: The least time from one filler to the next; default 8000.
        max_initial_per_turn: The maximum number of fillers at the start of a turn; default 1.
        max_buffer_deltas: See the service's documentation.
        enable_filler_on_first_assistant_reply: Whether the first reply may have a filler.
        prompt_template: The prompt of the small model.
        pause_text: See the service's documentation.
    """

    initial_wait_timeout_ms: int | None = optional(checks.whole(0, unit=" ms"))
    min_filler_gap_ms: int | None = optional(checks.whole(0, unit=" ms"))
    max_initial_per_turn: int | None = optional(checks.whole(0))
    max_buffer_deltas: int | None = optional(checks.whole(0))
    enable_filler_on_first_assistant_reply: bool | None = optional(checks.flag)
    pause_text: str | None = optional(checks.string)


@attrs.frozen(kw_only=True)
class Caching(Setting):
    """
    Prompt caching of the language model.

    Attributes:
        enabled: Whether prompts are cached.
        ttl: How long prompts are cached, such as ``5m``.
        cache_instructions: Whether the instructions are cached.
        cache_tools: Whether the tools are cached.
    """

    enabled: bool | None = optional(checks.flag)
    ttl: str | None = optional(checks.string)
    cache_instructions: bool | None = optional(checks.flag)
    cache_tools: bool | None = optional(checks.flag)


@attrs.frozen(kw_only=True)
class Reasoning(Setting):
    """
    How much a reasoning model reasons.

    Attributes:
        effort: How much the model reasons, from ``NONE`` to ``XHIGH``.
        max_tokens: The maximum number of tokens for reasoning.
        exclude: Whether the reasoning is left out of the response.
    """

    effort: ReasoningEffort | None = optional(checks.one_of(get_args(ReasoningEffort)))
    max_tokens: int | None = optional(checks.whole(0))
    exclude: bool | None = optional(checks.flag)


@attrs.frozen(kw_only=True)
class TextGeneration(Setting):
    """
    Settings of the language model. Ranges that are not given here depend on the model.

    Attributes:
        reasoning: How much the model reasons.
        max_new_tokens: The maximum number of tokens of a reply.
        temperature: The randomness of the model, 0 to 2.
        top_p: The probability mass of the tokens that are considered, 0 to 1.
        frequency_penalty: The penalty for frequent tokens, -2 to 2.
        presence_penalty: The penalty for tokens that occurred before, -2 to 2.
        repetition_penalty: The penalty for repetitions, 0 or more.
        stop_sequences: Texts that end a reply.
        seed: Makes replies repeatable.
        logit_bias: See the model's documentation.
    """

    reasoning: Reasoning | None = optional(checks.instance(Reasoning))
    max_new_tokens: int | None = optional(checks.whole(1))
    temperature: float | None = optional(checks.number(0, 2))
    top_p: float | None = optional(checks.number(0, 1))
    frequency_penalty: float | None = optional(checks.number(-2, 2))
    presence_penalty: float | None = optional(checks.number(-2, 2))
    repetition_penalty: float | None = optional(checks.number(0))
    stop_sequences: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    seed: int | None = optional(checks.whole(0))
    logit_bias: object = None


@attrs.frozen(kw_only=True)
class ProviderData(Setting):
    """
    The service's extensions of a session.

    Attributes:
        stt: How the user's speech is recognized.
        tts: How responses are synthesized.
        memory: Settings of the memory, which has facts and a summary of the conversation.
        backchannel: Settings of backchannels while the user speaks.
        responsiveness: Settings of fillers before the model answers.
        caching: Settings of prompt caching.
        text_generation: Settings of the language model. The name on the wire is
            ``text_generation_config``.
        auto_tool_response: Whether the service itself starts a response after a tool output.
        user_id: The application's id for the user.
        metadata: Further strings to store with the session.
    """

    stt: SttTuning | None = optional(checks.instance(SttTuning))
    tts: TtsTuning | None = optional(checks.instance(TtsTuning))
    memory: Memory | None = optional(checks.instance(Memory))
    backchannel: Backchannel | None = optional(checks.instance(Backchannel))
    responsiveness: Responsiveness | None = optional(checks.instance(Responsiveness))
    caching: Caching | None = optional(checks.instance(Caching))
    text_generation: TextGeneration | None = optional(checks.instance(TextGeneration))
    auto_tool_response: bool | None = optional(checks.flag)
    user_id: str | None = optional(checks.string)
    metadata: Mapping[str, str] | None = optional(checks.string_map)
