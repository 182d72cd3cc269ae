"""
Implements a sink that writes to a playout, which the program reads. The sink is for game engines,
telephone lines and tests.

Locks: as in :mod:`inworld_sync.devices._sink`. ``_changed`` also serializes the writers of the
playout.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from inworld_sync.audio._arguments import require_number
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.track import Track
from inworld_sync.devices._sink import PlayoutWriter
from inworld_sync.errors import ClosedError, ConfigError, LocalProtocolError
from inworld_sync.locks import Condition

if TYPE_CHECKING:
    from inworld_sync.audio.playout_events import Cleared

__all__ = ["PlayoutSink"]

# Seconds between two reads of the position. A read of the playout does not wake waiting threads.
_LOOK_SECONDS = 0.005
_MOST_LATENCY_MS = 60_000


class _Item:
    """An utterance in the playout."""

    def __init__(self) -> None:
        self.samples = 0


class PlayoutSink(PlayoutWriter):
    """
    Writes 16-bit mono PCM to a playout that your own program reads.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self, playout: Playout, *, track: Track | None = None, latency_ms: float = 0.0
    ) -> None:
        """
        Create a sink for a playout.

        Args:
            playout: A mono playout with ``s16`` input. No other code may push audio to this playout
                or clear the playout. The playout stays open when the sink is closed.
            track: If a mixer reads the playout, the mixer's track for the playout. The track knows
                when audio is heard.
            latency_ms: Without a mixer, the time from the read of a sample until it is heard, 0 to
                60000. The reader must continue to read while nothing plays. When the sink is
                cleared, the reader must drop the audio that was read and not heard.

        Raises:
            ConfigError: The playout has two channels or float input, or both *track* and
                *latency_ms* were passed.
        """
        if not isinstance(playout, Playout):
            raise ConfigError(f"playout must be a Playout, got {type(playout).__name__}")
        if playout.channels != 1 or playout.input_format != "s16":
            raise ConfigError(
                "the playout must have 1 channel and s16 input, got "
                f"{playout.channels} and {playout.input_format}"
            )
        if track is not None and latency_ms:
            raise ConfigError(
                "PlayoutSink accepts track or latency_ms; the track knows the latency: leave out "
                f"latency_ms={latency_ms!r}"
            )
        if track is not None and not isinstance(track, Track):
            raise ConfigError(f"track must be a Track or None, got {type(track).__name__}")
        require_number("latency_ms", latency_ms, 0, _MOST_LATENCY_MS, " ms")
        super().__init__(playout, playout.sample_rate_hz, Condition())
        self._track = track
        self._latency_ms = latency_ms
        self._latency_frames = round(latency_ms * playout.sample_rate_hz / 1000.0)
        self._item = _Item()
        # The items that have started, and were not heard completely yet.
        self._items: deque[_Item] = deque()
        self._heard_before = 0  # samples of items that were removed
        self._heard_last = 0
        # This queue is used if there is a latency. Each pair has a number of output frames, and the
        # number of samples that were read until that frame.
        self._reads: deque[tuple[int, int]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether all written audio was heard or dropped."""
        with self._changed:
            return not self._missing()

    def clear(self) -> int:
        """
        Drop all audio that was not heard, and return the final :attr:`heard_samples`.

        If the owner has closed the playout, the result is the last known count.
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
        """Drop audio that was not read. Any thread may call this method, even more than once."""
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
            self._heard()  # removes items that were heard

    def _final(self, item: _Item, cleared: Mapping[Hashable, Cleared]) -> int:
        """Return how many samples of an item were heard. Completed items are not in *cleared*."""
        if item not in cleared:
            return item.samples
        return round(cleared[item].heard_ms * self.sample_rate_hz / 1000.0)

    def _seconds(self, _: int) -> float:
        return _LOOK_SECONDS

    def _read(self) -> int:
        """Return how many samples were read or, with a track, heard."""
        read = self._heard_before
        for item in self._items:
            samples = item.samples
            # The playout does not keep an item that was read long ago.
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
            # The owner closed the playout, which dropped the rest of the audio.
            self._forget(self._heard_last)
        # The item that is being written stays, since it may get more samples.
        while self._items and self._items[0] is not self._item:
            heard_with = self._heard_before + self._items[0].samples
            if heard_with > self._heard_last:
                break
            self._heard_before = heard_with
            self._items.popleft()
        return self._heard_last

    def _heard_when(self, read: int) -> int:
        """
        Return how many samples were heard if *read* samples were read.

        A sample is heard when the reader has read *latency_ms* of output after the sample. This
        output includes silence, which the position of an item does not count.
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
        """Drop all items, and set the count of heard samples to *heard*."""
        self._heard_before = self._heard_last = self._written_frames = heard
        self._items.clear()
        self._item = _Item()
        self._reads.clear()
