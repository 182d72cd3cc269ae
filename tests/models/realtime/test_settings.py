"""A wrong setting raises an error when the object of the settings is created."""

import math

import attrs
import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models import realtime as rt
from inworld_sync.models.realtime import Session
from inworld_sync.models.realtime.formats import audio_format

FUNCTION = rt.FunctionTool(name="f")

# (class, settings, part of the error). The settings have a wrong type, or a value just beyond a
# bound.
REFUSED = [
    (Session, {"model": 5}, "model must be a string"),
    (Session, {"voice": b"x"}, "voice"),
    (Session, {"instructions": ["x"]}, "instructions"),
    (Session, {"speed": 0.24}, "speed must be 0.25 to 1.5, got 0.24"),
    (Session, {"speed": 1.51}, "speed"),
    (Session, {"speed": "1"}, "speed must be a number"),
    (Session, {"speed": True}, "speed must be a number"),
    (Session, {"temperature": 2.1}, "temperature"),
    (Session, {"temperature": math.nan}, "temperature"),
    (Session, {"max_output_tokens": 0}, "max_output_tokens must be 1 to 4096 or 'inf'"),
    (Session, {"max_output_tokens": 4097}, "max_output_tokens"),
    (Session, {"max_output_tokens": True}, "max_output_tokens"),
    (Session, {"max_output_tokens": "many"}, "max_output_tokens"),
    (Session, {"output_modalities": []}, "audio, text or both"),
    (Session, {"output_modalities": ["video"]}, "audio, text or both"),
    (Session, {"output_modalities": ["text", "text"]}, "audio, text or both"),
    (Session, {"output_modalities": "audio"}, "a list of audio, text or both, got 'audio'"),
    (Session, {"output_modalities": [1]}, "a list of audio, text or both"),
    (
        Session,
        {"turn_detection": "semantic_vad"},
        "ServerVad or ManualTurns, got str",
    ),
    (Session, {"turn_detection": {"type": "server_vad"}}, "turn_detection"),
    (Session, {"transcription": "m"}, "transcription must be an InputTranscription or 'off'"),
    (Session, {"noise_reduction": "near"}, "near_field, far_field, off"),
    (Session, {"truncation": "auto "}, "truncation must be auto, disabled"),
    (Session, {"truncation": 0.5}, "truncation"),
    (Session, {"tool_choice": "f"}, "tool_choice must be one of auto, none, required"),
    (Session, {"tool_choice": {"type": "function"}}, "tool_choice"),
    (Session, {"tools": [print]}, "decorated with tool"),
    (Session, {"tools": [{"name": "x"}]}, "mappings with a type"),
    (Session, {"tools": [FUNCTION, FUNCTION]}, "different names, got 'f' twice"),
    (Session, {"provider_data": {"stt": {}}}, "provider_data must be ProviderData"),
    (Session, {"prompt": "p"}, "prompt"),
    (Session, {"include": "x"}, "list of strings"),
    (Session, {"tracing": "on"}, "tracing"),
    (Session, {"extra": [1]}, "extra must be a mapping"),
    (Session, {"extra": {1: 2}}, "extra must be a mapping"),
    (rt.SemanticVad, {"eagerness": "fast"}, "eagerness must be one of low, medium, high, auto"),
    (rt.SemanticVad, {"create_response": 1}, "create_response must be True or False"),
    (rt.ServerVad, {"threshold": 1.01}, "threshold"),
    (rt.ServerVad, {"silence_duration_ms": -1}, "silence_duration_ms must be 0 or more ms"),
    (rt.ServerVad, {"silence_duration_ms": 0.5}, "silence_duration_ms must be an integer"),
    (rt.InputTranscription, {"language": 1}, "language"),
    (rt.RetentionRatio, {"retention_ratio": 1.1}, "retention_ratio"),
    (rt.Prompt, {"id": " "}, "id must be a string"),
    (rt.FunctionTool, {"name": "a b"}, "1 to 64 letters"),
    (rt.FunctionTool, {"name": ""}, "1 to 64 letters"),
    (rt.FunctionTool, {"name": "x" * 65}, "1 to 64 letters"),
    (rt.FunctionTool, {"name": "f", "parameters": {}}, "type 'object'"),
    (rt.FunctionTool, {"name": "f", "parameters": "{}"}, "parameters"),
    (rt.McpTool, {"server_label": "", "server_url": "https://x"}, "server_label"),
    (rt.McpTool, {"server_label": "s", "server_url": "x"}, "https://"),
    (rt.McpTool, {"server_label": "s", "server_url": "https://x", "headers": {"a": 1}}, "headers"),
    (rt.WebSearchTool, {"max_results": 0}, "max_results"),
    (rt.SttTuning, {"language_hints": "en"}, "list of strings"),
    (rt.SttTuning, {"vad_threshold": -0.1}, "vad_threshold"),
    (rt.SttTuning, {"max_turn_silence_ms": 1.0}, "max_turn_silence_ms"),
    (rt.TtsTuning, {"delivery_mode": "FAST"}, "STABLE, BALANCED, CREATIVE"),
    (rt.TtsTuning, {"segmenter_strategy": "x"}, "segmenter_strategy"),
    (rt.TtsTuning, {"user_turn_mode": "x"}, "user_turn_mode"),
    (rt.Memory, {"turn_interval": 0}, "turn_interval"),
    (rt.Backchannel, {"volume_gain": -0.1}, "volume_gain"),
    (rt.Backchannel, {"decider_kind": "x"}, "decider_kind must be one of llm, rule"),
    (rt.Backchannel, {"rule_fire_probability": 1.1}, "rule_fire_probability"),
    (rt.Responsiveness, {"max_tokens": 0}, "max_tokens"),
    (rt.Reasoning, {"effort": "low"}, "effort"),
    (rt.TextGeneration, {"top_p": 1.1}, "top_p"),
    (rt.ProviderData, {"stt": {"prompt": "x"}}, "stt must be SttTuning"),
    (rt.ProviderData, {"metadata": {"a": 1}}, "metadata"),
    (rt.PcmFormat, {"sample_rate_hz": 22050}, "sample_rate_hz must be one of 8000"),
    (rt.PcmFormat, {"sample_rate_hz": 24000.0}, "sample_rate_hz"),
    (rt.Float32Format, {"sample_rate_hz": 7999}, "sample_rate_hz"),
]


@pytest.mark.parametrize(("kind", "settings", "named"), REFUSED)
def test_refused_settings(kind, settings, named):
    """The error has the name of the setting, the accepted values and the given value."""
    with pytest.raises(ConfigError, match=named):
        kind(**settings)


# (form, format). The service and its clients use all these forms of a format.
FORMATS = [
    (None, None),
    (rt.PcmFormat(8000), rt.PcmFormat(8000)),
    ("pcm16", rt.PcmFormat(24000)),
    ("g711_ulaw", rt.MulawFormat()),
    ("g711_alaw", rt.AlawFormat()),
    ("float32", rt.Float32Format(24000)),
    ("audio/pcm", rt.PcmFormat(24000)),
    ({"type": "audio/pcm"}, rt.PcmFormat(24000)),
    ({"type": "audio/pcm", "rate": 44100}, rt.PcmFormat(44100)),
    ({"type": "audio/pcmu", "rate": 8000}, rt.MulawFormat()),
    ({"type": "audio/pcma"}, rt.AlawFormat()),
    ({"type": "audio/float32", "rate": 16000}, rt.Float32Format(16000)),
]


@pytest.mark.parametrize(("spelling", "expected"), FORMATS)
def test_formats(spelling, expected):
    """Every form of a format is converted to the same format object."""
    assert expected == audio_format(spelling)


# (form, part of the error). The format is unknown, or the service sends no audio for the format.
NO_FORMATS = [
    ({"type": "pcm16"}, "then sends no audio"),
    ({"type": "g711_ulaw"}, "type must be audio/pcmu, got 'g711_ulaw'"),
    ({"type": "audio/opus"}, "must be one of audio/pcm"),
    ({"rate": 8000}, "must be one of audio/pcm"),
    ({"type": "audio/pcm", "rate": "24000"}, "integer in Hz"),
    ({"type": "audio/pcm", "rate": 11025}, "sample_rate_hz must be one of"),
    ("mp3", "must be one of pcm16"),
    (24000, "PcmFormat"),
]


@pytest.mark.parametrize(("spelling", "named"), NO_FORMATS)
def test_no_formats(spelling, named):
    """A wrong format raises an error that says why the format is not accepted."""
    with pytest.raises(ConfigError, match=named):
        audio_format(spelling)


# (format, sample rate in Hz, bytes per sample).
SAMPLES = [
    (rt.PcmFormat(16000), 16000, 2),
    (rt.MulawFormat(), 8000, 1),
    (rt.AlawFormat(), 8000, 1),
    (rt.Float32Format(), 24000, 4),
]


@pytest.mark.parametrize(("form", "sample_rate_hz", "bytes_per_sample"), SAMPLES)
def test_samples(form, sample_rate_hz, bytes_per_sample):
    """A format object has the sample rate and the count of bytes per sample."""
    assert (sample_rate_hz, bytes_per_sample) == (form.sample_rate_hz, form.bytes_per_sample)


def test_secrets_stay_out_of_a_repr():
    """The repr of a tool server does not show its token, its headers or its unknown fields."""
    mcp = rt.McpTool(
        server_label="s",
        server_url="https://example.com",
        authorization="secret-1",
        headers={"X-Key": "secret-2"},
        extra={"token": "secret-3"},
    )

    assert "secret" not in repr(Session(tools=[mcp], extra={"key": "secret-4"}))


def test_all_settings_are_optional():
    """All settings of a session and of its parts are None by default."""
    empty = [Session(), rt.ProviderData(), rt.SemanticVad(), rt.ServerVad(), rt.ResponseConfig()]

    assert all(
        getattr(each, field.name) is None
        for each in empty
        for field in attrs.fields(type(each))
        if field.name != "extra"
    )


def test_text_of_a_message():
    """The text of a message consists of its texts and transcripts, in order."""
    message = rt.Message(
        role="user",
        content=[
            rt.InputText("Look: "),
            rt.InputImage("https://example.com/a.png"),
            rt.InputAudio(transcript="a cat"),
            rt.InputAudio(),
        ],
    )

    assert "Look: a cat" == message.text
