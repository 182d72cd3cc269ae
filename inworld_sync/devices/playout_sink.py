"""
A playout that the program reads itself, as a sink: for a game engine, a telephone line, a test.

Lock rule: that of :mod:`inworld_sync.devices._sink`; its lock serializes the playout's producer.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from inworld_sync.audio.playout import Playout
from inworld_sync.devices._sink import PlayoutWriter
from inworld_sync.errors import ClosedError, ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from inworld_sync.audio.playout_events import Cleared
    from inworld_sync.audio.track import Track

__all__ = ["PlayoutSink"]

# Between two looks at the playout, whose reader tells nobody that it has read.
_LOOK_SECONDS = 0.005


class _Item:
    """An utterance in the playout."""

    def __init__(self) -> None:
        self.samples = 0


class PlayoutSink(PlayoutWriter):
    """
    Puts 16-bit mono PCM into a playout, for whoever reads it.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self, playout: Playout, *, track: Track | None = None, latency_ms: float = 0.0
    ) -> None:
        """
        Write to a playout.

        Args:
            playout: Mono with ``s16`` input; nobody else pushes to it or clears it. It stays open
                when the sink is closed.
            track: Of the mixer that reads it, which knows when it is heard.
            latency_ms: Without a mixer: how long after it is read a sample is heard, by a reader
                that reads on while nothing plays. What was read and not heard is dropped by the
                reader when the sink is cleared.

        Raises:
            ConfigError: The playout has two channels or takes floats, or there is a track and a
                latency.
        """
        if playout.channels != 1 or playout.input_format != "s16":
            raise ConfigError(
                "the playout must have 1 channel and take s16, got "
                f"{playout.channels} and {playout.input_format}"
            )
        if track is not None and latency_ms:
            raise ConfigError(f"a track knows the latency: leave out latency_ms={latency_ms!r}")
        if not latency_ms >= 0:
            raise ConfigError(f"latency_ms must be at least 0, got {latency_ms!r}")
        super().__init__(playout, playout.sample_rate_hz, threading.Condition())
        self._track = track
        self._latency_ms = latency_ms
        self._latency_frames = round(latency_ms * playout.sample_rate_hz / 1000.0)
        self._item = _Item()
        self._items: deque[_Item] = deque()  # begun, and not known to be heard to the end
        self._heard_before = 0  # samples of items that are gone
        self._heard_last = 0
        # With a latency: after so many frames of output, so many samples were read.
        self._reads: deque[tuple[int, int]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether all that was written is heard or dropped."""
        with self._changed:
            return not self._missing()

    def clear(self) -> int:
        """
        Drop all that was written and not heard; return :attr:`heard_samples`, final.

        If the owner of the playout has closed it, this is what was last known to be heard.
        """
        with self._changed:
            if not self._closed:
                heard = self._heard()
                with contextlib.suppress(ClosedError):
                    cleared = self._playout.clear(latency_ms=self._latency_ms)
                    final = sum(self._final(item, cleared) for item in self._items)
                    heard = max(heard, self._heard_before + final)
                self._forget(heard)
                self._clears += 1
                self._changed.notify_all()
            return self._heard_last

    def close(self) -> None:
        """Drop what was not read and take nothing more. May be called twice, from any thread."""
        with self._changed:
            if not self._closed:
                self.clear()
                self._closed = True
                self._changed.notify_all()

    def _write(self, samples: memoryview, deadline: float) -> None:
        self._push(samples, self._item, deadline)

    def _took(self, frames: int) -> None:
        if not self._item.samples:
            self._items.append(self._item)
        self._item.samples += frames

    def _end(self, _: float) -> None:
        self._require_open()
        if self._item.samples:
            self._playout.end(self._item)
            self._item = _Item()
            self._heard()  # forgets items that were heard

    def _final(self, item: _Item, cleared: Mapping[Hashable, Cleared]) -> int:
        """What is heard of an item in the end; one that was read to its end is not in *cleared*."""
        if item not in cleared:
            return item.samples
        return round(cleared[item].heard_ms * self.sample_rate_hz / 1000.0)

    def _seconds(self, _: int) -> float:
        return _LOOK_SECONDS

    def _read(self) -> int:
        """Samples that were read; where there is a track, that were heard."""
        read = self._heard_before
        for item in self._items:
            samples = item.samples
            # One that was read long ago is forgotten by the playout.
            with contextlib.suppress(LocalProtocolError):
                position_ms = self._playout.position_ms(item, track=self._track)
                samples = round(position_ms * self.sample_rate_hz / 1000.0)
            read += samples
            if samples < item.samples:
                break  # items are read one after another
        return read

    def _heard(self) -> int:
        try:
            self._heard_last = max(self._heard_last, self._heard_when(self._read()))
        except ClosedError:
            # The owner closed the playout, which dropped the rest.
            self._forget(self._heard_last)
        # The item that is written to may get more.
        while self._items and self._items[0] is not self._item:
            heard_with = self._heard_before + self._items[0].samples
            if heard_with > self._heard_last:
                break
            self._heard_before = heard_with
            self._items.popleft()
        return self._heard_last

    def _heard_when(self, read: int) -> int:
        """
        How much is heard by now, of so much that is read.

        A sample is heard once the reader has taken the latency's worth of output after it. The
        playout counts that in silence too, unlike the position of an item.
        """
        if not self._latency_frames:
            return read
        output = self._playout.stats().pulled_frames
        if not self._reads or self._reads[-1][0] < output:
            self._reads.append((output, read))
        heard = read - self._latency_frames
        while self._reads and self._reads[0][0] <= output - self._latency_frames:
            heard = max(heard, self._reads.popleft()[1])
        return heard

    def _forget(self, heard: int) -> None:
        """Drop all items, of which so much was heard in the end."""
        self._heard_before = self._heard_last = self._written_frames = heard
        self._items.clear()
        self._item = _Item()
        self._reads.clear()
