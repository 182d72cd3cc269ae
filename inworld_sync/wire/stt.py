"""
Messages of the STT WebSocket.

One connection carries one stream: a configuration first, then audio, then ``closeStream``.
Requests are camelCase; responses are ``{"result": {...}}`` with at most one kind and a status, or
``{"error": {...}}``. The service does not acknowledge the configuration. It sends the usage once,
after ``closeStream``, and does not close the connection after it.
Source: Inworld STT WebSocket reference and captures of September 2026.
"""

from __future__ import annotations

from typing import TypeAlias

from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.stt import (
    AssemblyAiConfig,
    InworldSttConfig,
    SpeechStarted,
    SpeechStopped,
    SttUsage,
    TranscribeConfig,
    Transcription,
)
from inworld_sync.models.turns import Word
from inworld_sync.wire.codec import Codec, JsonObject, camel, dump_text, load_object, object_in
from inworld_sync.wire.faults import ConnectionFault, connection_fault

__all__ = [
    "AUDIO_HEAD",
    "AUDIO_TAIL",
    "PATH",
    "WHOLE_PATH",
    "SttMessage",
    "close_stream",
    "end_turn",
    "read",
    "read_whole",
    "transcribe_config",
    "transcribe_whole",
]

PATH = "/stt/v1/transcribe:streamBidirectional"
# HTTP: a whole recording in one request.
WHOLE_PATH = "/stt/v1/transcribe"

# The text before and after the base64 of an audio message.
AUDIO_HEAD = '{"audioChunk":{"content":"'
AUDIO_TAIL = '"}}'

_TURN_SILENCES = {
    "min_end_of_turn_silence_ms": "minEndOfTurnSilenceWhenConfident",
    "max_turn_silence_ms": "maxTurnSilence",
}

_CODEC = Codec(
    camel,
    {
        TranscribeConfig: {
            "model": "modelId",
            "encoding": "audioEncoding",
            "sample_rate_hz": "sampleRateHertz",
            "channels": "numberOfChannels",
            "inworld": "inworldSttV1Config",
            "assemblyai": "assemblyaiConfig",
            "soniox": "sonioxConfig",
            "groq": "groqConfig",
            "voice_profile": "voiceProfileConfig",
        },
        InworldSttConfig: _TURN_SILENCES,
        AssemblyAiConfig: _TURN_SILENCES,
        SpeechStarted: {"start_ms": "startTimeMs"},
        SpeechStopped: {"silence_ms": "silenceDurationMs"},
        Transcription: {
            "text": "transcript",
            "words": "wordTimestamps",
            "silence_ms": "silenceDurationMs",
        },
        Word: {"text": "word", "start_ms": "startTimeMs", "end_ms": "endTimeMs"},
        SttUsage: {"audio_ms": "transcribedAudioMs", "model": "modelId"},
    },
)

SttMessage: TypeAlias = (
    ConnectionFault | SpeechStarted | SpeechStopped | SttUsage | Transcription | UnknownEvent
)

_KINDS: dict[str, type[SpeechStarted | SpeechStopped | SttUsage | Transcription]] = {
    "transcription": Transcription,
    "speechStarted": SpeechStarted,
    "speechStopped": SpeechStopped,
    "usage": SttUsage,
}


def transcribe_config(config: TranscribeConfig) -> str:
    """Write the configuration, the first message of a stream."""
    return dump_text({"transcribeConfig": _CODEC.dump(config)})


def end_turn() -> str:
    """Write the request that ends the current turn."""
    return '{"endTurn":{}}'


def close_stream() -> str:
    """Write the request that ends the audio; the last message of the service is the usage."""
    return '{"closeStream":{}}'


def read(message: bytes | bytearray | memoryview | str) -> SttMessage:
    """
    Read one message of the service.

    A field that is missing or null gets its default, since proto-JSON may omit such fields.

    Raises:
        RemoteProtocolError: The message is not JSON, or a field has a wrong type.
    """
    envelope = load_object(message)
    if "error" in envelope:
        return connection_fault(object_in(envelope["error"], "error"))
    if "result" not in envelope:
        return UnknownEvent("", envelope)
    result = object_in(envelope["result"], "result")
    for name, kind in _KINDS.items():
        body = result.get(name)
        if body is not None:
            return _CODEC.load(body, kind, f"result.{name}")
    status = result.get("status")
    if isinstance(status, dict) and (fault := connection_fault(status)).code:
        return fault
    return UnknownEvent(next((name for name in result if name != "status"), ""), envelope)


def transcribe_whole(config: TranscribeConfig, content: str) -> JsonObject:
    """Return the body of an HTTP request for a recording; *content* is its base64."""
    return {"transcribeConfig": _CODEC.dump(config), "audioData": {"content": content}}


def read_whole(body: object) -> tuple[Transcription, SttUsage | None]:
    """
    Read the answer to :func:`transcribe_whole`.

    Raises:
        RemoteProtocolError: The answer is not an object, or a field has a wrong type.
    """
    answer = object_in(body, "the answer")
    transcription = _CODEC.load(answer.get("transcription") or {}, Transcription, "transcription")
    usage = answer.get("usage")
    return transcription, None if usage is None else _CODEC.load(usage, SttUsage, "usage")
