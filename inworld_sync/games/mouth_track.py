"""
Computes the weights of mouth shapes at any position of an item of speech.

Neighboring shapes are blended, since a mouth moves steadily. A shape begins before its sound, as in
natural speech, but closed lips are reached exactly when the sound of ``p`` or ``f`` begins. Without
visemes, the loudness of the audio opens and closes the mouth.

The times are common practice in animation: 30 to 60 ms of anticipation, 60 to 80 ms to reach a
shape, 80 to 120 ms to leave it, and at least two pictures for a shape.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

from inworld_sync.audio.meter import measure
from inworld_sync.games.shapes import CLOSED_VISEMES, VISEMES, viseme_of
from inworld_sync.models.tts import Phoneme, Viseme

__all__ = ["DEFAULT_LEAD_MS", "MouthSource", "MouthTrack", "to_openxr", "with_rest"]

MouthSource: TypeAlias = Literal["service", "phonemes", "loudness", "none"]

DEFAULT_LEAD_MS: Final = 45.0

_RISE_MS: Final = 70.0
_FALL_MS: Final = 100.0
_CLOSED_FALL_MS: Final = 60.0
# The shortest time for which a shape is shown: two pictures, at 30 pictures per second. Closed lips
# are shown for at least one picture.
_SHORTEST_MS: Final = 66.0
_SHORTEST_CLOSED_MS: Final = 34.0
# Between two equal vowels, a movement of the tongue that is shorter than this is not visible.
_DROPPED_MS: Final = 40.0
_TONGUE: Final = frozenset({"DD", "kk", "SS", "nn"})

_BLOCK_MS: Final = 20
# The loudness at which the mouth begins to open, and the loudness at which it is widest.
_GATE_DBFS: Final = -45.0
_OPEN_DBFS: Final = -12.0
_ATTACK: Final = 1.0 - math.exp(-_BLOCK_MS / 25.0)
_RELEASE: Final = 1.0 - math.exp(-_BLOCK_MS / 100.0)
_WIDEST: Final = 0.8
# Quiet speech opens the mouth less. At this level and above, the weights are not reduced.
_FULL_DBFS: Final = -24.0
_QUIET_FACTOR: Final = 0.4


def to_openxr(
    visemes: Iterable[Viseme], phonemes: Sequence[Phoneme] = ()
) -> tuple[tuple[Viseme, ...], MouthSource]:
    """
    Return visemes with the names of OpenXR, and their source.

    Args:
        visemes: The visemes of a chunk or of a speech. They may be the visemes of *phonemes*.
        phonemes: The phonemes. The symbol of a phoneme is more precise than its viseme.
    """
    found = tuple(visemes)
    if any(each.name in VISEMES and each.name != "sil" for each in found):
        known = (each if each.name in VISEMES else attrs.evolve(each, name="sil") for each in found)
        return tuple(known), "service"
    named = [(each.viseme, each.symbol, each) for each in phonemes if each.viseme]
    if named:
        return tuple(_converted(*each) for each in named), "phonemes"
    return tuple(_converted(each.name, "", each) for each in found), (
        "phonemes" if found else "none"
    )


def _converted(name: str, symbol: str, timed: Phoneme | Viseme) -> Viseme:
    viseme, weight = viseme_of(name, symbol)
    if isinstance(timed, Viseme):
        weight *= timed.weight
    return Viseme(viseme, timed.start_ms, timed.end_ms, weight)


# How much of a viseme is visible: the start, the name, whether the lips are closed, the end of the
# rise, the start of the fall, the length of the fall, and the highest weight. All times are in
# milliseconds. The times of open shapes do not contain the lead.
_Curve: TypeAlias = tuple[float, str, bool, float, float, float, float]


def _curve_of(viseme: Viseme) -> _Curve:
    start_ms, name = viseme.start_ms, viseme.name
    weight = 0.0 if name == "sil" else min(max(viseme.weight, 0.0), 1.0)
    if name in CLOSED_VISEMES:
        fall_start = max(viseme.end_ms, start_ms + _SHORTEST_CLOSED_MS)
        return start_ms, name, True, start_ms, fall_start, _CLOSED_FALL_MS, weight
    rise_end = start_ms + _RISE_MS / 2.0
    shown_until = max(viseme.end_ms, start_ms + _SHORTEST_MS)
    fall_start = max(rise_end, shown_until - _FALL_MS / 2.0)
    return start_ms, name, False, rise_end, fall_start, _FALL_MS, weight


class MouthTrack:
    """
    The mouth shapes of one item of speech.

    Attributes:
        lead_ms: The time in milliseconds from the display of a shape until its sound.

    Thread safety: one thread calls :meth:`add_audio`; another thread may call the other methods.
    """

    def __init__(self, sample_rate_hz: int, lead_ms: float = DEFAULT_LEAD_MS) -> None:
        self.lead_ms = lead_ms
        self._source: MouthSource = "none"
        self._visemes: list[Viseme] = []
        self._starts: list[float] = []
        self._curves: list[_Curve] = []
        # After its start, a viseme is visible for at most this time.
        self._visible_ms = 0.0
        self._block_bytes = sample_rate_hz * _BLOCK_MS // 1000 * 2
        self._rest = b""
        # For each block of 20 ms: how far the mouth is open, and the factor for the weights.
        self._openness: list[float] = []
        self._factors: list[float] = []

    @property
    def source(self) -> MouthSource:
        """The source of the weights. It is ``loudness`` only if there are no visemes."""
        if self._source != "none":
            return self._source
        return "loudness" if self._openness else "none"

    @property
    def visemes(self) -> tuple[Viseme, ...]:
        """The visemes in order. Visemes that are too short to be seen are left out."""
        return tuple(self._visemes)

    def add_visemes(self, visemes: Iterable[Viseme], source: MouthSource) -> None:
        """Add visemes with the names of OpenXR."""
        for viseme in visemes:
            self._source = source
            at = bisect.bisect_right(self._starts, viseme.start_ms)
            self._visemes.insert(at, viseme)
            self._starts.insert(at, viseme.start_ms)
            self._curves.insert(at, self._curve(viseme))
            if at == len(self._visemes) - 1:
                self._drop_short()

    def add_audio(self, pcm: bytes | memoryview) -> None:
        """Measure the next samples of the item."""
        data = self._rest + bytes(pcm)
        end = len(data) // self._block_bytes * self._block_bytes
        for start in range(0, end, self._block_bytes):
            self._add_level(measure(data[start : start + self._block_bytes]).rms_dbfs)
        self._rest = data[end:]

    def weights_at(self, position_ms: float) -> dict[str, float]:
        """Return the weights of the OpenXR visemes. The sum of the weights is 1."""
        return with_rest(self.shown_at(position_ms))

    def shown_at(self, position_ms: float) -> dict[str, float]:
        """Return the weights of the OpenXR visemes that are not 0, without ``sil``."""
        if self._source == "none":
            weight = _WIDEST * _interpolated(self._openness, position_ms, 0.0)
            return {"aa": weight} if weight > 0.0 else {}
        # A game calls this method in each frame, when the caches of the CPU are cold. So the method
        # calls few other functions.
        led_ms = position_ms + self.lead_ms
        first_ms = position_ms - self._visible_ms
        closed: dict[str, float] = {}
        opened: dict[str, float] = {}
        curves = self._curves
        at = bisect.bisect_left(self._starts, led_ms + _RISE_MS)
        while at > 0:
            at -= 1
            start_ms, name, is_closed, rise_end, fall_start, fall_ms, weight = curves[at]
            if start_ms < first_ms:
                break
            here_ms = position_ms if is_closed else led_ms
            if here_ms < rise_end:
                weight *= 1.0 - (rise_end - here_ms) / _RISE_MS
            elif here_ms > fall_start:
                weight *= 1.0 - (here_ms - fall_start) / fall_ms
            if weight > 0.0:
                kind = closed if is_closed else opened
                if weight > kind.get(name, 0.0):
                    kind[name] = weight
        room = 1.0
        for name, weight in closed.items():
            closed[name] = weight = min(weight, room)
            room -= weight
        if opened:
            # Closed lips leave less room for open shapes, so a "p" closes the mouth completely.
            scale = min(1.0, room / sum(opened.values()))
            scale *= _interpolated(self._factors, position_ms, 1.0)
            for name, weight in opened.items():
                closed[name] = weight * scale
        return closed

    def _curve(self, viseme: Viseme) -> _Curve:
        curve = _curve_of(viseme)
        start_ms, _, _, _, fall_start, fall_ms, weight = curve
        if weight > 0.0:
            self._visible_ms = max(self._visible_ms, fall_start + fall_ms - start_ms)
        return curve

    def _drop_short(self) -> None:
        """Drop a short movement of the tongue between the last two vowels, if both are equal."""
        if len(self._visemes) < 3:
            return
        first, middle, last = self._visemes[-3:]
        if (
            middle.name in _TONGUE
            and middle.end_ms - middle.start_ms < _DROPPED_MS
            and first.name == last.name
            and first.name not in CLOSED_VISEMES | _TONGUE | {"sil"}
        ):
            weight = max(first.weight, last.weight)
            joined = attrs.evolve(first, end_ms=max(first.end_ms, last.end_ms), weight=weight)
            self._visemes[-3:] = [joined]
            self._starts[-3:] = [joined.start_ms]
            self._curves[-3:] = [self._curve(joined)]

    # Loudness.

    def _add_level(self, dbfs: float) -> None:
        wanted = min(max((dbfs - _GATE_DBFS) / (_OPEN_DBFS - _GATE_DBFS), 0.0), 1.0)
        before = self._openness[-1] if self._openness else 0.0
        share = _ATTACK if wanted > before else _RELEASE
        # The factor is a moving average of the amplitude. It is added before the openness, so that
        # another thread finds a factor for each openness.
        amplitude = 10.0 ** ((min(dbfs, _FULL_DBFS) - _FULL_DBFS) / 20.0)
        smoothed = amplitude if not self._factors else (amplitude + 2.0 * self._factors[-1]) / 3.0
        self._factors.append(max(smoothed, _QUIET_FACTOR))
        self._openness.append(before + share * (wanted - before))


def with_rest(shown: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of all OpenXR visemes. The weight of ``sil`` makes the sum 1."""
    weights = dict.fromkeys(VISEMES, 0.0)
    weights.update(shown)
    weights["sil"] = max(0.0, 1.0 - sum(shown.values()))
    return weights


def _interpolated(values: Sequence[float], position_ms: float, missing: float) -> float:
    """Return the value at a position; *missing* if the position is outside of all blocks."""
    count = len(values)
    place = position_ms / _BLOCK_MS
    if not count or place < 0.0 or place >= count:
        return missing
    at = int(place)
    first = values[at]
    second = values[at + 1] if at + 1 < count else first
    return first + (place - at) * (second - first)
