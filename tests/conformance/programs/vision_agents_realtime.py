"""
Checks the Inworld Realtime plugin of Vision Agents over WebRTC.

The code of the plugin is unmodified, but this program sets the constants of its modules that have
the addresses of the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from checks import Check, Server, run
from getstream.video.rtc.track_util import PcmData
from vision_agents.core.edge.types import Participant
from vision_agents.core.llm.realtime import (
    RealtimeAgentTranscript,
    RealtimeAudioOutput,
    RealtimeAudioOutputDone,
    RealtimeUserTranscript,
)
from vision_agents.plugins import inworld
from vision_agents.plugins.inworld import inworld_realtime, rtc_manager

USER = Participant(None, "user", "user")


class Conversation:
    """Runs one session. Counts the seconds of sound that the user hears. Keeps the transcripts."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm
        self.sounding_seconds = 0.0
        self.replies: list[str] = []
        self.turns: list[str] = []
        self.interruptions = 0

    async def listen(self) -> None:
        async for item in self.llm.output:
            if isinstance(item, RealtimeAudioOutput):
                loud = np.abs(item.data.samples.astype(int)) > 300
                self.sounding_seconds += float(loud.mean()) * item.data.duration
            elif isinstance(item, RealtimeAgentTranscript):
                self.replies.append(item.text)
            elif isinstance(item, RealtimeUserTranscript):
                self.turns.append(item.text)
            elif isinstance(item, RealtimeAudioOutputDone):
                self.interruptions += item.interrupted

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            await asyncio.sleep(0.02)

    async def ask(self, text: str) -> None:
        async for _ in self.llm.simple_response(text):
            pass

    async def speak(self, server: Server) -> None:
        """Speak the question in real time, with silence after it."""
        samples = np.frombuffer(server.question_pcm(), "<i2")
        samples = np.concatenate([samples, np.zeros(24000, "<i2")])
        for at in range(0, len(samples), 2400):
            pcm = PcmData(24000, "s16", samples[at : at + 2400])
            await self.llm.simple_audio_response(pcm, USER)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def conversation(
    server: Server, *functions: Callable[..., Any], **options: Any
) -> AsyncIterator[Conversation]:
    rtc_manager.INWORLD_CALLS_ENDPOINT = f"{server.url}/v1/realtime/calls"
    rtc_manager.INWORLD_ICE_ENDPOINT = f"{server.url}/v1/realtime/ice-servers"
    inworld_realtime.INWORLD_API_BASE = server.url
    llm = inworld.Realtime(**{"api_key": server.api_key, **options})
    for function in functions:
        llm.register_function()(function)
    await llm.connect()
    found = Conversation(llm)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        listening.cancel()
        await llm.close()


async def written_turn(server: Server) -> str:
    async with conversation(server) as talk:
        await talk.ask("Say good morning, everybody.")
        await talk.until(lambda: talk.replies and talk.sounding_seconds > 0.5)
        assert talk.replies == ["good morning, everybody."], talk.replies
        return f"{talk.replies[0]} {talk.sounding_seconds:.1f} s"


async def spoken_turn(server: Server) -> str:
    async with conversation(server) as talk:
        await talk.speak(server)
        await talk.until(lambda: talk.replies and talk.sounding_seconds > 0.5)
        assert "weather in london" in talk.turns[0].lower(), talk.turns
        return f"{talk.turns[0]} {talk.replies[0]}"


async def tool_call(server: Server) -> str:
    async def get_weather(city: str) -> str:
        """Weather for a city."""
        assert city == "London", city
        return "sunny"

    async with conversation(server, get_weather) as talk:
        await talk.ask("What is the weather in London?")
        await talk.until(lambda: any("sunny" in text for text in talk.replies))
        return talk.replies[-1]


async def interruption(server: Server) -> str:
    async with conversation(server) as talk:
        await talk.ask("Count to ninety.")
        await talk.until(lambda: talk.sounding_seconds > 1)
        await talk.speak(server)
        await talk.until(lambda: talk.interruptions and talk.turns)
        assert "weather in london" in talk.turns[0].lower(), talk.turns
        before = talk.sounding_seconds
        await talk.until(lambda: "London" in talk.replies[-1])
        # The reply to the question is one sentence. Without the interruption, the first reply
        # would count to ninety for a minute.
        quiet_since = asyncio.get_running_loop().time()
        heard = talk.sounding_seconds
        while asyncio.get_running_loop().time() - quiet_since < 1:
            await asyncio.sleep(0.05)
            if talk.sounding_seconds > heard:
                heard = talk.sounding_seconds
                quiet_since = asyncio.get_running_loop().time()
        assert heard - before < 10, heard - before
        return talk.replies[-1]


async def bad_key(server: Server) -> str:
    try:
        async with conversation(server, api_key="bad"):
            pass
    except Exception as error:
        if "403" not in str(error):
            raise
        return str(error).splitlines()[0]
    raise AssertionError("the key was accepted")


CHECKS: list[Check] = [
    ("written turn", written_turn),
    ("spoken turn", spoken_turn),
    ("tool call", tool_call),
    ("interruption", interruption),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
