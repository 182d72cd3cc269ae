"""The requests, answers, events and errors of chat completions in JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ChatAudio,
    ChatConfig,
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    ChatToolCallDelta,
    ChatUsage,
    ChatVoice,
    ConfigError,
    FunctionChoice,
    FunctionTool,
    InvalidRequestError,
    McpTool,
    NotFoundError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    WebSearchTool,
    tool,
)
from inworld_sync.wire.chat import Collector, read_completion, read_event, request_body


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return city


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_smallest_body() -> None:
    """A text is sent as a message of the user. Settings that are not given are not sent."""
    body = request_body("Hello.", ChatConfig(), stream=False)

    assert {"model": "auto", "messages": [{"role": "user", "content": "Hello."}]} == body


def test_body_with_everything() -> None:
    """Every setting is sent under its name in the protocol."""
    config = ChatConfig(
        model="inworld/my-router",
        tools=[weather, FunctionTool(name="now"), WebSearchTool(engine="exa", max_results=3)],
        tool_choice=FunctionChoice("weather"),
        temperature=0.5,
        top_p=0.9,
        max_tokens=100,
        stop="END",
        seed=7,
        response_format={"type": "json_object"},
        reasoning_effort="low",
        user="u1",
        audio=ChatVoice("Dennis", "inworld-tts-2", extra={"speed": 1.1}),
        fallback_models=["openai/gpt-4o"],
        sort=["price"],
        metadata={"tier": "premium"},
        extra={"logit_bias": {"1": 2}},
    )
    body = request_body([ChatMessage("system", "Be brief."), {"role": "user"}], config, stream=True)

    assert body == {
        "model": "inworld/my-router",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user"}],
        "stream": True,
        "tools": [
            WEATHER,
            {
                "type": "function",
                "function": {"name": "now", "parameters": {"type": "object", "properties": {}}},
            },
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 100,
        "stop": ["END"],
        "seed": 7,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "user": "u1",
        "audio": {"voice": "Dennis", "model": "inworld-tts-2", "speed": 1.1},
        "extra_body": {
            "models": ["openai/gpt-4o"],
            "sort": ["price"],
            "metadata": {"tier": "premium"},
            "web_search": {"engine": "exa", "max_results": 3},
        },
        "logit_bias": {"1": 2},
    }


def test_extra_body_is_merged() -> None:
    """The caller's extra_body and the fields of the settings are merged."""
    config = ChatConfig(sort=["price"], extra={"extra_body": {"ignore": ["groq"]}})
    body = request_body("x", config, stream=False)

    assert {"sort": ["price"], "ignore": ["groq"]} == body["extra_body"]


def test_messages_of_tool_calls() -> None:
    """Messages with tool calls and with their outputs are sent in the form of the protocol."""
    call = ChatToolCall("c1", "weather", '{"city": "Oslo"}')
    messages = [ChatMessage("assistant", tool_calls=[call]), call.output("rain")]
    body = request_body(messages, ChatConfig(), stream=False)

    assert body["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
    ]


def wrong(messages: Any, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        request_body(messages, ChatConfig(**settings), stream=False)
    return str(caught.value)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (" ", "white space"),
        ([], "at least one message"),
        (5, "got int"),
        (b"x", "got bytes"),
        ([5], "got int"),
        (["x"], "got str"),
        ([{"content": "x"}], "must have a role"),
        ([{"role": "user", "content": float("nan")}], "JSON"),
        ([{"role": "user", "content": object()}], "JSON"),
        ([{"role": "user", "content": "\ud800"}], "surrogate"),
    ],
)
def test_wrong_messages(messages: object, words: str) -> None:
    """Messages that cannot be sent raise an error before anything is sent."""
    assert words in wrong(messages)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": " "}, "model"),
        ({"temperature": 3}, "temperature must be 0 to 2"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"max_tokens": 0}, "max_tokens must be 1 or more"),
        ({"max_tokens": True}, "max_tokens must be an integer"),
        ({"stop": ["a"] * 5}, "stop must have 1 to 4"),
        ({"stop": []}, "stop must have 1 to 4"),
        ({"tools": [McpTool(server_label="a", server_url="https://a")]}, "realtime session can"),
        ({"tools": "weather"}, "tools must be a list"),
        ({"tools": 5}, "tools must be a list"),
        ({"tools": [weather, weather]}, "different names"),
        ({"tool_choice": "weather"}, "FunctionChoice"),
        ({"reasoning_effort": "much"}, "one of none"),
        ({"audio": "Dennis"}, "ChatVoice"),
        ({"fallback_models": "a"}, "list of strings"),
        ({"metadata": [1]}, "mapping"),
        ({"extra": {"x": {1, 2}}}, "JSON"),
    ],
)
def test_wrong_settings(settings: dict[str, object], words: str) -> None:
    """A wrong setting raises an error with the name of the setting."""
    assert words in wrong("x", **settings)


@pytest.mark.parametrize("content", [5, b"x", {"a": 1}])
def test_wrong_message_content(content: Any) -> None:
    """A message whose content has a wrong type raises an error in the constructor."""
    with pytest.raises(ConfigError, match="content of a message must be"):
        ChatMessage("user", content)


def answer(message: object, **fields: object) -> dict[str, object]:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "a1", "model": "openai/gpt-4o", "choices": [choice], **fields}


def test_completion() -> None:
    """A complete answer is read with its token counts. Unknown fields are kept."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached": 1}
    body = answer(
        {"role": "assistant", "content": "Hi.", "refusal": None, "annotations": [1]},
        usage=usage,
        metadata={"attempts": []},
        system_fingerprint="f",
    )
    found = read_completion(body)

    assert ("Hi.", (), "stop", "openai/gpt-4o", "a1") == (
        found.text,
        found.tool_calls,
        found.finish_reason,
        found.model,
        found.id,
    )
    assert ChatUsage(1, 2, 3, {"cached": 1}) == found.usage
    assert {"attempts": []} == found.metadata
    assert {"annotations": [1], "system_fingerprint": "f"} == found.extra
    assert ChatMessage("assistant", "Hi.") == found.message


def test_completion_with_calls() -> None:
    """Tool calls are read, even if the arguments are a JSON object or are missing."""
    calls: list[object] = [
        {"id": "c1", "type": "function", "function": {"name": "a", "arguments": "{}"}},
        {"id": "c2", "function": {"name": "b", "arguments": {"x": 1}}},
        {"id": "c3", "function": {"name": "c", "arguments": None}},
    ]
    found = read_completion(answer({"content": None, "tool_calls": calls}))

    assert found.tool_calls == (
        ChatToolCall("c1", "a", "{}"),
        ChatToolCall("c2", "b", '{"x":1}'),
        ChatToolCall("c3", "c", "{}"),
    )
    assert found.message.content is None


def test_spoken_completion() -> None:
    """If an answer has audio and no text, its text is the transcript of the audio."""
    audio = {"data": base64.b64encode(b"\1\0\2\0").decode(), "transcript": "Hi."}
    found = read_completion(answer({"content": None, "audio": audio}))

    assert ("Hi.", ChatAudio(b"\1\0\2\0", "Hi.")) == (found.text, found.audio)


NULLS = ["content", "tool_calls", "audio", "role"]


def test_null_fields() -> None:
    """A field that is null counts as missing."""
    empty = read_completion({"choices": [{"message": {}}]})
    nulls = {
        "id": None,
        "model": None,
        "usage": None,
        "metadata": None,
        "error": None,
        "choices": [{"index": None, "finish_reason": None, "message": dict.fromkeys(NULLS)}],
    }
    event = {**nulls, "choices": [{"index": None, "delta": None, "finish_reason": None}]}

    assert empty == read_completion(nulls)
    assert ChatDelta() == read_event(json.dumps(event))
    assert ChatDelta() == read_event('{"choices": null}')
    assert ChatDelta() == read_event('{"choices": []}')


@pytest.mark.parametrize(
    "body",
    [
        [],
        "x",
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": [5]},
        {"choices": [{}]},
        {"choices": [{"message": "x"}]},
        answer({"content": 5}),
        answer({"content": {"a": 1}}),
        answer({"tool_calls": {}}),
        answer({"tool_calls": ["x"]}),
        answer({"tool_calls": [{"function": "x"}]}),
        answer({"tool_calls": [{"function": {"arguments": 5}}]}),
        answer({"tool_calls": [{"index": "x", "function": {}}]}),
        answer({"audio": "x"}),
        answer({"audio": {"data": 5}}),
        answer({"audio": {"data": "not base64!"}}),
    ],
)
def test_wrong_completion(body: object) -> None:
    """An answer in an unexpected form raises RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError, match=r"expected|cannot be read"):
        read_completion(body)


@pytest.mark.parametrize("data", ["", "x", "[1]", '"x"', "{", "NaN", '{"choices": "x"}'])
def test_wrong_event(data: str) -> None:
    """An event in an unexpected form raises RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError):
        read_event(data)


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ("overloaded", ServiceError, False),
        ({"message": "x", "type": "server_error"}, ServiceError, True),
        ({"message": "x", "type": "rate_limit_error"}, QuotaError, True),
        ({"message": "x", "code": "insufficient_quota"}, QuotaError, False),
        ({"message": "x", "type": "invalid_request_error"}, InvalidRequestError, False),
        ({"message": "x", "type": "invalid_request_error", "code": "model_not_found"},
         NotFoundError, False),
        ({"message": "x", "type": "authentication_error"}, AuthError, False),
        ({"message": "x", "code": 429}, QuotaError, True),
        ({"message": "x", "code": 503}, ServiceError, True),
        ({"message": "x", "code": 401}, AuthError, False),
        ({"message": "x", "code": 8, "details": []}, QuotaError, True),
        ({"message": "x", "code": 3}, InvalidRequestError, False),
        ({"message": None, "type": None, "code": None, "param": 1}, ServiceError, False),
    ],
)  # fmt: skip
def test_errors(error: object, kind: type[ServiceError], retryable: bool) -> None:
    """An error in a body or in an event is converted to the exception class for its reason."""
    for read in (lambda: read_completion({"error": error}),
                 lambda: read_event(json.dumps({"error": error}))):  # fmt: skip
        with pytest.raises(ServiceError) as caught:
            read()
        assert (kind, retryable) == (type(caught.value), caught.value.retryable)


def test_no_credential_in_an_error() -> None:
    """The message of an error does not show the parts of a key that the service returned."""
    error = {"message": 'bad key "Zm9v***" for Bearer abc.def', "type": "authentication_error"}
    with pytest.raises(AuthError) as caught:
        read_event(json.dumps({"error": error}))

    assert "Zm9v" not in str(caught.value)
    assert "abc.def" not in str(caught.value)


def collected(*deltas: ChatDelta, limit: int = 1000) -> tuple[list[str], Collector]:
    collector = Collector(limit)
    return [collector.add(delta) for delta in deltas], collector


def test_calls_in_pieces() -> None:
    """The pieces of several calls are joined by their index, in any order."""
    parts = [
        ChatToolCallDelta(index=1, id="c2", name="b"),
        ChatToolCallDelta(index=0, id="c1", name="a", arguments='{"x"'),
        ChatToolCallDelta(index=1, arguments="{}"),
        ChatToolCallDelta(index=0, name="a", arguments=": 1}"),
    ]
    _, collector = collected(*(ChatDelta(tool_calls=(part,)) for part in parts))

    assert collector.completion().tool_calls == (
        ChatToolCall("c1", "a", '{"x": 1}'),
        ChatToolCall("c2", "b", "{}"),
    )


def test_transcripts_are_text_without_other_text() -> None:
    """Transcripts of audio are the text of an answer only if the answer has no other text."""
    spoken = [ChatDelta(audio=ChatAudio(b"", text)) for text in ("One. ", "Two.")]
    texts, alone = collected(*spoken)
    both, beside = collected(ChatDelta(text="One. Two."), *spoken)

    assert (["One. ", "Two."], "One. Two.") == (texts, alone.completion().text)
    assert (["One. Two.", "", ""], "One. Two.") == (both, beside.completion().text)


@pytest.mark.parametrize(
    "delta",
    [
        ChatDelta(text="x" * 30),
        ChatDelta(audio=ChatAudio(b"", "x" * 30)),
        ChatDelta(tool_calls=(ChatToolCallDelta(index=0),)),
    ],
)
def test_endless_answer(delta: ChatDelta) -> None:
    """An answer with too much text or too many tool calls raises an error."""
    with pytest.raises(RemoteProtocolError, match="too many characters"):
        collected(*[delta] * 100, limit=1000)
