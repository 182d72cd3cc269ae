"""Counts how much of a playout in a mixer was heard."""

from __future__ import annotations

from inworld_sync._native import lib
from inworld_sync.audio._arguments import require_time_ns
from inworld_sync.audio._memory import new_object
from inworld_sync.models.checks import require_whole

__all__ = ["Track"]


class Track:
    """
    Counts how much of a playout in a mixer was heard. :meth:`Mixer.add` returns a track.

    Without a device, a frame counts as heard at the time ``now_ns`` of its read. With a device, the
    frame counts as heard later, by the latency of the device. Frames of the source are counted, so
    pauses and time scaling do not change the count.

    Thread safety: any thread may call every method, even after the mixer was closed.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        require_whole("sample_rate_hz", sample_rate_hz, 1, 2**31 - 1)
        self.pointer = new_object("track", "a track", sample_rate_hz)

    def heard_frames(self, now_ns: int | None = None) -> int:
        """
        Return how many frames of the source were heard by *now_ns*. None means now.

        Audio that was cleared is not counted. The count may decrease a little if the device
        corrects its latency.
        """
        require_time_ns(now_ns)
        now_ns = lib.iw_playout_clock_ns() if now_ns is None else now_ns
        return lib.iw_track_heard(self.pointer, now_ns)

    def position_frames(self, now_ns: int | None = None) -> int:
        """
        Return the position up to which the playout's stream was heard.

        Unlike :meth:`heard_frames`, the position includes audio that was dropped, lost or skipped.
        :meth:`Playout.poll` uses this position.
        """
        require_time_ns(now_ns)
        now_ns = lib.iw_playout_clock_ns() if now_ns is None else now_ns
        return lib.iw_track_position(self.pointer, now_ns)

    @property
    def taken_frames(self) -> int:
        """How many frames of the source were read, even if they were not heard."""
        return lib.iw_track_taken(self.pointer)
