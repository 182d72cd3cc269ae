"""
Compare the CPU time of whole clients. Each client opens twenty connections at once.

Every connection receives two minutes of speech. One server simulates the services of all clients.
This server sends the same audio to every client, as fast as possible. Every client has its default
settings and returns the audio to the calling code. The figure is the client's CPU time for one
second of audio.

The constructor of ElevenLabs' client accepts only addresses with TLS, so the WebSocket address is
set after the client was created. LiveKit's plugin uses asyncio, so its twenty streams run on one
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import Call, Case, Settings
from benchmarks.server import AUDIO_BYTES, serving
from inworld_sync import Inworld

CONNECTIONS = 20
_BYTES_PER_SECOND = 48_000
TARGETS = {"elevenlabs": {"any": 0.40}, "openai": {"any": 0.27}}
# The server accepts any key, but some clients check the form of the key.
KEY = "a2V5LWlkOmtleS1zZWNyZXQ="
TEXT = "Hello there."


def cases(settings: Settings) -> Iterator[Case]:
    """Yield the case of whole clients."""
    count = 24 if settings.is_quick else 286
    seconds = CONNECTIONS * count * AUDIO_BYTES / _BYTES_PER_SECOND
    with serving(count=count) as url:
        yield Case(
            "20 connections, whole client, CPU",
            1,
            "s audio",
            threaded(lambda: by_inworld(url), seconds),
            {
                "elevenlabs": threaded(lambda: by_elevenlabs(url), seconds),
                "openai": threaded(lambda: by_openai(url), seconds),
                "livekit-plugins-inworld": lambda: asyncio.run(by_livekit(url, seconds)),
            },
            # With few messages, opening the connections takes most of the time, so a quick run has
            # no targets.
            {} if settings.is_quick else TARGETS,
            returns_seconds=True,
            rounds=5,
        )


def threaded(make: Callable[[], Callable[[], int]], seconds: float) -> Call:
    """
    Return a function that measures the CPU seconds for one second of audio.

    The function runs each connection on a thread of its own.
    """

    def run() -> float:
        speak = make()
        got: list[int] = []
        threads = [threading.Thread(target=lambda: got.append(speak())) for _ in range(CONNECTIONS)]
        begin = time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.process_time() - begin
        _check(sum(got), seconds)
        return took / seconds

    return run


def _check(got_bytes: int, seconds: float) -> None:
    expected = round(seconds * _BYTES_PER_SECOND)
    # A client may fill up its last frame with silence.
    if abs(got_bytes - expected) > expected / 100:
        raise RuntimeError(f"expected {expected} bytes of audio, got {got_bytes}")


def by_inworld(url: str) -> Callable[[], int]:
    """Return a function that receives speech with this package and returns the count of bytes."""
    http = url.replace("ws://", "http://")

    def speak() -> int:
        with Inworld(api_key=KEY, base_url=http) as iw, iw.tts.connect() as connection:
            context = connection.context()
            context.send(TEXT)
            context.close()
            return sum(len(chunk.data) for chunk in context.audio())

    return speak


def by_openai(url: str) -> Callable[[], int]:
    """Do the same as :func:`by_inworld` with OpenAI's blocking realtime client."""
    import base64

    from openai import OpenAI

    client = OpenAI(api_key="none", websocket_base_url=url)

    def speak() -> int:
        size = 0
        with client.realtime.connect(model="any") as connection:
            connection.response.create()
            for event in connection:
                if event.type == "response.output_audio.delta":
                    size += len(base64.b64decode(event.delta))
                elif event.type == "response.output_audio.done":
                    break
        return size

    return speak


def by_elevenlabs(url: str) -> Callable[[], int]:
    """Do the same as :func:`by_inworld` with ElevenLabs' blocking client."""
    from elevenlabs import ElevenLabs, VoiceSettings

    client = ElevenLabs(api_key="none")
    speech: Any = client.text_to_speech
    speech._ws_base_url = url  # noqa: SLF001

    def speak() -> int:
        chunks = speech.convert_realtime(
            "any",
            text=iter([TEXT]),
            model_id="any",
            output_format="pcm_24000",
            voice_settings=VoiceSettings(),
        )
        return sum(len(chunk) for chunk in chunks)

    return speak


async def by_livekit(url: str, seconds: float) -> float:
    """Return the CPU seconds that LiveKit's plugin for Inworld needs for one second of audio."""
    import aiohttp
    from livekit.plugins import inworld

    logging.getLogger("livekit").setLevel(logging.ERROR)

    async def speak(session: aiohttp.ClientSession) -> int:
        base = url.replace("ws://", "http://")
        size = 0
        async with (
            inworld.TTS(
                api_key=KEY, base_url=base + "/", ws_url=url + "/", http_session=session
            ) as tts,
            tts.stream() as stream,
        ):
            stream.push_text(TEXT)
            stream.end_input()
            async for audio in stream:
                size += len(audio.frame.data) * 2
        return size

    async with aiohttp.ClientSession() as session:
        begin = time.process_time()
        got = await asyncio.gather(*[speak(session) for _ in range(CONNECTIONS)])
        took = time.process_time() - begin
    _check(sum(got), seconds)
    return took / seconds
