"""
OpenAI's own synchronous Realtime client, unmodified, against a server.

Runs in a separate environment with ``openai[realtime]``. ``run_realtime.py`` creates the
environment and starts an emulator. Arguments: base URL, key, and a file with a spoken question as
16-bit mono PCM at 24 kHz.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import OpenAI

CHUNK_BYTES = 4800
SECOND = 48000
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather for a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def until(connection: Any, kind: str) -> list[Any]:
    """Return the events up to and including the first of a kind. An error event fails."""
    events = []
    for event in connection:
        events.append(event)
        assert event.type != "error", event
        if event.type == kind:
            return events
    raise AssertionError(f"the connection ended before {kind}")


def greet(connection: Any, **session: Any) -> None:
    until(connection, "session.created")
    connection.session.update(session={"type": "realtime", **session})
    until(connection, "session.updated")


def write(connection: Any, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": content}
    )


def audio_of(events: list[Any]) -> bytes:
    return b"".join(
        base64.b64decode(event.delta)
        for event in events
        if event.type == "response.output_audio.delta"
    )


def written_turn(connection: Any, _: bytes) -> str:
    """A written question has a written answer."""
    greet(connection, output_modalities=["text"])
    write(connection, "Say good morning, everybody.")
    connection.response.create()
    events = until(connection, "response.done")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "good morning, everybody.", text
    return text


def spoken_turn(connection: Any, question: bytes) -> str:
    """A spoken question is recognized, its end is detected, and the answer is spoken."""
    detection = {"type": "server_vad", "silence_duration_ms": 500}
    audio_format = {"type": "audio/pcm", "rate": 24000}
    audio = {
        "input": {
            "format": audio_format,
            "turn_detection": detection,
            "transcription": {"model": "whisper-1"},
        },
        "output": {"format": audio_format, "voice": "marin"},
    }
    greet(connection, output_modalities=["audio"], audio=audio, tools=[WEATHER])
    sound = question + bytes(SECOND)
    for at in range(0, len(sound), CHUNK_BYTES):
        piece = base64.b64encode(sound[at : at + CHUNK_BYTES]).decode()
        connection.input_audio_buffer.append(audio=piece)
    events = until(connection, "response.done")
    kinds = [event.type for event in events]
    assert "input_audio_buffer.speech_started" in kinds, kinds
    heard = next(
        e.transcript
        for e in events
        if e.type == "conversation.item.input_audio_transcription.completed"
    )
    call = events[-1].response.output[0]
    assert (call.type, call.name) == ("function_call", "get_weather"), call
    assert json.loads(call.arguments) == {"city": "London"}, call.arguments
    connection.conversation.item.create(
        item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    )
    connection.response.create()
    events = until(connection, "response.done")
    said = "".join(e.delta for e in events if e.type == "response.output_audio_transcript.delta")
    assert said == "The weather says: sunny.", said
    seconds = len(audio_of(events)) / SECOND
    assert 1 < seconds < 5, seconds
    return f"heard {heard!r}, said {said!r} in {seconds:.2f} s"


def manual_turn(connection: Any, question: bytes) -> str:
    """Without turn detection, the client commits the audio and requests the response."""
    greet(connection, output_modalities=["text"], audio={"input": {"turn_detection": None}})
    connection.input_audio_buffer.append(audio=base64.b64encode(question).decode())
    connection.input_audio_buffer.commit()
    connection.response.create()
    events = until(connection, "response.done")
    text = events[-1].response.output[0].content[0].text
    assert "london" in text.lower(), text
    return text


def interruption(connection: Any, _: bytes) -> str:
    """A response can be cancelled, and its item truncated to the audio that was played."""
    greet(connection, output_modalities=["audio"])
    write(connection, "Count to 90.")
    connection.response.create()
    first = until(connection, "response.output_audio.delta")[-1]
    connection.response.cancel()
    response = until(connection, "response.done")[-1].response
    assert response.status == "cancelled", response.status
    connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=100)
    until(connection, "conversation.item.truncated")
    connection.conversation.item.delete(item_id=first.item_id)
    until(connection, "conversation.item.deleted")
    return response.status_details.reason


def refusal(connection: Any, _: bytes) -> str:
    """A wrong value causes an error event, and the session continues."""
    until(connection, "session.created")
    connection.session.update(
        session={"type": "realtime", "max_output_tokens": 5000}, event_id="mine"
    )
    event = connection.recv()
    assert event.type == "error", event
    assert (event.error.code, event.error.event_id) == ("invalid_value", "mine"), event
    connection.session.update(session={"type": "realtime", "max_output_tokens": "inf"})
    until(connection, "session.updated")
    return event.error.message


CHECKS: list[Callable[[Any, bytes], str]] = [
    written_turn,
    spoken_turn,
    manual_turn,
    interruption,
    refusal,
]


def main() -> int:
    url, key, question = sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()
    client = OpenAI(api_key=key, base_url=f"{url}/v1")
    failed = 0
    for check in CHECKS:
        try:
            with client.realtime.connect(model="gpt-realtime") as connection:
                sys.stdout.write(f"ok    {check.__name__}: {check(connection, question)}\n")
        except Exception as error:
            failed += 1
            sys.stdout.write(f"FAIL  {check.__name__}: {type(error).__name__}: {error}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
