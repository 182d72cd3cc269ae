"""
Reads the configuration of a transcription from JSON, with the checks of the service.

Source: the field table of the service's STT reference, and the requests of its clients.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from inworld_sync.emulator.fields import choice, flag, in_range, inner, number, text, whole
from inworld_sync.emulator.recognition.turns import TurnSettings
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.status import INVALID_ARGUMENT, Malformed, Refused
from inworld_sync.errors import ConfigError

__all__ = ["TranscribeConfig", "read_config"]

_ENCODINGS: Final = ("AUTO_DETECT", "LINEAR16", "MULAW", "MP3", "OGG_OPUS", "FLAC")
_STREAMING_MODELS: Final = (
    "inworld/inworld-stt-1",
    "assemblyai/universal-streaming-multilingual",
    "assemblyai/universal-streaming-english",
    "assemblyai/u3-rt-pro",
    "assemblyai/whisper-rt",
    "soniox/stt-rt-v4",
    "soniox/stt-rt-v5",
    "deepgram/flux-general-en",
    "deepgram/flux-general-multi",
)
# The models that the endpoint for whole recordings supports.
_RECORDING_MODELS: Final = ("inworld/inworld-stt-1", "groq/whisper-large-v3")
_DEFAULT_MODEL: Final = "inworld/inworld-stt-1"
_PROMPTED_MODEL: Final = "assemblyai/u3-rt-pro"
_COMPRESSED: Final = ("MP3", "OGG_OPUS", "FLAC")
_DEFAULT_TOP_N: Final = 10
# A prompt may have letters, digits, white space and basic punctuation.
_PROMPT: Final = re.compile(r"[^#/@|\x00-\x1f\x7f]*")
_MODELS_PAGE: Final = "https://docs.inworld.ai/stt/overview#supported-models"
_MAX_CHANNELS: Final = 8
# The field with a provider's settings, by the first part of the model's name.
_PROVIDER_FIELDS: Final = {
    "inworld": "inworldSttV1Config",
    "assemblyai": "assemblyaiConfig",
    "soniox": "sonioxConfig",
    "groq": "groqConfig",
}


@attrs.frozen(kw_only=True)
class TranscribeConfig:
    """
    The settings of one stream, or of one HTTP request.

    Attributes:
        model_id: The model, as the client wrote it.
        encoding: The encoding, by its name in the service.
        sample_rate_hz: The rate of raw samples.
        channels: The number of channels of raw samples.
        language: The BCP-47 tag; empty if the client did not set it.
        word_timestamps: Whether final transcripts list their words.
        diarization: Whether each word has the name of its speaker.
        voice_profile_size: The number of labels of each kind in the voice profile; 0 for none.
        inactivity_seconds: The stream ends after this time without a message; 0 for no limit.
        turns: How speech is divided into turns.
    """

    model_id: str
    encoding: str
    sample_rate_hz: int
    channels: int
    language: str
    word_timestamps: bool
    diarization: bool
    voice_profile_size: int
    inactivity_seconds: int
    turns: TurnSettings


def read_config(
    fields: Mapping[str, object], settings: Settings, *, streaming: bool
) -> TranscribeConfig:
    """
    Read ``transcribeConfig``.

    Args:
        fields: The fields, with keys in camelCase.
        settings: The settings of the server.
        streaming: Whether the configuration begins a stream. Some models do not support streams,
            and a stream needs ``audioEncoding``.

    Raises:
        Malformed: A field has the wrong JSON type.
        Refused: A field is missing or out of range, or the model does not exist.
    """
    model_id = _model(text(fields, "modelId"), streaming=streaming)
    encoding = choice(fields, "audioEncoding", _ENCODINGS)
    if encoding is None and streaming:
        raise Refused(INVALID_ARGUMENT, "audio_encoding is required")
    if encoding in _COMPRESSED and streaming and not settings.stt_compressed_streams:
        raise Refused(INVALID_ARGUMENT, f"audio_encoding {encoding} is not supported in a stream")
    _check_prompts(fields)
    _check_providers(fields, model_id)
    # The service accepts the field for its own model, but sends no words yet.
    has_words = flag(fields, "includeWordTimestamps") and (
        model_id != _DEFAULT_MODEL or settings.stt_words_of_default_model
    )
    return TranscribeConfig(
        model_id=model_id,
        encoding=encoding or "AUTO_DETECT",
        sample_rate_hz=_bounded(fields, "sampleRateHertz", 8000, 48000) or 16000,
        channels=_bounded(fields, "numberOfChannels", 1, _MAX_CHANNELS) or 1,
        language=text(fields, "language"),
        word_timestamps=has_words,
        diarization=flag(fields, "enableSpeakerDiarization"),
        voice_profile_size=_voice_profile_size(fields) if model_id == _DEFAULT_MODEL else 0,
        inactivity_seconds=_bounded(fields, "inactivityTimeoutSeconds", 1, 86_400),
        turns=_turns(fields, model_id.partition("/")[0], word_times=has_words),
    )


def _model(name: str, *, streaming: bool) -> str:
    known = _STREAMING_MODELS if streaming else _RECORDING_MODELS
    if not name:
        raise Refused(INVALID_ARGUMENT, "model_id is required")
    if name not in known:
        message = f'Unsupported model "{name}". Supported models: {_MODELS_PAGE}'
        raise Refused(INVALID_ARGUMENT, message)
    return name


def _check_prompts(fields: Mapping[str, object]) -> None:
    prompts = [] if fields.get("prompts") is None else fields["prompts"]
    if not isinstance(prompts, list):
        raise Malformed("prompts")
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise Malformed("prompts")
        if not _PROMPT.fullmatch(prompt):
            message = "prompts may have letters, digits, spaces and basic punctuation only"
            raise Refused(INVALID_ARGUMENT, message)


def _check_providers(fields: Mapping[str, object], model_id: str) -> None:
    sent = [name for name in _PROVIDER_FIELDS.values() if fields.get(name) is not None]
    if len(sent) > 1:
        raise Refused(INVALID_ARGUMENT, f"only one of {', '.join(sent)} may be set")
    delay_ms = whole(inner(fields, "sonioxConfig"), "maxEndpointDelayMs", 0)
    if delay_ms and not 500 <= delay_ms <= 5000:
        raise Refused(INVALID_ARGUMENT, "max_endpoint_delay_ms must be between 500 and 5000")
    own = inner(fields, "assemblyaiConfig")
    if text(own, "prompt") and model_id != _PROMPTED_MODEL:
        raise Refused(INVALID_ARGUMENT, f"prompt is supported by {_PROMPTED_MODEL} only")
    for name in _PROVIDER_FIELDS.values():
        provider = inner(fields, name)
        short = whole(provider, "minEndOfTurnSilenceWhenConfident", 0)
        longest = whole(provider, "maxTurnSilence", 0)
        if longest and short > longest:
            raise Refused(
                INVALID_ARGUMENT,
                "min_end_of_turn_silence_when_confident must not exceed max_turn_silence",
            )


def _turns(fields: Mapping[str, object], provider: str, *, word_times: bool) -> TurnSettings:
    own = inner(fields, _PROVIDER_FIELDS.get(provider, ""))
    longest = whole(own, "maxTurnSilence", 0) or whole(own, "maxEndpointDelayMs", 0)
    wanted: dict[str, Any] = {
        # In these two fields, zero differs from a missing value. With a threshold of zero, the
        # client ends the turns.
        "vad_threshold": _share(own, "vadThreshold"),
        "end_confidence": _share(fields, "endOfTurnConfidenceThreshold"),
        "min_silence_ms": whole(own, "minEndOfTurnSilenceWhenConfident", 0) or None,
        "max_silence_ms": longest or None,
        "word_times": word_times,
    }
    if own.get("enableEndpointDetection") is not None and not flag(own, "enableEndpointDetection"):
        wanted["vad_threshold"] = 0.0
    in_range(own, "temperature", 0, 1)
    try:
        return TurnSettings(**{name: value for name, value in wanted.items() if value is not None})
    except ConfigError as error:
        raise Refused(INVALID_ARGUMENT, str(error)) from error


def _voice_profile_size(fields: Mapping[str, object]) -> int:
    asked = inner(fields, "voiceProfileConfig")
    size = _bounded(asked, "topN", 1, 20) or _DEFAULT_TOP_N
    return size if flag(asked, "enableVoiceProfile") else 0


def _share(fields: Mapping[str, object], name: str) -> float | None:
    value = number(fields, name)
    if value is not None and not 0 <= value <= 1:
        raise Refused(INVALID_ARGUMENT, f"{name} must be between 0 and 1")
    return value


def _bounded(fields: Mapping[str, object], name: str, low: int, high: int) -> int:
    """Read a whole number. A missing number is 0."""
    value = whole(fields, name, 0)
    if value and not low <= value <= high:
        raise Refused(INVALID_ARGUMENT, f"{name} must be between {low} and {high}")
    return value
