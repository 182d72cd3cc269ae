"""
LiveKit's Inworld STT plugin, unmodified, against a server.

Runs in a separate environment with ``livekit-plugins-inworld``. ``run_livekit.py`` creates the
environment and starts an emulator. Arguments: base URL, WebSocket URL (not used), key, and a WAV
file, 16 kHz mono, with the speech ``TEXT``.
"""

from __future__ import annotations

import asyncio
import re
import sys
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import APIConnectOptions
from livekit.agents.stt import SpeechEventType
from livekit.plugins import inworld

TEXT = "The museum opens at ten and closes at six in the evening."
RATE_HZ = 16_000
FRAME_MS = 50
ONE_TRY = APIConnectOptions(max_retry=0, timeout=20)


class Peer:
    """Creates plugins for one server."""

    def __init__(self, url: str, key: str, pcm: bytes, session: aiohttp.ClientSession) -> None:
        self._common = {"base_url": url + "/", "api_key": key, "http_session": session}
        self.pcm = pcm

    def stt(self, **options: Any) -> inworld.STT:
        return inworld.STT(**{**self._common, **options})


def silence(seconds: float) -> bytes:
    return bytes(int(seconds * RATE_HZ) * 2)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def push(stream: Any, pcm: bytes) -> None:
    step = RATE_HZ * FRAME_MS // 1000 * 2
    for at in range(0, len(pcm), step):
        frame = pcm[at : at + step]
        stream.push_frame(rtc.AudioFrame(frame, RATE_HZ, 1, len(frame) // 2))


async def until_end_of_speech(stream: Any, turns: int = 1) -> list[Any]:
    events = []
    async for event in stream:
        events.append(event)
        if event.type is SpeechEventType.END_OF_SPEECH:
            turns -= 1
            if not turns:
                break
    return events


def texts(events: list[Any], kind: SpeechEventType) -> list[str]:
    return [event.alternatives[0].text for event in events if event.type is kind]


def finals(events: list[Any]) -> list[str]:
    return texts(events, SpeechEventType.FINAL_TRANSCRIPT)


async def hear(stt: inworld.STT, pcm: bytes, *, flush: bool = False, turns: int = 1) -> list[Any]:
    async with stt.stream(conn_options=ONE_TRY) as stream:
        push(stream, pcm)
        if flush:
            stream.flush()
        return await until_end_of_speech(stream, turns)


def check(events: list[Any]) -> str:
    text = " ".join(finals(events))
    assert words(TEXT) == words(text), text
    # The framework sometimes adds its own usage event.
    kinds = [e.type for e in events if e.type is not SpeechEventType.RECOGNITION_USAGE]
    assert SpeechEventType.START_OF_SPEECH is kinds[0], kinds
    assert SpeechEventType.END_OF_SPEECH is kinds[-1], kinds
    return text


async def silence_ends_turn(peer: Peer) -> str:
    async with peer.stt() as stt:
        return check(await hear(stt, silence(0.3) + peer.pcm + silence(1.5)))


async def flush_ends_turn(peer: Peer) -> str:
    async with peer.stt(min_end_of_turn_silence_when_confident=5000) as stt:
        return check(await hear(stt, silence(0.3) + peer.pcm, flush=True))


async def partials(peer: Peer) -> str:
    async with peer.stt() as stt:
        events = await hear(stt, silence(0.3) + peer.pcm + silence(1.5))
    interim = texts(events, SpeechEventType.INTERIM_TRANSCRIPT)
    assert interim, "no partial transcript arrived"
    return f"{len(interim)} partials, the first: {interim[0]}"


async def three_turns(peer: Peer) -> str:
    async with peer.stt() as stt:
        pcm = silence(0.3) + (peer.pcm + silence(1.5)) * 3
        events = await hear(stt, pcm, turns=3)
    said = finals(events)
    assert [words(TEXT)] * 3 == [words(text) for text in said], said
    return f"{len(said)} turns on one stream"


async def voice_profile(peer: Peer) -> str:
    async with peer.stt(enable_voice_profile=True, voice_profile_top_n=2) as stt:
        events = await hear(stt, silence(0.3) + peer.pcm + silence(1.5))
    [final] = [e for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
    profile = final.alternatives[0].metadata["voice_profile"]
    assert 2 == len(profile["age"]), profile
    return ", ".join(profile)


async def options(peer: Peer) -> str:
    async with peer.stt(
        model="assemblyai/universal-streaming-english",
        language="en-GB",
        enable_voice_profile=False,
        vad_threshold=0.4,
        end_of_turn_confidence_threshold=0.5,
    ) as stt:
        return check(await hear(stt, silence(0.3) + peer.pcm + silence(1.5)))


async def at_once(peer: Peer) -> str:
    async with peer.stt() as stt:
        pcm = silence(0.3) + peer.pcm + silence(1.5)
        for events in await asyncio.gather(*(hear(stt, pcm) for _ in range(4))):
            check(events)
    return "4 streams"


async def refused(peer: Peer) -> str:
    async with peer.stt(model="inworld/stt-v1") as stt:
        async with stt.stream(conn_options=ONE_TRY) as stream:
            push(stream, peer.pcm)
            stream.end_input()
            events = [event async for event in stream]
    assert not finals(events)
    return "an unknown model: no transcript, and the stream ends"


async def bad_key(peer: Peer) -> str:
    async with peer.stt(api_key="bad") as stt:
        async with stt.stream(conn_options=ONE_TRY) as stream:
            push(stream, peer.pcm)
            stream.end_input()
            events = [event async for event in stream]
    assert not finals(events)
    return "a bad key: no transcript, and the stream ends"


CHECKS: list[Callable[[Peer], Awaitable[str]]] = [
    silence_ends_turn,
    flush_ends_turn,
    partials,
    three_turns,
    voice_profile,
    options,
    at_once,
    refused,
    bad_key,
]


async def main(url: str, _: str, key: str, file: str) -> int:
    with wave.open(str(Path(file))) as audio:
        assert (RATE_HZ, 1) == (audio.getframerate(), audio.getnchannels())
        pcm = audio.readframes(audio.getnframes())
    failed = 0
    async with aiohttp.ClientSession() as session:
        peer = Peer(url, key, pcm, session)
        for test in CHECKS:
            try:
                shown = await asyncio.wait_for(test(peer), 60)
            except Exception as error:
                failed += 1
                shown = f"FAILED: {type(error).__name__}: {error}"
            sys.stdout.write(f"{test.__name__:18} {shown}\n")
            sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:5])))
