"""Runs a pipeline of Pipecat with one service. All programs for Pipecat use this module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame, TTSTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 24000


class Collector(FrameProcessor):
    """Collects the frames of the service, and wakes up the task that waits for frames."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self._changed = asyncio.Event()

    async def process_frame(self, frame: Any, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self._changed.set()
        await self.push_frame(frame, direction)

    def add_error(self, frame: ErrorFrame) -> None:
        self.frames.append(frame)
        self._changed.set()

    def of(self, kind: type) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def words(self) -> list[str]:
        return [frame.text for frame in self.of(TTSTextFrame)]

    def seconds(self) -> float:
        audio = self.of(TTSAudioRawFrame)
        return sum(len(frame.audio) / 2 / frame.sample_rate for frame in audio)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def pipeline_of(
    collector: Collector, *processors: FrameProcessor
) -> AsyncIterator[PipelineWorker]:
    """Run a pipeline of these processors. One of the processors is the collector."""
    params = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
    worker = PipelineWorker(Pipeline(list(processors)), params=params)

    @worker.event_handler("on_pipeline_error")
    async def _(_worker: Any, frame: ErrorFrame) -> None:
        collector.add_error(frame)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        yield worker
    finally:
        await worker.cancel()
        await running
