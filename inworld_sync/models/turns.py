"""Finished turns of a transcript: words with times, and a profile of the speaker's voice."""

from __future__ import annotations

import attrs

__all__ = ["Turn", "VoiceProfile", "VoiceTrait", "Word"]


@attrs.frozen
class Word:
    """
    A word and its time.

    Attributes:
        text: The word with its punctuation.
        start_ms: Start in the stream, in milliseconds.
        end_ms: End in the stream, in milliseconds; None if it is unknown. Without words it is an
            upper bound: the audio that was sent without the silence, or the next turn's start.
        voice_profile: Profile of the speaker's voice, if requested.
    """

    text: str
    words: tuple[Word, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    voice_profile: VoiceProfile | None = None
