"""Checks LiveKit's plugin for OpenAI's Realtime service, unmodified."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from checks import Check, Server, run
from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins import openai
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

RATE_HZ = 24000
FRAME_SAMPLES = RATE_HZ // 10


@asynccontextmanager
async def session_of(server: Server) -> AsyncIterator[Any]:
    """Open a session. An error that the session reports makes the check fail."""
    errors: list[Any] = []
    model = openai.realtime.RealtimeModel(
        base_url=f"{server.url}/v1",
        api_key=server.api_key,
        voice="marin",
        turn_detection=ServerVad(type="server_vad", silence_duration_ms=500),
    )
    session = model.session()
    session.on("error", errors.append)
    try:
        yield session
        assert not errors, errors
    finally:
        await session.aclose()
        await model.aclose()


@function_tool
async def get_weather(city: str) -> str:
    """Weather for a city.

    Args:
        city: Its name.
    """
    return f"sunny in {city}"


async def said_in(generation: Any) -> tuple[str, float]:
    """Return the text and the seconds of audio of a generation."""
    text, seconds = "", 0.0
    async for message in generation.message_stream:
        async for piece in message.text_stream:
            text += piece
        async for frame in message.audio_stream:
            seconds += frame.duration
    return text, seconds


def speak(session: Any, pcm: bytes) -> None:
    pcm += bytes(2 * RATE_HZ)
    for at in range(0, len(pcm) - FRAME_SAMPLES * 2, FRAME_SAMPLES * 2):
        piece = pcm[at : at + FRAME_SAMPLES * 2]
        session.push_audio(rtc.AudioFrame(piece, RATE_HZ, 1, FRAME_SAMPLES))


async def written_turn(server: Server) -> str:
    """The plugin copies a written conversation to the server. The reply has text and audio."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="My name is Alice.")
    chat.add_message(role="assistant", content="Nice to meet you.")
    chat.add_message(role="user", content="What is my name?")
    async with session_of(server) as session:
        await session.update_chat_ctx(chat)
        text, seconds = await said_in(await session.generate_reply())
        assert text == "Your name is Alice.", text
        assert 0.5 < seconds < 4, seconds
        assert len(session.chat_ctx.items) == 4, session.chat_ctx.items
    return f"{text!r} in {seconds:.2f} s"


async def spoken_turn(server: Server) -> str:
    """
    The server recognizes a spoken question and detects its end. The reply has text and audio.
    """
    heard: asyncio.Queue[Any] = asyncio.Queue()
    created: asyncio.Queue[Any] = asyncio.Queue()
    started = asyncio.Event()
    async with session_of(server) as session:
        session.on("input_speech_started", lambda _: started.set())
        session.on("input_audio_transcription_completed", heard.put_nowait)
        session.on("generation_created", created.put_nowait)
        speak(session, server.question_pcm())
        text, seconds = await said_in(await created.get())
        while not (transcript := await heard.get()).is_final:
            pass
    assert started.is_set(), "no input_speech_started"
    assert "weather in london" in transcript.transcript.lower(), transcript
    assert "london" in text.lower(), text
    assert seconds > 0.5, seconds
    return f"heard {transcript.transcript!r}, said {text!r}"


async def tool_call(server: Server) -> str:
    """A question causes a tool call. The next reply has the output of the tool."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="What is the weather in London?")
    async with session_of(server) as session:
        await session.update_tools([get_weather])
        await session.update_chat_ctx(chat)
        generation = await session.generate_reply()
        [call] = [call async for call in generation.function_stream]
        assert call.name == "get_weather", call
        assert json.loads(call.arguments) == {"city": "London"}, call.arguments
        chat = session.chat_ctx.copy()
        chat.items.append(
            llm.FunctionCallOutput(
                call_id=call.call_id, name="get_weather", output="sunny", is_error=False
            )
        )
        await session.update_chat_ctx(chat)
        text, _ = await said_in(await session.generate_reply())
    assert text == "The weather says: sunny.", text
    return text


async def interrupted(server: Server) -> str:
    """A reply is interrupted and truncated to the audio that was heard."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="Count to 90.")
    async with session_of(server) as session:
        await session.update_chat_ctx(chat)
        generation = await session.generate_reply()
        async for message in generation.message_stream:
            frame = await anext(aiter(message.audio_stream))
            session.interrupt()
            async for _frame in message.audio_stream:
                pass
            session.truncate(
                message_id=message.message_id,
                modalities=["audio", "text"],
                audio_end_ms=int(frame.duration * 1000),
            )
        chat.add_message(role="user", content="Say enough.")
        await session.update_chat_ctx(chat)
        text, _ = await said_in(await session.generate_reply())
    assert text == "enough.", text
    return text


CHECKS: list[Check] = [
    ("written turn", written_turn),
    ("spoken turn", spoken_turn),
    ("tool call", tool_call),
    ("interruption", interrupted),
]

if __name__ == "__main__":
    run(CHECKS)
