"""Decides when a turn ends, with settings and functions that need no audio, clock or state."""

from __future__ import annotations

import re
from typing import Final

import attrs

from inworld_sync.models import checks

__all__ = ["TurnSettings", "end_of_turn_confidence", "is_turn_over"]

# Words after which a speaker usually continues.
_OPEN_WORDS: Final = re.compile(
    r"(a|an|and|are|as|at|because|but|by|for|from|i|if|in|is|it's|like|my|of|on|or|our|so|than|that"
    r"|the|their|then|to|uh|um|very|was|we|were|when|which|while|who|with|you|your)"
)
_MAX_SILENCE_MS: Final = 1000


def _long_silence(settings: TurnSettings) -> int:
    return max(_MAX_SILENCE_MS, settings.min_silence_ms)


@attrs.frozen(kw_only=True)
class TurnSettings:
    """
    How a listener divides speech into turns.

    Attributes:
        vad_threshold: A window is speech if its probability of speech is at least this value, 0 to
            1. With 0, the caller ends each turn, and there are no speech events.
        end_confidence: The short silence ends a turn if :func:`end_of_turn_confidence` is at least
            this value, 0 to 1.
        min_silence_ms: The short silence, which ends a turn that seems complete.
        max_silence_ms: The long silence, which ends any turn. It is at least ``min_silence_ms``.
        partial_interval_ms: At least this much audio is between two partial transcripts. 0 means no
            partial transcripts.
        max_turn_ms: The longest turn. A longer turn is cut at a quiet moment.
        word_times: Whether to find the time of each word.

    Raises:
        ConfigError: A value is out of its range.
    """

    vad_threshold: float = attrs.field(default=0.5, validator=checks.number(0, 1))
    end_confidence: float = attrs.field(default=0.4, validator=checks.number(0, 1))
    min_silence_ms: int = attrs.field(default=300, validator=checks.whole(0, 60_000, " ms"))
    max_silence_ms: int = attrs.field(
        default=attrs.Factory(_long_silence, takes_self=True),
        validator=checks.whole(0, 60_000, " ms"),
    )
    partial_interval_ms: int = attrs.field(default=400, validator=checks.whole(0, 60_000, " ms"))
    max_turn_ms: int = attrs.field(default=30_000, validator=checks.whole(1_000, 600_000, " ms"))
    word_times: bool = attrs.field(default=True, validator=checks.flag)

    @property
    def is_manual(self) -> bool:
        """Whether the caller ends the turns."""
        return self.vad_threshold == 0


def end_of_turn_confidence(text: str) -> float:
    """
    Return how complete *text* seems, in [0, 1].

    >>> end_of_turn_confidence("Is it raining?")
    0.9
    >>> end_of_turn_confidence("I would like to")
    0.1
    """
    words = re.findall(r"[\w']+", text.lower().replace("\u2019", "'"))
    if not words:
        # A turn without words has no sentence to finish.
        return 1.0
    if len(words) > 1 and _OPEN_WORDS.fullmatch(words[-1]):
        return 0.1
    if text[-1] in ".?!":
        return 0.9
    return 0.3 if text[-1] in ",;:-\u2013\u2014\u2026" else 0.5


def is_turn_over(silence_ms: float, confidence: float, settings: TurnSettings) -> bool:
    """Return whether *silence_ms* ends a turn with the given end-of-turn confidence."""
    if settings.is_manual:
        return False
    if silence_ms >= max(settings.max_silence_ms, settings.min_silence_ms):
        return True
    return silence_ms >= settings.min_silence_ms and confidence >= settings.end_confidence
