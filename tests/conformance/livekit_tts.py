"""
LiveKit's Inworld TTS plugin, unmodified, against a server.

Runs in a separate environment with ``livekit-plugins-inworld``. ``run_livekit.py`` creates the
environment and starts an emulator. Arguments: base URL, WebSocket URL, key.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from livekit.agents import APIConnectOptions, APIError
from livekit.plugins import inworld

TEXT = "Hello there. This costs $12.50, and it is worth it. Goodbye!"
ONE_TRY = APIConnectOptions(max_retry=0, timeout=20)


class Peer:
    """Creates plugins for one server."""

    def __init__(self, url: str, ws_url: str, key: str, session: aiohttp.ClientSession) -> None:
        self._common = {
            "base_url": url + "/",
            "ws_url": ws_url + "/",
            "api_key": key,
            "http_session": session,
        }

    def tts(self, **options: Any) -> inworld.TTS:
        return inworld.TTS(**{**self._common, **options})


async def collect(stream: Any) -> tuple[float, list[Any]]:
    """Return seconds of audio and the timed words of a stream."""
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


def tokens(text: str) -> list[str]:
    """Split a text into tokens like those of a language model."""
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def check_speech(seconds: float, words: list[Any], *, timed: bool = False) -> str:
    assert 3 < seconds < 8, f"{seconds} s for a text of about 5 s"
    if timed:
        said = [str(word) for word in words]
        assert TEXT.split() == said, said
        starts = [word.start_time for word in words]
        assert starts == sorted(starts), "times go back"
        assert words[-1].end_time <= seconds + 0.1, (words[-1].end_time, seconds)
    return f"{seconds:.2f} s, {len(words)} words"


async def voices(peer: Peer) -> str:
    async with peer.tts() as tts:
        found = await tts.list_voices("en")
    assert "Ashley" in {voice["voiceId"] for voice in found}
    return f"{len(found)} voices"


async def whole(peer: Peer) -> str:
    async with peer.tts(timestamp_type="WORD", timestamp_transport_strategy="SYNC") as tts:
        return check_speech(*await collect(tts.synthesize(TEXT, conn_options=ONE_TRY)))


async def client_segmented(peer: Peer) -> str:
    async with peer.tts(timestamp_type="WORD") as tts:
        return check_speech(*await speak(tts, tokens(TEXT)), timed=True)


async def sentence_boundary(peer: Peer) -> str:
    async with peer.tts(model="inworld-tts-2", timestamp_type="WORD") as tts:
        return check_speech(*await speak(tts, tokens(TEXT)), timed=True)


async def encodings(peer: Peer) -> str:
    shown = []
    for encoding in ("LINEAR16", "MP3", "OGG_OPUS", "FLAC"):
        async with peer.tts(encoding=encoding) as tts:
            seconds, _ = await collect(tts.synthesize(TEXT, conn_options=ONE_TRY))
        shown.append(f"{encoding} {seconds:.2f} s")
        assert 3 < seconds < 8, shown
    return ", ".join(shown)


async def options(peer: Peer) -> str:
    async with peer.tts(
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


async def at_once(peer: Peer) -> str:
    async with peer.tts() as tts:
        spoken = await asyncio.gather(*(speak(tts, tokens(TEXT)) for _ in range(4)))
    assert len({round(seconds, 3) for seconds, _ in spoken}) == 1
    return f"{len(spoken)} streams on one connection"


async def cancelled(peer: Peer) -> str:
    async with peer.tts() as tts:
        stream = tts.stream(conn_options=ONE_TRY)
        stream.push_text("A long story. " * 60)
        stream.flush()
        await stream.__anext__()
        await stream.aclose()
        return check_speech(*await speak(tts, [TEXT])) + " after a cancelled stream"


async def refused(peer: Peer) -> str:
    async with peer.tts(voice="Nobody") as tts:
        try:
            await speak(tts, [TEXT])
        except APIError as error:
            return f"unknown voice: {error}"
    raise AssertionError("an unknown voice was accepted")


async def bad_key(peer: Peer) -> str:
    async with peer.tts(api_key="bad") as tts:
        try:
            await speak(tts, [TEXT])
        except APIError as error:
            return f"bad key: {type(error).__name__}"
    raise AssertionError("a bad key was accepted")


CHECKS: list[Callable[[Peer], Awaitable[str]]] = [
    voices,
    whole,
    client_segmented,
    sentence_boundary,
    encodings,
    options,
    at_once,
    cancelled,
    refused,
    bad_key,
]


async def main(url: str, ws_url: str, key: str) -> int:
    failed = 0
    async with aiohttp.ClientSession() as session:
        peer = Peer(url, ws_url, key, session)
        for check in CHECKS:
            try:
                shown = await asyncio.wait_for(check(peer), 60)
            except Exception as error:
                failed += 1
                shown = f"FAILED: {type(error).__name__}: {error}"
            sys.stdout.write(f"{check.__name__:18} {shown}\n")
            sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:4])))
