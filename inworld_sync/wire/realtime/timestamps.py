"""
Reads the times of words, characters and phonemes in audio deltas.

A delta may have times in ``timestamp_info``, in the same form as in the TTS service. The names are
in snake_case or in camelCase. The audio of an item is synthesized in several segments, and the
times start at 0 in each segment.

This module has no clock and no lock. The owner serializes the calls.
Source: a client that reads these times. The names of the outer objects are known for certain.
The names inside these objects appear in snake_case and in camelCase.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import attrs

from inworld_sync.models.realtime import AudioDelta
from inworld_sync.models.tts import CharacterTime, Phoneme, WordTime
from inworld_sync.models.words import WordJoiner, join_tokens
from inworld_sync.wire.codec import Json, JsonObject

__all__ = ["SegmentTimes", "shifted", "with_times"]

_NAMES = ("timestamp_info", "timestampInfo")

# No item is a year long.
_MAX_SECONDS = 31_536_000.0

# The number of nested objects from ``timestamp_info`` down to an entry of ``phones``.
_LEVELS = 4

# Words of one segment may overlap by this much, because times are rounded.
_OVERLAP_MS = 20.0

# The times of this many items are kept, because the last deltas of an item may arrive after the
# first deltas of the next item.
_MAX_ITEMS = 8

_Timed = TypeVar("_Timed", WordTime, CharacterTime, Phoneme)


def with_times(event: AudioDelta, warnings: list[str]) -> AudioDelta:
    """
    Read the times of a delta from its unknown fields, and return the delta with these times.

    If a time is unreadable, the unknown fields stay in ``extra``.
    """
    name = next((name for name in _NAMES if name in event.extra), None)
    if name is None:
        return event
    info = event.extra[name]
    extra = {key: value for key, value in event.extra.items() if key != name}
    if info is None:
        return attrs.evolve(event, extra=extra)
    unread: list[str] = []
    info = _object(_snake(info), name, unread)
    words = _object(info.get("word_alignment"), "word_alignment", unread)
    characters = _object(info.get("character_alignment"), "character_alignment", unread)
    tokens = [WordTime(*row) for row in _rows(words, "word", unread)]
    joined, indexes = join_tokens(tokens, WordJoiner())
    event = attrs.evolve(
        event,
        words=joined,
        tokens=tuple(token.text for token in tokens),
        characters=tuple(CharacterTime(*row) for row in _rows(characters, "character", unread)),
        phonemes=tuple(_phonemes(words.get("phonetic_details"), indexes, unread)),
        extra=event.extra if unread else extra,
    )
    warnings += [f"{AudioDelta.type}.{each}" for each in unread]
    return event


def _snake(value: object, levels: int = _LEVELS) -> object:
    """Return JSON with the names of the upper levels in snake_case."""
    if isinstance(value, dict) and levels:
        return {
            re.sub("([A-Z])", r"_\1", name).lower(): _snake(each, levels - 1)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_snake(each, levels) if isinstance(each, dict) else each for each in value]
    return value


def _object(value: object, name: str, unread: list[str]) -> JsonObject:
    if isinstance(value, dict):
        return value
    if value is not None:
        unread.append(name)
    return {}


def _rows(alignment: JsonObject, kind: str, unread: list[str]) -> list[tuple[str, float, float]]:
    """
    Return texts with their start and end in milliseconds.

    Return no texts if a text or a time is unreadable.
    """
    names = (f"{kind}s", f"{kind}_start_time_seconds", f"{kind}_end_time_seconds")
    arrays = [alignment.get(name) for name in names]
    if not any(arrays):
        return []
    texts, starts, ends = (each if isinstance(each, list) else [] for each in arrays)
    rows = [
        (text, start_ms, end_ms)
        for text, start, end in zip(texts, starts, ends, strict=False)
        if isinstance(text, str)
        and (start_ms := _milliseconds(start)) is not None
        and (end_ms := _milliseconds(end)) is not None
    ]
    if not len(rows) == len(texts) == len(starts) == len(ends):
        unread.append(names[0])
        return []
    return rows


def _phonemes(details: Json, indexes: list[int], unread: list[str]) -> list[Phoneme]:
    found = []
    for detail in details if isinstance(details, list) else [details] if details else []:
        fields = detail if isinstance(detail, dict) else {}
        index, phones = fields.get("word_index"), fields.get("phones")
        word_index = index if type(index) is int else 0
        for phone in phones if isinstance(phones, list) else [None]:
            fields = phone if isinstance(phone, dict) else {}
            symbol, viseme = fields.get("phone_symbol"), fields.get("viseme_symbol")
            start_ms = _milliseconds(fields.get("start_time_seconds"))
            duration_ms = _milliseconds(fields.get("duration_seconds"))
            if not isinstance(symbol, str) or start_ms is None or duration_ms is None:
                unread.append("phonetic_details")
                return []
            found.append(
                Phoneme(
                    symbol,
                    viseme if isinstance(viseme, str) else "",
                    start_ms,
                    start_ms + duration_ms,
                    indexes[word_index] if 0 <= word_index < len(indexes) else word_index,
                )
            )
    return found


def _milliseconds(seconds: Json) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return seconds * 1000.0 if 0 <= seconds <= _MAX_SECONDS else None


def shifted(event: AudioDelta, shift_ms: float) -> AudioDelta:
    """Return a delta whose times are later by *shift_ms*."""

    def shift(timed: _Timed) -> _Timed:
        return attrs.evolve(
            timed, start_ms=timed.start_ms + shift_ms, end_ms=timed.end_ms + shift_ms
        )

    if not shift_ms:
        return event
    return attrs.evolve(
        event,
        words=_each(shift, event.words),
        characters=_each(shift, event.characters),
        phonemes=_each(shift, event.phonemes),
    )


def _each(change: Callable[[_Timed], _Timed], values: tuple[_Timed, ...]) -> tuple[_Timed, ...]:
    return tuple(change(value) for value in values)


@attrs.define
class _Item:
    """An item. A field with *last* in its name is a time within the present segment."""

    received_ms: float = 0.0
    segment_start_ms: float = 0.0
    last_start_ms: float = -1.0
    last_end_ms: float = 0.0


class SegmentTimes:
    """
    Shifts the times of each segment, so that all times count from the start of the item's audio.

    A new segment begins when a time is earlier than the latest time so far. The new segment starts
    where the audio of its first delta with times starts. If this delta has no audio, the new
    segment starts at the latest time so far.
    """

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}

    def add(self, event: AudioDelta, duration_ms: float) -> AudioDelta:
        """
        Return the delta with times that count from the start of the item.

        Args:
            event: A delta of audio. The deltas of a session must be passed in order.
            duration_ms: The duration of the delta's audio.
        """
        item = self._items.get(event.item_id)
        if item is None:
            item = self._items[event.item_id] = _Item()
            if len(self._items) > _MAX_ITEMS:
                del self._items[next(iter(self._items))]
        if event.words or event.characters or event.phonemes:
            spans = [
                (each.start_ms, each.end_ms)
                for times in (event.words, event.characters, event.phonemes)
                for each in times
            ]
            event = self._placed(event, item, spans, has_audio=duration_ms > 0)
        item.received_ms += duration_ms
        return event

    def _placed(
        self,
        event: AudioDelta,
        item: _Item,
        spans: list[tuple[float, float]],
        *,
        has_audio: bool,
    ) -> AudioDelta:
        first_ms = min(start_ms for start_ms, _ in spans)
        if first_ms <= item.last_start_ms and first_ms + _OVERLAP_MS < item.last_end_ms:
            end_ms = item.segment_start_ms + item.last_end_ms
            item.segment_start_ms = item.received_ms if has_audio else end_ms
            item.last_end_ms = 0.0
        item.last_start_ms = max(start_ms for start_ms, _ in spans)
        item.last_end_ms = max(item.last_end_ms, *(end_ms for _, end_ms in spans))
        return shifted(event, item.segment_start_ms)
