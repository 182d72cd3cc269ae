"""
Converts messages of the TTS WebSocket.

Requests have their verb in snake_case and their fields in camelCase, as in every known client.
An answer is ``{"result": {...}}`` or ``{"error": {...}}``. The object in ``result`` has ``status``
and a field whose name is the kind of the answer.

Source: Inworld TTS WebSocket reference and captures of September 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import attrs

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.tts import (
    AudioConfig,
    CharacterTime,
    ContextClosed,
    ContextConfig,
    ContextCreated,
    ContextUpdated,
    FlushCompleted,
    Phoneme,
    SynthesisContext,
    TtsUsage,
    Viseme,
    WordTime,
)
from inworld_sync.wire import lipsync
from inworld_sync.wire.codec import (
    Codec,
    Json,
    JsonObject,
    camel,
    dump_text,
    load_object,
    object_in,
)
from inworld_sync.wire.faults import ConnectionFault, connection_fault, integer_in, text_in

__all__ = [
    "AUDIO_PATH",
    "HTTP_PATH",
    "MAX_CONTEXTS",
    "MAX_HTTP_TEXT_CHARACTERS",
    "MAX_TEXT_CHARACTERS",
    "PATH",
    "AudioReceived",
    "ConnectionFault",
    "ContextFault",
    "ContextMessage",
    "TtsMessage",
    "Unreadable",
    "cancel_context",
    "close_context",
    "create",
    "flush_context",
    "http_request",
    "read",
    "read_line",
    "send_text",
    "update_config",
]

PATH = "/tts/v1/voice:streamBidirectional"

AUDIO_PATH = "result.audioChunk.audioContent"
"""The field that has the base64 audio, for a caller that decodes the audio before :func:`read`."""

# Documented and observed: the service refuses a sixth ``create`` with status 8.
MAX_CONTEXTS = 5

# The documented limit of one send_text. In captures, the service refuses only texts of more than
# 2000 characters.
MAX_TEXT_CHARACTERS = 1000

# Over HTTP one request speaks one text.
HTTP_PATH = "/tts/v1/voice:stream"
MAX_HTTP_TEXT_CHARACTERS = 2000
# Only WebSocket requests have these fields, which decide when the service speaks buffered text.
_WEBSOCKET_FIELDS = ("autoMode", "maxBufferDelayMs", "bufferCharThreshold")

# One year. A greater time must be an error of the service.
_MAX_SECONDS = 31_536_000

_T = TypeVar("_T")
_Row: TypeAlias = tuple[str, float, float]

_CODEC = Codec(
    camel,
    {
        AudioConfig: {
            "encoding": "audioEncoding",
            "sample_rate_hz": "sampleRateHertz",
            "bit_rate_bps": "bitRate",
        },
        ContextConfig: {
            "voice": "voiceId",
            "model": "modelId",
            "audio": "audioConfig",
            "timestamp_transport": "timestampTransportStrategy",
            "text_normalization": "applyTextNormalization",
            "pronunciation_dictionaries": "pronunciationDictionarySettings",
        },
    },
)


@attrs.frozen
class AudioReceived:
    """
    One chunk of speech.

    Attributes:
        context_id: The context that the chunk belongs to.
        audio: Base64 text, or the bytes that were passed to :func:`read`; empty if the message has
            only times.
        usage: The characters that the service counted, or None if the message has no count.
        tokens: Words, punctuation and white space with their times from the start of the
            generation, in milliseconds.
        characters: Characters with their times from the start of the generation.
        phonemes: Phonemes with their times from the start of the generation; ``word_index`` is an
            index into *tokens*.
        visemes: Mouth shapes computed from the audio, with their times from the start of the
            generation.
        extra: ``lipsyncAlignment``, if the client cannot read it.
    """

    context_id: str
    audio: str | bytes
    usage: TtsUsage | None = None
    tokens: tuple[WordTime, ...] = ()
    characters: tuple[CharacterTime, ...] = ()
    phonemes: tuple[Phoneme, ...] = ()
    visemes: tuple[Viseme, ...] = ()
    extra: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether the chunk has neither times nor fields that the client cannot read."""
        has_times = self.tokens or self.characters or self.phonemes or self.visemes
        return not (has_times or self.extra)


@attrs.frozen
class ContextFault:
    """A request about one context failed. The connection stays open."""

    context_id: str
    code: int
    message: str
    details: tuple[object, ...] = ()


@attrs.frozen
class Unreadable:
    """The audio of a message about one context cannot be read. The connection stays open."""

    context_id: str
    error: RemoteProtocolError


ContextMessage: TypeAlias = (
    AudioReceived
    | ContextClosed
    | ContextCreated
    | ContextFault
    | ContextUpdated
    | FlushCompleted
    | UnknownEvent
    | Unreadable
)

TtsMessage: TypeAlias = ContextMessage | ConnectionFault


def create(context_id: str, config: ContextConfig) -> str:
    """Return the message that creates a context. Text may be sent before the answer arrives."""
    return _request("create", _config(config), context_id)


def update_config(context_id: str, changes: Mapping[str, object]) -> str:
    """
    Return the message that changes settings. Before the change, the service speaks the text that it
    has.

    The documentation does not give the names of the fields. The client uses the names in
    ``create``.
    """
    return _request("update_config", dict(changes), context_id)


def send_text(context_id: str, text: str, *, flush: bool = False) -> str:
    """
    Return the message with a text.

    With *flush*, the service speaks the text as one generation.
    """
    body: dict[str, object] = {"text": text}
    if flush:
        body["flush_context"] = {}
    return _request("send_text", body, context_id)


def flush_context(context_id: str) -> str:
    """Return the message that makes the service speak the buffered text of a context."""
    return _request("flush_context", {}, context_id)


def close_context(context_id: str) -> str:
    """Return the message that makes the service speak the buffered text and end the context."""
    return _request("close_context", {}, context_id)


def cancel_context(context_id: str) -> str:
    """Return the message that makes the service drop the buffered text and end the context."""
    return _request("cancel_context", {}, context_id)


def _request(verb: str, body: Mapping[str, object], context_id: str) -> str:
    return dump_text({verb: body, "contextId": context_id})


def _config(config: ContextConfig) -> dict[str, object]:
    body: dict[str, object] = dict(_CODEC.dump(config))
    if config.synthesis_context is not None:
        body["synthesisContext"] = {
            "previousRequests": [{"text": text} for text in config.synthesis_context.previous_texts]
        }
    viseme_set = body.pop("visemeSet", None)
    if viseme_set is not None:
        body["lipsyncConfig"] = {"visemeSet": viseme_set}
    names = body.pop("pronunciationDictionarySettings", None)
    if names is not None:
        assert isinstance(names, Sequence)
        body["pronunciationDictionarySettings"] = {
            "dictionaries": [{"dictionary": name} for name in names]
        }
    return body


def http_request(text: str, config: ContextConfig) -> dict[str, object]:
    """Return the body of a request over HTTP."""
    body = _config(config)
    return {"text": text, **{k: v for k, v in body.items() if k not in _WEBSOCKET_FIELDS}}


def read_line(
    line: bytes, context_id: str, warnings: list[str] | None = None
) -> AudioReceived | ConnectionFault | UnknownEvent:
    """
    Read one line of a response over HTTP. Such a line names no context.

    Args:
        line: JSON text.
        context_id: The id of the context for the result.
        warnings: As for :func:`read`.

    Raises:
        RemoteProtocolError: *line* is not JSON, or its audio cannot be read.
    """
    envelope = load_object(line)
    if envelope.get("error") is not None:
        return connection_fault(envelope["error"])
    if envelope.get("result") is None:
        return UnknownEvent("", envelope)
    result = object_in(envelope["result"], "result")
    found = _audio(context_id, result, None, [] if warnings is None else warnings)
    if isinstance(found, ContextFault):
        return ConnectionFault(found.code, found.message, found.details)
    return found


def read(
    message: bytes | bytearray | memoryview | str,
    audio: bytes | None = None,
    warnings: list[str] | None = None,
) -> TtsMessage:
    """
    Read one message of the service.

    Args:
        message: JSON text.
        audio: The decoded audio of the field :data:`AUDIO_PATH`. If this audio is passed, the text
            of the field is ignored.
        warnings: The name of each optional field that is ignored because of a wrong type is added
            to this list.

    Raises:
        RemoteProtocolError: *message* is not JSON, or does not name its context.
    """
    warnings = [] if warnings is None else warnings
    envelope = load_object(message)
    if envelope.get("error") is not None:
        return connection_fault(envelope["error"])
    if envelope.get("result") is None:
        return UnknownEvent("", envelope)
    result = object_in(envelope["result"], "result")
    context_id = text_in(result, "contextId", "context_id")
    kind = next((name for name in _KINDS if result.get(name) is not None), None)
    # The other fields of a message with a fault are not needed.
    fault = _status(result, context_id, warnings, is_all=kind is None)
    if fault is not None:
        return fault
    if kind is None:
        return UnknownEvent(next((key for key in result if key not in _FRAME), ""), envelope)
    if not context_id:
        raise RemoteProtocolError(f"expected contextId beside result.{kind}, got none")
    try:
        return _KINDS[kind](context_id, result, audio if kind == "audioChunk" else None, warnings)
    except RemoteProtocolError as error:
        return Unreadable(context_id, error)


def _status(
    body: JsonObject, context_id: str, warnings: list[str], *, is_all: bool
) -> ContextFault | None:
    """Return the fault of a message. If *is_all* is true, the message has only a status."""
    status = body.get("status")
    if not isinstance(status, dict):
        return None
    code = _optional(
        "status.code", lambda: integer_in(status, "code"), 1 if is_all else 0, warnings
    )
    if not code:
        return None
    fault = connection_fault(status)
    return ContextFault(context_id, fault.code, fault.message, fault.details)


def _audio(
    context_id: str, result: JsonObject, decoded: bytes | None, warnings: list[str]
) -> AudioReceived | ContextFault:
    # One older sample has audioContent directly in the result.
    body = result["audioChunk"] if result.get("audioChunk") is not None else result
    chunk = object_in(body, "result.audioChunk")
    # One documented sample has the status in the chunk. Captures have the status in the result.
    fault = _status(chunk, context_id, warnings, is_all=False)
    if fault is not None:
        return fault
    audio = chunk.get("audioContent")
    if audio is not None and not isinstance(audio, str):
        raise RemoteProtocolError(
            f"expected text as result.audioChunk.audioContent, got {type(audio).__name__}"
        )
    times = _object(chunk, "timestampInfo", warnings)
    words = _object(times, "wordAlignment", warnings)
    characters = _object(times, "characterAlignment", warnings)
    unread: list[str] = []
    no_visemes: tuple[Viseme, ...] = ()
    visemes = _optional(lipsync.FIELD, lambda: lipsync.read(times), no_visemes, unread)
    warnings += unread
    return AudioReceived(
        context_id,
        audio or "" if decoded is None else decoded,
        _optional("usage", lambda: _usage(chunk.get("usage")), None, warnings),
        tuple(WordTime(*row) for row in _rows_or_none(words, "words", "word", warnings)),
        tuple(
            CharacterTime(*row)
            for row in _rows_or_none(characters, "characters", "character", warnings)
        ),
        _optional("phoneticDetails", lambda: _phonemes(words), (), warnings),
        visemes,
        {lipsync.FIELD: lipsync.alignment(times)} if unread else {},
    )


def _optional(name: str, read: Callable[[], _T], default: _T, warnings: list[str]) -> _T:
    """Read an optional field. If the field has a wrong type, return *default*."""
    try:
        return read()
    except RemoteProtocolError:
        warnings.append(name)
        return default


def _object(body: JsonObject, name: str, warnings: list[str]) -> JsonObject:
    """Return an optional object, or an empty object if it is missing or has a wrong type."""
    value = body.get(name)
    return {} if value is None else _optional(name, lambda: object_in(value, name), {}, warnings)


def _usage(value: Json) -> TtsUsage | None:
    if value is None:
        return None
    usage = object_in(value, "usage")
    return TtsUsage(integer_in(usage, "processedCharactersCount"), text_in(usage, "modelId"))


def _rows_or_none(
    alignment: JsonObject, texts_name: str, prefix: str, warnings: list[str]
) -> Iterable[_Row]:
    """Return the texts with their times. Return no texts if one of the fields has a wrong type."""
    return _optional(texts_name, lambda: _rows(alignment, texts_name, prefix), [], warnings)


def _rows(alignment: JsonObject, texts_name: str, prefix: str) -> list[_Row]:
    names = (texts_name, f"{prefix}StartTimeSeconds", f"{prefix}EndTimeSeconds")
    texts, starts, ends = (_array(alignment, name) for name in names)
    if not len(texts) == len(starts) == len(ends):
        raise RemoteProtocolError(
            f"expected {', '.join(names)} to be equally long, "
            f"got {len(texts)}, {len(starts)} and {len(ends)}"
        )
    rows = []
    for text, start, end in zip(texts, starts, ends, strict=True):
        if not isinstance(text, str):
            raise RemoteProtocolError(
                f"expected strings in {texts_name}, got {type(text).__name__}"
            )
        rows.append((text, _milliseconds(start), _milliseconds(end)))
    return rows


def _array(alignment: JsonObject, name: str) -> list[Json]:
    value = alignment.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RemoteProtocolError(f"expected an array as {name}, got {type(value).__name__}")
    return value


def _milliseconds(seconds: Json) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise RemoteProtocolError(f"expected seconds as a number, got {type(seconds).__name__}")
    if not -_MAX_SECONDS <= seconds <= _MAX_SECONDS:
        raise RemoteProtocolError(f"expected less than a year of seconds, got {seconds!r:.40}")
    return seconds * 1000.0


def _phonemes(alignment: JsonObject) -> tuple[Phoneme, ...]:
    found = []
    for detail in _array(alignment, "phoneticDetails"):
        detail = object_in(detail, "an item of phoneticDetails")
        index = integer_in(detail, "wordIndex")
        for value in _array(detail, "phones"):
            phoneme = object_in(value, "an item of phones")
            start_ms = _milliseconds(phoneme.get("startTimeSeconds") or 0)
            found.append(
                Phoneme(
                    text_in(phoneme, "phoneSymbol"),
                    text_in(phoneme, "visemeSymbol"),
                    start_ms,
                    start_ms + _milliseconds(phoneme.get("durationSeconds") or 0),
                    index,
                )
            )
    return tuple(found)


def _config_of(
    result: JsonObject, kind: str, warnings: list[str]
) -> tuple[JsonObject, SynthesisContext | None]:
    """Return the settings of a context, and their synthesis context as an object."""
    config = _object(result, kind, warnings)
    return config, _optional(
        "synthesisContext",
        lambda: _synthesis_context(config.get("synthesisContext")),
        None,
        warnings,
    )


def _synthesis_context(value: Json) -> SynthesisContext | None:
    if value is None:
        return None
    requests = _array(object_in(value, "synthesisContext"), "previousRequests")
    texts = [text_in(object_in(each, "previousRequests"), "text") for each in requests]
    try:
        return SynthesisContext(tuple(texts))
    except ConfigError as error:
        raise RemoteProtocolError(str(error)) from None


# Each function reads the whole result. The last two kinds have no fields.
_KINDS: dict[str, Callable[[str, JsonObject, bytes | None, list[str]], TtsMessage]] = {
    "audioChunk": _audio,
    "audioContent": _audio,
    "contextCreated": lambda context_id, result, _, warnings: ContextCreated(
        context_id, *_config_of(result, "contextCreated", warnings)
    ),
    "contextUpdated": lambda context_id, result, _, warnings: ContextUpdated(
        context_id, *_config_of(result, "contextUpdated", warnings)
    ),
    "flushCompleted": lambda context_id, *_: FlushCompleted(context_id),
    "contextClosed": lambda context_id, *_: ContextClosed(context_id),
}

_FRAME = frozenset({"contextId", "context_id", "status"})
