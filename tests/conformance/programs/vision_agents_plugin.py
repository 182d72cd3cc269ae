"""Checks the Inworld TTS and LLM plugins of Vision Agents, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from checks import Check, Server, run
from vision_agents.core.agents.conversation import InMemoryConversation
from vision_agents.plugins import inworld

TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!"


@asynccontextmanager
async def tts_of(server: Server, **options: Any) -> AsyncIterator[Any]:
    address = f"{server.ws_url}/tts/v1/voice:streamBidirectional"
    tts = inworld.TTS(**{"api_key": server.api_key, "ws_url": address, **options})
    await tts.start()
    try:
        yield tts
    finally:
        await tts.close()


async def speak(tts: Any, text: str = TEXT) -> float:
    return sum([pcm.duration async for pcm in await tts.stream_audio(text)])


def check_seconds(seconds: float) -> str:
    assert 3 < seconds < 8, f"{seconds} s for a text of about 6 s"
    return f"{seconds:.2f} s"


async def one_text(server: Server) -> str:
    async with tts_of(server) as tts:
        return check_seconds(await speak(tts))


async def many_texts(server: Server) -> str:
    """Speak seven texts on one connection. A connection may have at most five open contexts."""
    async with tts_of(server) as tts:
        for _ in range(7):
            check_seconds(await speak(tts))
    return "7 texts on one connection"


async def options(server: Server) -> str:
    async with tts_of(server, voice_id="Dennis", sample_rate=48000, speaking_rate=1.2) as tts:
        return check_seconds(await speak(tts))


async def interruption(server: Server) -> str:
    async with tts_of(server) as tts:
        spoken = await tts.stream_audio("A long story. " * 60)
        await anext(spoken)
        await tts.interrupt()
        await spoken.aclose()
        return check_seconds(await speak(tts)) + " after an interrupted text"


async def at_once(server: Server) -> str:
    async def one() -> float:
        async with tts_of(server) as tts:
            return await speak(tts)

    for seconds in await asyncio.gather(*(one() for _ in range(4))):
        check_seconds(seconds)
    return "4 connections"


async def refusal(server: Server, **options: Any) -> str:
    try:
        async with tts_of(server, **options) as tts:
            await speak(tts)
    except RuntimeError as error:
        return str(error)
    raise AssertionError("the request was accepted")


async def unknown_voice(server: Server) -> str:
    return await refusal(server, voice_id="Nobody")


async def bad_key(server: Server) -> str:
    return await refusal(server, api_key="bad")


async def ask(server: Server, text: str, *functions: Callable[..., Any]) -> str:
    """Return the reply of the LLM router, which may call these functions."""
    llm = inworld.LLM(api_key=server.api_key, base_url=f"{server.url}/v1", sort_by=["latency"])
    llm.set_conversation(InMemoryConversation("Be brief.", []))
    for function in functions:
        llm.register_function()(function)
    try:
        items = [item async for item in llm.simple_response(text)]
    finally:
        await llm.close()
    return str(items[-1].text)


async def chat(server: Server) -> str:
    text = await ask(server, "Count to twenty.")
    assert "twenty" in text.lower(), text
    return text


async def chat_with_tool(server: Server) -> str:
    async def get_weather(city: str) -> str:
        """Weather for a city."""
        assert city == "London", city
        return "sunny"

    text = await ask(server, "What is the weather in London?", get_weather)
    assert text == "The weather says: sunny.", text
    return text


CHECKS: list[Check] = [
    ("chat", chat),
    ("chat", chat_with_tool),
    ("websocket", one_text),
    ("websocket", many_texts),
    ("encodings", options),
    ("interruption", interruption),
    ("at once", at_once),
    ("refusals", unknown_voice),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
