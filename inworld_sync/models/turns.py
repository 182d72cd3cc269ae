"""Finished turns of a transcript: words with times, and a profile of the speaker's voice."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Turn", "VoiceProfile", "VoiceTrait", "Word"]


@attrs.frozen
class Word:
    """
    A word and when it was said.

    Attributes:
        text: As written, with its punctuation.
        start_ms: From the start of the stream.
        end_ms: From the start of the stream.
        confidence: The recognizer's confidence, 0 to 1.
        speaker: Label of the speaker; None without speaker diarization.
        extra: Further fields of the service.
    """

    text: str
    start_ms: int = 0
    end_ms: int = 0
    confidence: float = 0.0
    speaker: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class VoiceTrait:
    """One guess about a voice, and how sure it is, 0 to 1."""

    label: str
    confidence: float = 0.0


@attrs.frozen
class VoiceProfile:
    """Guesses about who speaks and how, likeliest first."""

    age: tuple[VoiceTrait, ...] = ()
    gender: tuple[VoiceTrait, ...] = ()
    emotion: tuple[VoiceTrait, ...] = ()
    vocal_style: tuple[VoiceTrait, ...] = ()
    accent: tuple[VoiceTrait, ...] = ()
    pitch: object = None
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Turn:
    """
    One finished turn.

    Attributes:
        text: What was said.
        words: With times, where the service sent them.
        start_ms: Start in the stream, in milliseconds; None if the service did not send it.
        end_ms: End in the stream, in milliseconds; None if the service did not send it.
        voice_profile: Guesses about the speaker, where they were asked for.
    """

    text: str
    words: tuple[Word, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    voice_profile: VoiceProfile | None = None
