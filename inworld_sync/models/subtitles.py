"""
Writes subtitles of timed text. Each subtitle is short enough to be read, and ends where a speaker
pauses or a sentence ends.

The text of a cue is a part of the turn's text. The words only give the time of the cue. If the
words have no times, the time of the turn is distributed over its text by width.

Source of the limits: common practice of broadcasters (two lines of 42 columns, at most 7 s). Times
are rounded to whole milliseconds, half to even. A cue lasts at least 1 ms, and begins at 0 or
later, but never before the end of the previous cue. If another channel begins to speak, a cue ends
at this moment. Even then, the cue lasts at least one second, unless its words take less time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.scripts import graphemes, has_spaces_between, width_columns
from inworld_sync.models.turns import Turn, Word

__all__ = ["srt", "vtt"]

_LINE_COLUMNS: Final = 42
_CUE_LINES: Final = 2
_CUE_MS: Final = 7000
_PAUSE_MS: Final = 800
# If another channel speaks, a cue still lasts this long, unless its words take less time.
_SHORTEST_MS: Final = 1000
# The end of a sentence does not end a cue that is shorter than this, because "Yes." would be too
# short to read.
_SENTENCE_MS: Final = 1000

_SENTENCE_END = re.compile("[.?!…。！？؟।][\"'”’»）」』)\\]]*\\Z")
_WHITE_SPACE = re.compile(r"\s+")
# Characters that a subtitle file must not have. These are control characters, and two characters
# that reverse the line.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ufeff]")
_WORD_OR_SPACE = re.compile(r"\S+\s*|\s+")
# A line must not begin with one of these characters.
_CLOSING = re.compile(
    "[,.;:!?…%)\\]}»”’、。，．！？；：）」』】〉》ーぁぃぅぇぉっゃゅょァィゥェォッャュョ々]"
)


@attrs.frozen
class _Unit:
    """A part of a turn's text that stays on one line, and its time in milliseconds."""

    text: str
    start_ms: float
    end_ms: float


@attrs.frozen
class _Group:
    """The units of one cue, and the speaker of their turn."""

    units: list[_Unit]
    speaker: str | None
    # The text with which the first line begins.
    prefix: str

    @property
    def start_ms(self) -> int:
        return round(self.units[0].start_ms)

    @property
    def end_ms(self) -> int:
        return round(self.units[-1].end_ms)

    @property
    def texts(self) -> list[str]:
        return [self.prefix, *(unit.text for unit in self.units)]


@attrs.frozen
class _Cue:
    start_ms: int
    end_ms: int
    text: str
    speaker: str | None


def srt(turns: Iterable[Turn]) -> str:
    """Write *turns* as SubRip; see :meth:`Transcript.to_srt`."""
    # SubRip has no escape for an arrow, and some players end the text at an arrow.
    return "\n".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        f"{cue.text.replace('-->', '->')}\n"
        for number, cue in enumerate(_cues(turns, has_prefix=True), 1)
    )


def vtt(turns: Iterable[Turn]) -> str:
    """Write *turns* as WebVTT; see :meth:`Transcript.to_vtt`."""
    cues = [
        f"\n{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n"
        f"{'' if cue.speaker is None else f'<v {cue.speaker}>'}"
        f"{html.escape(cue.text, quote=False)}\n"
        for cue in _cues(turns, has_prefix=False)
    ]
    return "WEBVTT\n" + "".join(cues)


def _cues(turns: Iterable[Turn], *, has_prefix: bool) -> Iterator[_Cue]:
    groups = [group for turn in turns for group in _groups(turn, has_prefix=has_prefix)]
    groups.sort(key=lambda group: group.units[0].start_ms)
    least_ms = 0
    for number, group in enumerate(groups):
        lines = _lines(group.texts)
        start_ms = max(least_ms, group.start_ms)
        end_ms = group.end_ms
        if group.speaker is not None:
            shortest_ms = min(_SHORTEST_MS, end_ms - group.start_ms)
            following = groups[number + 1] if number + 1 < len(groups) else group
            if following.speaker != group.speaker:
                end_ms = min(end_ms, following.start_ms)
            end_ms = max(end_ms, start_ms + shortest_ms)
        end_ms = min(end_ms, start_ms + _CUE_MS)
        least_ms = max(end_ms, start_ms + 1)
        yield _Cue(start_ms, least_ms, "\n".join(lines), group.speaker)


def _units(turn: Turn) -> list[_Unit]:
    """
    Split a turn's text into units with times.

    The joined texts of the units are the turn's text without forbidden characters.
    """
    text = _WHITE_SPACE.sub(" ", _UNPRINTABLE.sub("", turn.text)).strip()
    if turn.words:
        return _timed(text, turn.words)
    if turn.start_ms is None or turn.end_ms is None:
        raise ConfigError(
            "subtitles need times, and the transcript has neither times of words nor of turns; "
            "assemblyai, soniox and deepgram models have times of words with "
            "include_word_timestamps=True"
        )
    pieces = _pieces(text)
    widths = [max(1, width_columns(piece)) for piece in pieces]
    per_column_ms = max(0, turn.end_ms - turn.start_ms) / max(1, sum(widths))
    units, at = [], float(turn.start_ms)
    for piece, width in zip(pieces, widths, strict=True):
        units.append(_Unit(piece, at, at + width * per_column_ms))
        at += width * per_column_ms
    return units


def _timed(text: str, words: Sequence[Word]) -> list[_Unit]:
    """Give each piece of a text the times of the words that begin in the piece."""
    starts = _positions(text, words)
    units: list[_Unit] = []
    position = number = 0
    for piece in _pieces(text):
        position += len(piece)
        first = number
        while number < len(words) and starts[number] < position:
            number += 1
        own = words[first:number]
        if own:
            times = (min(w.start_ms for w in own), max(w.end_ms for w in own))
            units.append(_Unit(piece, max(0, times[0]), max(times)))
        elif units:
            units[-1] = attrs.evolve(units[-1], text=units[-1].text + piece)
        else:
            units.append(_Unit(piece, max(0, words[0].start_ms), max(0, words[0].start_ms)))
    return units


def _positions(text: str, words: Sequence[Word]) -> list[int]:
    """Return where in a text each word begins. A missing word begins after the last found word."""
    folded = text.casefold() if len(text.casefold()) == len(text) else text
    positions, at = [], 0
    for word in words:
        wanted = word.text.strip()
        found = folded.find(wanted.casefold() if folded is not text else wanted, at)
        # A match far away is a later occurrence of the word. Then the text writes this occurrence
        # in another way, such as 7 for seven.
        if wanted and 0 <= found <= at + 40:
            positions.append(found)
            at = found + len(wanted)
        else:
            positions.append(min(at, max(0, len(text) - 1)))
    return positions


def _pieces(text: str) -> list[str]:
    """
    Split a text where a line may end, which is after white space or between graphemes of some
    scripts.
    """
    pieces: list[str] = []
    for run in _WORD_OR_SPACE.findall(text):
        held = ""
        for grapheme in graphemes(run):
            if held and not (
                grapheme.isspace() or _CLOSING.match(grapheme) or has_spaces_between(held, grapheme)
            ):
                pieces.append(held)
                held = ""
            held += grapheme
        pieces.append(held)
    return pieces


def _groups(turn: Turn, *, has_prefix: bool) -> Iterator[_Group]:
    prefix = f"{turn.speaker}: " if has_prefix and turn.speaker is not None else ""
    group = _Group([], turn.speaker, prefix)
    for unit in _units(turn):
        for part in _short(unit):
            if group.units and _ends_cue(group, part):
                yield group
                group = _Group([], turn.speaker, prefix)
            group.units.append(part)
    if any(unit.text.strip() for unit in group.units):
        yield group


def _short(unit: _Unit) -> Iterator[_Unit]:
    """Split a unit that is longer than a line, such as a URL. Divide its time among the parts."""
    parts = _hard_lines(unit.text)
    share_ms = (unit.end_ms - unit.start_ms) / len(parts)
    for number, part in enumerate(parts):
        start_ms = unit.start_ms + number * share_ms
        yield _Unit(part, start_ms, start_ms + share_ms)


def _hard_lines(text: str) -> list[str]:
    if width_columns(text.rstrip()) <= _LINE_COLUMNS:
        return [text]
    lines = [""]
    for grapheme in graphemes(text):
        if width_columns(lines[-1] + grapheme) > _LINE_COLUMNS:
            lines.append("")
        lines[-1] += grapheme
    return lines


def _ends_cue(group: _Group, following: _Unit) -> bool:
    """Return whether a new cue begins with *following*."""
    first, last = group.units[0], group.units[-1]
    is_sentence = (
        _SENTENCE_END.search(last.text.rstrip()) is not None
        and last.end_ms - first.start_ms >= _SENTENCE_MS
    )
    return (
        is_sentence
        or len(_lines([*group.texts, following.text])) > _CUE_LINES
        or following.end_ms - first.start_ms > _CUE_MS
        or following.start_ms - last.end_ms >= _PAUSE_MS
    )


def _lines(texts: Iterable[str]) -> list[str]:
    lines = [""]
    for text in texts:
        if lines[-1] and width_columns((lines[-1] + text).rstrip()) > _LINE_COLUMNS:
            lines.append("")
        lines[-1] += text
    return [line.strip() for line in lines if line.strip()]


def _clock(time_ms: int, point: str) -> str:
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"
