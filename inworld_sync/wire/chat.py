"""
Reads and writes the JSON of chat completions: requests, answers, and events of streamed answers.

Source: Inworld Router API reference, "Create chat completion". Only the choice with the index 0 is
used; other choices are ignored.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping

import attrs

from inworld_sync.errors import (
    AuthError,
    ConfigError,
    InvalidRequestError,
    NotFoundError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    error_from_status,
)
from inworld_sync.models.chat import (
    ChatAudio,
    ChatCompletion,
    ChatConfig,
    ChatDelta,
    ChatMessage,
    ChatMessages,
    ChatTool,
    ChatToolCall,
    ChatToolCallDelta,
    ChatUsage,
)
from inworld_sync.models.realtime.tools import (
    FunctionChoice,
    FunctionTool,
    HasDefinition,
    WebSearchTool,
)
from inworld_sync.wire.codec import Json, JsonObject, dump_text, load_object, object_in
from inworld_sync.wire.faults import text_in

__all__ = ["DONE", "Collector", "read_completion", "read_event", "request_body"]

# The data of the event that ends a stream.
DONE = "[DONE]"

_PLAIN_SETTINGS = (
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "response_format",
    "reasoning_effort",
    "user",
)

_KIND_BY_TYPE: Mapping[str, type[ServiceError]] = {
    "authentication_error": AuthError,
    "permission_error": AuthError,
    "insufficient_quota": QuotaError,
    "rate_limit_error": QuotaError,
    "rate_limit_exceeded": QuotaError,
    "invalid_request_error": InvalidRequestError,
    "not_found_error": NotFoundError,
    "model_not_found": NotFoundError,
}
_KIND_BY_STATUS: Mapping[int, type[ServiceError]] = {
    400: InvalidRequestError,
    401: AuthError,
    402: QuotaError,
    403: AuthError,
    404: NotFoundError,
    422: InvalidRequestError,
    429: QuotaError,
}
# Each part of a tool call counts as this many characters, in addition to the part's arguments,
# because the part itself takes memory too.
_PART_CHARACTERS = 64

_RETRYABLE_TYPES = frozenset({"server_error", "overloaded_error", "rate_limit_error"})


def request_body(messages: ChatMessages, config: ChatConfig, *, stream: bool) -> JsonObject:
    """
    Return the body of a request.

    Raises:
        ConfigError: A message or a setting cannot be sent.
    """
    body: dict[str, object] = {"model": config.model, "messages": _messages(messages)}
    if stream:
        body["stream"] = True
    settings = {name: getattr(config, name) for name in _PLAIN_SETTINGS}
    body.update({name: value for name, value in settings.items() if value is not None})
    routing: dict[str, object] = {
        "models": config.fallback_models,
        "sort": config.sort,
        "metadata": config.metadata,
    }
    functions: list[object] = []
    for tool in config.tools or ():
        if isinstance(tool, WebSearchTool):
            routing["web_search"] = _web_search(tool)
        else:
            functions.append(_function(tool))
    if functions:
        body["tools"] = functions
    if config.tool_choice is not None:
        body["tool_choice"] = _choice(config.tool_choice)
    if config.audio is not None:
        voice = config.audio
        body["audio"] = {"voice": voice.voice, "model": voice.model, **voice.extra}
    routing = {name: value for name, value in routing.items() if value is not None}
    extra = dict(config.extra)
    if "stream" in extra:
        raise ConfigError("extra must not have 'stream': call iw.llm.chat() or iw.llm.stream()")
    if isinstance(own := extra.get("extra_body"), Mapping):
        extra["extra_body"] = {**routing, **own}
    elif routing:
        extra["extra_body"] = routing
    # The JSON is read back, because the caller may change the objects before the request is sent.
    return load_object(dump_text({**body, **extra}))


def _messages(messages: ChatMessages) -> list[object]:
    if isinstance(messages, str):
        if not messages.strip():
            raise ConfigError("messages must have a text, got only white space")
        return [{"role": "user", "content": messages}]
    if not isinstance(messages, (list, tuple)):
        raise ConfigError(
            f"messages must be a str or a list of messages, got {type(messages).__name__}"
        )
    if not messages:
        raise ConfigError("messages must have at least one message, got none")
    return [_message(each) for each in messages]


def _message(message: object) -> Mapping[str, object]:
    if isinstance(message, Mapping):
        if not isinstance(message.get("role"), str):
            raise ConfigError(f"a message must have a role, got the keys {list(message)!r:.100}")
        return message
    if not isinstance(message, ChatMessage):
        raise ConfigError(
            f"messages must be ChatMessage objects or mappings, got {type(message).__name__}"
        )
    body: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return {**body, **message.extra}


def _function(tool: ChatTool) -> Mapping[str, object]:
    if isinstance(tool, Mapping):
        return tool
    definition = tool.definition if isinstance(tool, HasDefinition) else tool
    assert isinstance(definition, FunctionTool)
    described = {} if definition.description is None else {"description": definition.description}
    return {
        "type": "function",
        "function": {
            "name": definition.name,
            **described,
            "parameters": definition.parameters,
            **definition.extra,
        },
    }


def _web_search(tool: WebSearchTool) -> Mapping[str, object]:
    fields = {"engine": tool.engine, "max_results": tool.max_results, "max_steps": tool.max_steps}
    return {**{name: each for name, each in fields.items() if each is not None}, **tool.extra}


def _choice(choice: str | FunctionChoice) -> object:
    if isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice.name}}


def read_completion(body: object) -> ChatCompletion:
    """
    Read the body of a response that is not streamed.

    Raises:
        ServiceError: The body reports an error.
        RemoteProtocolError: The body is not a completion.
    """
    answer = object_in(body, "the completion")
    _raise_error(answer)
    choice = _first_choice(answer, "the completion")
    if choice is None:
        raise RemoteProtocolError("expected a completion with a choice, got none")
    message = object_in(choice.get("message"), "the message of the completion")
    audio = _audio(message)
    text = _text(message, "the message")
    transcript = "" if audio is None else audio.transcript
    return ChatCompletion(
        text=text or transcript,
        tool_calls=tuple(
            ChatToolCall(part.id, part.name, part.arguments or "{}")
            for part in _calls(message, "the message")
        ),
        finish_reason=_optional_text(choice, "finish_reason"),
        usage=_usage(answer),
        audio=audio,
        model=text_in(answer, "model"),
        id=text_in(answer, "id"),
        metadata=_mapping(answer, "metadata"),
        extra={**_unknown(message, _MESSAGE_FIELDS), **_unknown(answer, _ANSWER_FIELDS)},
    )


def read_event(data: str) -> ChatDelta:
    """
    Read the data of an event of a stream, other than :data:`DONE`.

    Raises:
        ServiceError: The data reports an error.
        RemoteProtocolError: The data is not a part of a completion.
    """
    event = load_object(data)
    _raise_error(event)
    choice = _first_choice(event, "the event") or {}
    value = choice.get("delta")
    delta = {} if value is None else object_in(value, "the delta of the event")
    return ChatDelta(
        text=_text(delta, "the delta"),
        tool_calls=_calls(delta, "the delta"),
        audio=_audio(delta),
        finish_reason=_optional_text(choice, "finish_reason"),
        usage=_usage(event),
        model=text_in(event, "model"),
        id=text_in(event, "id"),
        metadata=_mapping(event, "metadata"),
        extra={**_unknown(delta, _MESSAGE_FIELDS), **_unknown(event, _ANSWER_FIELDS)},
    )


_MESSAGE_FIELDS = frozenset({"role", "content", "tool_calls", "audio"})
_ANSWER_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage", "metadata"})


def _unknown(body: JsonObject, known: Iterable[str]) -> JsonObject:
    return {name: value for name, value in body.items() if name not in known and value is not None}


def _first_choice(body: JsonObject, where: str) -> JsonObject | None:
    """Return the choice with the index 0; None without choices, as in an event with usage."""
    choices = body.get("choices")
    if choices is None:
        return None
    if not isinstance(choices, list):
        raise RemoteProtocolError(
            f"expected an array as choices of {where}, got {type(choices).__name__}"
        )
    found = [object_in(each, f"a choice of {where}") for each in choices]
    return next((each for each in found if not each.get("index")), None)


def _text(body: JsonObject, where: str) -> str:
    """Return the content: a string, or the texts of a list of parts."""
    content = body.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_in(part, "text") for part in content if isinstance(part, dict))
    raise RemoteProtocolError(
        f"expected a string as content of {where}, got {type(content).__name__}"
    )


def _calls(body: JsonObject, where: str) -> tuple[ChatToolCallDelta, ...]:
    calls = body.get("tool_calls")
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise RemoteProtocolError(
            f"expected an array as tool_calls of {where}, got {type(calls).__name__}"
        )
    return tuple(_call(number, each, where) for number, each in enumerate(calls))


def _call(number: int, value: Json, where: str) -> ChatToolCallDelta:
    call = object_in(value, f"a tool call of {where}")
    index = call.get("index")
    # Endpoints that send whole calls may leave out the index.
    index = number if index is None else index
    if isinstance(index, bool) or not isinstance(index, int):
        raise RemoteProtocolError(f"expected an integer as index of a tool call, got {index!r:.40}")
    function = call.get("function")
    named = {} if function is None else object_in(function, f"the function of a call of {where}")
    arguments = named.get("arguments")
    # Some models send an object instead of JSON text.
    if isinstance(arguments, dict):
        arguments = dump_text(arguments)
    if not isinstance(arguments, str | None):
        raise RemoteProtocolError(
            f"expected a string as arguments of a tool call, got {type(arguments).__name__}"
        )
    return ChatToolCallDelta(
        index=index,
        id=text_in(call, "id"),
        name=text_in(named, "name"),
        arguments=arguments or "",
    )


def _audio(body: JsonObject) -> ChatAudio | None:
    value = body.get("audio")
    if value is None:
        return None
    audio = object_in(value, "audio")
    data = audio.get("data")
    if not isinstance(data, str | None):
        raise RemoteProtocolError(f"expected base64 as audio data, got {type(data).__name__}")
    try:
        pcm = base64.b64decode(data or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise RemoteProtocolError(f"the audio of the answer cannot be read: {error}") from None
    return ChatAudio(pcm, text_in(audio, "transcript"))


def _usage(body: JsonObject) -> ChatUsage | None:
    value = body.get("usage")
    if not isinstance(value, dict):
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: value[name] for name in names if type(value.get(name)) is int}
    return ChatUsage(**counts, extra=_unknown(value, counts))  # type: ignore[arg-type]


def _mapping(body: JsonObject, name: str) -> JsonObject:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _optional_text(body: JsonObject, name: str) -> str | None:
    return text_in(body, name) or None


def _raise_error(body: JsonObject) -> None:
    """If a body reports an error, in OpenAI's form or in gRPC's form, raise this error."""
    error = body.get("error")
    if not error:
        return
    if isinstance(error, str):
        raise ServiceError(error)
    fault = object_in(error, "the error")
    code, kind = fault.get("code"), text_in(fault, "type")
    message = text_in(fault, "message") or "the service reports an error without a message"
    details = fault.get("details")
    rows = details if isinstance(details, list) else []
    if type(code) is int and code < 400:
        raise error_from_status(code, message, rows)
    names = [name for name in (code, kind) if isinstance(name, str)]
    found = [_KIND_BY_TYPE[name] for name in names if name in _KIND_BY_TYPE]
    status = code if type(code) is int else None
    if status is not None and status in _KIND_BY_STATUS:
        found.append(_KIND_BY_STATUS[status])
    raise (found[0] if found else ServiceError)(
        message,
        code=code if isinstance(code, str) else kind or None,
        status=status,
        retryable=not _RETRYABLE_TYPES.isdisjoint(names)
        or (status is not None and (status >= 500 or status == 429)),
        details=rows,
    )


@attrs.define
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = attrs.Factory(list)


class Collector:
    """
    Collects the events of a stream into one answer, without the audio.

    Args:
        max_characters: The largest number of characters of text and arguments.

    Attributes:
        finish_reason: Why the answer ended; None before its end.

    Thread safety: one thread at a time may use the object.
    """

    def __init__(self, max_characters: int) -> None:
        self.finish_reason: str | None = None
        self._left = max_characters
        self._content: list[str] = []
        self._transcripts: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._last = ChatDelta()

    def add(self, delta: ChatDelta) -> str:
        """
        Add an event; return the text that the event adds to the answer.

        The text of a spoken answer may come as transcripts only. A transcript counts as text until
        other text has come.

        Raises:
            RemoteProtocolError: The answer has too many characters.
        """
        transcript = "" if delta.audio is None else delta.audio.transcript
        size = len(delta.text) + len(transcript)
        for part in delta.tool_calls:
            call = self._calls.setdefault(part.index, _Call())
            call.id = call.id or part.id
            # Some endpoints repeat the name in every part.
            call.name = call.name or part.name
            call.arguments.append(part.arguments)
            size += len(part.arguments) + _PART_CHARACTERS
        self._left -= size
        if self._left < 0:
            raise RemoteProtocolError("the answer has too many characters; see max_message_bytes")
        if delta.text:
            self._content.append(delta.text)
        if transcript:
            self._transcripts.append(transcript)
        self.finish_reason = delta.finish_reason or self.finish_reason
        last = self._last
        self._last = attrs.evolve(
            last,
            usage=delta.usage or last.usage,
            model=delta.model or last.model,
            id=delta.id or last.id,
            metadata=delta.metadata or last.metadata,
            extra=delta.extra or last.extra,
        )
        return delta.text or ("" if self._content else transcript)

    def completion(self) -> ChatCompletion:
        """Return the answer so far."""
        last = self._last
        return ChatCompletion(
            text="".join(self._content or self._transcripts),
            tool_calls=tuple(
                ChatToolCall(call.id, call.name, "".join(call.arguments) or "{}")
                for _, call in sorted(self._calls.items())
            ),
            finish_reason=self.finish_reason,
            usage=last.usage,
            model=last.model,
            id=last.id,
            metadata=last.metadata,
            extra=last.extra,
        )
