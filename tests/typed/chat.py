"""Programs that use chat completions. Type checkers check this file. It never runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from typing_extensions import assert_type

from inworld_sync import (
    ChatAudio,
    ChatCompletion,
    ChatConfig,
    ChatDelta,
    ChatMessage,
    ChatStream,
    ChatToolCall,
    ChatUsage,
    ChatVoice,
    FunctionChoice,
    FunctionTool,
    Inworld,
    ModelInfo,
    Playback,
    Router,
    RouterRoute,
    RouterVariant,
    WebSearchTool,
    tool,
)


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return city


def whole(iw: Inworld) -> None:
    answer = iw.llm.chat("Hello.", temperature=0.5, stop="END", timeout=None)
    assert_type(answer, ChatCompletion)
    assert_type(answer.text, str)
    assert_type(answer.usage, ChatUsage | None)
    assert_type(answer.audio, ChatAudio | None)
    assert_type(answer.message, ChatMessage)
    iw.llm.chat([{"role": "user", "content": "x"}], config=ChatConfig(model="a/b"))
    dicts: list[dict[str, str]] = [{"role": "user", "content": "x"}]
    iw.llm.chat(dicts)
    iw.llm.chat((ChatMessage("user", "x"), {"role": "user"}))


def conversation(iw: Inworld) -> None:
    messages = [ChatMessage("user", "Weather?")]
    answer = iw.llm.chat(messages, tools=[weather], tool_choice=FunctionChoice("weather"))
    messages += iw.llm.run_tools(answer, [weather])
    mixed: list[ChatMessage | Mapping[str, object]] = [{"role": "user", "content": "x"}]
    mixed += iw.llm.run_tools(answer, [weather])
    for call in answer.tool_calls:
        assert_type(call, ChatToolCall)
        messages.append(call.output("rain"))
    iw.llm.chat(messages, tools=[FunctionTool(name="a"), WebSearchTool(), {"type": "x"}])


def streamed(iw: Inworld) -> None:
    with iw.llm.stream("Hello.", audio=ChatVoice("Dennis"), event_timeout=5) as stream:
        assert_type(stream, ChatStream)
        for piece in stream:
            assert_type(piece, str)
        assert_type(stream.deltas(), Iterator[ChatDelta])
        assert_type(stream.result(), ChatCompletion)
    assert_type(iw.tts.speak(iw.llm.stream("Hello.")), Playback)


def catalog(iw: Inworld) -> None:
    assert_type(iw.models.list(), list[ModelInfo])
    router = Router("a", RouterRoute("r", [RouterVariant("a/b", 100)]))
    assert_type(iw.routers.create(router), Router)
    assert_type(iw.routers.list(), list[Router])
    iw.routers.delete(router.id)


def refused(iw: Inworld) -> None:
    iw.llm.chat(5)  # type: ignore[arg-type]
    iw.llm.chat("x", tool_choice="weather")  # type: ignore[arg-type]
    iw.llm.chat("x", audio="Dennis")  # type: ignore[arg-type]
    iw.llm.chat("x", stream=True)  # type: ignore[call-arg]
    iw.llm.stream("x", reasoning_effort="much")  # type: ignore[arg-type]
