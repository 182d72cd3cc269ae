"""
Converts messages of the STT WebSocket.

One connection carries one stream. The client sends the configuration, then audio, then
``closeStream``. Names in requests are in camelCase. An answer is ``{"error": {...}}`` or
``{"result": {...}}``. The object in ``result`` has at most one kind of result, and may have a
status. The service does not acknowledge the configuration. The service sends the usage once, after
``closeStream``, and leaves the connection open.
Source: Inworld STT WebSocket reference and captures of September 2026.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import attrs

from inworld_sync.errors import (
    RemoteProtocolError,
    ServiceError,
    asks_reconnect,
    error_from_status,
)
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.stt import (
    AssemblyAiConfig,
    InworldSttConfig,
    SpeechStarted,
    SpeechStopped,
    SttUsage,
    TranscribeConfig,
    Transcript,
    Transcription,
)
from inworld_sync.models.turns import Turn, Word
from inworld_sync.models.words import WordJoiner, join_tokens
from inworld_sync.wire.codec import Codec, JsonObject, camel, dump_text, load_object, object_in
from inworld_sync.wire.faults import ConnectionFault, connection_fault, integer_in, text_in

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "ASYNC_PATH",
    "AUDIO_HEAD",
    "AUDIO_TAIL",
    "OPERATION_PATH",
    "PATH",
    "WHOLE_PATH",
    "Operation",
    "StreamFault",
    "SttMessage",
    "close_stream",
    "config_fields",
    "end_turn",
    "is_operation_name",
    "read",
    "read_document",
    "read_operation",
    "read_whole",
    "transcribe_config",
    "transcribe_whole",
]

PATH = "/stt/v1/transcribe:streamBidirectional"
# The path of the HTTP request with a whole recording.
WHOLE_PATH = "/stt/v1/transcribe"
# The path of the HTTP request that starts a job for a recording, and the path for a job's state.
ASYNC_PATH = "/stt/v1/transcribe:async"
OPERATION_PATH = "/lro/v1alpha"

# The text before and after the base64 of an audio message.
AUDIO_HEAD = '{"audioChunk":{"content":"'
AUDIO_TAIL = '"}}'

_T = TypeVar("_T")

# A 64-bit integer has at most this many digits.
_MAX_DIGITS = 20
_MAX_INTEGER = 2**63 - 1

_TURN_SILENCES = {
    "min_end_of_turn_silence_ms": "minEndOfTurnSilenceWhenConfident",
    "max_turn_silence_ms": "maxTurnSilence",
}


def _milliseconds(value: object, _: object) -> int:
    # Proto-JSON writes 64-bit integers as strings, and a service may send fractions.
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:_MAX_DIGITS])
    elif isinstance(value, float) and math.isfinite(value):
        value = round(value)
    if type(value) is not int or not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise TypeError(f"expected a 64-bit integer, got {value!r:.40}")
    return value


class _SttCodec(Codec):
    def _new_converter(self) -> Converter:
        converter = super()._new_converter()
        converter.register_structure_hook(int, _milliseconds)
        return converter


_CODEC = _SttCodec(
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
            "tokens": None,
            "channel": None,
        },
        Word: {
            "text": "word",
            "start_ms": "startTimeMs",
            "end_ms": "endTimeMs",
            "channel": None,
        },
        SttUsage: {"audio_ms": "transcribedAudioMs", "model": "modelId"},
    },
)


@attrs.frozen
class StreamFault(ConnectionFault):
    """An error after which the connection transcribes nothing more, even if it stays open."""


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
    """Write the configuration, which is the first message of a stream."""
    return dump_text({"transcribeConfig": _CODEC.dump(config)})


def end_turn() -> str:
    """Write the request that ends the current turn."""
    return '{"endTurn":{}}'


def close_stream() -> str:
    """
    Write the request that ends the audio.

    The service then sends the usage as its last message.
    """
    return '{"closeStream":{}}'


def read(
    message: bytes | bytearray | memoryview | str, warnings: list[str] | None = None
) -> SttMessage:
    """
    Read one message of the service.

    A field that is missing or null gets its default value, because proto-JSON may leave out fields
    with default values.

    Args:
        message: The JSON text.
        warnings: The names of fields that are ignored because of a wrong type are added to this
            list.

    Raises:
        RemoteProtocolError: The message is not a JSON object, or its transcript has a wrong type.
    """
    ignored: list[str] = [] if warnings is None else warnings
    envelope = load_object(message)
    if envelope.get("error") is not None:
        fault = connection_fault(envelope["error"])
        return _fatal(fault) if asks_reconnect(fault.details) else fault
    if envelope.get("result") is None:
        return UnknownEvent("", envelope)
    result = object_in(envelope["result"], "result")
    status = _status_fault(result, "result", ignored)
    if status is not None:
        return status
    for name, kind in _KINDS.items():
        body = result.get(name)
        if body is not None:
            return _load(body, kind, f"result.{name}", ignored)
    return UnknownEvent(next((name for name in result if name != "status"), ""), envelope)


def _load(body: object, kind: type[_T], where: str, ignored: list[str]) -> _T:
    if kind is Transcription:
        # If one of these two fields were ignored, the client would treat words as silence.
        for name, of in (("transcript", str), ("isFinal", bool)):
            value = object_in(body, where).get(name)
            if value is not None and type(value) is not of:
                raise RemoteProtocolError(
                    f"expected {of.__name__} as {where}.{name}, got {type(value).__name__}"
                )
    elif not isinstance(body, dict):
        # Only the arrival of the message is needed, not its content.
        ignored.append(where)
        body = {}
    loaded = _CODEC.load(body, kind, where, ignored)
    if isinstance(loaded, Transcription):
        # Some models send parts of words, punctuation and white space.
        tokens = tuple(word.text for word in loaded.words)
        words = join_tokens(loaded.words, WordJoiner())[0]
        loaded = attrs.evolve(loaded, words=words, tokens=tokens)
    return loaded


def _status_fault(result: JsonObject, where: str, ignored: list[str]) -> StreamFault | None:
    """Return the error of a status, or None if the status is missing, unreadable, or success."""
    status = result.get("status")
    if status is None:
        return None
    try:
        code = integer_in(object_in(status, where), "code")
    except RemoteProtocolError:
        ignored.append(f"{where}.status")
        return None
    return _fatal(connection_fault(object_in(status, where))) if code else None


def _fatal(fault: ConnectionFault) -> StreamFault:
    return StreamFault(fault.code, fault.message, fault.details)


@attrs.frozen
class Operation:
    """
    The state of a job.

    Attributes:
        name: The id of the job.
        is_done: Whether the job has ended.
        error: The error with which the job ended, or None.
        result_url: A signed address of the transcript. The address is empty until the job has
            succeeded.
    """

    name: str
    is_done: bool
    error: ServiceError | None = None
    result_url: str = attrs.field(default="", repr=False)


def config_fields(config: TranscribeConfig) -> JsonObject:
    """Return ``transcribeConfig`` of a request over HTTP."""
    return _CODEC.dump(config)


def is_operation_name(name: str) -> bool:
    """Return whether a name can be in a path: no part of the name is empty, ``.`` or ``..``."""
    return not any(part in ("", ".", "..") for part in name.split("/"))


def read_operation(body: object) -> Operation:
    """
    Read the state of a job.

    Raises:
        RemoteProtocolError: The job has no valid name, or is done without a result and without an
            error.
    """
    answer = object_in(body, "the operation")
    name = text_in(answer, "name")
    if not name:
        raise RemoteProtocolError("expected a name in the operation, got none")
    if not is_operation_name(name):
        raise RemoteProtocolError(f"expected the name of an operation, got {name!r:.100}")
    if answer.get("done") is not True:
        return Operation(name, is_done=False)
    if answer.get("error") is not None:
        fault = connection_fault(answer["error"])
        error = error_from_status(fault.code, fault.message, fault.details)
        return Operation(name, is_done=True, error=error)
    url = text_in(object_in(answer.get("response"), "response of the operation"), "resultUri")
    if not url:
        raise RemoteProtocolError("expected resultUri in the response of the operation, got none")
    return Operation(name, is_done=True, result_url=url)


def read_document(body: object) -> Transcript:
    """
    Read the transcript of a job. Optional fields of a wrong type are ignored.

    Raises:
        RemoteProtocolError: *body* is not an object, or a transcript in it has a wrong type.
    """
    ignored: list[str] = []
    document = object_in(body, "the transcript")
    segments = document.get("segments")
    if not isinstance(segments, list) or not segments:
        segments = [{"transcript": document.get("transcript") or ""}]
    turns = [_turn(object_in(each, "a segment"), ignored) for each in segments]
    usage = document.get("usage")
    return Transcript(
        tuple(turn for turn in turns if turn.text.strip()),
        None if usage is None else _load(usage, SttUsage, "usage", ignored),
    )


def _turn(segment: JsonObject, ignored: list[str]) -> Turn:
    words = segment.get("wordTimestamps")
    if isinstance(words, list) and any(
        isinstance(word, dict) and "speaker" in word for word in words
    ):
        # A job numbers the speakers, and leaves out the number 0.
        words = [
            {**word, "speaker": str(word.get("speaker", 0))} if isinstance(word, dict) else word
            for word in words
        ]
        segment = {**segment, "wordTimestamps": words}
    said = _load(segment, Transcription, "a segment", ignored)
    start_ms, end_ms = (_time_in(segment, name) for name in ("startTimeMs", "endTimeMs"))
    if said.words:
        start_ms = said.words[0].start_ms if start_ms is None else start_ms
        end_ms = said.words[-1].end_ms if end_ms is None else end_ms
    elif end_ms is not None and start_ms is None:
        start_ms = 0  # the service leaves out a field whose value is 0
    return Turn(said.text, said.words, start_ms, end_ms, said.voice_profile)


def _time_in(body: JsonObject, name: str) -> int | None:
    try:
        return None if body.get(name) is None else _milliseconds(body[name], int)
    except TypeError:
        return None


def transcribe_whole(config: TranscribeConfig, content: str) -> JsonObject:
    """Return the body of an HTTP request for a recording; *content* is the recording in base64."""
    return {"transcribeConfig": _CODEC.dump(config), "audioData": {"content": content}}


def read_whole(body: object) -> tuple[Transcription, SttUsage | None]:
    """
    Read the answer to :func:`transcribe_whole`. Optional fields of a wrong type are ignored.

    Raises:
        RemoteProtocolError: The answer is not an object, its transcript has a wrong type, or it has
            neither a transcript nor the usage.
        ServiceError: The answer has an error status.
    """
    ignored: list[str] = []
    answer = object_in(body, "the answer")
    if answer.get("error") is not None:
        fault: ConnectionFault | None = connection_fault(answer["error"])
    else:
        fault = _status_fault(answer, "", ignored)
    if fault is not None:
        raise error_from_status(fault.code, fault.message, fault.details)
    said, usage = answer.get("transcription"), answer.get("usage")
    if said is None and usage is None:
        raise RemoteProtocolError(
            "expected a transcription or the usage in the answer, got neither"
        )
    transcription = _load({} if said is None else said, Transcription, "transcription", ignored)
    return transcription, None if usage is None else _load(usage, SttUsage, "usage", ignored)
