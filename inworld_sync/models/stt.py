"""
Speech to text: settings, events and transcripts, without behavior.

Source of the fields and ranges: Inworld STT WebSocket reference, ``transcribeConfig``, and
captures of September 2026.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from inworld_sync.errors import ConfigError, InworldError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.scripts import join_texts
from inworld_sync.models.subtitles import srt, vtt
from inworld_sync.models.turns import Turn, VoiceProfile, Word

__all__ = [
    "AssemblyAiConfig",
    "GroqConfig",
    "InworldSttConfig",
    "PartialTranscript",
    "Reconnected",
    "SonioxConfig",
    "SonioxContext",
    "SpeechStarted",
    "SpeechStopped",
    "SttEncoding",
    "SttUsage",
    "TranscribeConfig",
    "Transcript",
    "Transcription",
    "VoiceProfileConfig",
]

DEFAULT_STT_MODEL = "inworld/inworld-stt-1"


class SttEncoding(str, enum.Enum):
    """How the audio that is sent is encoded; streams are LINEAR16 in practice."""

    AUTO_DETECT = "AUTO_DETECT"
    LINEAR16 = "LINEAR16"
    MULAW = "MULAW"
    MP3 = "MP3"
    OGG_OPUS = "OGG_OPUS"
    FLAC = "FLAC"


def _encoding(value: SttEncoding | str) -> SttEncoding:
    return checks.member(SttEncoding, value, "encoding")


@attrs.frozen(kw_only=True)
class InworldSttConfig:
    """
    Settings of Inworld's own recognizer; None leaves a choice to the service.

    Attributes:
        vad_threshold: Likelihood of speech, 0 to 1, above which somebody speaks; 0 means that
            turns end only by ``end_turn``, or after about 30 s.
        min_end_of_turn_silence_ms: Silence that ends a turn which sounds complete; the service
            documents 300.
        max_turn_silence_ms: Silence that ends any turn, 20 to 5000.
        extra: Further fields, sent as they are.
    """

    vad_threshold: float | None = optional(checks.number(0, 1))
    min_end_of_turn_silence_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    max_turn_silence_ms: int | None = optional(checks.whole(20, 5000, " ms"))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class AssemblyAiConfig:
    """
    Settings of the ``assemblyai/...`` models; None leaves a choice to the service.

    Attributes:
        vad_threshold: As in :class:`InworldSttConfig`.
        min_end_of_turn_silence_ms: As in :class:`InworldSttConfig`.
        max_turn_silence_ms: Silence that ends any turn.
        prompt: What the audio is about.
        extra: Further fields, sent as they are.
    """

    vad_threshold: float | None = optional(checks.number(0, 1))
    min_end_of_turn_silence_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    max_turn_silence_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    prompt: str | None = optional(checks.string)
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class SonioxContext:
    """
    What a ``soniox/...`` model is told about the audio.

    Attributes:
        general: Facts by name, for example ``{"domain": "Healthcare"}``.
        text: Prose about the conversation.
        terms: Words to expect.
        extra: Further fields, sent as they are.
    """

    general: Mapping[str, object] | None = optional(checks.mapping)
    text: str | None = optional(checks.string)
    terms: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class SonioxConfig:
    """
    Settings of the ``soniox/...`` models; None leaves a choice to the service.

    Attributes:
        language_hints: Languages to expect, as BCP-47 tags.
        language_hints_strict: Whether no other language may be recognized.
        enable_endpoint_detection: Whether the model ends turns.
        max_endpoint_delay_ms: How long it may wait before it ends one.
        context: What the audio is about.
        extra: Further fields, sent as they are.
    """

    language_hints: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    language_hints_strict: bool | None = optional(checks.flag)
    enable_endpoint_detection: bool | None = optional(checks.flag)
    max_endpoint_delay_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    context: SonioxContext | None = optional(checks.instance(SonioxContext))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class GroqConfig:
    """
    Settings of the ``groq/...`` models, which take whole recordings only.

    Attributes:
        temperature: 0 to 1; 0 always takes the likeliest word.
        extra: Further fields, sent as they are.
    """

    temperature: float | None = optional(checks.number(0, 1))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class VoiceProfileConfig:
    """
    Ask for a guess at who speaks and how.

    Attributes:
        enable_voice_profile: Whether to send it.
        top_n: How many labels of each kind, 1 to 20.
        extra: Further fields, sent as they are.
    """

    enable_voice_profile: bool = attrs.field(default=True, validator=checks.flag)
    top_n: int | None = optional(checks.whole(1, 20))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


def _names_provider(_: object, field: attrs.Attribute[str], value: str) -> None:
    if "/" not in value:
        raise ConfigError(
            f"{field.name} must be provider/model, such as {DEFAULT_STT_MODEL}, got {value!r}"
        )


@attrs.frozen(kw_only=True)
class TranscribeConfig:
    """
    Everything that a transcription can be asked for; None leaves a choice to the service.

    Attributes:
        model: ``provider/model``, such as ``inworld/inworld-stt-1``.
        encoding: Of the audio that is sent; the client converts to LINEAR16.
        sample_rate_hz: Of the audio that is sent, 8000 to 48000; the service recommends 16000.
        channels: Of the audio that is sent, 1 to 8; the client mixes to 1.
        language: BCP-47, such as ``en-US``; None lets the model find out where it can.
        inactivity_timeout_seconds: How long the service keeps a stream without audio.
        end_of_turn_confidence_threshold: How complete a turn must sound to end after a short
            silence, 0 to 1.
        prompts: Words and phrases to expect.
        include_word_timestamps: Whether finals bring words with times.
        enable_speaker_diarization: Whether words say who spoke them.
        inworld: For the ``inworld/...`` models.
        assemblyai: For the ``assemblyai/...`` models.
        soniox: For the ``soniox/...`` models.
        groq: For the ``groq/...`` models.
        voice_profile: Asks for a guess at who speaks.
        extra: Further fields of ``transcribeConfig``, sent as they are.

    Raises:
        ConfigError: A value is out of its range, or a provider's settings stand beside a model of
            another provider.
    """

    model: str = attrs.field(default=DEFAULT_STT_MODEL, validator=[checks.text, _names_provider])
    encoding: SttEncoding = attrs.field(default=SttEncoding.LINEAR16, converter=_encoding)
    sample_rate_hz: int = attrs.field(default=16000, validator=checks.whole(8000, 48000, " Hz"))
    channels: int = attrs.field(default=1, validator=checks.whole(1, 8))
    language: str | None = optional(checks.string)
    inactivity_timeout_seconds: int | None = optional(checks.whole(1, 86_400, " s"))
    end_of_turn_confidence_threshold: float | None = optional(checks.number(0, 1))
    prompts: tuple[str, ...] | None = attrs.field(
        default=None, converter=checks.to_tuple, validator=checks.texts
    )
    include_word_timestamps: bool = attrs.field(default=True, validator=checks.flag)
    enable_speaker_diarization: bool | None = optional(checks.flag)
    inworld: InworldSttConfig | None = optional(checks.instance(InworldSttConfig))
    assemblyai: AssemblyAiConfig | None = optional(checks.instance(AssemblyAiConfig))
    soniox: SonioxConfig | None = optional(checks.instance(SonioxConfig))
    groq: GroqConfig | None = optional(checks.instance(GroqConfig))
    voice_profile: VoiceProfileConfig | None = optional(checks.instance(VoiceProfileConfig))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)

    def __attrs_post_init__(self) -> None:
        provider = self.model.partition("/")[0]
        for name in ("inworld", "assemblyai", "soniox", "groq"):
            if getattr(self, name) is not None and name != provider:
                raise ConfigError(
                    f"{name} settings are for the models {name}/..., got the model {self.model!r}"
                )


@attrs.frozen
class SpeechStarted:
    """Somebody began to speak, *start_ms* after the start of the stream."""

    start_ms: int = 0
    confidence: float = 0.0
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class SpeechStopped:
    """Somebody stopped speaking; *silence_ms* of silence had followed."""

    silence_ms: int = 0
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Transcription:
    """
    What was understood of a turn.

    Attributes:
        text: Everything understood of the turn so far, not what is new; a later one may rewrite
            it. A final may be empty: what sounded like speech was none.
        is_final: Whether the turn is over.
        words: With times, where they were asked for; most services send them with finals only.
        voice_profile: Guesses about the speaker, where they were asked for.
        silence_ms: Silence after the last word.
        extra: Further fields of the service.
    """

    text: str = ""
    is_final: bool = False
    words: tuple[Word, ...] = ()
    voice_profile: VoiceProfile | None = None
    silence_ms: int = 0
    extra: Mapping[str, object] = attrs.field(factory=dict)

    def __str__(self) -> str:
        """Give the text alone, so that ``on_transcript=print`` reads well."""
        return self.text


@attrs.frozen
class Reconnected:
    """
    A connection was lost and another one has taken its place; no word is lost or comes twice.

    Attributes:
        from_ms: From here on the audio is sent again: what no final transcript has covered.
        resent_ms: How much that is.
        lost_ms: Audio of an open turn that was too old to be kept, so that its words may be
            missing; 0 unless a turn lasted for longer than what is kept.
        attempts: How many connections were tried.
        cause: What had happened.
    """

    from_ms: int
    resent_ms: int
    lost_ms: int
    attempts: int
    cause: InworldError


@attrs.frozen
class SttUsage:
    """
    The audio that the service has transcribed; sent once, when a stream is closed.

    Attributes:
        audio_ms: Milliseconds of audio that the service counts, silence included. After a
            :class:`Reconnected` the service counts the audio of the last connection only.
        model: The model that transcribed it.
        extra: Further fields of the service.
    """

    audio_ms: int = 0
    model: str = ""
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Transcript:
    """
    The finished turns of a stream or recording.

    Attributes:
        turns: In order; none is empty.
        usage: The service's usage; None if the stream ended before the service sent it.
    """

    turns: tuple[Turn, ...] = ()
    usage: SttUsage | None = None

    @property
    def text(self) -> str:
        """The text of all turns, joined by spaces where the script has them."""
        return join_texts(turn.text for turn in self.turns)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all turns."""
        return tuple(word for turn in self.turns for word in turn.words)

    def to_srt(self) -> str:
        """
        Write SubRip subtitles.

        Raises:
            ConfigError: A turn has neither words with times nor times of its own.
        """
        return srt(self.turns)

    def to_vtt(self) -> str:
        """
        Write WebVTT subtitles.

        Raises:
            ConfigError: A turn has neither words with times nor times of its own.
        """
        return vtt(self.turns)


@attrs.frozen
class PartialTranscript:
    """
    The ``partial`` of the error of a stream that failed.

    Attributes:
        transcript: The turns that were finished.
        pcm: The audio that no final transcript covers, sent or not: 16-bit little-endian mono.
            Transcribing it gives the rest of the words.
        start_ms: Position of that audio in the stream.
        sample_rate_hz: Sample rate of that audio.
    """

    transcript: Transcript
    pcm: bytes = attrs.field(repr=False)
    start_ms: int
    sample_rate_hz: int
