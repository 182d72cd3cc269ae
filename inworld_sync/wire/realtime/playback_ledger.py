"""
Counts how much audio of each item was received and played, and truncates interrupted items.

The played samples come from the counter of the audio device, not from a clock. An item is
truncated where its playback stopped, rounded down to a millisecond, and never beyond the received
audio. An item that was played to its end is not truncated.

This module has no clock and no lock. The owner serializes the calls.
Sources: Inworld Realtime reference, ``conversation.item.truncate``; a client that measured the
G.711 timebase.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from inworld_sync.models.realtime import AlawFormat, AudioFormat, MulawFormat, TruncateItem

__all__ = ["Cut", "PlaybackLedger"]

# In a G.711 session, the service counts milliseconds as if the audio had 24000 samples per second.
_G711_TIMEBASE_HZ = 24000


@attrs.define
class _Item:
    """
    An item. *is_played* is true if a player of the session plays the item. Items are numbered from
    1 in the order in which they begin.

    The present player gets the audio from *begin_samples* on. *heard_samples* is the position up to
    which earlier players played the item.
    """

    response_id: str
    content_index: int
    is_played: bool
    number: int
    received_samples: int = 0
    is_complete: bool = False
    begin_samples: int = 0
    heard_samples: int = 0


@attrs.frozen
class Cut:
    """
    How much was played when speech was interrupted.

    Attributes:
        heard_ms: How many milliseconds were played of each item that was not played to its end.
        commands: The truncations to send, in the order in which the items began.
        heard_share: For each item of *heard_ms*, the share of the received audio that was played,
            0 to 1.
    """

    heard_ms: Mapping[str, float]
    commands: tuple[TruncateItem, ...]
    heard_share: Mapping[str, float]


class PlaybackLedger:
    """
    The assistant's items whose audio has begun to arrive and is not yet played to the end.

    Args:
        output_format: The session's output format; samples are counted at the rate of this format.

    Attributes:
        begun: How many items have begun.
    """

    def __init__(self, output_format: AudioFormat) -> None:
        is_g711 = isinstance(output_format, (MulawFormat, AlawFormat))
        self._rate_hz = output_format.sample_rate_hz
        self._timebase_hz = _G711_TIMEBASE_HZ if is_g711 else self._rate_hz
        self._items: dict[str, _Item] = {}
        self.begun = 0

    def __len__(self) -> int:
        return len(self._items)

    def receive(
        self, item_id: str, response_id: str, content_index: int, samples: int, *, is_played: bool
    ) -> None:
        """
        Count received audio of an item.

        Args:
            item_id: The id of the item.
            response_id: The id of the item's response.
            content_index: Which part of the item the audio is.
            samples: The number of received samples.
            is_played: Whether a player of the session plays the item. Only the value of the first
                call for an item is used.
        """
        item = self._items.get(item_id)
        if item is None:
            self.begun += 1
            item = _Item(response_id, content_index, is_played, self.begun)
            self._items[item_id] = item
        item.received_samples += samples

    def complete(self, item_id: str) -> bool:
        """Record that all audio of an item was received; return False if this was known before."""
        item = self._items.get(item_id)
        if item is None or item.is_complete:
            return False
        item.is_complete = True
        return True

    def items_of(self, response_id: str | None = None) -> list[str]:
        """Return the items of a response, or all items."""
        return [
            item_id
            for item_id, item in self._items.items()
            if response_id is None or item.response_id == response_id
        ]

    def forget(self, item_id: str) -> None:
        """Remove an item, because it was played to its end or no longer exists."""
        self._items.pop(item_id, None)

    def positions(self, played_samples: Mapping[str, int]) -> dict[str, int]:
        """
        Return for each item the position up to which the present player has played the item.

        Args:
            played_samples: How many samples of each item the present player has played. An item is
                left out if the player has played nothing of it.
        """
        return {
            item_id: item.begin_samples + played_samples[item_id]
            for item_id, item in self._items.items()
            if played_samples.get(item_id, 0) > 0
        }

    def change_player(self, played_samples: Mapping[str, int] | None) -> None:
        """
        Record that the session's player is replaced, and remove the items that the old player has
        played to the end. The next player gets only audio that is received later.

        Args:
            played_samples: See :meth:`positions`. None if the numbers are unknown; then the items
                so far are not truncated.
        """
        for item_id, position in self.positions(played_samples or {}).items():
            self._items[item_id].heard_samples = position
        for item_id, item in list(self._items.items()):
            item.is_played = item.is_played and played_samples is not None
            item.begin_samples = item.received_samples
            if item.is_complete and item.heard_samples >= item.received_samples:
                self.forget(item_id)

    def interrupt(self, heard_samples: Mapping[str, int], begun: int | None = None) -> Cut:
        """
        Remove all items that had begun before an interruption, because their playback has ended.

        Args:
            heard_samples: The position up to which each item was played, in samples at the output
                format's rate. For an item that is missing here, the position of the earlier players
                is used, which is 0 if these players played nothing. If no player of the session
                plays the item, the played part is unknown, and the item is not truncated.
            begun: The value of :attr:`begun` when the interruption began; None means now.
        """
        begun = self.begun if begun is None else begun
        items = {name: item for name, item in self._items.items() if item.number <= begun}
        self._items = {name: item for name, item in self._items.items() if item.number > begun}
        commands, heard_ms, heard_share = [], {}, {}
        for item_id, item in items.items():
            if item_id not in heard_samples and not item.is_played:
                continue
            received = item.received_samples
            heard = min(max(heard_samples.get(item_id, item.heard_samples), 0), received)
            if item.is_complete and heard == received:
                continue
            end_ms = heard * 1000 // self._timebase_hz
            commands.append(TruncateItem(item_id, item.content_index, end_ms))
            heard_ms[item_id] = heard * 1000.0 / self._rate_hz
            heard_share[item_id] = heard / received if received else 0.0
        return Cut(heard_ms, tuple(commands), heard_share)
