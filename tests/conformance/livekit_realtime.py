"""
LiveKit's OpenAI Realtime plugin, unmodified, against a server.

Runs in a separate environment with ``livekit-plugins-openai``. ``run_realtime.py`` creates the
environment and starts an emulator. Arguments: base URL, key, and a file with a spoken question as
16-bit mono PCM at 24 kHz.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins import openai
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

RATE_HZ = 24000
FRAME_SAMPLES = RATE_HZ // 10
TIMEOUT = 20


@function_tool
async def get_weather(city: str) -> str:
    """Weather for a city.

    Args:
        city: Its name.
    """
    return f"sunny in {city}"


async def said_in(generation: Any) -> tuple[str, float, str]:
    """Return the text, the seconds of audio, and the id of a generation's message."""
    text, seconds, message_id = "", 0.0, ""
    async for message in generation.message_stream:
        message_id = message.message_id
        async for piece in message.text_stream:
            text += piece
        async for frame in message.audio_stream:
            seconds += frame.duration
    return text, seconds, message_id


def speak(session: Any, pcm: bytes) -> None:
    pcm += bytes(2 * RATE_HZ)
    for at in range(0, len(pcm) - FRAME_SAMPLES * 2, FRAME_SAMPLES * 2):
        piece = pcm[at : at + FRAME_SAMPLES * 2]
        session.push_audio(rtc.AudioFrame(piece, RATE_HZ, 1, FRAME_SAMPLES))


async def written(session: Any, _: bytes) -> str:
    """A written conversation is copied to the server, and the reply is text and audio."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="My name is Alice.")
    chat.add_message(role="assistant", content="Nice to meet you.")
    chat.add_message(role="user", content="What is my name?")
    await session.update_chat_ctx(chat)
    text, seconds, _id = await said_in(await session.generate_reply())
    assert text == "Your name is Alice.", text
    assert 0.5 < seconds < 4, seconds
    assert len(session.chat_ctx.items) == 4, session.chat_ctx.items
    return f"{text!r} in {seconds:.2f} s"


async def spoken(session: Any, question: bytes) -> str:
    """A spoken question is recognized and leads to a call whose output is in the next reply."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    created: asyncio.Queue[Any] = asyncio.Queue()
    started = asyncio.Event()
    session.on("input_speech_started", lambda _: started.set())
    session.on("input_audio_transcription_completed", heard.put_nowait)
    session.on("generation_created", created.put_nowait)
    await session.update_tools([get_weather])
    speak(session, question)
    generation = await created.get()
    calls = [call async for call in generation.function_stream]
    assert started.is_set(), "no input_speech_started"
    while not (transcript := heard.get_nowait()).is_final:
        pass
    assert [call.name for call in calls] == ["get_weather"], calls
    assert json.loads(calls[0].arguments) == {"city": "London"}, calls[0].arguments
    chat = session.chat_ctx.copy()
    chat.items.append(
        llm.FunctionCallOutput(
            call_id=calls[0].call_id, name="get_weather", output="sunny", is_error=False
        )
    )
    await session.update_chat_ctx(chat)
    text, _seconds, _id = await said_in(await session.generate_reply())
    assert text == "The weather says: sunny.", text
    return f"heard {transcript.transcript!r}, said {text!r}"


async def interrupted(session: Any, _: bytes) -> str:
    """A reply is interrupted and truncated to the audio that was heard."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="Count to 90.")
    await session.update_chat_ctx(chat)
    generation = await session.generate_reply()
    async for message in generation.message_stream:
        frame = await anext(aiter(message.audio_stream))
        session.interrupt()
        async for _frame in message.audio_stream:
            pass
        session.truncate(
            message_id=message.message_id,
            modalities=["audio", "text"],
            audio_end_ms=int(frame.duration * 1000),
        )
    chat.add_message(role="user", content="Say enough.")
    await session.update_chat_ctx(chat)
    text, _seconds, _id = await said_in(await session.generate_reply())
    assert text == "enough.", text
    return text


async def main(url: str, key: str, question: bytes) -> int:
    failed = 0
    for check in (written, spoken, interrupted):
        errors: list[Any] = []
        detection = ServerVad(type="server_vad", silence_duration_ms=500)
        model = openai.realtime.RealtimeModel(
            base_url=f"{url}/v1", api_key=key, voice="marin", turn_detection=detection
        )
        session = model.session()
        session.on("error", errors.append)
        try:
            shown = await asyncio.wait_for(check(session, question), TIMEOUT)
            assert not errors, errors
        except Exception as error:
            failed += 1
            shown = f"FAILED: {type(error).__name__}: {error} {errors}"
        finally:
            await session.aclose()
            await model.aclose()
        sys.stdout.write(f"{check.__name__:18} {shown}\n")
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes())))
