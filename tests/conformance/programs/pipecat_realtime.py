"""Checks Pipecat's Inworld Realtime service, unmodified."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from checks import Check, Server, run
from loguru import logger
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import InputAudioRawFrame, InterruptionFrame, LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.inworld.realtime.llm import InworldRealtimeLLMService
from pipecat_pipeline import RATE_HZ, Collector, pipeline_of

FRAME_BYTES = RATE_HZ // 50 * 2
WEATHER = FunctionSchema(
    name="get_weather",
    description="Weather for a city.",
    properties={"city": {"type": "string"}},
    required=["city"],
)


async def get_weather(params: Any) -> None:
    assert params.arguments == {"city": "London"}, params.arguments
    await params.result_callback("sunny")


@asynccontextmanager
async def conversation_of(
    server: Server, text: str, *tools: FunctionSchema
) -> AsyncIterator[tuple[Any, Collector]]:
    """Start a conversation with a written message."""
    address = f"{server.ws_url}/api/v1/realtime/session"
    llm = InworldRealtimeLLMService(api_key=server.api_key, base_url=address)
    llm.register_function("get_weather", get_weather)
    message: Any = {"role": "user", "content": text}
    context = LLMContext([message], ToolsSchema(standard_tools=list(tools)))
    pair, collector = LLMContextAggregatorPair(context), Collector()
    processors = (pair.user(), llm, collector, pair.assistant())
    async with pipeline_of(collector, *processors) as worker:
        await worker.queue_frames([LLMContextFrame(context)])
        yield worker, collector


async def speak(worker: Any, pcm: bytes) -> None:
    for at in range(0, len(pcm), FRAME_BYTES):
        piece = pcm[at : at + FRAME_BYTES]
        await worker.queue_frame(InputAudioRawFrame(piece, RATE_HZ, 1))


async def written_turn(server: Server) -> str:
    async with conversation_of(server, "Say good morning.") as (_, collector):
        await collector.until(lambda: "good morning." in "".join(collector.words()))
        await collector.until(lambda: collector.seconds() > 0.5)
        return f"{''.join(collector.words())!r}"


async def spoken_turn(server: Server) -> str:
    async with conversation_of(server, "Say good morning.") as (worker, collector):
        await collector.until(lambda: "good morning." in "".join(collector.words()))
        await speak(worker, server.question_pcm() + bytes(4 * RATE_HZ))
        await collector.until(lambda: "weather in London" in "".join(collector.words()))
        return "".join(collector.words())


async def tool_call(server: Server) -> str:
    question = "What is the weather in London?"
    async with conversation_of(server, question, WEATHER) as (_, collector):
        await collector.until(lambda: "The weather says: sunny." in "".join(collector.words()))
        return "".join(collector.words())


async def interruption(server: Server) -> str:
    """Speech interrupts a long reply. Then the model replies to the speech."""
    async with conversation_of(server, "Count to 90.") as (worker, collector):
        await collector.until(lambda: collector.seconds() > 1)
        await speak(worker, server.question_pcm() + bytes(4 * RATE_HZ))
        await collector.until(lambda: bool(collector.of(InterruptionFrame)))
        await collector.until(lambda: "weather in London" in "".join(collector.words()))
        return "".join(collector.words())[-60:]


CHECKS: list[Check] = [
    ("written turn", written_turn),
    ("spoken turn", spoken_turn),
    ("tool call", tool_call),
    ("interruption", interruption),
]

if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    run(CHECKS)
