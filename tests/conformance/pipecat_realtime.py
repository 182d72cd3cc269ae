"""
Pipecat's Inworld Realtime service, unmodified, against a server.

Runs in a separate environment with ``pipecat-ai``. ``run_realtime.py`` creates the environment and
starts an emulator. Arguments: WebSocket URL, key, and a file with a spoken question as 16-bit mono
PCM at 24 kHz.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.inworld.realtime.llm import InworldRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 24000
FRAME_BYTES = RATE_HZ // 50 * 2
TIMEOUT = 20


class Collector(FrameProcessor):
    """Collects the frames of the service, and wakes up the task that waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self._changed = asyncio.Event()

    async def process_frame(self, frame: Any, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self._changed.set()
        await self.push_frame(frame, direction)

    def text(self) -> str:
        return "".join(frame.text for frame in self.frames if isinstance(frame, TTSTextFrame))

    def seconds(self) -> float:
        audio = [frame.audio for frame in self.frames if isinstance(frame, TTSAudioRawFrame)]
        return sum(map(len, audio)) / 2 / RATE_HZ

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


async def talk(url: str, key: str, question: bytes) -> str:
    """A written greeting, a spoken question that leads to a call, and an interruption."""
    llm = InworldRealtimeLLMService(api_key=key, base_url=f"{url}/api/v1/realtime/session")

    async def get_weather(params: Any) -> None:
        assert params.arguments == {"city": "London"}, params.arguments
        await params.result_callback("sunny")

    llm.register_function("get_weather", get_weather)
    weather = FunctionSchema(
        name="get_weather",
        description="Weather for a city.",
        properties={"city": {"type": "string"}},
        required=["city"],
    )
    context = LLMContext(
        [{"role": "user", "content": "Say good morning."}], ToolsSchema(standard_tools=[weather])
    )
    pair, collector = LLMContextAggregatorPair(context), Collector()
    pipeline = Pipeline([pair.user(), llm, collector, pair.assistant()])
    params = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
    task = PipelineWorker(pipeline, params=params)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(task)
    running = asyncio.create_task(runner.run())
    try:
        await task.queue_frames([LLMContextFrame(context)])
        await collector.until(lambda: "good morning." in collector.text())
        await collector.until(lambda: collector.seconds() > 0.5)
        greeting = collector.seconds()
        sound = question + bytes(4 * RATE_HZ)
        for at in range(0, len(sound), FRAME_BYTES):
            piece = sound[at : at + FRAME_BYTES]
            await task.queue_frame(InputAudioRawFrame(piece, RATE_HZ, 1))
        await collector.until(lambda: "The weather says: sunny." in collector.text())
        await collector.until(lambda: collector.seconds() > greeting + 1)
        interrupted = any(isinstance(frame, InterruptionFrame) for frame in collector.frames)
        return (
            f"said {collector.text()!r} in {collector.seconds():.2f} s, interrupted: {interrupted}"
        )
    finally:
        await task.cancel()
        await running


async def main(url: str, key: str, question: bytes) -> int:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    try:
        shown, failed = await talk(url, key, question), 0
    except Exception as error:
        shown, failed = f"FAILED: {type(error).__name__}: {error}", 1
    sys.stdout.write(f"{'talk':18} {shown}\n")
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes())))
