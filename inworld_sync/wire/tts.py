"""
Messages of the TTS WebSocket.

Source: Inworld TTS WebSocket reference and captures of September 2026. Requests name their verb
in snake_case and their fields in camelCase, as every known client does; answers are
``{"result": {...}}`` with ``status`` beside the kind, or ``{"error": {...}}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.tts import (
    AudioConfig,
    CharacterTime,
    ContextClosed,
    ContextConfig,
    ContextCreated,
    ContextUpdated,
    FlushCompleted,
    Phone,
    TtsUsage,
    WordTime,
)
from inworld_sync.wire.codec import (
    Codec,
    Json,
    JsonObject,
    camel,
    dump_text,
    load_object,
    object_in,
)
from inworld_sync.wire.faults import (
    ConnectionFault,
    code_in,
    connection_fault,
    details_in,
    text_in,
)

__all__ = [
    "MAX_CONTEXTS",
    "MAX_TEXT_CHARACTERS",
    "PATH",
    "AudioReceived",
    "ConnectionFault",
    "ContextFault",
    "TtsMessage",
    "close_context",
    "create",
    "flush_context",
    "read",
    "send_text",
    "update_config",
]

PATH = "/tts/v1/voice:streamBidirectional"

# Documented, and seen enforced: a sixth create is answered with status 8.
MAX_CONTEXTS = 5

# Documented for one send_text. The service was seen to refuse only above 2000; we keep to the
# documented number.
MAX_TEXT_CHARACTERS = 1000

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
    One chunk of speech, its audio still in base64.

    Attributes:
        context_id: The context it belongs to.
        audio: Base64 text; empty for a chunk that brings only times.
        usage: None where the service sent none.
        words: Times from the start of the *generation*, in milliseconds; so all below.
        characters: As *words*.
        phones: As *words*; ``word_index`` counts in *words*.
    """

    context_id: str
    audio: str
    usage: TtsUsage | None = None
    words: tuple[WordTime, ...] = ()
    characters: tuple[CharacterTime, ...] = ()
    phones: tuple[Phone, ...] = ()


@attrs.frozen
class ContextFault:
    """A request about one context failed; the connection lives on."""

    context_id: str
    code: int
    message: str
    details: tuple[object, ...] = ()


TtsMessage: TypeAlias = (
    AudioReceived
    | ConnectionFault
    | ContextClosed
    | ContextCreated
    | ContextFault
    | ContextUpdated
    | FlushCompleted
    | UnknownEvent
)


def create(context_id: str, config: ContextConfig) -> str:
    """Ask for a context; text may follow at once, without waiting for an answer."""
    return _request("create", _config(config), context_id)


def update_config(context_id: str, changes: Mapping[str, object]) -> str:
    """
    Change settings of a living context; the service speaks what it has first.

    Documented, but its field names on the wire are inferred from those of ``create``.
    """
    return _request("update_config", dict(changes), context_id)


def send_text(context_id: str, text: str, *, flush: bool = False) -> str:
    """Give text to a context, and with *flush* have it spoken as one generation."""
    body: dict[str, object] = {"text": text}
    if flush:
        body["flush_context"] = {}
    return _request("send_text", body, context_id)


def flush_context(context_id: str) -> str:
    """Have the text that waits in a context spoken."""
    return _request("flush_context", {}, context_id)


def close_context(context_id: str) -> str:
    """Have the rest spoken and the context ended."""
    return _request("close_context", {}, context_id)


def _request(verb: str, body: Mapping[str, object], context_id: str) -> str:
    return dump_text({verb: body, "contextId": context_id})


def _config(config: ContextConfig) -> dict[str, object]:
    body: dict[str, object] = dict(_CODEC.dump(config))
    names = body.pop("pronunciationDictionarySettings", None)
    if names is not None:
        assert isinstance(names, Sequence)
        body["pronunciationDictionarySettings"] = {
            "dictionaries": [{"dictionary": name} for name in names]
        }
    return body


def read(message: bytes | bytearray | memoryview | str) -> TtsMessage:
    """
    Read one message of the service.

    Raises:
        RemoteProtocolError: It is not JSON, or lacks what its kind must have.
    """
    envelope = load_object(message)
    if "error" in envelope:
        return connection_fault(object_in(envelope["error"], "error"))
    if "result" not in envelope:
        return UnknownEvent("", envelope)
    result = object_in(envelope["result"], "result")
    context_id = text_in(result, "contextId", "context_id")
    for kind, read_kind in _KINDS.items():
        body = result.get(kind)
        if body is not None:
            return read_kind(context_id, object_in(body, f"result.{kind}"))
    fault = _status(result, context_id)
    if fault is not None:
        return fault
    return UnknownEvent(next((key for key in result if key not in _FRAME), ""), envelope)


def _status(result: JsonObject, context_id: str) -> ContextFault | None:
    status = result.get("status")
    if not isinstance(status, dict) or not code_in(status):
        return None
    return ContextFault(context_id, code_in(status), text_in(status, "message"), details_in(status))


def _audio(context_id: str, chunk: JsonObject) -> AudioReceived | ContextFault:
    # One documented sample nests the status here; captures have it beside the chunk.
    fault = _status(chunk, context_id)
    if fault is not None:
        return fault
    audio = chunk.get("audioContent")
    if audio is not None and not isinstance(audio, str):
        raise RemoteProtocolError(
            f"expected text as result.audioChunk.audioContent, got {type(audio).__name__}"
        )
    usage = chunk.get("usage")
    times = chunk.get("timestampInfo")
    if not isinstance(times, dict):
        return AudioReceived(context_id, audio or "", _usage(usage))
    words = times.get("wordAlignment")
    characters = times.get("characterAlignment")
    return AudioReceived(
        context_id,
        audio or "",
        _usage(usage),
        tuple(WordTime(*row) for row in _rows(words, "words", "word")),
        tuple(CharacterTime(*row) for row in _rows(characters, "characters", "character")),
        _phones(words),
    )


def _usage(usage: Json) -> TtsUsage | None:
    if not isinstance(usage, dict):
        return None
    count = usage.get("processedCharactersCount")
    return TtsUsage(count if isinstance(count, int) else 0, text_in(usage, "modelId"))


def _rows(alignment: Json, texts_name: str, prefix: str) -> list[tuple[str, float, float]]:
    if not isinstance(alignment, dict):
        return []
    names = (texts_name, f"{prefix}StartTimeSeconds", f"{prefix}EndTimeSeconds")
    texts, starts, ends = (_array(alignment, name) for name in names)
    if not len(texts) == len(starts) == len(ends):
        raise RemoteProtocolError(
            f"expected {', '.join(names)} to be equally long, "
            f"got {len(texts)}, {len(starts)} and {len(ends)}"
        )
    return [
        (str(text), _milliseconds(start), _milliseconds(end))
        for text, start, end in zip(texts, starts, ends, strict=True)
    ]


def _array(alignment: JsonObject, name: str) -> list[Json]:
    value = alignment.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RemoteProtocolError(f"expected an array as {name}, got {type(value).__name__}")
    return value


def _milliseconds(seconds: Json) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise RemoteProtocolError(f"expected seconds as a number, got {seconds!r}")
    return seconds * 1000.0


def _phones(alignment: Json) -> tuple[Phone, ...]:
    if not isinstance(alignment, dict):
        return ()
    found = []
    for detail in _array(alignment, "phoneticDetails"):
        if not isinstance(detail, dict):
            continue
        index = detail.get("wordIndex")
        for phone in _array(detail, "phones"):
            if isinstance(phone, dict):
                start_ms = _milliseconds(phone.get("startTimeSeconds", 0))
                found.append(
                    Phone(
                        text_in(phone, "phoneSymbol"),
                        text_in(phone, "visemeSymbol"),
                        start_ms,
                        start_ms + _milliseconds(phone.get("durationSeconds", 0)),
                        index if isinstance(index, int) else 0,
                    )
                )
    return tuple(found)


def _created(context_id: str, body: JsonObject) -> ContextCreated:
    return ContextCreated(context_id, body)


def _updated(context_id: str, body: JsonObject) -> ContextUpdated:
    return ContextUpdated(context_id, body)


def _flushed(context_id: str, _: JsonObject) -> FlushCompleted:
    return FlushCompleted(context_id)


def _closed(context_id: str, _: JsonObject) -> ContextClosed:
    return ContextClosed(context_id)


_KINDS = {
    "audioChunk": _audio,
    "contextCreated": _created,
    "flushCompleted": _flushed,
    "contextClosed": _closed,
    "contextUpdated": _updated,
}

_FRAME = frozenset({"contextId", "context_id", "status"})
