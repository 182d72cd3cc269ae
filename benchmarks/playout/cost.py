"""Measures how long a read and a push of the playout take if Python calls them."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import numpy as np

from benchmarks.playout.speech import source
from benchmarks.playout.traces import gamma, live, outages
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout

RATE_HZ = 48000
FRAMES = RATE_HZ // 100
PACKET_FRAMES = RATE_HZ // 50
SECONDS = 30
REPEATS = 7


@attrs.frozen
class Cost:
    """The times of one kind of call, in microseconds, and their limits."""

    name: str
    median_us: float
    p999_us: float
    limit_median_us: float
    limit_p999_us: float

    @property
    def met(self) -> bool:
        """True if both times are within their limits."""
        return self.median_us <= self.limit_median_us and self.p999_us <= self.limit_p999_us

    def __str__(self) -> str:
        word = "ok  " if self.met else "MISS"
        return (
            f"{word} {self.name:44} us: median {self.median_us:6.2f} <= "
            f"{self.limit_median_us:5.1f}   p99.9 {self.p999_us:6.2f} <= {self.limit_p999_us:5.1f}"
        )


def timed(call: Callable[[], object], times: list[int]) -> None:
    begin = time.perf_counter_ns()
    call()
    times.append(time.perf_counter_ns() - begin)


def once(channels: int) -> tuple[list[int], list[int]]:
    """Play one stream with jitter and outages. Return the times of pushes and reads, in ns."""
    wave = (source(RATE_HZ, SECONDS)[0] * 32767).astype("<i2")
    trace = live("cost", SECONDS, lambda r, s: gamma(30)(r, s) + outages(r, s, 3, 60, 300), seed=1)
    packets = [
        np.repeat(wave[at : at + PACKET_FRAMES], channels).tobytes()
        for at in range(0, len(wave), PACKET_FRAMES)
    ]
    playout = Playout(RATE_HZ, channels, mode="live")
    out = bytearray(2 * channels * FRAMES)
    pushes: list[int] = []
    pulls: list[int] = []
    arrived = 0
    for tick in range(SECONDS * 100):
        now_ns = tick * 10_000_000
        while arrived < len(packets) and trace.arrival_s[arrived] * 1e9 <= now_ns:
            sound, at, when = packets[arrived], arrived * PACKET_FRAMES, trace.arrival_s[arrived]
            arrival_ns = round(when * 1e9)
            timed(lambda: playout.push(sound, item=0, timestamp=at, now_ns=arrival_ns), pushes)  # noqa: B023
            arrived += 1
        timed(lambda: playout.read(out, now_ns=now_ns), pulls)  # noqa: B023
    stats = playout.stats()
    assert stats.concealed_frames > 0, "the trace must cause concealment"
    assert stats.removed_frames > 0, "the trace must cause time scaling"
    return pushes, pulls


def mixed(count: int) -> list[int]:
    """
    Read a mixer of *count* playouts. Return the times of the reads, in ns.

    The first playout has priority. While this playout plays, the mixer lowers the volume of the
    other playouts.
    """
    wave = (source(RATE_HZ, SECONDS)[0] * 32767 / 4).astype("<i2").tobytes()
    out = bytearray(2 * FRAMES)
    pulls: list[int] = []
    with Mixer(RATE_HZ) as mixer:
        for number in range(count):
            playout = Playout(RATE_HZ, output_format="f32")
            playout.push(wave, item=0, end=True)
            mixer.add(playout, duck_db=12, priority=number == 0)
        for tick in range(SECONDS * 100):
            timed(lambda: mixer.read(out, now_ns=tick * 10_000_000), pulls)  # noqa: B023
    return pulls


def costs() -> list[Cost]:
    """
    Measure reads and pushes. The stream has 16-bit samples at 48 kHz.

    The stream is the same in every run. The cost of a call is its least time over all runs, because
    other work of the machine can only add time.

    Each limit includes 2 us for Python. The limits are:

    - a read of 10 ms: 5 us (median) and 27 us (99.9th percentile)
    - a push of 20 ms: 5 us (median) and 10 us (99.9th percentile)
    - a read of 10 ms from a mixer of one playout: 5 us (median); of eight playouts: 24 us (median);
      the 99.9th percentile may be 22 us higher
    """
    found = []
    for channels, word in ((1, "mono"), (2, "stereo")):
        runs = [once(channels) for _ in range(REPEATS)]
        pushes, pulls = (np.min([run[side] for run in runs], axis=0) / 1000 for side in (0, 1))
        found.append(cost(f"read of 10 ms, {word}", pulls, 5.0, 27.0))
        found.append(cost(f"push of 20 ms, {word}", pushes, 5.0, 10.0))
    for count, limit_us in ((1, 5.0), (8, 24.0)):
        pulls = np.min([mixed(count) for _ in range(REPEATS)], axis=0) / 1000
        found.append(cost(f"read of 10 ms, mixer of {count}", pulls, limit_us, limit_us + 22))
    return found


def cost(name: str, times_us: np.ndarray, limit_median_us: float, limit_p999_us: float) -> Cost:
    median, p999 = np.quantile(times_us, [0.5, 0.999])
    return Cost(name, float(median), float(p999), limit_median_us, limit_p999_us)
