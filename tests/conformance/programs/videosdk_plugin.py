"""
Checks the Inworld TTS plugin of VideoSDK.

The code of the plugin is unmodified, but this program sets the constants of its module that have
the addresses of the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from checks import Check, Server, run, tokens_of
from videosdk.agents import FlushMarker
from videosdk.plugins.inworldai import InworldAITTS, tts as plugin

TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!"
RATE_HZ = 24000


class Track:
    """Collects the audio that the plugin plays."""

    def __init__(self) -> None:
        self.pcm = b""
        self.started = asyncio.Event()

    async def add_new_bytes(self, pcm: bytes) -> None:
        self.pcm += pcm
        self.started.set()

    def interrupt(self) -> None:
        self.pcm = b""

    def check(self, rate_hz: int = RATE_HZ) -> str:
        seconds = len(self.pcm) / 2 / rate_hz
        assert 3 < seconds < 8, f"{seconds} s for a text of about 6 s"
        return f"{seconds:.2f} s"


@asynccontextmanager
async def tts_of(server: Server, **options: Any) -> AsyncIterator[tuple[Any, Track, list[str]]]:
    """
    Create the plugin. Yield the plugin, its track, and a list of the errors that the plugin
    reports.
    """
    plugin.INWORLD_TTS_HTTP_ENDPOINT = f"{server.url}/tts/v1/voice:stream"
    plugin.INWORLD_TTS_WSS_ENDPOINT = f"{server.ws_url}/tts/v1/voice:streamBidirectional"
    tts = InworldAITTS(**{"api_key": server.api_key, "model_id": "inworld-tts-2", **options})
    track, errors = Track(), []
    tts.audio_track, tts.loop = track, asyncio.get_running_loop()
    tts.on("error", lambda error: errors.append(str(error)))
    try:
        yield tts, track, errors
    finally:
        await tts.aclose()


async def settle() -> None:
    """Wait until the tasks that add audio to the track have ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    adding = [task for task in others if "add_new_bytes" in repr(task.get_coro())]
    await asyncio.gather(*adding)


async def http_stream(server: Server) -> str:
    async with tts_of(server, enable_streaming=False) as (tts, track, errors):
        await tts.synthesize(TEXT)
        await settle()
        assert not errors, errors
        return track.check()


async def one_text(server: Server) -> str:
    async with tts_of(server) as (tts, track, errors):
        await tts.synthesize(TEXT)
        await settle()
        assert not errors, errors
        return track.check()


async def sentences(server: Server) -> str:
    """
    The plugin speaks two texts on the same connection.

    The second text arrives in pieces, with a flush after each sentence. ``synthesize`` returns
    after the first flush, so the check waits for 3 s of audio, which is more than the first
    sentence has.
    """

    async def pieces() -> AsyncIterator[Any]:
        for sentence in TEXT.split(". "):
            for token in tokens_of(sentence + ". "):
                yield token
            yield FlushMarker()

    async with tts_of(server) as (tts, track, errors):
        await tts.synthesize(TEXT)
        await settle()
        track.interrupt()
        await tts.synthesize(pieces())
        while len(track.pcm) < 3 * 2 * RATE_HZ:
            track.started.clear()
            await track.started.wait()
        assert not errors, errors
    return "audio after the first flush"


async def options(server: Server) -> str:
    settings = {"voice_id": "Dennis", "sample_rate": 16000, "speaking_rate": 1.2}
    async with tts_of(server, **settings) as (tts, track, errors):
        await tts.synthesize(TEXT)
        await settle()
        assert not errors, errors
        return track.check(16000)


async def interruption(server: Server) -> str:
    async with tts_of(server) as (tts, track, errors):
        speaking = asyncio.create_task(tts.synthesize("A long story. " * 60))
        await track.started.wait()
        await tts.interrupt()
        await speaking
        await tts.synthesize(TEXT)
        await settle()
        assert not errors, errors
        return track.check() + " after an interrupted text"


async def refusal(server: Server, **options: Any) -> str:
    async with tts_of(server, **options) as (tts, track, errors):
        await tts.synthesize(TEXT)
        assert errors
        assert not track.pcm, len(track.pcm)
    return errors[0]


async def unknown_voice(server: Server) -> str:
    return await refusal(server, voice_id="Nobody")


async def bad_key(server: Server) -> str:
    return await refusal(server, api_key="bad")


CHECKS: list[Check] = [
    ("stream", http_stream),
    ("websocket", one_text),
    ("websocket", sentences),
    ("encodings", options),
    ("interruption", interruption),
    ("refusals", unknown_voice),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
