"""The events of a listener; all times are milliseconds of the stream's own sound."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from inworld_sync.emulator.recognition.protocols import HeardWord

__all__ = ["FinalTranscript", "PartialTranscript", "SpeechEvent", "SpeechStarted", "SpeechStopped"]


@attrs.frozen
class SpeechStarted:
    """Somebody began to speak: a turn is open until :class:`SpeechStopped`."""

    at_ms: int
    confidence: float


@attrs.frozen
class SpeechStopped:
    """
    The turn is over; its :class:`FinalTranscript` follows at once.

    Attributes:
        at_ms: Where the speech ended.
        silence_ms: How much silence had followed it; 0 when the turn was cut short.
    """

    at_ms: int
    silence_ms: int


@attrs.frozen
class PartialTranscript:
    """Everything understood so far of the open turn; later ones may rewrite it."""

    text: str


@attrs.frozen
class FinalTranscript:
    """
    A finished turn.

    Attributes:
        text: Its words, joined by spaces; empty when no word was understood.
        words: With confidences, and with times unless they were switched off.
        start_ms: Where its speech began.
        end_ms: Where its speech ended.
    """

    text: str
    words: tuple[HeardWord, ...]
    start_ms: int
    end_ms: int


SpeechEvent: TypeAlias = SpeechStarted | SpeechStopped | PartialTranscript | FinalTranscript
