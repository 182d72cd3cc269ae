"""What of a playout that a mixer reads is heard when."""

from __future__ import annotations

from inworld_sync._native import lib
from inworld_sync.audio._memory import new_object

__all__ = ["Track"]


class Track:
    """
    What of a mixed playout is heard when. Made by :meth:`Mixer.add`.

    A frame is heard when its read says so: at the read's ``now_ns``, or for a device past its
    latency. It counts frames of the source, so neither pauses nor time scaling bend it.

    Thread safety: every method may be called from any thread, also after the mixer is closed.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.pointer = new_object("track", "a track", sample_rate_hz)

    def heard_frames(self, now_ns: int | None = None) -> int:
        """
        Frames of the source that are heard by *now_ns*; None means now.

        What a clear dropped is not counted. It may step back a little where a device corrects
        its latency.
        """
        now_ns = lib.iw_playout_clock_ns() if now_ns is None else now_ns
        return lib.iw_track_heard(self.pointer, now_ns)

    def position_frames(self, now_ns: int | None = None) -> int:
        """
        Up to where the playout's stream is heard; what :meth:`Playout.poll` goes by.

        Unlike :meth:`heard_frames` it leaps over what was dropped, lost or skipped.
        """
        now_ns = lib.iw_playout_clock_ns() if now_ns is None else now_ns
        return lib.iw_track_position(self.pointer, now_ns)

    @property
    def taken_frames(self) -> int:
        """Frames of the source that were read, heard or about to be."""
        return lib.iw_track_taken(self.pointer)
