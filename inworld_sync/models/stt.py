"""
Defines the settings, events and transcripts of speech to text.

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
    "SttStats",
    "SttUsage",
    "TranscribeConfig",
    "Transcript",
    "Transcription",
    "VoiceProfileConfig",
]

DEFAULT_STT_MODEL = "inworld/inworld-stt-1"


class SttEncoding(str, enum.Enum):
    """
    Encodings of audio for the service.

    The client makes LINEAR16 and MULAW from samples; audio in the other encodings is sent
    unchanged.
    """

    AUTO_DETECT = "AUTO_DETECT"
    LINEAR16 = "LINEAR16"
    MULAW = "MULAW"
    MP3 = "MP3"
    OGG_OPUS = "OGG_OPUS"
    FLAC = "FLAC"

    @property
    def is_raw(self) -> bool:
        """Whether the client makes this encoding from samples."""
        return self in (SttEncoding.LINEAR16, SttEncoding.MULAW)


def _encoding(value: SttEncoding | str) -> SttEncoding:
    return checks.member(SttEncoding, value, "encoding")


@attrs.frozen(kw_only=True)
class InworldSttConfig:
    """
    Settings of the ``inworld/...`` models. The service chooses the value of a setting that is None.

    Attributes:
        vad_threshold: The service detects speech if the probability of speech is above this value,
            0 to 1. With 0, a turn ends only when ``end_turn`` is called, or after about 30 s.
        min_end_of_turn_silence_ms: Silence in milliseconds that ends a turn which sounds complete,
            0 to 60000. The documented default is 300.
        max_turn_silence_ms: Silence in milliseconds that ends any turn, 20 to 5000.
        extra: Further fields, sent unchanged.
    """

    vad_threshold: float | None = optional(checks.number(0, 1))
    min_end_of_turn_silence_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    max_turn_silence_ms: int | None = optional(checks.whole(20, 5000, " ms"))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class AssemblyAiConfig:
    """
    Settings of the ``assemblyai/...`` models. The service chooses the value of a setting that is
    None.

    Attributes:
        vad_threshold: As in :class:`InworldSttConfig`.
        min_end_of_turn_silence_ms: As in :class:`InworldSttConfig`.
        max_turn_silence_ms: Silence in milliseconds that ends any turn, 0 to 60000.
        prompt: Description of the content of the audio.
        extra: Further fields, sent unchanged.
    """

    vad_threshold: float | None = optional(checks.number(0, 1))
    min_end_of_turn_silence_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    max_turn_silence_ms: int | None = optional(checks.whole(0, 60_000, " ms"))
    prompt: str | None = optional(checks.string)
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class SonioxContext:
    """
    Information about the audio for a ``soniox/...`` model.

    Attributes:
        general: Facts by name, for example ``{"domain": "Healthcare"}``.
        text: Description of the conversation.
        terms: Words that the audio may contain.
        extra: Further fields, sent unchanged.
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
    Settings of the ``soniox/...`` models. The service chooses the value of a setting that is None.

    Attributes:
        language_hints: Languages that the audio may contain, as BCP-47 tags.
        language_hints_strict: Whether the model recognizes only these languages.
        enable_endpoint_detection: Whether the model ends turns.
        max_endpoint_delay_ms: The longest time in milliseconds, 0 to 60000, that the model waits
            before it ends a turn.
        context: Information about the audio.
        extra: Further fields, sent unchanged.
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
    Settings of the ``groq/...`` models, which transcribe only whole recordings.

    Attributes:
        temperature: Randomness, 0 to 1; with 0 the model always uses the most likely word.
        extra: Further fields, sent unchanged.
    """

    temperature: float | None = optional(checks.number(0, 1))
    extra: Mapping[str, object] = attrs.field(factory=dict, validator=checks.mapping)


@attrs.frozen(kw_only=True)
class VoiceProfileConfig:
    """
    Requests a profile of the speaker's voice.

    Attributes:
        enable_voice_profile: Whether the service sends a profile.
        top_n: The number of labels of each kind, 1 to 20. None leaves the number to the service.
        extra: Further fields, sent unchanged.
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
    All settings of a transcription. The service chooses the value of a setting that is None.

    Attributes:
        model: ``provider/model``, such as ``inworld/inworld-stt-1``.
        encoding: Encoding of the audio that is sent. The client makes LINEAR16 and MULAW from
            samples. In any other encoding, which only a live stream accepts, bytes are sent
            unchanged.
        sample_rate_hz: Sample rate in Hz of the audio that is sent, 8000 to 48000; the service
            recommends 16000. A file in another encoding has a rate of its own.
        channels: Channels of the audio that is sent. The number must be 1 for LINEAR16 and MULAW,
            since the client mixes the audio to one channel; otherwise 1 to 8.
        language: BCP-47 tag, such as ``en-US``; with None the model detects the language if it
            can.
        inactivity_timeout_seconds: Seconds without audio after which the service ends a stream,
            1 to 86400.
        end_of_turn_confidence_threshold: A short silence ends a turn if the model's confidence that
            the turn is complete is above this value, 0 to 1.
        prompts: Words and phrases that the audio may contain.
        include_word_timestamps: Whether final transcripts have words with times.
        enable_speaker_diarization: Whether each word names its speaker.
        inworld: Settings of the ``inworld/...`` models.
        assemblyai: Settings of the ``assemblyai/...`` models.
        soniox: Settings of the ``soniox/...`` models.
        groq: Settings of the ``groq/...`` models.
        voice_profile: Requests a profile of the speaker's voice.
        extra: Further fields of ``transcribeConfig``, sent unchanged.

    Raises:
        ConfigError: A value is out of its range, or the settings of a provider are combined with
            a model of another provider.
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
                    f"{name} settings need a model {name}/..., got the model {self.model!r}"
                )


@attrs.frozen
class SpeechStarted:
    """
    The service detected the start of speech.

    Attributes:
        start_ms: Position of the start in the stream, in milliseconds.
        confidence: The service's confidence, 0 to 1.
        extra: Further fields of the service.
    """

    start_ms: int = 0
    confidence: float = 0.0
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class SpeechStopped:
    """
    The service detected the end of speech.

    Attributes:
        silence_ms: Silence since the end of speech, in milliseconds.
        extra: Further fields of the service.
    """

    silence_ms: int = 0
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Transcription:
    """
    A partial or final transcript of a turn.

    Attributes:
        text: The whole text of the turn so far. A later transcript may change this text. A final
            transcript is empty if the service took noise for speech.
        is_final: Whether the transcript is final, because the turn has ended.
        words: The words with their times, if requested. Most models send words only with final
            transcripts.
        voice_profile: Profile of the speaker's voice, if requested.
        silence_ms: Silence after the last word, in milliseconds.
        extra: Further fields of the service.
        tokens: The texts of *words* as the service sent them: whole words or, from some models,
            parts of words, punctuation and white space. With such parts,
            ``"".join(tokens)`` is the text.
        channel: Channel of the recording, from 0, with ``channels="separate"``; otherwise None.
    """

    text: str = ""
    is_final: bool = False
    words: tuple[Word, ...] = ()
    voice_profile: VoiceProfile | None = None
    silence_ms: int = 0
    extra: Mapping[str, object] = attrs.field(factory=dict)
    tokens: tuple[str, ...] = ()
    channel: int | None = None

    def __str__(self) -> str:
        """Return the text alone, so that ``on_transcript=print`` prints it."""
        return self.text


@attrs.frozen
class Reconnected:
    """
    A connection was lost, and the client has opened another connection. No word is repeated. Words
    are lost only if *lost_ms* is above 0.

    Attributes:
        from_ms: The position in the stream from which the audio is sent again, in milliseconds.
            This position is the end of the audio that final transcripts cover.
        resent_ms: Length of the audio that is sent again, in milliseconds.
        lost_ms: The duration of the audio that was too old to be kept, in milliseconds. This audio
            is at the beginning of an open turn, and its words may be missing. The value is 0 unless
            a turn lasted longer than 60 s.
        attempts: Number of attempts to connect.
        cause: The error that ended the old connection.
    """

    from_ms: int
    resent_ms: int
    lost_ms: int
    attempts: int
    cause: InworldError


@attrs.frozen
class SttUsage:
    """
    How much audio the service has transcribed. The service sends this event once, when a stream is
    closed.

    Attributes:
        audio_ms: How many milliseconds of audio the service counted, including silence. If there
            was a :class:`Reconnected`, the service counted only the audio of the last connection.
        model: The model that transcribed the audio.
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
        turns: The turns in their order; no turn is empty. With ``channels="separate"`` the turns of
            all channels are in the order of their starts.
        usage: How much audio the service counted; None if the stream ended before the service sent
            this. With ``channels="separate"``, the value is the sum of all channels.
    """

    turns: tuple[Turn, ...] = ()
    usage: SttUsage | None = None

    @property
    def text(self) -> str:
        """
        The text of all turns, joined by spaces where the script uses spaces.

        With ``channels="separate"`` each turn is a line that begins with the name of its channel,
        such as ``channel 0: Hello.``
        """
        if any(turn.channel is not None for turn in self.turns):
            return "\n".join(map(str, self.turns))
        return join_texts(turn.text for turn in self.turns)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all turns."""
        return tuple(word for turn in self.turns for word in turn.words)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of all turns; see :class:`Turn`."""
        return tuple(token for turn in self.turns for token in turn.tokens)

    def to_srt(self) -> str:
        """
        Write SubRip subtitles.

        Raises:
            ConfigError: A turn has neither words with times nor times of its own.
        """
        from inworld_sync.models.subtitles import srt

        return srt(self.turns)

    def to_vtt(self) -> str:
        """
        Write WebVTT subtitles.

        Raises:
            ConfigError: A turn has neither words with times nor times of its own.
        """
        from inworld_sync.models.subtitles import vtt

        return vtt(self.turns)


@attrs.frozen
class PartialTranscript:
    """
    The value of ``partial`` in the error of a failed stream.

    Attributes:
        transcript: The turns that were finished.
        pcm: The audio that no final transcript covers, including audio that was not sent. The audio
            is 16-bit little-endian mono PCM. To get the missing words, transcribe this audio.
        start_ms: Position of *pcm* in the stream, in milliseconds.
        sample_rate_hz: Sample rate of *pcm*.
        channel: With ``channels="separate"``, the channel that failed; *pcm* is the audio of this
            channel. The other channels have ended too. *transcript* has the finished turns of all
            channels.
    """

    transcript: Transcript
    pcm: bytes = attrs.field(repr=False)
    start_ms: int
    sample_rate_hz: int
    channel: int | None = None


@attrs.frozen(kw_only=True)
class SttStats:
    """
    A snapshot of a stream's counters.

    Attributes:
        sent_bytes: The bytes of audio that were sent, as 16-bit samples or in the encoding of the
            stream. The number decreases at a reconnect, because audio is then sent again.
        waiting_bytes: The bytes of audio that wait to be sent.
        sent_ms: The duration of *sent_bytes*; 0 for encoded audio, whose duration is unknown.
        waiting_ms: The duration of *waiting_bytes*; 0 for encoded audio.
        dropped_ms: The duration of the audio that ``overflow="drop_oldest"`` dropped.
        covered_ms: End of the audio that final transcripts cover, in milliseconds.
        reconnects: The number of connections that replaced a lost connection.
        warnings: For each name of a field, how often the field was ignored because of a wrong type.
            Only messages of the present connection are counted.
    """

    sent_bytes: int
    waiting_bytes: int
    sent_ms: float
    waiting_ms: float
    dropped_ms: float
    covered_ms: float
    reconnects: int
    warnings: Mapping[str, int] = attrs.field(factory=dict)
