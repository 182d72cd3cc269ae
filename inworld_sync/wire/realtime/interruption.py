"""
What to tell the service when its speech is interrupted: each item cut to what was heard.

The heard samples come from the sound device's own counter; no clock is asked. A cut is never
beyond what was received, is rounded down to a millisecond, and is left out where all was heard.

Pure: no clock, no lock; the owner serializes calls.
Source: Inworld Realtime reference, ``conversation.item.truncate``; the G.711 timebase from a
client that measured it.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from inworld_sync.models.realtime import AlawFormat, AudioFormat, MulawFormat, TruncateItem

__all__ = ["SpokenItems"]

# In a G.711 session the service reads milliseconds as if the sound had 24000 samples a second.
_G711_TIMEBASE_HZ = 24000


@attrs.define
class _Spoken:
    content_index: int
    received_samples: int = 0
    is_whole: bool = False


class SpokenItems:
    """
    The assistant's items whose sound was received and has not been heard to its end.

    Args:
        output_format: The session's output format; samples are counted at its rate.
    """

    def __init__(self, output_format: AudioFormat) -> None:
        is_g711 = isinstance(output_format, (MulawFormat, AlawFormat))
        self._timebase_hz = _G711_TIMEBASE_HZ if is_g711 else output_format.sample_rate_hz
        self._items: dict[str, _Spoken] = {}

    def __len__(self) -> int:
        return len(self._items)

    def received(self, item_id: str, content_index: int, samples: int) -> None:
        """Count sound of an item."""
        spoken = self._items.setdefault(item_id, _Spoken(content_index))
        spoken.received_samples += samples

    def whole(self, item_id: str) -> None:
        """Note that all of an item's sound was received."""
        if item_id in self._items:
            self._items[item_id].is_whole = True

    def heard_out(self, item_id: str) -> None:
        """Forget an item, for it was heard to its end or is gone."""
        self._items.pop(item_id, None)

    def interrupt(self, heard_samples: Mapping[str, int]) -> tuple[TruncateItem, ...]:
        """
        Forget all items, for nothing more of them will be heard.

        Args:
            heard_samples: How much of each item was heard, at the output format's rate; an item
                that is not named was not heard at all.

        Returns:
            The cuts to send, in the order in which the items began.
        """
        items, self._items = self._items, {}
        cuts = []
        for item_id, spoken in items.items():
            heard = min(max(heard_samples.get(item_id, 0), 0), spoken.received_samples)
            if spoken.is_whole and heard == spoken.received_samples:
                continue
            cuts.append(
                TruncateItem(item_id, spoken.content_index, heard * 1000 // self._timebase_hz)
            )
        return tuple(cuts)
