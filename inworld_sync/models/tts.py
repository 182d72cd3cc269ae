"""
Text to speech: what users ask for and what they get, without behavior.

Source of the fields and ranges: Inworld TTS WebSocket reference, ``create``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional

__all__ = [
    "AudioConfig",
    "AudioEncoding",
    "CharacterTime",
    "ContextClosed",
    "ContextConfig",
    "ContextCreated",
    "ContextUpdated",
    "DeliveryMode",
    "FlushCompleted",
    "Phoneme",
    "TextNormalization",
    "TimestampTransport",
    "TimestampType",
    "TtsUsage",
    "Voice",
    "WordTime",
]

DEFAULT_TTS_MODEL = "inworld-tts-2"

_T = TypeVar("_T")


class AudioEncoding(str, enum.Enum):
    """How the service encodes speech."""

    LINEAR16 = "LINEAR16"
    PCM = "PCM"
    WAV = "WAV"
    MP3 = "MP3"
    OGG_OPUS = "OGG_OPUS"
    MULAW = "MULAW"
    ALAW = "ALAW"
    FLAC = "FLAC"

    @property
    def is_compressed(self) -> bool:
        """Whether chunks are pieces of a file that only a decoder can turn into samples."""
        return self in (AudioEncoding.MP3, AudioEncoding.OGG_OPUS, AudioEncoding.FLAC)

    @property
    def bytes_per_sample(self) -> int:
        """2 for 16-bit PCM, 1 for the G.711 laws, 0 where chunks hold no plain samples."""
        if self.is_compressed:
            return 0
        return 1 if self in (AudioEncoding.MULAW, AudioEncoding.ALAW) else 2


class DeliveryMode(str, enum.Enum):
    """How freely a voice acts; ``inworld-tts-2`` only."""

    STABLE = "STABLE"
    BALANCED = "BALANCED"
    CREATIVE = "CREATIVE"


class TimestampType(str, enum.Enum):
    """What times are reported for."""

    WORD = "WORD"
    CHARACTER = "CHARACTER"


class TimestampTransport(str, enum.Enum):
    """Whether times come with their audio (``SYNC``) or may trail it (``ASYNC``)."""

    SYNC = "SYNC"
    ASYNC = "ASYNC"


class TextNormalization(str, enum.Enum):
    """Whether numbers and abbreviations are spelled out before synthesis."""

    ON = "ON"
    OFF = "OFF"


def _encoding(value: AudioEncoding | str) -> AudioEncoding:
    return checks.member(AudioEncoding, value, "encoding")


def delivery_mode_or_none(value: DeliveryMode | str | None) -> DeliveryMode | None:
    """Turn what was given for a field of that name into a member."""
    return checks.member_or_none(DeliveryMode, value, "delivery_mode")


def timestamp_type_or_none(value: TimestampType | str | None) -> TimestampType | None:
    """Turn what was given for a field of that name into a member."""
    return checks.member_or_none(TimestampType, value, "timestamp_type")


def timestamp_transport_or_none(
    value: TimestampTransport | str | None,
) -> TimestampTransport | None:
    """Turn what was given for a field of that name into a member."""
    return checks.member_or_none(TimestampTransport, value, "timestamp_transport")


def _normalization(value: TextNormalization | str | None) -> TextNormalization | None:
    return checks.member_or_none(TextNormalization, value, "text_normalization")


def _at_most_three(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if isinstance(value, tuple) and len(value) > 3:
        raise ConfigError(f"{field.name} takes up to 3, got {len(value)}")


@attrs.frozen
class AudioConfig:
    """
    The form of the speech.

    Attributes:
        encoding: PCM is headerless 16-bit little-endian mono.
        sample_rate_hz: 8000 to 48000; the G.711 laws are meant for 8000.
        bit_rate_bps: Bits a second of the compressed encodings; None leaves it to the service.
        speaking_rate: 0.5 to 1.5; 1 is the voice's own pace.
    """

    encoding: AudioEncoding = attrs.field(default=AudioEncoding.PCM, converter=_encoding)
    sample_rate_hz: int = attrs.field(default=24000, validator=checks.whole(8000, 48000, " Hz"))
    bit_rate_bps: int | None = optional(checks.whole(8000, 512_000, " bit/s"))
    speaking_rate: float | None = optional(checks.number(0.5, 1.5))


@attrs.frozen(kw_only=True)
class ContextConfig:
    """
    Everything that a synthesis context can be asked for; None leaves a choice to the service.

    Attributes:
        voice: A voice's id, such as ``Ashley``.
        model: Such as ``inworld-tts-2``.
        audio: The form of the speech.
        temperature: 0 to 2; ``inworld-tts-2`` ignores it.
        language: BCP-47, or ``AUTO``; ``inworld-tts-2`` only.
        delivery_mode: ``inworld-tts-2`` only.
        timestamp_type: What times are reported for.
        timestamp_transport: Whether times may trail their audio.
        text_normalization: Whether numbers and abbreviations are spelled out.
        auto_mode: The service chooses when to speak what it has; made for whole sentences.
        max_buffer_delay_ms: How long text may wait for more before it is spoken.
        buffer_char_threshold: 1 to 1000 characters that are spoken without a flush.
        pronunciation_dictionaries: Up to three names.
        enable_custom_pronunciation: As the service documents it.
        synthesis_context: As the service documents it.
        extra: Further fields of ``create``, sent as they are.
    """

    voice: str = attrs.field(default="Ashley", validator=checks.text)
    model: str = attrs.field(default=DEFAULT_TTS_MODEL, validator=checks.text)
    audio: AudioConfig = attrs.field(factory=AudioConfig, validator=checks.instance(AudioConfig))
    temperature: float | None = optional(checks.number(0, 2))
    language: str | None = optional(checks.string)
    delivery_mode: DeliveryMode | None = attrs.field(default=None, converter=delivery_mode_or_none)
    timestamp_type: TimestampType | None = attrs.field(
        default=None, converter=timestamp_type_or_none
    )
    timestamp_transport: TimestampTransport | None = attrs.field(
        default=None, converter=timestamp_transport_or_none
    )
    text_normalization: TextNormalization | None = attrs.field(
        default=None, converter=_normalization
    )
    auto_mode: bool = attrs.field(default=False, validator=checks.flag)
    max_buffer_delay_ms: int | None = optional(checks.whole(0, 600_000, " ms"))
    buffer_char_threshold: int | None = optional(checks.whole(1, 1000, " characters"))
    pronunciation_dictionaries: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=[checks.texts, _at_most_three]
    )
    enable_custom_pronunciation: bool | None = optional(checks.flag)
    synthesis_context: str | None = optional(checks.string)
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen
class WordTime:
    """A word and when it is spoken, in milliseconds from the start of the utterance."""

    text: str
    start_ms: float
    end_ms: float


@attrs.frozen
class CharacterTime:
    """A character and when it is spoken, in milliseconds from the start of the utterance."""

    text: str
    start_ms: float
    end_ms: float


@attrs.frozen
class Phoneme:
    """
    A sound of a word, with the mouth's shape for it.

    Attributes:
        symbol: The phoneme, as the service writes it.
        viseme: The shape's name, or ``""``.
        start_ms: From the start of the utterance.
        end_ms: From the start of the utterance.
        word_index: Which word of the same chunk it belongs to.
    """

    symbol: str
    viseme: str
    start_ms: float
    end_ms: float
    word_index: int


@attrs.frozen
class TtsUsage:
    """What was synthesized, as the service counts it."""

    characters: int = 0
    model: str = ""


@attrs.frozen
class Voice:
    """A voice that can be named in a request."""

    id: str
    name: str = ""
    description: str = ""
    languages: tuple[str, ...] = ()
    gender: str = ""
    tags: tuple[str, ...] = ()
    source: str = ""


@attrs.frozen
class ContextCreated:
    """The service made the context; *config* is its settings as the service echoes them."""

    context_id: str
    config: Mapping[str, object]


@attrs.frozen
class ContextUpdated:
    """The service changed the context's settings."""

    context_id: str
    config: Mapping[str, object]


@attrs.frozen
class FlushCompleted:
    """All audio of one generation has come."""

    context_id: str


@attrs.frozen
class ContextClosed:
    """All audio of the context has come; nothing follows."""

    context_id: str
