"""Computes the mouth shapes of a whole speech, as visemes, as weights and as key frames."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import attrs

from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.errors import ConfigError
from inworld_sync.games import export
from inworld_sync.games.export import Cue
from inworld_sync.games.mouth_track import MouthSource, MouthTrack, to_openxr
from inworld_sync.games.shapes import (
    SHAPE_SETS,
    require_set,
    rest_shape,
    shape_weights,
)
from inworld_sync.models.checks import require_finite
from inworld_sync.models.tts import Viseme, WordTime
from inworld_sync.sessions.tts.speech import Speech

__all__ = ["TIMELINE_FORMATS", "MouthTimeline", "TimelineFormat", "mouth_timeline"]

TimelineFormat: TypeAlias = Literal["json", "tsv", "xml", "dat", "rhubarb"]

TIMELINE_FORMATS: Final[tuple[str, ...]] = get_args(TimelineFormat)

# Without visemes, the loudness is converted to visemes in steps of this length.
_STEP_MS = 40.0
_OPEN_WEIGHT = 0.12
# Key frames do not contain changes of a weight that are smaller than this.
_LEAST_CHANGE = 0.005


@attrs.frozen(eq=False)
class MouthTimeline:
    """
    The mouth shapes of a speech, as :func:`mouth_timeline` returns them.

    Attributes:
        visemes: The visemes with the names of OpenXR, in order. The times are in milliseconds.
        duration_ms: The length of the speech.
        source: ``service``, ``phonemes`` or ``loudness``; see ``Mouth.source``.
        words: The words with their times.

    Thread safety: immutable.
    """

    visemes: tuple[Viseme, ...]
    duration_ms: float
    source: MouthSource
    words: tuple[WordTime, ...] = ()
    _track: MouthTrack = attrs.field(repr=False, kw_only=True, alias="track")

    def weights_at(self, position_ms: float, shapes: str = "openxr") -> dict[str, float]:
        """
        Return the blended weights of a set at a position, as ``Mouth.weights`` does.

        Args:
            position_ms: The position in milliseconds.
            shapes: The name of a set in ``SHAPE_SETS``.

        Raises:
            ConfigError: The set is unknown, or the position is not a finite number.
        """
        require_finite("position_ms", position_ms)
        return shape_weights(self._track.weights_at(position_ms), shapes)

    def keyframes(
        self, fps: float = 24.0, shapes: str = "openxr"
    ) -> dict[str, list[tuple[int, float]]]:
        """
        Return key frames for an animation with linear interpolation.

        Args:
            fps: Frames per second, above 0 and at most 1000.
            shapes: The name of a set in ``SHAPE_SETS``.

        Returns:
            For each shape of the set, a list of frame numbers, counted from 0, with the weights at
            these frames. Frames at which the weight does not change are left out. The first and the
            last frame are always present.

        Raises:
            ConfigError: The set is unknown, or *fps* is out of its range.
        """
        _require_fps(fps)
        require_set(shapes)
        last = math.ceil(self.duration_ms * fps / 1000.0) + 1
        rows = [self.weights_at(frame * 1000.0 / fps, shapes) for frame in range(last)]
        # The mouth is at rest after the speech.
        rows.append(shape_weights({"sil": 1.0}, shapes))
        return {name: _without_equal([row[name] for row in rows]) for name in SHAPE_SETS[shapes]}

    def cues(self, shapes: str = "rhubarb") -> tuple[Cue, ...]:
        """
        Return a sequence of shapes without gaps, for a mouth that is drawn as pictures.

        Args:
            shapes: The name of a set that has one shape for each viseme, such as ``rhubarb`` or
                ``preston_blair``.

        Raises:
            ConfigError: The set is unknown, or has no name for the mouth at rest, as ``arkit`` and
                ``vrm``.
        """
        require_set(shapes)
        if not rest_shape(shapes):
            raise ConfigError(
                f"shapes must be a set with a name for the mouth at rest, got {shapes!r}: use "
                "weights_at() or keyframes()"
            )
        return export.to_cues(self.visemes, self.duration_ms, shapes)

    def to_json(self) -> str:
        """
        Return the words and visemes as JSON, with times in seconds.

        The form is ``{"version": 1, "duration": s, "source": ..., "words": [{"t", "d", "text"}],
        "visemes": [{"t", "d", "name", "weight"}]}``.
        """
        return export.to_json(self.visemes, self.duration_ms, self.source, self.words)

    def to_rhubarb_tsv(self) -> str:
        """Return the shapes in the form ``tsv`` of Rhubarb Lip Sync."""
        return export.to_rhubarb_tsv(self.cues())

    def to_rhubarb_json(self, sound_file: str = "") -> str:
        """Return the shapes in the form ``json`` of Rhubarb Lip Sync."""
        return export.to_rhubarb_json(self.cues(), sound_file)

    def to_rhubarb_xml(self, sound_file: str = "") -> str:
        """Return the shapes in the form ``xml`` of Rhubarb Lip Sync."""
        return export.to_rhubarb_xml(self.cues(), sound_file)

    def to_moho(self, fps: float = 24.0) -> str:
        """Return the Preston Blair shapes as a switch file of Moho or OpenToonz (``.dat``)."""
        _require_fps(fps)
        return export.to_moho(self.cues("preston_blair"), fps)

    def save(
        self,
        path: str | os.PathLike[str],
        format: TimelineFormat | None = None,  # noqa: A002 - as Speech.save
        *,
        sound_file: str = "",
        fps: float = 24.0,
    ) -> None:
        """
        Write the shapes to a file.

        Args:
            path: The file. A file at this path is replaced when the new file is complete.
            format: ``json`` (see :meth:`to_json`), ``tsv``, ``xml``, ``dat`` (Moho) or ``rhubarb``
                (Rhubarb's JSON). None chooses the format by the suffix of *path*.
            sound_file: The name of the audio file, for ``xml`` and ``rhubarb``.
            fps: Frames per second, for ``dat``.

        Raises:
            ConfigError: The format is unknown.
            OSError: The file cannot be written.
        """
        kind = Path(path).suffix.lower().lstrip(".") if format is None else format
        if kind == "json":
            text = self.to_json()
        elif kind == "tsv":
            text = self.to_rhubarb_tsv()
        elif kind == "xml":
            text = self.to_rhubarb_xml(sound_file)
        elif kind == "dat":
            text = self.to_moho(fps)
        elif kind == "rhubarb":
            text = self.to_rhubarb_json(sound_file)
        else:
            raise ConfigError(f"format must be one of {', '.join(TIMELINE_FORMATS)}, got {kind!r}")
        with WholeFile(path) as file:
            file.writelines([text.encode()])


def mouth_timeline(speech: Speech) -> MouthTimeline:
    """
    Return the mouth shapes of a speech.

    If the service has computed visemes from the audio (``viseme_set="OPENXR"``), the shapes are
    these visemes. Otherwise the shapes are the visemes of the phonemes. If the speech has no
    phonemes either, the shapes follow the loudness.

    Raises:
        AudioError: The encoding is compressed, and there are neither visemes nor phonemes.
    """
    visemes, source = to_openxr(speech.visemes, speech.phonemes)
    track = MouthTrack(speech.sample_rate_hz)
    duration_ms = speech.duration_ms
    if duration_ms is not None or not visemes:
        track.add_audio(speech.pcm)
    if duration_ms is None:
        # The length of compressed audio is not known.
        ends_ms = [each.end_ms for each in visemes] + [each.end_ms for each in speech.words]
        duration_ms = max(ends_ms)
    if visemes:
        track.add_visemes(visemes, source)
        found = track.visemes
    else:
        found = tuple(_from_loudness(track, duration_ms))
    return MouthTimeline(found, duration_ms, track.source, speech.words, track=track)


def _from_loudness(track: MouthTrack, duration_ms: float) -> Iterable[Viseme]:
    """Yield a viseme for each part of the speech in which the mouth is open."""
    start_ms: float | None = None
    widest = 0.0
    for step in range(math.ceil(duration_ms / _STEP_MS) + 1):
        position_ms = min(step * _STEP_MS, duration_ms)
        weight = track.weights_at(position_ms)["aa"] if position_ms < duration_ms else 0.0
        if weight >= _OPEN_WEIGHT:
            start_ms = position_ms if start_ms is None else start_ms
            widest = max(widest, weight)
        elif start_ms is not None:
            yield Viseme("aa", start_ms, position_ms, round(widest, 3))
            start_ms, widest = None, 0.0


def _without_equal(values: list[float]) -> list[tuple[int, float]]:
    """Return the indexes and values. Values that equal both neighbors are left out."""
    last = len(values) - 1
    rounded = [round(value, 3) for value in values]
    return [
        (at, value)
        for at, value in enumerate(rounded)
        if at in (0, last)
        or abs(value - rounded[at - 1]) >= _LEAST_CHANGE
        or abs(value - rounded[at + 1]) >= _LEAST_CHANGE
    ]


def _require_fps(fps: float) -> None:
    require_finite("fps", fps)
    if not 0 < fps <= 1000:
        raise ConfigError(f"fps must be above 0 and at most 1000, got {fps!r}")
