"""
Finds the mouth shapes of a recording whose text is known, such as the lines of a voice actor.

The service computes mouth shapes only for speech that it synthesizes. So this module synthesizes
the text, and converts the times of the visemes to times in the recording. To convert the times,
this module matches the words that are recognized in the recording with the words of the
synthesized speech.
"""

from __future__ import annotations

import bisect
import contextlib
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Protocol

import attrs

from inworld_sync.audio.source import AudioLike, open_source
from inworld_sync.client import Inworld
from inworld_sync.errors import AudioError
from inworld_sync.games.timeline import MouthTimeline, mouth_timeline
from inworld_sync.models.tts import AudioEncoding, Viseme, WordTime
from inworld_sync.sessions.tts.speech import Speech
from inworld_sync.wire.text import require_text

if TYPE_CHECKING:
    from inworld_sync.models.turns import Word

__all__ = ["TimeMap", "mouth_of_recording"]

# A recognition model that sends the times of words.
_STT_MODEL = "soniox/stt-rt-v5"
_RATE_HZ = 24000
_BARE = re.compile(r"[^\w']+")


class _Timed(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def start_ms(self) -> float | None: ...
    @property
    def end_ms(self) -> float | None: ...


def mouth_of_recording(
    client: Inworld,
    recording: AudioLike,
    transcript: str,
    *,
    sample_rate_hz: int | None = None,
    voice: str | None = None,
    language: str | None = None,
    stt_model: str = _STT_MODEL,
) -> MouthTimeline:
    """
    Return the mouth shapes of a recording. The call waits for the recognition and the synthesis.

    Args:
        client: Transcribes the recording and synthesizes the transcript.
        recording: The path of an audio file, or any other form that ``iw.stt.transcribe`` accepts.
        transcript: The words of the recording.
        sample_rate_hz: The sample rate of raw samples; files have their own rate.
        voice: The voice for the synthesis of the transcript. The synthesized speech is not played,
            but a voice with the accent of the recording gives better shapes.
        language: A BCP-47 tag, such as ``en-US``.
        stt_model: A recognition model that sends the times of words.

    Returns:
        The timeline. Its source is ``service`` or ``phonemes``. If no word of the transcript was
        recognized, the source is ``loudness``.

    Raises:
        AudioError: The recording cannot be read, or is empty.
        ConfigError: The transcript is blank, or an argument is wrong.
        TransportError: Could not connect, or a timeout passed.
        ServiceError: The service reports an error.
    """
    require_text(transcript)
    with contextlib.closing(
        open_source(recording, to_hz=_RATE_HZ, from_hz=sample_rate_hz)
    ) as source:
        pcm = b"".join(map(bytes, source))
    if not pcm:
        raise AudioError("the recording has no audio")
    heard = client.stt.transcribe(
        pcm,
        sample_rate_hz=_RATE_HZ,
        model=stt_model,
        language=language,
        include_word_timestamps=True,
    ).words
    spoken = client.tts.synthesize(transcript, voice=voice, language=language, viseme_set="OPENXR")
    duration_ms = len(pcm) * 500.0 / _RATE_HZ
    moved = _moved(spoken, heard, duration_ms)
    return mouth_timeline(attrs.evolve(moved, data=pcm))


def _moved(spoken: Speech, heard: Sequence[Word], duration_ms: float) -> Speech:
    """Return the words, phonemes and visemes, without audio, at their times in the recording."""
    empty = Speech(b"", AudioEncoding.PCM, _RATE_HZ)
    times = TimeMap(spoken.words, heard, duration_ms)
    if not times.is_known:
        return empty

    return attrs.evolve(
        empty,
        words=tuple(
            WordTime(each.text, times.at(each.start_ms), times.at(each.end_ms))
            for each in spoken.words
        ),
        phonemes=tuple(
            attrs.evolve(each, start_ms=times.at(each.start_ms), end_ms=times.at(each.end_ms))
            for each in spoken.phonemes
        ),
        visemes=tuple(
            Viseme(each.name, times.at(each.start_ms), times.at(each.end_ms), each.weight)
            for each in spoken.visemes
        ),
    )


class TimeMap:
    """
    Converts times of a synthesized speech to times of a recording of the same words.

    The start and the end of each recognized word are fixed points. A fixed point has a time in the
    synthesized speech and a time in the recording. Between two fixed points, times are
    interpolated. Before the first fixed point and after the last fixed point, times are shifted.

    Args:
        spoken: The words of the synthesized speech.
        heard: The words that were recognized in the recording.
        duration_ms: The length of the recording.

    Attributes:
        is_known: Whether there is a fixed point.
    """

    def __init__(
        self, spoken: Sequence[_Timed], heard: Sequence[_Timed], duration_ms: float
    ) -> None:
        self._duration_ms = duration_ms
        self._from: list[float] = []
        self._to: list[float] = []
        matcher = SequenceMatcher(
            None, [_bare(each.text) for each in spoken], [_bare(each.text) for each in heard], False
        )
        for match in matcher.get_matching_blocks():
            for at in range(match.size):
                first, second = spoken[match.a + at], heard[match.b + at]
                self._add(first.start_ms, second.start_ms)
                self._add(first.end_ms, second.end_ms)
        self.is_known = bool(self._from)

    def _add(self, from_ms: float | None, to_ms: float | None) -> None:
        """Add a fixed point. A point that is earlier than the last point is ignored."""
        if from_ms is None or to_ms is None:
            return
        if not self._from or (from_ms > self._from[-1] and to_ms >= self._to[-1]):
            self._from.append(from_ms)
            self._to.append(to_ms)

    def at(self, time_ms: float) -> float:
        """Convert a time in the synthesized speech to a time in the recording."""
        after = bisect.bisect_right(self._from, time_ms)
        if after == 0:
            moved_ms = self._to[0] - (self._from[0] - time_ms)
        elif after == len(self._from):
            moved_ms = self._to[-1] + (time_ms - self._from[-1])
        else:
            start, end = self._from[after - 1], self._from[after]
            share = (time_ms - start) / (end - start)
            moved_ms = self._to[after - 1] + share * (self._to[after] - self._to[after - 1])
        return min(max(moved_ms, 0.0), self._duration_ms)


def _bare(word: str) -> str:
    return _BARE.sub("", word).casefold()
