"""Numbers for the items and tags of a playout: the core knows numbers, users give anything."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from inworld_sync._native import lib

__all__ = ["ItemNumbers"]

# Items that are kept; the core remembers fewer.
_KEPT: Final = 4 * lib.IW_PLAYOUT_ITEMS


class ItemNumbers:
    """
    Numbers of items, from 1 on; none is used twice.

    Thread safety: none; the playout's lock is held.
    """

    __slots__ = ("_items", "_last", "_numbers", "_unnamed")

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._items: dict[int, Hashable] = {}
        self._unnamed = 0
        self._last = 0

    def known(self, item: Hashable) -> int:
        """The number of an item; 0, which no item has, when it is new."""
        return self._unnamed if item is None else self._numbers.get(item, 0)

    def number(self, item: Hashable) -> int:
        """The number of an item, a new one if need be."""
        number = self.known(item)
        if number:
            return number
        self._last += 1
        self._items[self._last] = item
        if item is None:
            self._unnamed = self._last
        else:
            self._numbers[item] = self._last
        if len(self._items) > _KEPT:
            oldest = next(iter(self._items))
            self._numbers.pop(self._items.pop(oldest), None)
        return self._last

    def item(self, number: int) -> Hashable:
        """The item that has this number; None for an item without a name, and for no item."""
        return self._items.get(number)

    def end_unnamed(self) -> None:
        """The next item without a name is another one."""
        self._unnamed = 0
