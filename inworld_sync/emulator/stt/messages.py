"""
Makes the messages of a transcription from the events of the recognizer.

Source: captures of September 2026. Captures of April 2026 have neither ``status`` nor
``speechStarted``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inworld_sync.emulator.recognition.events import (
    FinalTranscript,
    PartialTranscript,
    SpeechEvent,
    SpeechStarted,
    SpeechStopped,
)
from inworld_sync.emulator.recognition.protocols import HeardWord
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.status import status
from inworld_sync.emulator.stt.config import TranscribeConfig

__all__ = ["results", "transcription", "usage"]

# The emulator does not analyze voices, so every speaker gets this profile.
_VOICE_PROFILE: Final[dict[str, tuple[str, ...]]] = {
    "age": ("adult", "young", "old"),
    "gender": ("female", "male"),
    "emotion": ("neutral", "happy", "sad"),
    "vocalStyle": ("normal", "calm", "expressive"),
    "accent": ("en-US", "en-GB", "en-AU"),
}
_SPEAKER: Final = "speaker_1"


def results(
    event: SpeechEvent, config: TranscribeConfig, settings: Settings
) -> Iterator[dict[str, object]]:
    """Yield the messages of an event. Some settings cause no message or two messages."""
    result = _result(event, config)
    if isinstance(event, SpeechStarted) and not settings.stt_speech_started:
        return
    if settings.stt_status:
        result["status"] = status()
    yield {"result": result}
    if isinstance(event, PartialTranscript) and settings.stt_repeats_partials:
        yield {"result": result}


def usage(milliseconds: int, config: TranscribeConfig) -> dict[str, object]:
    """Make the body of ``usage``, which says how much audio was transcribed."""
    return {"transcribedAudioMs": milliseconds, "modelId": config.model_id}


def transcription(event: FinalTranscript, config: TranscribeConfig) -> dict[str, object]:
    """Make the body of the final transcript of a turn."""
    words = [_word(word, config) for word in event.words] if config.word_timestamps else []
    size = config.voice_profile_size
    profile = _voice_profile(size) if size and event.text else None
    return _transcription(event.text, isFinal=True, wordTimestamps=words, voiceProfile=profile)


def _result(event: SpeechEvent, config: TranscribeConfig) -> dict[str, object]:
    if isinstance(event, SpeechStarted):
        return {"speechStarted": {"startTimeMs": event.at_ms, "confidence": event.confidence}}
    if isinstance(event, SpeechStopped):
        return {"speechStopped": {"silenceDurationMs": event.silence_ms}}
    if isinstance(event, PartialTranscript):
        return {"transcription": _transcription(event.text)}
    return {"transcription": transcription(event, config)}


def _transcription(transcript: str, **fields: object) -> dict[str, object]:
    return {
        "transcript": transcript,
        "isFinal": False,
        "wordTimestamps": [],
        "voiceProfile": None,
        "silenceDurationMs": 0,
        **fields,
    }


def _word(word: HeardWord, config: TranscribeConfig) -> dict[str, object]:
    fields: dict[str, object] = {
        "word": word.text,
        "confidence": round(word.confidence, 4),
        "startTimeMs": word.start_ms or 0,
        "endTimeMs": word.end_ms or 0,
    }
    return {**fields, "speaker": _SPEAKER} if config.diarization else fields


def _voice_profile(size: int) -> dict[str, object]:
    return {
        kind: [
            {"label": label, "confidence": round(0.7 / (place + 1), 2)}
            for place, label in enumerate(labels[:size])
        ]
        for kind, labels in _VOICE_PROFILE.items()
    }
