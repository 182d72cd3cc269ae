"""
Checks Pipecat's two Inworld TTS services, unmodified: one over HTTP and one over a WebSocket.

The HTTP service has no argument for the address of the server, so this program sets an attribute
of the service.
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
from checks import Check, Server, run, words_of
from loguru import logger
from pipecat.frames.frames import (
    ErrorFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
)
from pipecat.services.inworld.tts import InworldHttpTTSService, InworldTTSService
from pipecat_pipeline import Collector, pipeline_of

TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!"


async def speak(tts: Any) -> Collector:
    """Speak the text. An error makes the check fail."""
    collector = Collector()
    async with pipeline_of(collector, tts, collector) as worker:
        await worker.queue_frame(TTSSpeakFrame(TEXT))
        await collector.until(lambda: bool(collector.of(TTSStoppedFrame)))
        # Each word arrives at the time at which the word is played.
        await collector.until(
            lambda: (
                words_of(" ".join(collector.words()))[-1:] == ["goodbye"]
                or bool(collector.of(ErrorFrame))
            )
        )
    errors = collector.of(ErrorFrame)
    assert not errors, errors
    return collector


def check_speech(collector: Collector) -> str:
    seconds = collector.seconds()
    assert 3 < seconds < 8, f"{seconds} s for a text of about 6 s"
    said = " ".join(collector.words())
    assert words_of(TEXT) == words_of(said.replace("$ ", "$")), collector.words()
    return f"{seconds:.2f} s, {len(collector.words())} words"


async def speak_over_http(server: Server, *, streaming: bool) -> str:
    async with aiohttp.ClientSession() as session:
        tts = InworldHttpTTSService(
            api_key=server.api_key, aiohttp_session=session, streaming=streaming
        )
        tts._base_url = f"{server.url}/tts/v1/voice{':stream' if streaming else ''}"
        return check_speech(await speak(tts))


async def whole_text(server: Server) -> str:
    return await speak_over_http(server, streaming=False)


async def streamed_text(server: Server) -> str:
    return await speak_over_http(server, streaming=True)


def websocket_of(server: Server, key: str | None = None, **options: Any) -> InworldTTSService:
    address = f"{server.ws_url}/tts/v1/voice:streamBidirectional"
    return InworldTTSService(api_key=key or server.api_key, url=address, **options)


async def websocket(server: Server) -> str:
    return check_speech(await speak(websocket_of(server)))


async def word_times(server: Server) -> str:
    """With SYNC, the times of words arrive together with the audio of these words."""
    tts = websocket_of(server, timestamp_transport_strategy="SYNC")
    collector = await speak(tts)
    check_speech(collector)
    return " ".join(collector.words())


async def options(server: Server) -> str:
    settings = InworldTTSService.Settings(
        voice="Dennis", language="en-US", speaking_rate=1.2, delivery_mode="STABLE"
    )
    return check_speech(await speak(websocket_of(server, sample_rate=16000, settings=settings)))


async def interruption(server: Server) -> str:
    collector = Collector()
    tts = websocket_of(server)
    async with pipeline_of(collector, tts, collector) as worker:
        await worker.queue_frame(TTSSpeakFrame("A long story. " * 60))
        await collector.until(lambda: bool(collector.of(TTSAudioRawFrame)))
        await worker.queue_frame(InterruptionFrame())
        await collector.until(lambda: bool(collector.of(InterruptionFrame)))
        await worker.queue_frame(TTSSpeakFrame("Say enough."))
        await collector.until(lambda: "enough" in words_of(" ".join(collector.words())))
        assert not collector.of(ErrorFrame), collector.of(ErrorFrame)
    return "the next text is spoken"


async def refusal(tts: Any) -> str:
    collector = Collector()
    async with pipeline_of(collector, tts, collector) as worker:
        await worker.queue_frame(TTSSpeakFrame(TEXT))
        await collector.until(lambda: bool(collector.of(ErrorFrame)))
    assert collector.seconds() == 0, collector.seconds()
    return str(collector.of(ErrorFrame)[0].error)


async def unknown_voice(server: Server) -> str:
    return await refusal(websocket_of(server, settings=InworldTTSService.Settings(voice="Nobody")))


async def bad_key(server: Server) -> str:
    return await refusal(websocket_of(server, "bad"))


CHECKS: list[Check] = [
    ("speech", whole_text),
    ("stream", streamed_text),
    ("websocket", websocket),
    ("word times", word_times),
    ("encodings", options),
    ("interruption", interruption),
    ("refusals", unknown_voice),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    run(CHECKS)
