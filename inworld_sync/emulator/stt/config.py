"""
The configuration of a transcription: read from JSON, with the checks of the service.

Source: the field table of the service's STT reference, and the requests of its clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from inworld_sync.emulator.fields import choice, flag, in_range, inner, number, text, whole
from inworld_sync.emulator.recognition.turns import TurnSettings
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
# These models transcribe whole recordings only.
_RECORDING_MODELS: Final = ("groq/whisper-large-v3", "assemblyai/universal-2")
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
        encoding: One of the service's names.
        sample_rate_hz: The rate of raw samples.
        channels: The number of channels of raw samples.
        language: BCP-47; empty if the client did not set it.
        word_timestamps: Whether final transcripts list their words.
        diarization: Whether words name their speaker.
        voice_profile_size: The number of labels of each kind in the voice profile; 0 for none.
        inactivity_seconds: Seconds without a message that end the stream; 0 for no limit.
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


def read_config(fields: Mapping[str, object], *, streaming: bool) -> TranscribeConfig:
    """
    Read ``transcribeConfig``.

    Args:
        fields: With keys in camelCase.
        streaming: Whether it begins a stream. Some models do not support streams, and a stream
            needs ``audioEncoding``.

    Raises:
        Malformed: A field has the wrong JSON type.
        Refused: A field is missing or out of range, or the model does not exist.
    """
    model_id = _model(text(fields, "modelId"), streaming=streaming)
    encoding = choice(fields, "audioEncoding", _ENCODINGS)
    if encoding is None and streaming:
        raise Refused(INVALID_ARGUMENT, "audio_encoding is required")
    prompts = [] if fields.get("prompts") is None else fields["prompts"]
    if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
        raise Malformed("prompts")
    return TranscribeConfig(
        model_id=model_id,
        encoding=encoding or "AUTO_DETECT",
        sample_rate_hz=_bounded(fields, "sampleRateHertz", 8000, 48000) or 16000,
        channels=_bounded(fields, "numberOfChannels", 1, _MAX_CHANNELS) or 1,
        language=text(fields, "language"),
        word_timestamps=flag(fields, "includeWordTimestamps"),
        diarization=flag(fields, "enableSpeakerDiarization"),
        voice_profile_size=_voice_profile_size(fields),
        inactivity_seconds=_bounded(fields, "inactivityTimeoutSeconds", 1, 86_400),
        turns=_turns(fields, model_id.partition("/")[0]),
    )


def _model(name: str, *, streaming: bool) -> str:
    known = _STREAMING_MODELS if streaming else _STREAMING_MODELS + _RECORDING_MODELS
    if not name:
        raise Refused(INVALID_ARGUMENT, "model_id is required")
    if name not in known:
        message = f'Unsupported model "{name}". Supported models: {_MODELS_PAGE}'
        raise Refused(INVALID_ARGUMENT, message)
    return name


def _turns(fields: Mapping[str, object], provider: str) -> TurnSettings:
    own = inner(fields, _PROVIDER_FIELDS.get(provider, ""))
    longest = whole(own, "maxTurnSilence", 0) or whole(own, "maxEndpointDelayMs", 0)
    wanted: dict[str, Any] = {
        # In these two fields zero differs from a missing value: without a threshold, the client
        # ends the turns.
        "vad_threshold": _share(own, "vadThreshold"),
        "end_confidence": _share(fields, "endOfTurnConfidenceThreshold"),
        "min_silence_ms": whole(own, "minEndOfTurnSilenceWhenConfident", 0) or None,
        "max_silence_ms": longest or None,
        "word_times": flag(fields, "includeWordTimestamps"),
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
    size = _bounded(asked, "topN", 1, 20) or 1
    return size if flag(asked, "enableVoiceProfile") else 0


def _share(fields: Mapping[str, object], name: str) -> float | None:
    value = number(fields, name)
    if value is not None and not 0 <= value <= 1:
        raise Refused(INVALID_ARGUMENT, f"{name} must be between 0 and 1")
    return value


def _bounded(fields: Mapping[str, object], name: str, low: int, high: int) -> int:
    """Read a whole number; 0 if it is missing or zero."""
    value = whole(fields, name, 0)
    if value and not low <= value <= high:
        raise Refused(INVALID_ARGUMENT, f"{name} must be between {low} and {high}")
    return value
