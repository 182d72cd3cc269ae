"""
Defines the settings, events and results of text to speech.

Source of the fields and ranges: Inworld TTS WebSocket reference, ``create``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
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
    "SynthesisContext",
    "TextNormalization",
    "TimestampTransport",
    "TimestampType",
    "TtsUsage",
    "Viseme",
    "VisemeSet",
    "WordTime",
]

DEFAULT_TTS_MODEL = "inworld-tts-2"

SAMPLE_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
# The documented limit for all texts of a synthesis context together.
MAX_CONTEXT_CHARACTERS = 2000

_T = TypeVar("_T")


class AudioEncoding(str, enum.Enum):
    """The encodings of speech."""

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
        """Whether the samples of a chunk need a decoder."""
        return self in (AudioEncoding.MP3, AudioEncoding.OGG_OPUS, AudioEncoding.FLAC)

    @property
    def bytes_per_sample(self) -> int:
        """2 for 16-bit PCM, 1 for MULAW and ALAW, 0 for compressed encodings."""
        if self.is_compressed:
            return 0
        return 1 if self in (AudioEncoding.MULAW, AudioEncoding.ALAW) else 2


FILE_ENCODINGS: Mapping[str, AudioEncoding] = MappingProxyType(
    {
        "wav": AudioEncoding.PCM,
        "mp3": AudioEncoding.MP3,
        "opus": AudioEncoding.OGG_OPUS,
        "flac": AudioEncoding.FLAC,
        "pcm": AudioEncoding.PCM,
    }
)
"""The encoding to request for each format of a file."""

FILE_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".wav": "wav",
        ".pcm": "pcm",
        ".raw": "pcm",
        ".mp3": "mp3",
        ".ogg": "opus",
        ".opus": "opus",
        ".flac": "flac",
    }
)
"""The format of a file by its suffix."""


class DeliveryMode(str, enum.Enum):
    """
    How much a voice varies its delivery. Only ``inworld-tts-2`` uses this setting.

    ``EXPRESSIVE``, an older name of ``CREATIVE``, is accepted as a string.
    """

    STABLE = "STABLE"
    BALANCED = "BALANCED"
    CREATIVE = "CREATIVE"

    @classmethod
    def _missing_(cls, value: object) -> DeliveryMode | None:
        # EXPRESSIVE is the older name, which the service still accepts.
        return cls.CREATIVE if value == "EXPRESSIVE" else None


class TimestampType(str, enum.Enum):
    """Whether the service reports the times of words or of characters."""

    WORD = "WORD"
    CHARACTER = "CHARACTER"


class TimestampTransport(str, enum.Enum):
    """Whether times arrive with their audio (``SYNC``) or may arrive later (``ASYNC``)."""

    SYNC = "SYNC"
    ASYNC = "ASYNC"


class VisemeSet(str, enum.Enum):
    """The names of the mouth shapes that the service computes from the audio."""

    OPENXR = "OPENXR"


class TextNormalization(str, enum.Enum):
    """Whether numbers and abbreviations are spelled out before synthesis."""

    ON = "ON"
    OFF = "OFF"


def _encoding(value: AudioEncoding | str) -> AudioEncoding:
    return checks.member(AudioEncoding, value, "encoding")


def delivery_mode_or_none(value: DeliveryMode | str | None) -> DeliveryMode | None:
    """Convert a string to a member. A member or None is returned unchanged."""
    return checks.member_or_none(DeliveryMode, value, "delivery_mode")


def timestamp_type_or_none(value: TimestampType | str | None) -> TimestampType | None:
    """Convert a string to a member. A member or None is returned unchanged."""
    return checks.member_or_none(TimestampType, value, "timestamp_type")


def timestamp_transport_or_none(
    value: TimestampTransport | str | None,
) -> TimestampTransport | None:
    """Convert a string to a member. A member or None is returned unchanged."""
    return checks.member_or_none(TimestampTransport, value, "timestamp_transport")


def _normalization(value: TextNormalization | str | None) -> TextNormalization | None:
    return checks.member_or_none(TextNormalization, value, "text_normalization")


def _viseme_set(value: VisemeSet | str | None) -> VisemeSet | None:
    return checks.member_or_none(VisemeSet, value, "viseme_set")


def _at_most_three(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if isinstance(value, tuple) and len(value) > 3:
        raise ConfigError(f"{field.name} accepts at most 3 names, got {len(value)}")


def _sample_rate(_: object, field: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int or value not in SAMPLE_RATES_HZ:
        rates = ", ".join(map(str, SAMPLE_RATES_HZ))
        raise ConfigError(f"{field.name} must be one of {rates} Hz, got {value!r}")


def _previous_texts(value: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    texts = checks.to_tuple(value)
    if not isinstance(texts, tuple) or not all(isinstance(each, str) for each in texts):
        raise ConfigError(f"previous_texts must be a list of strings, got {type(value).__name__}")
    size = sum(map(len, texts))
    if size > MAX_CONTEXT_CHARACTERS:
        raise ConfigError(
            f"previous_texts must have at most {MAX_CONTEXT_CHARACTERS} characters together, got "
            f"{size}: leave out the oldest"
        )
    return texts


@attrs.frozen
class SynthesisContext:
    """
    Texts that were spoken before the new speech. The speech continues in the tone of the texts.

    Attributes:
        previous_texts: The texts, the oldest first. All texts together may have at most 2000
            characters.
    """

    previous_texts: tuple[str, ...] = attrs.field(default=(), converter=_previous_texts)


@attrs.frozen
class AudioConfig:
    """
    The encoding, sample rate and speaking rate of the speech.

    Attributes:
        encoding: Encoding of the speech; PCM is headerless 16-bit little-endian mono.
        sample_rate_hz: The sample rate in Hz, which is 8000, 16000, 22050, 24000, 32000, 44100 or
            48000. MULAW and ALAW are meant for 8000 Hz.
        bit_rate_bps: Bit rate of the compressed encodings, 8000 to 512000 bit/s; None leaves the
            choice to the service.
        speaking_rate: The speaking rate, 0.5 to 1.5. 1 is the normal rate of the voice.
    """

    encoding: AudioEncoding = attrs.field(default=AudioEncoding.PCM, converter=_encoding)
    sample_rate_hz: int = attrs.field(default=24000, validator=_sample_rate)
    bit_rate_bps: int | None = optional(checks.whole(8000, 512_000, " bit/s"))
    speaking_rate: float | None = optional(checks.number(0.5, 1.5))


@attrs.frozen(kw_only=True)
class ContextConfig:
    """
    All settings of a synthesis context; None leaves the choice to the service.

    Attributes:
        voice: Id of the voice, such as ``Ashley``.
        model: Id of the model, such as ``inworld-tts-2``.
        audio: Encoding, sample rate and speaking rate of the speech.
        temperature: Randomness of the speech, 0 to 2; ``inworld-tts-2`` ignores it.
        language: BCP-47 tag, or ``AUTO``; only ``inworld-tts-2`` uses it.
        delivery_mode: How much the voice varies its delivery; only ``inworld-tts-2`` uses it.
        timestamp_type: Whether the service reports the times of words or of characters.
        timestamp_transport: Whether times may arrive later than their audio.
        text_normalization: Whether numbers and abbreviations are spelled out.
        auto_mode: Whether the service decides when to speak the text that it has received. This
            mode is meant for messages with whole sentences.
        max_buffer_delay_ms: The longest time in milliseconds, 0 to 600000, that text waits for
            more text before it is spoken.
        buffer_char_threshold: When this many characters wait, 1 to 1000, the service speaks them
            without a flush.
        pronunciation_dictionaries: Names of at most three dictionaries.
        enable_custom_pronunciation: See the service's documentation.
        synthesis_context: Texts that were spoken before the new speech.
        viseme_set: ``OPENXR`` requests mouth shapes that the service computes from the audio.
        extra: Further fields of ``create``, sent unchanged.
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
    synthesis_context: SynthesisContext | None = optional(checks.instance(SynthesisContext))
    viseme_set: VisemeSet | None = attrs.field(default=None, converter=_viseme_set)
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen
class WordTime:
    """A word and its time, in milliseconds from the start of the utterance."""

    text: str
    start_ms: float
    end_ms: float


@attrs.frozen
class CharacterTime:
    """A character and its time, in milliseconds from the start of the utterance."""

    text: str
    start_ms: float
    end_ms: float


@attrs.frozen
class Phoneme:
    """
    A phoneme of a word, with its viseme.

    Attributes:
        symbol: The phoneme, as the service writes it.
        viseme: The service's name for the shape of the mouth; empty if the service sent none.
        start_ms: Start in milliseconds from the start of the utterance.
        end_ms: End in milliseconds from the start of the utterance.
        word_index: Index of the phoneme's word among the words of the same chunk.
    """

    symbol: str
    viseme: str
    start_ms: float
    end_ms: float
    word_index: int


@attrs.frozen
class Viseme:
    """
    A shape of the mouth.

    Attributes:
        name: The service's name of the shape. With ``viseme_set`` the name is an OpenXR name such
            as ``PP``. Otherwise the name is the viseme of the phoneme, such as ``bmp``.
        start_ms: Start in milliseconds from the start of the utterance.
        end_ms: End in milliseconds from the start of the utterance.
        weight: How far the shape is formed, 0 to 1.
    """

    name: str
    start_ms: float
    end_ms: float
    weight: float = 1.0


@attrs.frozen
class TtsUsage:
    """The number of synthesized characters, as the service counts them."""

    characters: int = 0
    model: str = ""


@attrs.frozen
class ContextCreated:
    """
    The service created the context.

    Attributes:
        context_id: The id of the context.
        config: The settings of the context as the service sent them.
        synthesis_context: The texts that were spoken before; None if the service sent no texts.
    """

    context_id: str
    config: Mapping[str, object]
    synthesis_context: SynthesisContext | None = None


@attrs.frozen
class ContextUpdated:
    """The service changed the settings. The attributes are those of :class:`ContextCreated`."""

    context_id: str
    config: Mapping[str, object]
    synthesis_context: SynthesisContext | None = None


@attrs.frozen
class FlushCompleted:
    """All audio up to a flush has arrived."""

    context_id: str


@attrs.frozen
class ContextClosed:
    """All audio of the context has arrived; no event of the context follows."""

    context_id: str
