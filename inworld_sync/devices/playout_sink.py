"""
A playout that the program reads itself, as a sink: for a game engine, a telephone line, a test.

Lock rule: ``_changed`` guards every field and serialises the playout's producer. It is held while
waiting on it; the playout's own lock is taken inside it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from inworld_sync.audio.playout import Playout
from inworld_sync.devices._pcm import SAMPLE_BYTES, sample_bytes
from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded

if TYPE_CHECKING:
    from typing_extensions import Self

    from inworld_sync.audio.mixer import Track
    from inworld_sync.audio.playout_events import Cleared

__all__ = ["PlayoutSink"]

# Written at a time: all of a block fits or none of it.
_BLOCK_MS = 20

# Between two looks at the playout, whose reader tells nobody that it has read.
_LOOK_SECONDS = 0.005


class _Item:
    """An utterance in the playout."""

    def __init__(self) -> None:
        self.samples = 0


class PlayoutSink:
    """
    Puts 16-bit mono PCM into a playout, for whoever reads it.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(self, playout: Playout, *, track: Track | None = None) -> None:
        """
        Write to a playout.

        Args:
            playout: Mono with ``s16`` input; nobody else pushes to it or clears it. It stays open
                when the sink is closed.
            track: Of the mixer that reads it, which knows when it is heard; else it is heard when
                it is read.

        Raises:
            ConfigError: The playout has two channels or takes floats.
        """
        if playout.channels != 1 or playout.input_format != "s16":
            raise ConfigError(
                "the playout must have 1 channel and take s16, got "
                f"{playout.channels} and {playout.input_format}"
            )
        self._playout = playout
        self._track = track
        self._changed = threading.Condition()
        self._closed = False
        self._clears = 0
        self._item = _Item()
        self._items: deque[_Item] = deque()  # begun, and not known to be heard out
        self._heard_before = 0  # samples of items that are gone

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second that :meth:`write` expects."""
        return self._playout.sample_rate_hz

    @property
    def heard_samples(self) -> int:
        """Samples heard since it was made; what was dropped is not counted."""
        with self._changed:
            return self._heard()

    @property
    def is_idle(self) -> bool:
        """Whether all that was written is heard or dropped."""
        with self._changed:
            return self._missing() == 0

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """
        Take PCM; wait while the playout is full.

        A :meth:`clear` meanwhile drops all of *pcm* that was not heard and ends the wait.

        Raises:
            AudioError: The last sample is cut.
            DeadlineExceeded: *timeout* seconds passed; what fitted until then plays.
            ClosedError: It was closed, or the playout was.
        """
        samples = sample_bytes(pcm)
        deadline = None if timeout is None else time.monotonic() + timeout
        size_bytes = self.sample_rate_hz * _BLOCK_MS // 1000 * SAMPLE_BYTES
        with self._changed:
            self._require_open()
            clears = self._clears
            for start in range(0, len(samples), size_bytes):
                block = samples[start : start + size_bytes]
                while not self._playout.push(block, item=self._item):
                    self._wait(deadline)
                    if clears != self._clears:
                        return
                self._took(len(block))

    def end(self) -> None:
        """Say that the utterance is complete; what is written next is another one."""
        with self._changed:
            self._require_open()
            self._next_item()

    def clear(self) -> int:
        """Drop all that was written and not read; return :attr:`heard_samples`, final."""
        with self._changed:
            if not self._closed:
                cleared = self._playout.clear()
                for item in self._items:
                    self._heard_before += self._final(item, cleared)
                self._items.clear()
                self._item = _Item()
                self._clears += 1
                self._changed.notify_all()
            return self._heard()

    def pause(self) -> None:
        """Have the reader get silence until :meth:`resume`; what is written waits."""
        self._playout.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._playout.resume()

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Wait until all that was written is heard or dropped; nothing more follows for now.

        Raises:
            DeadlineExceeded: It was not after *timeout* seconds; it plays on.
            ClosedError: It was closed before.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._require_open()
            self._next_item()
            while self._missing() > 0:
                self._wait(deadline)

    def close(self) -> None:
        """Drop what was not read and take nothing more. May be called twice, from any thread."""
        with self._changed:
            if not self._closed:
                self.clear()
                self._closed = True
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("this PlayoutSink is closed")

    def _took(self, size_bytes: int) -> None:
        if not self._item.samples:
            self._items.append(self._item)
        self._item.samples += size_bytes // SAMPLE_BYTES

    def _next_item(self) -> None:
        if self._item.samples:
            self._playout.end(self._item)
            self._item = _Item()

    def _heard_of(self, item: _Item) -> int:
        position_ms = self._playout.position_ms(item, track=self._track)
        return round(position_ms * self.sample_rate_hz / 1000.0)

    def _final(self, item: _Item, cleared: Mapping[Hashable, Cleared]) -> int:
        """What is heard of an item in the end; one that was read to its end is not in *cleared*."""
        if item not in cleared:
            return item.samples
        return round(cleared[item].heard_ms * self.sample_rate_hz / 1000.0)

    def _heard(self) -> int:
        while self._items and self._heard_of(self._items[0]) == self._items[0].samples:
            if self._items[0] is self._item:
                break  # more of it may come
            self._heard_before += self._items.popleft().samples
        # Items are read one after another.
        return self._heard_before + (self._heard_of(self._items[0]) if self._items else 0)

    def _missing(self) -> int:
        heard = self._heard()
        return self._heard_before + sum(item.samples for item in self._items) - heard

    def _wait(self, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"the deadline passed with {self._missing()} samples of {self.sample_rate_hz} Hz "
                "not yet heard"
            )
        self._changed.wait(_LOOK_SECONDS)
        if self._closed:
            raise ClosedError("this PlayoutSink was closed while a thread waited for it")
