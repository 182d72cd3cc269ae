"""Checks LiveKit's Inworld TTS plugin, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from checks import Check, Server, run, tokens_of, words_of
from livekit.agents import APIConnectOptions, APIError
from livekit.plugins import inworld

TEXT = "Hello there. This costs $12.50, and it is worth it. Goodbye!"
ONE_TRY = APIConnectOptions(max_retry=0, timeout=20)


@asynccontextmanager
async def tts_of(server: Server, **options: Any) -> AsyncIterator[inworld.TTS]:
    async with aiohttp.ClientSession() as session:
        common = {
            "base_url": server.url + "/",
            "ws_url": server.ws_url + "/",
            "api_key": server.api_key,
            "http_session": session,
        }
        async with inworld.TTS(**{**common, **options}) as tts:
            yield tts


async def collect(stream: Any) -> tuple[float, list[Any]]:
    """Return the duration of the audio in seconds, and the timed words of a stream."""
    seconds, words = 0.0, []
    async for audio in stream:
        seconds += audio.frame.duration
        words += audio.frame.userdata.get("lk.timed_transcripts", [])
    return seconds, words


async def speak(tts: inworld.TTS, pieces: list[str]) -> tuple[float, list[Any]]:
    async with tts.stream(conn_options=ONE_TRY) as stream:
        for piece in pieces:
            stream.push_text(piece)
        stream.end_input()
        return await collect(stream)


def check_speech(seconds: float, words: list[Any]) -> str:
    assert 3 < seconds < 8, f"{seconds} s for a text of about 5 s"
    return f"{seconds:.2f} s, {len(words)} words"


async def voices(server: Server) -> str:
    async with tts_of(server) as tts:
        found = await tts.list_voices("en")
    assert "Ashley" in {voice["voiceId"] for voice in found}
    return f"{len(found)} voices"


async def whole(server: Server) -> str:
    async with tts_of(server, timestamp_type="WORD", timestamp_transport_strategy="SYNC") as tts:
        return check_speech(*await collect(tts.synthesize(TEXT, conn_options=ONE_TRY)))


async def client_segmented(server: Server) -> str:
    async with tts_of(server, timestamp_type="WORD") as tts:
        return check_speech(*await speak(tts, tokens_of(TEXT)))


async def sentence_boundary(server: Server) -> str:
    async with tts_of(server, model="inworld-tts-2", timestamp_type="WORD") as tts:
        return check_speech(*await speak(tts, tokens_of(TEXT)))


async def word_times(server: Server) -> str:
    async with tts_of(server, timestamp_type="WORD") as tts:
        seconds, words = await speak(tts, tokens_of(TEXT))
    said = "".join(words)
    assert words_of(TEXT) == words_of(said), said
    starts = [word.start_time for word in words]
    assert starts == sorted(starts), "times go back"
    assert words[-1].end_time <= seconds + 0.1, (words[-1].end_time, seconds)
    return f"{len(words)} tokens"


async def encodings(server: Server) -> str:
    shown = []
    for encoding in ("LINEAR16", "MP3", "OGG_OPUS", "FLAC"):
        async with tts_of(server, encoding=encoding) as tts:
            seconds, _ = await collect(tts.synthesize(TEXT, conn_options=ONE_TRY))
        shown.append(f"{encoding} {seconds:.2f} s")
        assert 3 < seconds < 8, shown
    return ", ".join(shown)


async def options(server: Server) -> str:
    async with tts_of(
        server,
        voice="Dennis",
        speaking_rate=1.3,
        temperature=0.8,
        sample_rate=16000,
        language="en-US",
        delivery_mode="STABLE",
        text_normalization=True,
        timestamp_type="CHARACTER",
    ) as tts:
        seconds, characters = await speak(tts, [TEXT])
    return f"{seconds:.2f} s, {len(characters)} characters"


async def at_once(server: Server) -> str:
    async with tts_of(server) as tts:
        spoken = await asyncio.gather(*(speak(tts, tokens_of(TEXT)) for _ in range(4)))
    assert len({round(seconds, 3) for seconds, _ in spoken}) == 1
    return f"{len(spoken)} streams on one connection"


async def cancelled(server: Server) -> str:
    async with tts_of(server) as tts:
        stream = tts.stream(conn_options=ONE_TRY)
        stream.push_text("A long story. " * 60)
        stream.flush()
        await stream.__anext__()
        await stream.aclose()
        return check_speech(*await speak(tts, [TEXT])) + " after a cancelled stream"


async def refused(server: Server) -> str:
    async with tts_of(server, voice="Nobody") as tts:
        try:
            await speak(tts, [TEXT])
        except APIError as error:
            return f"unknown voice: {error}"
    raise AssertionError("an unknown voice was accepted")


async def bad_key(server: Server) -> str:
    async with tts_of(server, api_key="bad") as tts:
        try:
            await speak(tts, [TEXT])
        except APIError as error:
            return f"bad key: {type(error).__name__}"
    raise AssertionError("a bad key was accepted")


CHECKS: list[Check] = [
    ("voices", voices),
    ("stream", whole),
    ("websocket", client_segmented),
    ("websocket", sentence_boundary),
    ("word times", word_times),
    ("encodings", encodings),
    ("encodings", options),
    ("at once", at_once),
    ("interruption", cancelled),
    ("refusals", refused),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
