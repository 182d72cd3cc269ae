"""Has the statistics of an STT stream."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["SttStats"]


@attrs.frozen(kw_only=True)
class SttStats:
    """
    A snapshot of a stream's counters.

    Attributes:
        sent_bytes: Audio that was sent, in bytes of 16-bit samples or of the encoding; the number
            decreases at a reconnect, because audio is then sent again.
        waiting_bytes: Audio that waits to be sent, in bytes.
        sent_ms: The duration of *sent_bytes*; 0 for encoded audio, whose duration is unknown.
        waiting_ms: The duration of *waiting_bytes*; 0 for encoded audio.
        dropped_ms: The duration of the audio that ``overflow="drop_oldest"`` dropped.
        covered_ms: End of the audio that final transcripts cover.
        reconnects: The number of connections that replaced a lost connection.
        warnings: How often a field of a message was ignored because it had a wrong type, by the
            name of the field. Only messages of the present connection are counted.
    """

    sent_bytes: int
    waiting_bytes: int
    sent_ms: float
    waiting_ms: float
    dropped_ms: float
    covered_ms: float
    reconnects: int
    warnings: Mapping[str, int] = attrs.field(factory=dict)
