"""Defines the finished turns of a transcript, with words and the profile of a speaker's voice."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Turn", "VoiceProfile", "VoiceTrait", "Word"]


@attrs.frozen
class Word:
    """
    A word and its time.

    Attributes:
        text: The word with its punctuation.
        start_ms: Start in the stream, in milliseconds.
        end_ms: End in the stream, in milliseconds.
        confidence: The recognizer's confidence, 0 to 1.
        speaker: Label of the speaker; None without speaker diarization. With
            ``channels="separate"`` the label is the name of the channel, such as ``channel 0``, or
            with diarization ``channel 0, speaker 1``.
        extra: Further fields of the service.
        channel: Channel of the recording, from 0, with ``channels="separate"``; otherwise None.
    """

    text: str
    start_ms: int = 0
    end_ms: int = 0
    confidence: float = 0.0
    speaker: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict)
    channel: int | None = None


@attrs.frozen
class VoiceTrait:
    """A label for a voice, and the service's confidence in the label, 0 to 1."""

    label: str
    confidence: float = 0.0


@attrs.frozen
class VoiceProfile:
    """
    A profile of the speaker's voice.

    Attributes:
        age: Labels of the age, the most likely first.
        gender: Labels of the gender, the most likely first.
        emotion: Labels of the emotion, the most likely first.
        vocal_style: Labels of the way of speaking, the most likely first.
        accent: Labels of the accent, the most likely first.
        pitch: The pitch as the service sends it; None if the service sent none.
        extra: Further fields of the service.
    """

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
        text: The text of the turn.
        words: Words with times, if the service sent them.
        start_ms: Start in the stream, in milliseconds; None if the service did not send it.
        end_ms: The end in the stream, in milliseconds; None if the end is unknown. Without words,
            this is an upper bound: the end of the audio that was sent, not counting silence, or the
            start of the next turn.
        voice_profile: Profile of the speaker's voice, if requested.
        tokens: The texts of the words as the service sent them: whole words or, from some models,
            parts of words, punctuation and white space. With such parts, ``"".join(tokens)`` is the
            text.
        channel: Channel of the recording, from 0, with ``channels="separate"``; otherwise None.
    """

    text: str
    words: tuple[Word, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    voice_profile: VoiceProfile | None = None
    tokens: tuple[str, ...] = ()
    channel: int | None = None

    @property
    def speaker(self) -> str | None:
        """Name of the channel, such as ``channel 0``; None without separate channels."""
        return None if self.channel is None else f"channel {self.channel}"

    def __str__(self) -> str:
        """Return the text. With separate channels, the name of the channel is before the text."""
        return self.text if self.speaker is None else f"{self.speaker}: {self.text}"

    def in_channel(self, channel: int) -> Turn:
        """
        Return a copy of the turn with the number of a channel. The words of the copy have the
        number too.
        """
        name = f"channel {channel}"
        words = tuple(
            attrs.evolve(
                word,
                channel=channel,
                speaker=name if word.speaker is None else f"{name}, speaker {word.speaker}",
            )
            for word in self.words
        )
        return attrs.evolve(self, words=words, channel=channel)
