"""What an STT stream tells about itself."""

from __future__ import annotations

import attrs

__all__ = ["SttStats"]


@attrs.frozen(kw_only=True)
class SttStats:
    """
    Figures of a stream at one moment.

    Attributes:
        sent_ms: Audio that was sent; after a reconnect it goes back for a while.
        waiting_ms: Audio that waits to be sent.
        dropped_ms: Audio that was dropped because too much waited.
        covered_ms: Final transcripts cover the audio up to here.
        reconnects: How often a lost connection was replaced.
    """

    sent_ms: float
    waiting_ms: float
    dropped_ms: float
    covered_ms: float
    reconnects: int
