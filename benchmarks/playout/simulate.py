"""Plays a trace through a buffer in virtual time, and records the origin of all output."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from benchmarks.playout.speech import Signal
from benchmarks.playout.traces import RATE_HZ, Floats, Integers, Trace

PERIOD_S = 0.010
# A simulation ends TAIL_S seconds after the last packet of a live trace, or BURST_TAIL_S seconds
# after the last packet of a burst trace. It ends earlier if, after the last packet, no sound was
# played for QUIET_S seconds.
TAIL_S = 2.5
BURST_TAIL_S = 14.5
QUIET_S = 1.2


class Kind(IntEnum):
    """The origin of output."""

    PLAYED = 0  # sound of the source
    CONCEALED = 1  # generated sound
    HELD = 2  # silence within an item
    IDLE = 3  # silence because there is nothing to play


class Part(NamedTuple):
    """Consecutive samples of output with one origin."""

    kind: int
    output: int  # count of samples
    place: int = -1  # index of the first sample in the source, if the part is PLAYED
    source: int = 0  # count of samples of the source, if the part is PLAYED


class Packet(NamedTuple):
    """A packet with a piece of the source."""

    number: int  # the index of the packet in the order of sending
    place: int  # the index of the first sample in the source
    samples: Signal
    item: int
    last: bool  # whether this is the last packet of its item
    arrival_s: float


class Buffer(Protocol):
    """A jitter buffer. All samples are float32 in [-1, 1]. All times are in seconds."""

    def push(self, packet: Packet, /) -> None:
        """Add a packet that has arrived."""
        ...

    def pull(self, count: int, now_s: float, /) -> tuple[Signal, Sequence[Part]]:
        """Return the next *count* samples and their origin."""
        ...


@attrs.frozen(eq=False)
class Played:
    """The output of a whole trace. All arrays except ``output`` have one entry per part."""

    output: Signal
    kind: NDArray[np.int64]
    length: Integers  # count of samples of output
    place: Integers  # index of the first sample in the source
    source: Integers  # count of samples of the source
    time_s: Floats  # when the first sample was played
    start: Integers  # index of the first sample in the output

    @property
    def is_played(self) -> NDArray[np.bool_]:
        """True for the parts that are sound of the source."""
        return self.kind == Kind.PLAYED

    def between(self, first: int, last: int) -> Played:
        """Return the parts from *first* to *last*, both included."""
        cut = slice(first, last + 1)
        return attrs.evolve(
            self,
            kind=self.kind[cut],
            length=self.length[cut],
            place=self.place[cut],
            source=self.source[cut],
            time_s=self.time_s[cut],
            start=self.start[cut],
        )


def packet_of(trace: Trace, source: Signal, number: int) -> Packet:
    place = int(trace.place[number])
    return Packet(
        number,
        place,
        source[place : place + trace.length[number]],
        int(trace.item[number]),
        bool(trace.last[number]),
        float(trace.arrival_s[number]),
    )


def play(trace: Trace, buffer: Buffer, source: Signal, period_s: float = PERIOD_S) -> Played:
    """Push each packet when it arrives, and pull every *period_s*, until all sound was played."""
    count = round(period_s * RATE_HZ)
    order = np.argsort(trace.arrival_s, kind="stable")
    order = order[np.isfinite(trace.arrival_s[order])]
    arrival_s = trace.arrival_s[order]
    begin_s = np.floor(arrival_s[0] / period_s) * period_s
    tail_s = BURST_TAIL_S if trace.family == "burst" else TAIL_S
    pulls = int(np.ceil((arrival_s[-1] - begin_s + TAIL_S) / period_s))
    pulls += int((tail_s - TAIL_S) / period_s)
    outputs, parts, times = [], [], []
    arrived, quiet = 0, 0
    for pull in range(pulls):
        now_s = begin_s + (pull + 1) * period_s
        while arrived < len(order) and arrival_s[arrived] <= now_s:
            buffer.push(packet_of(trace, source, int(order[arrived])))
            arrived += 1
        output, made = buffer.pull(count, now_s)
        outputs.append(output)
        offset = 0
        for part in made:
            parts.append(part)
            times.append(now_s + offset / RATE_HZ)
            offset += part[1]
        assert offset == count, f"expected parts with {count} samples in total, got {offset}"
        if arrived == len(order):
            quiet = quiet + 1 if all(part[0] != Kind.PLAYED for part in made) else 0
            if quiet * period_s > QUIET_S:
                break
    columns = np.array(parts, dtype=np.int64).reshape(-1, 4).T
    start = np.concatenate([[0], np.cumsum(columns[1])[:-1]])
    return Played(np.concatenate(outputs), *columns, np.array(times), start)
