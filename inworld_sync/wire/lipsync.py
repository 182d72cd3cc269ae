"""
Reads the mouth shapes that the service computes from the audio, in
``timestampInfo.lipsyncAlignment``.

The documentation names this field and the 15 shapes, but not the fields inside. So the client reads
the forms that the other alignments of the service have: one array for each kind of value, or one
object for each shape. Each name may have several spellings.
"""

from __future__ import annotations

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.tts import Viseme
from inworld_sync.wire.codec import Json, JsonObject

__all__ = ["FIELD", "alignment", "read"]

FIELD = "lipsyncAlignment"

# The names of the fields without underscores and in lower case, the most likely name first.
_NAMES = ("visemes", "viseme", "visemesymbols", "visemesymbol", "shapes", "shape", "symbol", "name")
_STARTS = (
    "visemestarttimeseconds",
    "starttimeseconds",
    "timeseconds",
    "starttime",
    "start",
    "time",
)
_ENDS = ("visemeendtimeseconds", "endtimeseconds", "endtime", "end")
_DURATIONS = ("visemedurationseconds", "durationseconds", "duration")
_WEIGHTS = ("visemeweights", "weights", "weight", "intensity")
_LISTS = ("visemes", "shapes", "keyframes", "frames", "items", "entries", "events", "timeline")

_MAX_SECONDS = 31_536_000


def alignment(times: JsonObject) -> Json:
    """Return the field of a ``timestampInfo``, in either spelling, or None if it is missing."""
    return times.get(FIELD, times.get("lipsync_alignment"))


def read(times: JsonObject) -> tuple[Viseme, ...]:
    """
    Return the mouth shapes of a ``timestampInfo``, with times in milliseconds.

    Raises:
        RemoteProtocolError: The mouth shapes have a form that the client does not know.
    """
    value = alignment(times)
    if value is None:
        return ()
    rows = _rows(value)
    found = []
    for number, row in enumerate(rows):
        name, start_ms = _first(row, _NAMES), _milliseconds(row, _STARTS)
        weight = _first(row, _WEIGHTS)
        if not isinstance(name, str) or start_ms is None:
            raise RemoteProtocolError(f"expected the name and start of each shape in {FIELD}")
        duration_ms = _milliseconds(row, _DURATIONS)
        end_ms = _milliseconds(row, _ENDS)
        if end_ms is None and duration_ms is not None:
            end_ms = start_ms + duration_ms
        if end_ms is None and number + 1 < len(rows):
            # A shape without an end lasts until the next shape.
            end_ms = _milliseconds(rows[number + 1], _STARTS)
        end_ms = max(start_ms, end_ms or 0.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            weight = 1.0
        found.append(Viseme(name, start_ms, end_ms, float(weight)))
    return tuple(found)


def _rows(value: Json) -> list[JsonObject]:
    """Return one object for each shape, with names in lower case and without underscores."""
    if isinstance(value, dict):
        columns = _folded(value)
        inner = _first(columns, _LISTS)
        if isinstance(inner, list) and all(isinstance(each, dict) for each in inner):
            value = inner
        else:
            lists = {name: each for name, each in columns.items() if isinstance(each, list)}
            if len({len(each) for each in lists.values()}) > 1:
                raise RemoteProtocolError(f"expected arrays of equal length in {FIELD}")
            count = len(next(iter(lists.values()), []))
            return [{name: each[row] for name, each in lists.items()} for row in range(count)]
    if not isinstance(value, list):
        raise RemoteProtocolError(f"expected an object as {FIELD}, got {type(value).__name__}")
    return [_folded(each) if isinstance(each, dict) else {} for each in value]


def _folded(value: JsonObject) -> JsonObject:
    return {name.replace("_", "").lower(): each for name, each in value.items()}


def _first(row: JsonObject, names: tuple[str, ...]) -> Json:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _milliseconds(row: JsonObject, names: tuple[str, ...]) -> float | None:
    seconds = _first(row, names)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return seconds * 1000.0 if -_MAX_SECONDS <= seconds <= _MAX_SECONDS else None
