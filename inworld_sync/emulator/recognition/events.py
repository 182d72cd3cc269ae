"""Defines the events of a listener. All times are milliseconds of the stream's audio."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from inworld_sync.emulator.recognition.protocols import HeardWord

__all__ = ["FinalTranscript", "PartialTranscript", "SpeechEvent", "SpeechStarted", "SpeechStopped"]


@attrs.frozen
class SpeechStarted:
    """Speech was detected. A turn is open until :class:`SpeechStopped`."""

    at_ms: int
    confidence: float


@attrs.frozen
class SpeechStopped:
    """
    The turn has ended. Its :class:`FinalTranscript` follows at once.

    Attributes:
        at_ms: The end of the speech.
        silence_ms: The silence after the speech; 0 if the turn was ended during speech.
    """

    at_ms: int
    silence_ms: int


@attrs.frozen
class PartialTranscript:
    """The text of the open turn so far. A later partial transcript may change this text."""

    text: str


@attrs.frozen
class FinalTranscript:
    """
    The transcript of a finished turn.

    Attributes:
        text: The words of the turn, joined by spaces; empty if no word was recognized.
        words: The words with confidences, and with times if ``TurnSettings.word_times`` is set.
        start_ms: The start of the speech.
        end_ms: The end of the speech.
    """

    text: str
    words: tuple[HeardWord, ...]
    start_ms: int
    end_ms: int


SpeechEvent: TypeAlias = SpeechStarted | SpeechStopped | PartialTranscript | FinalTranscript
