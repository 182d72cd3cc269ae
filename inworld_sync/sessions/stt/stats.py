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
        sent_ms: How much audio was sent. It decreases at a reconnect, because audio is sent again.
        waiting_ms: How much audio waits to be sent.
        dropped_ms: How much audio ``overflow="drop_oldest"`` dropped.
        covered_ms: The end of the audio that final transcripts cover.
        reconnects: How many lost connections were replaced.
        warnings: How often a field of a message was ignored because it had a wrong type, by the
            name of the field. Only messages of the present connection are counted.
    """

    sent_ms: float
    waiting_ms: float
    dropped_ms: float
    covered_ms: float
    reconnects: int
    warnings: Mapping[str, int] = attrs.field(factory=dict)
