"""Checks the Realtime connection of OpenAI's own synchronous client, unmodified."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
from checks import Check, Server, run

CHUNK_BYTES = 4800
SECOND = 48000
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather for a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}

PCM = {"type": "audio/pcm", "rate": 24000}
AUDIO = {
    "input": {
        "format": PCM,
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
        "transcription": {"model": "whisper-1"},
    },
    "output": {"format": PCM, "voice": "marin"},
}


def until(connection: Any, kind: str) -> list[Any]:
    """Return the events up to and including the first event of a kind. Fail at an error event."""
    events = []
    for event in connection:
        events.append(event)
        assert event.type != "error", event
        if event.type == kind:
            return events
    raise AssertionError(f"the connection ended before {kind}")


@contextmanager
def connection_of(server: Server, **session: Any) -> Iterator[Any]:
    """Open a session with these settings."""
    client = openai.OpenAI(api_key=server.api_key, base_url=f"{server.url}/v1")
    with client.realtime.connect(model="gpt-realtime") as connection:
        until(connection, "session.created")
        connection.session.update(session={"type": "realtime", **session})
        until(connection, "session.updated")
        yield connection


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


def written_turn(server: Server) -> str:
    """A written request gets a written reply."""
    with connection_of(server, output_modalities=["text"]) as connection:
        write(connection, "Say good morning, everybody.")
        connection.response.create()
        events = until(connection, "response.done")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "good morning, everybody.", text
    return text


def spoken_turn(server: Server) -> str:
    """The server recognizes a spoken question and detects its end. The reply is spoken."""
    with connection_of(server, output_modalities=["audio"], audio=AUDIO) as connection:
        sound = server.question_pcm() + bytes(SECOND)
        for at in range(0, len(sound), CHUNK_BYTES):
            piece = base64.b64encode(sound[at : at + CHUNK_BYTES]).decode()
            connection.input_audio_buffer.append(audio=piece)
        events = until(connection, "response.done")
    assert "input_audio_buffer.speech_started" in {event.type for event in events}
    kind = "conversation.item.input_audio_transcription."
    [heard] = [event for event in events if event.type == f"{kind}completed"]
    assert "weather in london" in heard.transcript.lower(), heard
    assert heard.usage, heard
    increments = "".join(event.delta for event in events if event.type == f"{kind}delta")
    assert increments in ("", heard.transcript), increments
    said = "".join(e.delta for e in events if e.type == "response.output_audio_transcript.delta")
    assert "london" in said.lower(), said
    seconds = len(audio_of(events)) / SECOND
    assert 1 < seconds < 5, seconds
    return f"heard {heard.transcript!r}, said {said!r} in {seconds:.2f} s"


def manual_turn(server: Server) -> str:
    """The client commits the audio and requests the response."""
    audio = {"input": {"turn_detection": None}}
    with connection_of(server, output_modalities=["text"], audio=audio) as connection:
        sound = base64.b64encode(server.question_pcm()).decode()
        connection.input_audio_buffer.append(audio=sound)
        connection.input_audio_buffer.commit()
        connection.response.create()
        events = until(connection, "response.done")
    text = events[-1].response.output[0].content[0].text
    assert "london" in text.lower(), text
    return text


def tool_call(server: Server) -> str:
    """A question causes a tool call. The next reply has the output of the tool."""
    with connection_of(server, output_modalities=["text"], tools=[WEATHER]) as connection:
        write(connection, "What is the weather in London?")
        connection.response.create()
        [call] = until(connection, "response.done")[-1].response.output
        assert (call.type, call.name) == ("function_call", "get_weather"), call
        assert json.loads(call.arguments) == {"city": "London"}, call.arguments
        connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        )
        connection.response.create()
        events = until(connection, "response.done")
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert said == "The weather says: sunny.", said
    return said


def interruption(server: Server) -> str:
    """
    A response can be cancelled. Its item can be truncated, and then deleted.
    """
    with connection_of(server, output_modalities=["audio"]) as connection:
        write(connection, "Count to 90.")
        connection.response.create()
        first = until(connection, "response.output_audio.delta")[-1]
        connection.response.cancel()
        response = until(connection, "response.done")[-1].response
        assert response.status == "cancelled", response.status
        connection.conversation.item.truncate(
            item_id=first.item_id, content_index=0, audio_end_ms=100
        )
        until(connection, "conversation.item.truncated")
        connection.conversation.item.delete(item_id=first.item_id)
        until(connection, "conversation.item.deleted")
    return response.status_details.reason


def wrong_value(server: Server) -> str:
    """A wrong value causes an error event, and the session continues."""
    with connection_of(server) as connection:
        connection.session.update(
            session={"type": "realtime", "max_output_tokens": 5000}, event_id="mine"
        )
        event = connection.recv()
        assert event.type == "error", event
        assert (event.error.code, event.error.event_id) == ("invalid_value", "mine"), event
        connection.session.update(session={"type": "realtime", "max_output_tokens": "inf"})
        until(connection, "session.updated")
    return event.error.message


def bad_key(server: Server) -> str:
    """A wrong key is refused."""
    client = openai.OpenAI(api_key="bad", base_url=f"{server.url}/v1")
    try:
        with client.realtime.connect(model="gpt-realtime"):
            pass
    except Exception as error:
        assert "403" in str(error), error  # noqa: PT017
        return f"{type(error).__name__}: {error}"
    raise AssertionError("a bad key was accepted")


CHECKS: list[Check] = [
    ("written turn", written_turn),
    ("spoken turn", spoken_turn),
    ("spoken turn", manual_turn),
    ("tool call", tool_call),
    ("interruption", interruption),
    ("refusals", wrong_value),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
