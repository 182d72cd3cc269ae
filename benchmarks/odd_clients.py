"""
Make one call with one client: ``odd_clients.py CLIENT CALL PORT``.

``benchmarks.odd_services`` runs this program. The program prints ``ready`` when the client is
created. Then it prints one line of JSON, which says how the call ended and after how many seconds.
The program imports nothing of this repository, because it also runs in the environments of the
other clients.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

KEY = "a2V5LWlkOmtleS1zZWNyZXQ="
TEXT = "Hello there."
# Two seconds of a square wave, as 16-bit samples at 16 kHz, because a service might ignore silence.
AUDIO = (b"\x00\x20" * 40 + b"\x00\xe0" * 40) * 400
CHUNK_BYTES = 3200
HTTP_TIMEOUT_SECONDS = 2.0


def inworld(port: int) -> dict[str, Callable[[], object]]:
    from inworld_sync import Inworld

    client = Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{port}", proxy=False)

    def transcribe() -> object:
        with client.stt.stream(sample_rate_hz=16000) as stream:
            stream.send(AUDIO)
            stream.end_turn()
            return stream.close()

    def converse() -> object:
        with client.realtime.connect() as session:
            return session.send_message(TEXT).wait()

    return {
        "speech": lambda: client.tts.synthesize(TEXT, voice="Ashley"),
        "transcription": transcribe,
        "conversation": converse,
        "list": lambda: client.voices.list(timeout=HTTP_TIMEOUT_SECONDS),
    }


def openai(port: int) -> dict[str, Callable[[], object]]:
    from openai import OpenAI

    client = OpenAI(
        api_key="none",
        base_url=f"http://127.0.0.1:{port}/v1",
        websocket_base_url=f"ws://127.0.0.1:{port}/v1",
    )

    def converse() -> object:
        with client.realtime.connect(model="any") as connection:
            connection.response.create()
            for event in connection:
                if event.type == "response.done":
                    return event
        return "the connection ended"

    return {
        "conversation": converse,
        "list": lambda: client.models.list(timeout=HTTP_TIMEOUT_SECONDS),
    }


def elevenlabs(port: int) -> dict[str, Callable[[], object]]:
    from elevenlabs import ElevenLabs, VoiceSettings

    client = ElevenLabs(api_key="none", base_url=f"http://127.0.0.1:{port}")
    speech: Any = client.text_to_speech
    # The client has no option for a WebSocket address without TLS.
    speech._ws_base_url = f"ws://127.0.0.1:{port}"  # noqa: SLF001

    def speak() -> object:
        chunks = speech.convert_realtime(
            "any",
            text=iter([TEXT]),
            model_id="any",
            output_format="pcm_24000",
            voice_settings=VoiceSettings(),
        )
        return f"{sum(map(len, chunks))} bytes of audio"

    options: Any = {"timeout_in_seconds": HTTP_TIMEOUT_SECONDS}
    return {
        "speech": speak,
        "list": lambda: client.voices.get_all(request_options=options),
    }


def deepgram(port: int) -> dict[str, Callable[[], object]]:
    from deepgram import DeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    environment = DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)
    client = DeepgramClient(api_key="none", environment=environment)

    def transcribe() -> object:
        with client.listen.v1.connect(model="nova-3", encoding="linear16") as connection:
            for chunk in chunks():
                connection.send_media(chunk)
            connection.send_close_stream()
            for message in connection:
                if getattr(message, "type", "") == "Metadata":
                    return message
        return "the connection ended"

    options: Any = {"timeout_in_seconds": HTTP_TIMEOUT_SECONDS}
    return {
        "transcription": transcribe,
        "list": lambda: client.manage.v1.models.list(request_options=options),
    }


def assemblyai(port: int) -> dict[str, Callable[[], object]]:
    import assemblyai as aai
    from assemblyai.streaming import v3

    aai.settings.api_key = "none"
    aai.settings.base_url = f"http://127.0.0.1:{port}"
    aai.settings.http_timeout = HTTP_TIMEOUT_SECONDS

    def transcribe() -> object:
        errors: list[Exception] = []
        turns: list[object] = []
        client = v3.RealTimeTranscriber(
            v3.RealTimeTranscriberOptions(api_host=f"ws://127.0.0.1:{port}", api_key="none")
        )
        client.on(v3.RealTimeEvents.Error, lambda _, error: errors.append(error))
        client.on(v3.RealTimeEvents.Turn, lambda _, turn: turns.append(turn))
        client.connect(
            v3.RealTimeParameters(sample_rate=16000, speech_model="universal-streaming-english")
        )
        client.stream(chunks())
        client.disconnect(terminate=True)
        if errors:
            raise errors[0]
        return f"disconnect() returned, {len(turns)} turns"

    return {
        "transcription": transcribe,
        "list": lambda: aai.Transcript.get_by_id("any"),
    }


CLIENTS = {
    "inworld_sync": inworld,
    "openai": openai,
    "elevenlabs": elevenlabs,
    "deepgram-sdk": deepgram,
    "assemblyai": assemblyai,
}


def chunks() -> Iterator[bytes]:
    """Yield the audio in chunks."""
    for at in range(0, len(AUDIO), CHUNK_BYTES):
        yield AUDIO[at : at + CHUNK_BYTES]


def main() -> None:
    """Make one call and print how it ended."""
    name, call, port = sys.argv[1:]
    function = CLIENTS[name](int(port))[call]
    print("ready", flush=True)
    began = time.monotonic()
    try:
        kind, text = "returned", str(function())
    except Exception as error:  # noqa: BLE001 - any error is a result
        kind, text = "error", f"{type(error).__name__}: {error}"
    print(json.dumps({"kind": kind, "text": text, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
