"""
Estimates when each sample of a device was captured or is heard.

A device reports a time with each block. These times have errors of milliseconds, because callbacks
are late, but the clock of the device is steady. So a line is fitted to the times of the last 30 s.
The slope of the line is the rate of the device's clock.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from typing import Final

from inworld_sync.audio.taps import BlockTime

__all__ = ["DeviceClock"]

# The blocks of this many seconds are combined into one observation: the median of the blocks'
# errors.
_GROUP_SECONDS: Final = 0.1
_MOST_GROUPS: Final = 300
# The relative difference between the nominal and the real rate is assumed to have this standard
# deviation until the rate is measured. Most devices differ by less than 100 ppm.
_RATE_ERROR: Final = 150e-6
# After a break, the last rate is assumed if it was measured with at least _KNOWN_GROUPS
# observations. The rate of a shorter stretch is not used, because the latency that a sound server
# reports wanders after a break. The standard deviation of the measurement is raised to
# _LEAST_RATE_ERROR. If the device did not report the break, a sound server may play the audio on
# another device now, so the standard deviation is raised to _LEAST_STEP_RATE_ERROR.
_KNOWN_GROUPS: Final = 80
_LEAST_RATE_ERROR: Final = 5e-6
_LEAST_STEP_RATE_ERROR: Final = 20e-6
# The errors of the observations are assumed to be at least this large, because the latency that a
# sound server reports wanders during the first seconds.
_LEAST_ERROR_SECONDS: Final = 1e-3
# An observation that differs by more than this many standard deviations has less weight.
_OUTLIER: Final = 2.0
_ROUNDS: Final = 3
# If this many observations in a row differ from the line by more than this time in the same
# direction, samples were lost, or the latency of the device has changed.
_STEP_GROUPS: Final = 4
_STEP_SECONDS: Final = 0.008
# Some systems report gaps that did not occur. So a reported gap counts only if the block differs by
# more than _GAP_SECONDS from the line, or if the time since the last block differs from the usual
# time by more than _SHORT_GAP_SECONDS, and by more than _GAP_JUMPS times the mean difference. The
# mean difference is averaged with the weight _NEW_JUMP for each block.
_GAP_SECONDS: Final = 0.004
_SHORT_GAP_SECONDS: Final = 0.0005
_GAP_JUMPS: Final = 6.0
_NEW_JUMP: Final = 0.1
# How many stretches without a break are kept.
_MOST_STRETCHES: Final = 8


class _Stretch:
    """A part of the audio of one device without missing samples."""

    def __init__(self, start: int, start_ns: int, rate_hz: int, skew: float, spread: float) -> None:
        self.start = start
        self._start_ns = start_ns
        self._rate_hz = rate_hz
        # The line: the lateness of a sample in seconds is offset + skew * (seconds since the
        # middle).
        self.skew = skew
        self._offset = 0.0
        self._middle = 0.0
        self._skew_error = spread  # the standard deviation of the slope
        self._jump = _GAP_SECONDS  # the mean difference between two blocks
        self._late = 0.0  # the lateness of the last block
        self._prior_skew, self._prior_spread = skew, spread
        # Each pair has the time that follows from the sample count, and the lateness. Both are in
        # seconds.
        self._groups: deque[tuple[float, float]] = deque(maxlen=_MOST_GROUPS)
        self._group: list[tuple[float, float]] = []
        self._strays: list[tuple[float, float]] = []

    def assumed_rate(self, least_error: float) -> tuple[float, float]:
        """Return the slope that is assumed after a break, and its standard deviation."""
        if len(self._groups) < _KNOWN_GROUPS:
            return self._prior_skew, self._prior_spread
        return self.skew, max(self._skew_error, least_error)

    def add(self, position: int, time_ns: int) -> bool:
        """Add the time of a block. Return False if the recent blocks no longer fit the line."""
        at = (position - self.start) / self._rate_hz
        late = self._lateness(position, time_ns)
        self._jump += _NEW_JUMP * (abs(late - self._late) - self._jump)
        self._late = late
        if self._group and at - self._group[0][0] >= _GROUP_SECONDS:
            group, self._group = self._group, []
            if not self._add_group(group):
                return False
        self._group.append((at, late))
        if not self._groups:
            # Until the first group is complete, the line has the assumed slope.
            errors = [each - self.skew * (when - at) for when, each in self._group]
            self._offset, self._middle = _median(errors), at
        return True

    def is_after_gap(self, position: int, time_ns: int) -> bool:
        """Return whether a block that is said to follow a gap differs from the blocks before."""
        jump = abs(self._lateness(position, time_ns) - self._late)
        error_seconds = abs(time_ns - self.time_ns(position)) / 1e9
        is_short = jump > max(_SHORT_GAP_SECONDS, _GAP_JUMPS * self._jump)
        return is_short or error_seconds > _GAP_SECONDS

    def _lateness(self, position: int, time_ns: int) -> float:
        return (time_ns - self._start_ns) / 1e9 - (position - self.start) / self._rate_hz

    def time_ns(self, position: float) -> float:
        """Return the time at which the sample at *position* was captured or is heard."""
        at = (position - self.start) / self._rate_hz
        return self._start_ns + (at + self._offset + self.skew * (at - self._middle)) * 1e9

    def position(self, time_ns: float) -> float:
        """Return which sample was captured or is heard at a time."""
        seconds = (time_ns - self._start_ns) / 1e9
        at = (seconds - self._offset + self.skew * self._middle) / (1.0 + self.skew)
        return self.start + at * self._rate_hz

    def _add_group(self, group: list[tuple[float, float]]) -> bool:
        at, late = sum(each for each, _ in group) / len(group), _median([each for _, each in group])
        error = late - self._offset - self.skew * (at - self._middle)
        if self._groups and abs(error) > _STEP_SECONDS:
            if self._strays and (self._strays[-1][1] > 0) != (error > 0):
                self._strays.clear()
            self._strays.append((at, error))
            return len(self._strays) < _STEP_GROUPS
        self._strays.clear()
        self._groups.append((at, late))
        self._fit()
        return True

    def _fit(self) -> None:
        """Fit the line to all groups. Groups far from the line have less weight."""
        import numpy as np

        at, late = np.array(self._groups).T
        weights = np.ones(len(at))
        for _ in range(_ROUNDS):
            total = weights.sum()
            middle, offset = float((weights * at).sum() / total), (weights * late).sum() / total
            errors = late - offset - self.skew * (at - middle)
            spread = max(1.4826 * float(np.median(np.abs(errors))), _LEAST_ERROR_SECONDS)
            trust = (spread / self._prior_spread) ** 2
            moment = (weights * (at - middle) * (late - offset)).sum()
            width = float((weights * (at - middle) ** 2).sum()) + trust
            self.skew = float(moment + trust * self._prior_skew) / width
            self._skew_error = spread / math.sqrt(width)
            self._middle, self._offset = middle, float(offset)
            errors = np.abs(late - offset - self.skew * (at - middle))
            weights = np.minimum(1.0, _OUTLIER * spread / np.maximum(errors, 1e-9))


class DeviceClock:
    """
    Estimates the times of samples, for several devices in succession.

    Args:
        rate_hz: The nominal sample rate of the devices.

    Attributes:
        devices: How many devices were used so far.
        stretches: How many stretches there were so far; a stretch is audio without missing samples.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._stretches: deque[_Stretch] = deque(maxlen=_MOST_STRETCHES)
        self._breaks = 0
        self.devices = 0
        self.stretches = 0

    @property
    def is_started(self) -> bool:
        """Whether the time of at least one block is known."""
        return bool(self._stretches)

    @property
    def skew(self) -> float:
        """
        The relative difference between the nominal and the real duration of a sample.

        The value is positive if the device is slower than its nominal rate.
        """
        return self._stretches[-1].skew if self._stretches else 0.0

    def add(self, block: BlockTime) -> None:
        """Add the time of a block. The blocks must be in order."""
        place = block.position, block.time_ns
        if block.devices != self.devices or not self._stretches:
            self._begin(block, 0.0, _RATE_ERROR)
        else:
            last = self._stretches[-1]
            if block.breaks != self._breaks and last.is_after_gap(*place):
                self._begin(block, *last.assumed_rate(_LEAST_RATE_ERROR))
            elif not last.add(*place):
                self._begin(block, *last.assumed_rate(_LEAST_STEP_RATE_ERROR))
        self._breaks, self.devices = block.breaks, block.devices

    def time_ns(self, position: float) -> float:
        """Return the time at which a sample was captured or is heard. Call :meth:`add` first."""
        found = (each for each in reversed(self._stretches) if position >= each.start)
        return next(found, self._stretches[0]).time_ns(position)

    def position(self, time_ns: float) -> float | None:
        """
        Return which sample was captured or is heard at a time.

        Returns:
            The position; None if *time_ns* is in a gap between two stretches of audio, or before
            the first stretch.
        """
        end = None
        for stretch in reversed(self._stretches):
            position = stretch.position(time_ns)
            if position >= stretch.start:
                return position if end is None or position < end else None
            end = stretch.start
        return None

    def gaps(self) -> list[tuple[int, float]]:
        """
        Return the gaps between the last stretches.

        Returns:
            The position of the first sample after each gap, and the duration of the gap in seconds.
        """
        return [
            (after.start, (after.time_ns(after.start) - before.time_ns(after.start)) / 1e9)
            for before, after in itertools.pairwise(self._stretches)
        ]

    def _begin(self, block: BlockTime, skew: float, spread: float) -> None:
        stretch = _Stretch(block.position, block.time_ns, self._rate_hz, skew, spread)
        stretch.add(block.position, block.time_ns)
        self._stretches.append(stretch)
        self.stretches += 1


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
