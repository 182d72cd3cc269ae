"""
Subtitles from turns: a cue ends at a pause or the end of a sentence, and is short enough to read.

Source of the limits: common practice of broadcasters (two lines of 42 characters, at most 7 s).
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.turns import Turn, Word

__all__ = ["srt", "vtt"]

_LINE_CHARACTERS: Final = 42
_CUE_LINES: Final = 2
_CUE_MS: Final = 7000
_PAUSE_MS: Final = 800
# A shorter cue does not end with a sentence: "Yes." alone would disappear too fast.
_SENTENCE_MS: Final = 1000


@attrs.frozen
class _Cue:
    start_ms: int
    end_ms: int
    text: str


def srt(turns: Iterable[Turn]) -> str:
    """Write *turns* as SubRip; see :meth:`Transcript.to_srt`."""
    return "\n".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text}\n"
        for number, cue in enumerate(_cues(turns), 1)
    )


def vtt(turns: Iterable[Turn]) -> str:
    """Write *turns* as WebVTT; see :meth:`Transcript.to_vtt`."""
    cues = [
        f"\n{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n"
        f"{html.escape(cue.text, quote=False)}\n"
        for cue in _cues(turns)
    ]
    return "WEBVTT\n" + "".join(cues)


def _cues(turns: Iterable[Turn]) -> Iterator[_Cue]:
    for turn in turns:
        if turn.words:
            for words in _groups(turn.words):
                yield _cue(words[0].start_ms, words[-1].end_ms, " ".join(w.text for w in words))
        elif turn.start_ms is not None and turn.end_ms is not None:
            yield _cue(turn.start_ms, turn.end_ms, turn.text)
        else:
            raise ConfigError(
                "subtitles need times, and the transcript has none: "
                "transcribe with include_word_timestamps=True"
            )


def _cue(start_ms: int, end_ms: int, text: str) -> _Cue:
    return _Cue(start_ms, max(end_ms, start_ms + 1), "\n".join(_lines(text)))


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and _ends_cue(group, word):
            yield group
            group = []
        group.append(word)
    yield group


def _ends_cue(group: Sequence[Word], following: Word) -> bool:
    """Whether a new cue begins with *following*."""
    first, last = group[0], group[-1]
    text = " ".join(word.text for word in [*group, following])
    is_sentence = last.text[-1:] in ".?!" and last.end_ms - first.start_ms >= _SENTENCE_MS
    return (
        is_sentence
        or len(_lines(text)) > _CUE_LINES
        or following.end_ms - first.start_ms > _CUE_MS
        or following.start_ms - last.end_ms >= _PAUSE_MS
    )


def _clock(time_ms: int, point: str) -> str:
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"
