"""
Defines the settings, messages and results of chat completions.

Source: Inworld Router API reference, "Create chat completion", which follows OpenAI's reference of
the same name; the guide "LLM + TTS" for ``audio``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar, get_args

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.tools import (
    FunctionChoice,
    FunctionTool,
    HasDefinition,
    ToolMode,
    WebSearchTool,
    to_tools,
)
from inworld_sync.models.tts import DEFAULT_TTS_MODEL

__all__ = [
    "CHAT_AUDIO_RATE_HZ",
    "ChatAudio",
    "ChatCompletion",
    "ChatConfig",
    "ChatDelta",
    "ChatMessage",
    "ChatMessages",
    "ChatTool",
    "ChatToolCall",
    "ChatToolCallDelta",
    "ChatUsage",
    "ChatVoice",
    "ReasoningEffort",
]

# With this name, the service chooses the model.
DEFAULT_CHAT_MODEL = "auto"

# The documents state 16-bit samples at this rate for the audio of an answer.
CHAT_AUDIO_RATE_HZ = 48000

_MAX_STOPS = 4

_T = TypeVar("_T")

ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


@attrs.frozen
class ChatToolCall:
    """
    A function call that the model requests.

    Attributes:
        id: The service's id of the call.
        name: The name of the function.
        arguments: A JSON object as text, as the model wrote it; this text may be invalid JSON.
    """

    id: str
    name: str
    arguments: str = "{}"

    def output(self, text: str) -> ChatMessage:
        """Return the message that answers the call with *text*."""
        return ChatMessage("tool", text, tool_call_id=self.id)


def _content(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not (value is None or isinstance(value, str) or is_list):
        raise ConfigError(
            f"{field.name} of a message must be a str, a list of parts or None, got "
            f"{type(value).__name__}"
        )


def _calls(value: Iterable[ChatToolCall]) -> tuple[ChatToolCall, ...]:
    return checks.all_of(ChatToolCall, value, "tool_calls")


@attrs.frozen
class ChatMessage:
    """
    A message of a conversation.

    Attributes:
        role: ``system``, ``developer``, ``user``, ``assistant`` or ``tool``.
        content: The text, or a list of parts as in OpenAI's reference, for example with images;
            None for a message that has tool calls only.
        tool_calls: The calls that an ``assistant`` message requests.
        tool_call_id: The call that a ``tool`` message answers.
        extra: Further fields to send, by their names on the wire.
    """

    role: str = attrs.field(validator=checks.text)
    content: str | Sequence[Mapping[str, object]] | None = attrs.field(
        default=None, validator=_content
    )
    tool_calls: tuple[ChatToolCall, ...] = attrs.field(default=(), converter=_calls, kw_only=True)
    tool_call_id: str | None = optional(checks.string, kw_only=True)
    extra: Mapping[str, object] = attrs.field(
        factory=dict, validator=checks.mapping, repr=False, kw_only=True
    )


# A mapping is a message in the JSON of the service. The mapping is sent unchanged.
ChatMessages: TypeAlias = str | Sequence[ChatMessage | Mapping[str, object]]

# A mapping is a tool in the JSON of the service. The mapping is sent unchanged.
ChatTool: TypeAlias = FunctionTool | WebSearchTool | HasDefinition | Mapping[str, object]


@attrs.frozen
class ChatVoice:
    """
    The voice that speaks an answer.

    Attributes:
        voice: Id of the voice.
        model: Id of the TTS model.
        extra: Further fields of ``audio``, by their names on the wire.
    """

    voice: str = attrs.field(default="Ashley", validator=checks.text)
    model: str = attrs.field(default=DEFAULT_TTS_MODEL, validator=checks.text)
    extra: Mapping[str, object] = attrs.field(
        factory=dict, validator=checks.mapping, repr=False, kw_only=True
    )


def _tools(value: Iterable[ChatTool] | None) -> tuple[ChatTool, ...] | None:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable | None):
        raise ConfigError(f"tools must be a list of tools, got {value!r:.100}")
    found = to_tools(value)
    if found is None:
        return None
    tools: list[ChatTool] = []
    for each in found:
        if not isinstance(each, (FunctionTool, WebSearchTool, HasDefinition, Mapping)):
            raise ConfigError(f"a chat cannot use the tool {each!r:.100}; a realtime session can")
        tools.append(each)
    return tuple(tools)


def _tool_choice(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if value is None or value in get_args(ToolMode) or isinstance(value, FunctionChoice):
        return
    raise ConfigError(
        f"{field.name} must be one of {', '.join(get_args(ToolMode))} or a FunctionChoice, got "
        f"{value!r}"
    )


def _stops(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else checks.to_tuple(value)


def _at_most_four(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    checks.texts(_, field, value)
    if isinstance(value, tuple) and not 1 <= len(value) <= _MAX_STOPS:
        raise ConfigError(f"{field.name} must have 1 to {_MAX_STOPS} texts, got {len(value)}")


def _above_zero(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    checks.number(0, 1)(_, field, value)
    if value == 0:
        raise ConfigError(f"{field.name} must be above 0, got {value!r}")


@attrs.frozen(kw_only=True)
class ChatConfig:
    """
    All settings of a chat completion; None leaves the choice to the service.

    Attributes:
        model: ``auto``, ``provider/model``, the name of a model, or ``inworld/`` and the name of
            a router.
        tools: Functions that the model may call, and a :class:`~inworld_sync.WebSearchTool`.
        tool_choice: Whether the model calls tools: ``auto``, ``none``, ``required``, or a
            ``FunctionChoice``.
        temperature: Randomness of the answer, 0 to 2.
        top_p: The probability mass of the tokens that are considered, above 0 and at most 1.
        max_tokens: The largest number of tokens of the answer, from 1.
        stop: Up to four texts at which the answer ends.
        seed: Makes answers repeatable, if the model supports seeds.
        response_format: A JSON format as in OpenAI's reference, such as
            ``{"type": "json_object"}``.
        reasoning_effort: ``none``, ``minimal``, ``low``, ``medium``, ``high`` or ``xhigh``.
        user: An id of your user; a router always uses the same variant for the same user.
        audio: The voice that speaks the answer.
        fallback_models: Models to try in this order if *model* fails; with ``auto``, the models
            to choose from.
        sort: The criteria by which ``auto`` ranks models, the most important first: ``price``,
            ``latency``, ``throughput``, ``intelligence``, ``math`` or ``coding``.
        metadata: Values for the conditions of a router.
        extra: Further fields of the request, by their names on the wire.
    """

    model: str = attrs.field(default=DEFAULT_CHAT_MODEL, validator=checks.text)
    tools: tuple[ChatTool, ...] | None = attrs.field(default=None, converter=_tools)
    tool_choice: ToolMode | FunctionChoice | None = optional(_tool_choice)
    temperature: float | None = optional(checks.number(0, 2))
    top_p: float | None = optional(_above_zero)
    max_tokens: int | None = optional(checks.whole(1))
    stop: tuple[str, ...] | None = attrs.field(
        default=None, converter=_stops, validator=_at_most_four
    )
    seed: int | None = optional(checks.whole(-(2**63), 2**63 - 1))
    response_format: Mapping[str, object] | None = optional(checks.mapping)
    reasoning_effort: ReasoningEffort | None = optional(checks.one_of(get_args(ReasoningEffort)))
    user: str | None = optional(checks.string)
    audio: ChatVoice | None = optional(checks.instance(ChatVoice))
    fallback_models: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    sort: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    metadata: Mapping[str, object] | None = optional(checks.mapping)
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping, repr=False)


@attrs.frozen
class ChatUsage:
    """
    The numbers of tokens that the service counted.

    Attributes:
        prompt_tokens: Tokens of the messages.
        completion_tokens: Tokens of the answer.
        total_tokens: The sum of both numbers.
        extra: Further counts of the service.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class ChatAudio:
    """
    Speech of an answer, or a part of the speech.

    Attributes:
        pcm: 16-bit little-endian mono samples at :attr:`sample_rate_hz`.
        transcript: The spoken text. In a stream, only the first part of each segment has the text.
        sample_rate_hz: The sample rate of *pcm*, which is 48000.
    """

    pcm: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    transcript: str = ""
    sample_rate_hz: int = CHAT_AUDIO_RATE_HZ

    @property
    def duration_ms(self) -> float:
        """The duration in milliseconds."""
        return len(self.pcm) / 2 * 1000.0 / self.sample_rate_hz


@attrs.frozen(kw_only=True)
class ChatCompletion:
    """
    An answer of a model.

    Attributes:
        text: The text; empty if the model only calls functions.
        tool_calls: The functions that the model calls; see ``iw.llm.run_tools``.
        finish_reason: ``stop``, ``length``, ``tool_calls``, ``content_filter``, or another text of
            the service; None if the service sent no reason.
        usage: The tokens that the service counted; None if the service sent no counts.
        audio: The spoken answer, if *audio* was requested; None in the result of a stream.
        model: The model that answered.
        id: The service's id of the answer.
        metadata: The report of the router, for example with ``attempts``.
        extra: Fields that this version does not know: the fields of the message, followed by the
            fields of the answer.
    """

    text: str = ""
    tool_calls: tuple[ChatToolCall, ...] = ()
    finish_reason: str | None = None
    usage: ChatUsage | None = None
    audio: ChatAudio | None = None
    model: str = ""
    id: str = ""
    metadata: Mapping[str, object] = attrs.field(factory=dict)
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)

    @property
    def message(self) -> ChatMessage:
        """The answer as a message, to be added to the conversation."""
        text = self.text or (None if self.tool_calls else "")
        return ChatMessage("assistant", text, tool_calls=self.tool_calls)


@attrs.frozen(kw_only=True)
class ChatToolCallDelta:
    """
    A part of a tool call.

    Attributes:
        index: The number of the call in the answer, from 0.
        id: The id of the call; empty after the first part.
        name: The name of the function; empty after the first part.
        arguments: The next characters of the arguments.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@attrs.frozen(kw_only=True)
class ChatDelta:
    """
    A part of an answer, from one event of the stream.

    Attributes:
        text: The next characters of the text.
        tool_calls: The next parts of tool calls.
        audio: The next part of the spoken answer; None if the event has none.
        finish_reason: Why the answer ended; None before its end.
        usage: The tokens that the service counted. Most models send the counts last, or not at all.
        model: The model that answers.
        id: The service's id of the answer.
        metadata: The report of the router.
        extra: Fields that this version does not know: the fields of the delta, followed by the
            fields of the event.
    """

    text: str = ""
    tool_calls: tuple[ChatToolCallDelta, ...] = ()
    audio: ChatAudio | None = None
    finish_reason: str | None = None
    usage: ChatUsage | None = None
    model: str = ""
    id: str = ""
    metadata: Mapping[str, object] = attrs.field(factory=dict)
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
