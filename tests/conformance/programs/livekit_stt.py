"""Checks LiveKit's Inworld STT plugin, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from checks import SENTENCE, Check, Server, run, words_of
from livekit import rtc
from livekit.agents import APIConnectOptions
from livekit.agents.stt import SpeechEventType
from livekit.plugins import inworld

RATE_HZ = 16_000
FRAME_MS = 50
ONE_TRY = APIConnectOptions(max_retry=0, timeout=20)


@asynccontextmanager
async def stt_of(server: Server, **options: Any) -> AsyncIterator[inworld.STT]:
    async with aiohttp.ClientSession() as session:
        common = {
            "base_url": server.url + "/",
            "api_key": server.api_key,
            "http_session": session,
        }
        async with inworld.STT(**{**common, **options}) as stt:
            yield stt


def silence(seconds: float) -> bytes:
    return bytes(int(seconds * RATE_HZ) * 2)


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
    assert words_of(SENTENCE) == words_of(text), text
    # The framework sometimes adds a usage event of its own, so usage events are ignored.
    kinds = [e.type for e in events if e.type is not SpeechEventType.RECOGNITION_USAGE]
    assert SpeechEventType.START_OF_SPEECH is kinds[0], kinds
    assert SpeechEventType.END_OF_SPEECH is kinds[-1], kinds
    return text


async def silence_ends_turn(server: Server) -> str:
    async with stt_of(server) as stt:
        return check(await hear(stt, silence(0.3) + server.sentence_pcm() + silence(1.5)))


async def flush_ends_turn(server: Server) -> str:
    async with stt_of(server, min_end_of_turn_silence_when_confident=5000) as stt:
        return check(await hear(stt, silence(0.3) + server.sentence_pcm(), flush=True))


async def partials(server: Server) -> str:
    async with stt_of(server) as stt:
        events = await hear(stt, silence(0.3) + server.sentence_pcm() + silence(1.5))
    interim = texts(events, SpeechEventType.INTERIM_TRANSCRIPT)
    assert interim, "no partial transcript arrived"
    return f"{len(interim)} partials, the first: {interim[0]}"


async def three_turns(server: Server) -> str:
    async with stt_of(server) as stt:
        pcm = silence(0.3) + (server.sentence_pcm() + silence(1.5)) * 3
        events = await hear(stt, pcm, turns=3)
    said = finals(events)
    assert [words_of(SENTENCE)] * 3 == [words_of(text) for text in said], said
    return f"{len(said)} turns on one stream"


async def voice_profile(server: Server) -> str:
    async with stt_of(server, enable_voice_profile=True, voice_profile_top_n=2) as stt:
        events = await hear(stt, silence(0.3) + server.sentence_pcm() + silence(1.5))
    [final] = [e for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
    profile = final.alternatives[0].metadata["voice_profile"]
    assert 2 == len(profile["age"]), profile
    return ", ".join(profile)


async def options(server: Server) -> str:
    async with stt_of(
        server,
        model="assemblyai/universal-streaming-english",
        language="en-GB",
        enable_voice_profile=False,
        vad_threshold=0.4,
        end_of_turn_confidence_threshold=0.5,
    ) as stt:
        return check(await hear(stt, silence(0.3) + server.sentence_pcm() + silence(1.5)))


async def at_once(server: Server) -> str:
    async with stt_of(server) as stt:
        pcm = silence(0.3) + server.sentence_pcm() + silence(1.5)
        for events in await asyncio.gather(*(hear(stt, pcm) for _ in range(4))):
            check(events)
    return "4 streams"


async def refused(server: Server) -> str:
    async with stt_of(server, model="inworld/stt-v1") as stt:
        async with stt.stream(conn_options=ONE_TRY) as stream:
            push(stream, server.sentence_pcm())
            stream.end_input()
            events = [event async for event in stream]
    assert not finals(events)
    return "an unknown model: no transcript, and the stream ends"


async def bad_key(server: Server) -> str:
    async with stt_of(server, api_key="bad") as stt:
        async with stt.stream(conn_options=ONE_TRY) as stream:
            push(stream, server.sentence_pcm())
            stream.end_input()
            events = [event async for event in stream]
    assert not finals(events)
    return "a bad key: no transcript, and the stream ends"


CHECKS: list[Check] = [
    ("transcription", silence_ends_turn),
    ("transcription", flush_ends_turn),
    ("transcription", partials),
    ("transcription", three_turns),
    ("transcription", voice_profile),
    ("transcription", options),
    ("at once", at_once),
    ("refusals", refused),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
