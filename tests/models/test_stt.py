"""Tests of the settings and the results of a transcription."""

from __future__ import annotations

import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models import stt
from inworld_sync.models.stt import (
    AssemblyAiConfig,
    GroqConfig,
    InworldSttConfig,
    SonioxConfig,
    SonioxContext,
    SttEncoding,
    SttUsage,
    TranscribeConfig,
    Transcript,
    VoiceProfileConfig,
)
from inworld_sync.models.turns import Turn, Word

# (class, field, least value, largest value). Values beyond this range are refused.
RANGES = [
    (InworldSttConfig, "vad_threshold", 0, 1),
    (InworldSttConfig, "min_end_of_turn_silence_ms", 0, 60_000),
    (InworldSttConfig, "max_turn_silence_ms", 20, 5000),
    (AssemblyAiConfig, "vad_threshold", 0, 1),
    (AssemblyAiConfig, "min_end_of_turn_silence_ms", 0, 60_000),
    (AssemblyAiConfig, "max_turn_silence_ms", 0, 60_000),
    (SonioxConfig, "max_endpoint_delay_ms", 0, 60_000),
    (GroqConfig, "temperature", 0, 1),
    (VoiceProfileConfig, "top_n", 1, 20),
    (TranscribeConfig, "sample_rate_hz", 8000, 48_000),
    (TranscribeConfig, "channels", 1, 8),
    (TranscribeConfig, "inactivity_timeout_seconds", 1, 86_400),
    (TranscribeConfig, "end_of_turn_confidence_threshold", 0, 1),
]

# (class, field, value). The value has a wrong type, or is wrong for a field without a range.
WRONG = [
    (TranscribeConfig, "model", ""),
    (TranscribeConfig, "model", None),
    (TranscribeConfig, "model", "whisper"),
    (TranscribeConfig, "encoding", "OPUS"),
    (TranscribeConfig, "sample_rate_hz", 16000.5),
    (TranscribeConfig, "sample_rate_hz", "16000"),
    (TranscribeConfig, "channels", True),
    (TranscribeConfig, "prompts", [1]),
    (TranscribeConfig, "prompts", "Inworld"),
    (TranscribeConfig, "prompts", 5),
    (TranscribeConfig, "language", 5),
    (TranscribeConfig, "extra", [("a", 1)]),
    (AssemblyAiConfig, "prompt", b"law"),
    (SonioxContext, "general", "Law"),
    (SonioxContext, "text", ["A trial"]),
    (TranscribeConfig, "end_of_turn_confidence_threshold", float("nan")),
    (SonioxConfig, "language_hints", [None]),
    (SonioxContext, "terms", [b"habeas"]),
    (VoiceProfileConfig, "top_n", 2.5),
    (TranscribeConfig, "inworld", {"vad_threshold": 0.5}),
    (TranscribeConfig, "voice_profile", True),
    (SonioxConfig, "context", "A trial"),
]

# (class, field) of each setting that must be a bool.
FLAGS = [
    (TranscribeConfig, "include_word_timestamps"),
    (TranscribeConfig, "enable_speaker_diarization"),
    (SonioxConfig, "language_hints_strict"),
    (SonioxConfig, "enable_endpoint_detection"),
    (VoiceProfileConfig, "enable_voice_profile"),
]

BLOCKS = [
    ("inworld", InworldSttConfig()),
    ("assemblyai", AssemblyAiConfig()),
    ("soniox", SonioxConfig()),
    ("groq", GroqConfig()),
]


@pytest.mark.parametrize(("kind", "name", "least", "most"), RANGES)
def test_ranges(kind, name, least, most):
    """The ends of a range are accepted. A value outside the range raises an error."""
    for value in (least, most):
        assert value == getattr(kind(**{name: value}), name)
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=f"{name} must be {least:g} to {most:g}"):
            kind(**{name: value})


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_wrong(kind, name, value):
    """A wrong value raises an error that names the field."""
    with pytest.raises(ConfigError, match=name):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), FLAGS)
@pytest.mark.parametrize("value", ["true", 1])
def test_flags(kind, name, value):
    """A setting that must be True or False does not accept a string or a number."""
    with pytest.raises(ConfigError, match=name):
        kind(**{name: value})


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_providers(name, block):
    """The settings of a provider are accepted only with a model of this provider."""
    model = f"{name}/model"

    assert block == getattr(TranscribeConfig(model=model, **{name: block}), name)
    with pytest.raises(ConfigError, match=f"{name} settings need a model {name}/"):
        TranscribeConfig(model="other/model", **{name: block})


def test_encoding_by_name():
    """An encoding may be given by the name of its enumeration member."""
    assert SttEncoding.FLAC is TranscribeConfig(encoding="FLAC").encoding


def test_transcript():
    """A transcript has the texts and the words of all its turns."""
    turns = (
        Turn("Good morning.", (Word("Good", 0, 200), Word("morning.", 200, 700))),
        Turn("Yes.", (Word("Yes.", 2000, 2300),)),
    )
    transcript = Transcript(turns, SttUsage(1500, "m"))

    assert "Good morning. Yes." == transcript.text
    assert ["Good", "morning.", "Yes."] == [word.text for word in transcript.words]


def test_empty_transcript():
    """A transcript without turns has an empty text and no subtitles."""
    empty = Transcript()

    assert ("", (), "", "WEBVTT\n") == (
        empty.text,
        empty.words,
        empty.to_srt(),
        empty.to_vtt(),
    )


def test_all_names():
    """Every public class of the module is exported."""
    classes = {
        name
        for name, value in vars(stt).items()
        if isinstance(value, type) and value.__module__ == stt.__name__
    }

    assert classes <= set(stt.__all__)
