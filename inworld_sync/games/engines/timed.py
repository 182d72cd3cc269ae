"""Writes the words and the mouth shapes of a line, with their times, to the outgoing messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from inworld_sync.games.engines.messages import write_event
from inworld_sync.games.engines.outgoing import RATE_HZ, Outgoing, OutgoingLine
from inworld_sync.games.mouth_track import MouthTrack, to_openxr
from inworld_sync.games.shapes import SHAPE_SETS, shape_weights, strongest_shape
from inworld_sync.models.tts import Phoneme, Viseme, WordTime

__all__ = ["TimedSpeech"]

# The time between two frames of the mouth. An engine interpolates between frames.
_FRAME_MS = 20
_FRAMES_PER_MESSAGE = 12
_WORDS_PER_MESSAGE = 50

# The shapes at a position depend on visemes that begin up to this time later.
_LOOK_AHEAD_MS = 150.0

# If visemes arrive late, the frames of the mouth are delayed by at most this much audio.
_MAX_LAG_MS = 1500.0


class TimedSpeech:
    """
    The words and mouth shapes of one line.

    Args:
        outgoing: Gets the messages.
        line: The line.
        shapes: The name of the set of mouth shapes.

    Thread safety: none; one thread at a time calls the methods.
    """

    def __init__(self, outgoing: Outgoing, line: OutgoingLine, shapes: str) -> None:
        self._outgoing, self._line, self._shapes = outgoing, line, shapes
        self._names = SHAPE_SETS[shapes]
        self._track = MouthTrack(RATE_HZ)
        self._audio_ms = self._visemes_end_ms = 0.0
        self._next_frame = 0
        self._is_finished = False
        # Each frame is a time, the strongest shape, and the weights in the order of the set.
        self._frames: list[tuple[int, str, list[float]]] = []
        self._last: list[float] | None = None
        # The last frame that was left out because it equals the previous frame. It is sent before
        # the next frame that differs.
        self._skipped: tuple[int, str, list[float]] | None = None

    def add(
        self,
        pcm: bytes | memoryview,
        words: Sequence[WordTime],
        visemes: Iterable[Viseme] = (),
        phonemes: Sequence[Phoneme] = (),
    ) -> None:
        """Add the next audio of the line, and the times that the service has sent with it."""
        self._track.add_audio(pcm)
        self._audio_ms += len(pcm) * 500.0 / RATE_HZ
        found, source = to_openxr(visemes, phonemes)
        self._track.add_visemes(found, source)
        self._visemes_end_ms = max(self._visemes_end_ms, *(each.end_ms for each in found), 0.0)
        for start in range(0, len(words), _WORDS_PER_MESSAGE):
            part = words[start : start + _WORDS_PER_MESSAGE]
            fields = [
                {"text": each.text, "start_ms": _ms(each.start_ms), "end_ms": _ms(each.end_ms)}
                for each in part
            ]
            message = write_event("words", line=self._line.number, words=fields)
            self._outgoing.put_event(self._line, part[0].start_ms, message)
        known_ms = self._audio_ms
        if self._track.source != "loudness":
            known_ms = max(min(known_ms, self._visemes_end_ms), known_ms - _MAX_LAG_MS)
        self._add_frames(known_ms - _LOOK_AHEAD_MS)
        self._send_frames()

    def finish(self) -> None:
        """Add the last frames. At the end of the line, the mouth is at rest."""
        if self._is_finished or not self._audio_ms:
            return
        self._is_finished = True
        self._add_frames(self._audio_ms)
        end_ms = math.ceil(self._audio_ms / _FRAME_MS) * _FRAME_MS
        self._add_frame(end_ms, {"sil": 1.0})
        self._send_frames()

    def _add_frames(self, until_ms: float) -> None:
        while (at_ms := self._next_frame * _FRAME_MS) < until_ms:
            self._next_frame += 1
            self._add_frame(at_ms, self._track.weights_at(at_ms))

    def _add_frame(self, at_ms: int, visemes: dict[str, float]) -> None:
        found = shape_weights(visemes, self._shapes)
        weights = [round(found[name], 2) for name in self._names]
        frame = (at_ms, strongest_shape(visemes, self._shapes), weights)
        if weights == self._last:
            self._skipped = frame
            return
        if self._skipped is not None:
            self._frames.append(self._skipped)
            self._skipped = None
        self._frames.append(frame)
        self._last = weights
        if len(self._frames) >= _FRAMES_PER_MESSAGE:
            self._send_frames()

    def _send_frames(self) -> None:
        frames, self._frames = self._frames, []
        if frames:
            fields = [
                {"ms": at_ms, "shape": shape, "weights": weights}
                for at_ms, shape, weights in frames
            ]
            message = write_event(
                "mouth", line=self._line.number, source=self._track.source, frames=fields
            )
            self._outgoing.put_event(self._line, frames[0][0], message)


def _ms(time_ms: float) -> float:
    return round(time_ms, 1)
