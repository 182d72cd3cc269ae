"""
Reads the configuration of a TTS context or request from JSON, with the checks of the service.

A value of the wrong JSON type makes the whole message unreadable (``Malformed``); a value out of
range is refused with code 3 (``Refused``).
Source: the TTS field table of the service's reference, and the requests of its clients.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from inworld_sync.emulator.fields import choice, flag, in_range, inner, text, whole
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.status import INVALID_ARGUMENT, NOT_FOUND, Malformed, Refused

__all__ = ["AudioConfig", "ContextConfig", "UnknownModel", "describe", "read_config"]

MODELS = ("inworld-tts-2", "inworld-tts-2-flash", "inworld-tts-1.5-max", "inworld-tts-1.5-mini")
_FIELDS = (
    "voiceId",
    "modelId",
    "audioConfig",
    "temperature",
    "language",
    "deliveryMode",
    "timestampType",
    "timestampTransportStrategy",
    "applyTextNormalization",
    "autoMode",
    "autoModeStrategy",
    "maxBufferDelayMs",
    "bufferCharThreshold",
    "pronunciationDictionarySettings",
    "enableCustomPronunciation",
    "synthesisContext",
    "enhanceGeneration",
    "instruction",
    "lipsyncConfig",
)
_MAX_CONTEXT_CHARACTERS = 2000
_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
_AUDIO_FIELDS = ("audioEncoding", "sampleRateHertz", "bitRate", "speakingRate")

# Retired models and their successors.
_SUCCESSORS = {
    "inworld-tts-1": "inworld-tts-1.5-mini",
    "inworld-tts-1-mini": "inworld-tts-1.5-mini",
    "inworld-tts-1-max": "inworld-tts-1.5-max",
}


_ENUMS: dict[str, tuple[str, ...]] = {
    "audioEncoding": ("LINEAR16", "PCM", "WAV", "MP3", "OGG_OPUS", "MULAW", "ALAW", "FLAC"),
    "timestampType": ("WORD", "CHARACTER"),
    "timestampTransportStrategy": ("SYNC", "ASYNC"),
    # EXPRESSIVE is an older name of CREATIVE.
    "deliveryMode": ("STABLE", "BALANCED", "CREATIVE", "EXPRESSIVE"),
    "applyTextNormalization": ("ON", "OFF"),
    "autoModeStrategy": ("CLIENT_SEGMENTED", "SENTENCE_BOUNDARY"),
}


class UnknownModel(Refused):
    """The model does not exist. On a WebSocket, this error ends the connection."""


@attrs.frozen(kw_only=True)
class AudioConfig:
    """The format of the audio. A field that the client omits has the service's default."""

    encoding: str = "MP3"
    sample_rate_hz: int = 48000
    bit_rate: int = 128000
    speaking_rate: float = 1.0


@attrs.frozen(kw_only=True)
class ContextConfig:
    """
    The settings of one context, or of one HTTP request.

    Attributes:
        timestamps_trail: Whether all timestamps of a generation follow its audio.
        whole_sentences: Whether in autoMode a sentence ends only when the next sentence begins.
            Otherwise the end of a message can also end a sentence.
        lipsync: Whether messages have the visemes of OpenXR.
        echo: The known fields as the client sent them.
    """

    voice_id: str
    model_id: str
    audio: AudioConfig
    timestamp_type: str | None = None
    language: str = ""
    timestamps_trail: bool = False
    normalize: bool = True
    auto_mode: bool = False
    whole_sentences: bool = False
    lipsync: bool = False
    max_buffer_delay_ms: int
    buffer_char_threshold: int
    echo: Mapping[str, object]


def read_config(
    fields: Mapping[str, object],
    settings: Settings,
    base: ContextConfig | None = None,
    *,
    lenient: bool = False,
) -> ContextConfig:
    """
    Read ``create``, ``update_config`` or the body of an HTTP request.

    Args:
        fields: The fields, with keys in camelCase.
        settings: The settings of the server, for defaults and voices.
        base: The configuration that *fields* change. With None, *fields* change the defaults.
        lenient: Whether to treat an unknown name of an enum as a missing field, as the HTTP
            endpoints do.

    Raises:
        Malformed: A field has the wrong JSON type.
        UnknownModel: The model does not exist.
        Refused: A field is missing, out of range, or names an unknown voice.
    """
    echo = _merged(base.echo if base else {}, fields, lenient=lenient)
    voice_id = text(echo, "voiceId")
    model_id = base.model_id if base else _model(text(echo, "modelId"))
    if not voice_id:
        raise Refused(INVALID_ARGUMENT, "voice_id is required")
    if all(voice.voice_id != voice_id for voice in settings.voices):
        raise Refused(NOT_FOUND, f"Unknown voice: {voice_id} not found!")
    in_range(echo, "temperature", 0, 2)
    _choice(echo, "deliveryMode")
    text(echo, "instruction")
    flag(echo, "enhanceGeneration")
    _check_synthesis_context(echo)
    threshold = whole(echo, "bufferCharThreshold", settings.buffer_char_threshold)
    if not 0 <= threshold <= 1000:
        raise Refused(INVALID_ARGUMENT, "buffer_char_threshold must be between 0 and 1000")
    delay_ms = whole(echo, "maxBufferDelayMs", settings.max_buffer_delay_ms)
    if delay_ms < 0:
        raise Refused(INVALID_ARGUMENT, "max_buffer_delay_ms must not be negative")
    return ContextConfig(
        voice_id=voice_id,
        model_id=model_id,
        audio=_audio(echo, settings),
        language=text(echo, "language"),
        lipsync=_lipsync(echo),
        timestamp_type=_choice(echo, "timestampType"),
        timestamps_trail=_choice(echo, "timestampTransportStrategy") == "ASYNC",
        normalize=_choice(echo, "applyTextNormalization") != "OFF",
        auto_mode=flag(echo, "autoMode"),
        whole_sentences=_choice(echo, "autoModeStrategy") == "SENTENCE_BOUNDARY",
        max_buffer_delay_ms=delay_ms,
        buffer_char_threshold=threshold or settings.buffer_char_threshold,
        echo=echo,
    )


def describe(config: ContextConfig) -> dict[str, object]:
    """Make the body of ``contextCreated``: the fields as sent, with the values in use."""
    return {
        "audioConfig": {},
        "synthesisContext": None,
        "pronunciationDictionarySettings": None,
        **config.echo,
        "modelId": config.model_id,
        "maxBufferDelayMs": config.max_buffer_delay_ms,
        "bufferCharThreshold": config.buffer_char_threshold,
        "applyTextNormalization": "ON" if config.normalize else "OFF",
        "autoMode": config.auto_mode,
    }


def _merged(
    old: Mapping[str, object], new: Mapping[str, object], *, lenient: bool
) -> dict[str, object]:
    """Merge the known new fields into the old fields. Null has the meaning of a missing field."""
    merged = {**old, **{name: new[name] for name in _FIELDS if new.get(name) is not None}}
    before, after = old.get("audioConfig", {}), new.get("audioConfig")
    if isinstance(before, dict) and isinstance(after, dict):
        known = {name: after[name] for name in _AUDIO_FIELDS if after.get(name) is not None}
        merged["audioConfig"] = {**before, **known}
    if lenient:
        for part in (merged, merged.get("audioConfig")):
            if not isinstance(part, dict):
                continue
            for name, allowed in _ENUMS.items():
                if isinstance(part.get(name), str) and part[name] not in allowed:
                    del part[name]
    return merged


def _choice(fields: Mapping[str, object], name: str) -> str | None:
    return choice(fields, name, _ENUMS[name])


def _model(name: str) -> str:
    model = _SUCCESSORS.get(name, name)
    if model not in MODELS:
        known = ", ".join(MODELS)
        raise UnknownModel(INVALID_ARGUMENT, f'Unsupported model "{name}". Supported: {known}')
    return model


def _check_synthesis_context(fields: Mapping[str, object]) -> None:
    requests = inner(fields, "synthesisContext").get("previousRequests")
    if requests is None:
        return
    if not isinstance(requests, list):
        raise Malformed("previousRequests")
    length = 0
    for one in requests:
        if not isinstance(one, dict):
            raise Malformed("previousRequests")
        length += len(text(one, "text"))
    if length > _MAX_CONTEXT_CHARACTERS:
        raise Refused(
            INVALID_ARGUMENT,
            f"synthesis_context should not exceed {_MAX_CONTEXT_CHARACTERS} characters",
        )


def _lipsync(fields: Mapping[str, object]) -> bool:
    viseme_set = text(inner(fields, "lipsyncConfig"), "visemeSet")
    if viseme_set not in ("", "OPENXR"):
        raise Refused(INVALID_ARGUMENT, f'invalid value "{viseme_set}" for viseme_set')
    return fields.get("lipsyncConfig") is not None


def _audio(fields: Mapping[str, object], settings: Settings) -> AudioConfig:
    value = inner(fields, "audioConfig")
    defaults = AudioConfig()
    rate = whole(value, "sampleRateHertz", 0) or defaults.sample_rate_hz
    if not 8000 <= rate <= 48000:
        raise Refused(INVALID_ARGUMENT, "sample_rate_hertz must be between 8000 and 48000")
    if rate not in _RATES_HZ and not settings.any_sample_rate:
        known = ", ".join(map(str, _RATES_HZ))
        raise Refused(INVALID_ARGUMENT, f"sample_rate_hertz must be one of {known}")
    bit_rate = whole(value, "bitRate", 0) or defaults.bit_rate
    if bit_rate < 0:
        raise Refused(INVALID_ARGUMENT, "bit_rate must not be negative")
    return AudioConfig(
        encoding=_choice(value, "audioEncoding") or defaults.encoding,
        sample_rate_hz=rate,
        bit_rate=bit_rate,
        speaking_rate=in_range(value, "speakingRate", 0.5, 1.5) or defaults.speaking_rate,
    )
