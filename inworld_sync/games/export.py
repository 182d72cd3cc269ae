"""
Writes mouth shapes in the formats of animation programs.

Sources: for TSV, XML and JSON, the documentation of Rhubarb Lip Sync; for ``.dat``, switch files of
Moho. OpenToonz reads switch files too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

import attrs

from inworld_sync.games.shapes import rest_shape, shape_weights
from inworld_sync.models.tts import Viseme, WordTime

__all__ = [
    "Cue",
    "to_cues",
    "to_json",
    "to_moho",
    "to_rhubarb_json",
    "to_rhubarb_tsv",
    "to_rhubarb_xml",
]

# A gap between two visemes that is shorter than this does not close the mouth.
_SHORT_GAP_MS = 80.0
# A viseme with less weight than this is written as the mouth at rest.
_LEAST_WEIGHT = 0.05


@attrs.frozen
class Cue:
    """
    A mouth shape that is shown from *start_ms* to *end_ms*.

    Attributes:
        start_ms: Start in milliseconds.
        end_ms: End in milliseconds, which is the start of the next cue.
        shape: The name of the shape.
    """

    start_ms: float
    end_ms: float
    shape: str


def to_cues(visemes: Iterable[Viseme], duration_ms: float, shapes: str) -> tuple[Cue, ...]:
    """
    Return cues from 0 to the end of the sound, without gaps and without repeated shapes.

    Args:
        visemes: The visemes with the names of OpenXR, in order.
        duration_ms: The length of the sound.
        shapes: The name of a set that has one shape for each viseme.
    """
    rest = rest_shape(shapes)
    starts: list[tuple[float, str]] = [(0.0, rest)]
    shown_until = 0.0
    for viseme in visemes:
        start_ms = min(max(viseme.start_ms, shown_until), duration_ms)
        end_ms = min(viseme.end_ms, duration_ms)
        if end_ms <= start_ms:
            continue
        is_rest = viseme.name == "sil" or viseme.weight < _LEAST_WEIGHT
        weights = shape_weights({viseme.name: 1.0}, shapes)
        shape = rest if is_rest else max(weights, key=lambda name: weights[name])
        if start_ms - shown_until >= _SHORT_GAP_MS:
            starts.append((shown_until, rest))
        elif len(starts) > 1:
            start_ms = shown_until
        starts.append((start_ms, shape))
        shown_until = end_ms
    if shown_until < duration_ms:
        starts.append((shown_until, rest))
    return tuple(_joined(starts, duration_ms))


def _joined(starts: Sequence[tuple[float, str]], duration_ms: float) -> Iterable[Cue]:
    kept: list[tuple[float, str]] = []
    for start_ms, shape in starts:
        if kept and kept[-1][0] >= start_ms:
            kept.pop()
        if not kept or kept[-1][1] != shape:
            kept.append((start_ms, shape))
    ends = [start_ms for start_ms, _ in kept[1:]] + [duration_ms]
    for (start_ms, shape), end_ms in zip(kept, ends, strict=True):
        yield Cue(start_ms, end_ms, shape)


def to_json(
    visemes: Iterable[Viseme], duration_ms: float, source: str, words: Iterable[WordTime]
) -> str:
    """Return words and visemes as JSON, with times in seconds."""
    return json.dumps(
        {
            "version": 1,
            "duration": _seconds(duration_ms),
            "source": source,
            "words": [
                {
                    "t": _seconds(word.start_ms),
                    "d": _seconds(word.end_ms - word.start_ms),
                    "text": word.text,
                }
                for word in words
            ],
            "visemes": [
                {
                    "t": _seconds(viseme.start_ms),
                    "d": _seconds(viseme.end_ms - viseme.start_ms),
                    "name": viseme.name,
                    "weight": round(viseme.weight, 3),
                }
                for viseme in visemes
            ],
        },
        ensure_ascii=False,
        indent=1,
    )


def to_rhubarb_tsv(cues: Sequence[Cue]) -> str:
    """Return ``seconds<TAB>shape`` for each cue, and a last line for the end of the sound."""
    rows = [(f"{cue.start_ms / 1000.0:.2f}", cue.shape) for cue in cues]
    end = f"{cues[-1].end_ms / 1000.0:.2f}"
    last = (end, rest_shape("rhubarb"))
    # With two decimals, a short cue may have the same time as the next cue. Then only the next cue
    # is written.
    kept = [row for row, following in zip(rows, [*rows[1:], last], strict=True) if row[0] != end]
    kept = [row for at, row in enumerate(kept) if at + 1 == len(kept) or row[0] != kept[at + 1][0]]
    return "".join(f"{start}\t{shape}\n" for start, shape in [*_distinct(kept), last])


def _distinct(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [row for at, row in enumerate(rows) if at == 0 or row[1] != rows[at - 1][1]]


def to_rhubarb_json(cues: Sequence[Cue], sound_file: str) -> str:
    """Return ``metadata`` and ``mouthCues`` as JSON."""
    return json.dumps(
        {
            "metadata": {"soundFile": sound_file, "duration": _seconds(cues[-1].end_ms, 2)},
            "mouthCues": [
                {
                    "start": _seconds(cue.start_ms, 2),
                    "end": _seconds(cue.end_ms, 2),
                    "value": cue.shape,
                }
                for cue in cues
            ],
        },
        indent=2,
    )


def to_rhubarb_xml(cues: Sequence[Cue], sound_file: str) -> str:
    """Return ``rhubarbResult`` as XML."""
    rows = "".join(
        f'    <mouthCue start="{cue.start_ms / 1000.0:.2f}" end="{cue.end_ms / 1000.0:.2f}">'
        f"{cue.shape}</mouthCue>\n"
        for cue in cues
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        "<rhubarbResult>\n"
        "  <metadata>\n"
        f"    <soundFile>{escape(sound_file)}</soundFile>\n"
        f"    <duration>{cues[-1].end_ms / 1000.0:.2f}</duration>\n"
        "  </metadata>\n"
        f"  <mouthCues>\n{rows}  </mouthCues>\n"
        "</rhubarbResult>\n"
    )


def to_moho(cues: Sequence[Cue], fps: float) -> str:
    """Return a switch file. Its first frame is 1. A frame with two shapes gets the later shape."""
    shapes: dict[int, str] = {}
    for cue in cues:
        shapes[1 + round(cue.start_ms * fps / 1000.0)] = cue.shape
    shapes[1 + round(cues[-1].end_ms * fps / 1000.0)] = rest_shape("preston_blair")
    rows = []
    before = None
    for frame, shape in sorted(shapes.items()):
        if shape != before:
            rows.append(f"{frame} {shape}\n")
        before = shape
    return "MohoSwitch1\n" + "".join(rows)


def _seconds(milliseconds: float, digits: int = 3) -> float:
    return round(milliseconds / 1000.0, digits)
