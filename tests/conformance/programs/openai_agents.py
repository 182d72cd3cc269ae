"""Checks the realtime sessions of OpenAI's Agents SDK for Python, unmodified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner
from checks import Check, Server, run

SECOND = 48000
CHUNK_BYTES = 4800


@function_tool
def get_weather(city: str) -> str:
    """Weather for a city."""
    assert city == "London", city
    return "sunny"


@asynccontextmanager
async def session_of(server: Server, *tools: Any, key: str | None = None) -> AsyncIterator[Any]:
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.", tools=list(tools))
    detection = {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": True}
    settings: Any = {
        "model_name": "gpt-realtime",
        "audio": {
            "input": {
                "format": "pcm16",
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": detection,
            },
            "output": {"format": "pcm16", "voice": "marin"},
        },
    }
    runner = RealtimeRunner(agent, config={"model_settings": settings})
    address = f"{server.ws_url}/v1/realtime?model=gpt-realtime"
    model: Any = {"api_key": key or server.api_key, "url": address}
    async with await runner.run(model_config=model) as session:
        yield session


async def until_reply(session: Any, part: str = "") -> tuple[str, float, set[str]]:
    """
    Wait for a complete reply whose text contains *part*. Return this text, the duration of the
    audio in seconds, and the types of all events.
    """
    seconds, kinds = 0.0, set()
    async for event in session:
        assert event.type != "error", event.error
        kinds.add(event.type)
        if event.type == "audio":
            seconds += len(event.audio.data) / SECOND
        elif event.type == "history_updated":
            said = text_of(event.history[-1:], "assistant")
            if said and part in said and event.history[-1].status == "completed":
                return said, seconds, kinds
    raise AssertionError("the session ended")


def text_of(history: list[Any], role: str) -> str:
    """Return the text of the last message of a role."""
    texts = [
        getattr(part, "transcript", None) or getattr(part, "text", None) or ""
        for item in history
        if item.type == "message" and item.role == role
        for part in item.content
    ]
    return texts[-1] if texts else ""


async def written_turn(server: Server) -> str:
    async with session_of(server) as session:
        await session.send_message("Say good morning, everybody.")
        text, seconds, _ = await until_reply(session)
    assert text == "good morning, everybody.", text
    assert seconds > 0.5, seconds
    return f"{text!r} in {seconds:.2f} s"


async def spoken_turn(server: Server) -> str:
    async with session_of(server) as session:
        sound = server.question_pcm() + bytes(SECOND)
        for at in range(0, len(sound), CHUNK_BYTES):
            await session.send_audio(sound[at : at + CHUNK_BYTES])
        text, seconds, _ = await until_reply(session)
        assert seconds > 0.5, seconds
        heard = text_of(session._history, "user")
    assert "weather in london" in heard.lower(), heard
    assert "london" in text.lower(), text
    return f"heard {heard!r}, said {text!r}"


async def tool_call(server: Server) -> str:
    async with session_of(server, get_weather) as session:
        await session.send_message("What is the weather in London?")
        text, _, kinds = await until_reply(session, "sunny")
    assert text == "The weather says: sunny.", text
    assert {"tool_start", "tool_end"} <= kinds, kinds
    return text


async def interruption(server: Server) -> str:
    """A reply is interrupted after its first audio. The next reply is complete."""
    async with session_of(server) as session:
        await session.send_message("Count to 90.")
        async for event in session:
            if event.type == "audio":
                await session.interrupt()
                break
        await session.send_message("Say enough.")
        text, _, _ = await until_reply(session, "enough")
    assert text == "enough.", text
    return text


async def bad_key(server: Server) -> str:
    try:
        async with session_of(server, key="bad"):
            pass
    except Exception as error:
        assert "403" in str(error), error  # noqa: PT017
        return f"{type(error).__name__}: {error}"
    raise AssertionError("a bad key was accepted")


CHECKS: list[Check] = [
    ("written turn", written_turn),
    ("spoken turn", spoken_turn),
    ("tool call", tool_call),
    ("interruption", interruption),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    # With tracing, the SDK would send data to OpenAI's service.
    set_tracing_disabled(True)
    run(CHECKS)
