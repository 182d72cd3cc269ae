"""
Measures how soon live mode reduces its delay again after a disturbance.

A trace is a stream of 20 ms packets over a quiet link. The delay of a packet is 1 ms plus an
exponential delay with a mean of 1.5 ms. A disturbance begins after 40 s and ends when its last
packet has arrived. The trace continues for 90 s after the end of the disturbance. The reference is
a trace of the same link without the disturbance.

Each figure except recovery is the value with the disturbance minus the value of the reference:

========  =======================================================================================
recovery  seconds from the end of the disturbance until the delay is near the reference: the mean
          delay of every later window of 5 s is at most 20 ms above the reference
gaps      count of gaps
conc      concealed or silent output, ms
scaled    samples after the end that time scaling removed or inserted, % of the output
========  =======================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import attrs
import numpy as np

from benchmarks.playout import simulate, speech
from benchmarks.playout.metrics import Figures, gaps_of
from benchmarks.playout.simulate import Buffer, Played
from benchmarks.playout.traces import RATE_HZ, Floats, Random, Trace, in_order

PACKET = RATE_HZ // 50
QUIET_S = 40.0
AFTER_S = 90
NEAR_MS = 20.0
WINDOW_S = 5
END_S = 0.2  # the last 0.2 s are not measured, because the buffer runs empty at the end


@attrs.frozen(eq=False)
class Disturbance:
    """The effect of a disturbance on the packets of a stream."""

    added_ms: Floats  # is added to the delay of each packet; infinite for a lost packet
    end_s: float  # when the disturbance ends
    is_ordered: bool = True  # no packet overtakes another


def _between(sent_s: Floats, begin_s: float, end_s: float) -> speech.Mask:
    return np.asarray((sent_s >= begin_s) & (sent_s < end_s))


def _jitter(most_ms: float, *, ordered: bool) -> Callable[[Floats, Random], Disturbance]:
    def make(sent_s: Floats, random: Random) -> Disturbance:
        hit = _between(sent_s, QUIET_S, QUIET_S + 10)
        added_ms = np.zeros(len(sent_s))
        added_ms[hit] = random.uniform(0, most_ms, hit.sum())
        return Disturbance(added_ms, QUIET_S + 10, ordered)

    return make


def _bursts(sent_s: Floats, random: Random) -> Disturbance:
    """Add 5 s of jitter every 20 s, three times. A delay that falls too early causes gaps."""
    added_ms = np.zeros(len(sent_s))
    for begin_s in (QUIET_S, QUIET_S + 20, QUIET_S + 40):
        hit = _between(sent_s, begin_s, begin_s + 5)
        added_ms[hit] = random.uniform(0, 120, hit.sum())
    return Disturbance(added_ms, QUIET_S + 45, is_ordered=False)


def _wifi(sent_s: Floats, random: Random) -> Disturbance:
    """Add correlated delays with the quantiles 3 ms (50 %), 20 ms (90 %) and 250 ms (99 %)."""
    normal = random.standard_normal(len(sent_s)) * np.sqrt(1 - 0.81)
    for index in range(1, len(normal)):
        normal[index] += 0.9 * normal[index - 1]
    logs = np.interp(normal, [-3.7, 0, 1.2816, 2.3263, 3.09], np.log([0.8, 3, 20, 250, 500]))
    hit = _between(sent_s, QUIET_S, QUIET_S + 10)
    return Disturbance(np.where(hit, np.exp(logs), 0.0), QUIET_S + 10)


def _step(sent_s: Floats, _: Random) -> Disturbance:
    """Add 80 ms for 20 s, as if the route had changed."""
    hit = _between(sent_s, QUIET_S, QUIET_S + 20)
    return Disturbance(np.where(hit, 80.0, 0.0), QUIET_S + 20)


def _roam(sent_s: Floats, random: Random) -> Disturbance:
    """Hold all packets for 300 to 500 ms, then deliver them together."""
    end_s = QUIET_S + random.uniform(0.3, 0.5)
    hit = _between(sent_s, QUIET_S, end_s)
    return Disturbance(np.where(hit, (end_s - sent_s) * 1000, 0.0), end_s)


def _roam_lossy(sent_s: Floats, _: Random) -> Disturbance:
    """Lose all packets that are sent within 300 ms."""
    hit = _between(sent_s, QUIET_S, QUIET_S + 0.3)
    return Disturbance(np.where(hit, np.inf, 0.0), QUIET_S + 0.3)


def _lte(sent_s: Floats, random: Random) -> Disturbance:
    """Add the delays of 20 s in a moving car: retransmissions, and handovers of 80 to 400 ms."""
    end_s = QUIET_S + 20
    hit = _between(sent_s, QUIET_S, end_s)
    added_ms = np.zeros(len(sent_s))
    added_ms[hit] = random.uniform(0, 8, hit.sum())
    added_ms[hit] += 8 * np.minimum(random.geometric(0.9, hit.sum()) - 1, 4)
    late = hit & (random.random(len(sent_s)) < 0.01)
    added_ms[late] += random.uniform(50, 110, late.sum())
    at = QUIET_S + random.uniform(0, 2)
    while at < end_s - 0.6:
        over_s = at + random.uniform(0.08, 0.4)
        held = _between(sent_s, at, over_s)
        added_ms[held] = np.maximum(added_ms[held], (over_s - sent_s[held]) * 1000)
        at = over_s + random.uniform(2, 5)
    return Disturbance(added_ms, end_s)


def _queue(sent_s: Floats, _: Random) -> Disturbance:
    """Add the delay of a queue that fills to 300 ms in 8 s and drains in 0.5 s."""
    full_s, end_s = QUIET_S + 8, QUIET_S + 8.5
    added_ms = np.zeros(len(sent_s))
    filling, draining = _between(sent_s, QUIET_S, full_s), _between(sent_s, full_s, end_s)
    added_ms[filling] = 300 * (1 - (1 - (sent_s[filling] - QUIET_S) / 8) ** 2)
    added_ms[draining] = 300 * (1 - (sent_s[draining] - full_s) / 0.5)
    return Disturbance(added_ms, end_s)


KINDS: dict[str, Callable[[Floats, Random], Disturbance]] = {
    "jitter 60 ms": _jitter(60, ordered=False),
    "jitter 120 ms": _jitter(120, ordered=False),
    "jitter 200 ms": _jitter(200, ordered=False),
    "jitter 120 ms, in order": _jitter(120, ordered=True),
    "bad Wi-Fi": _wifi,
    "step of 80 ms": _step,
    "roaming": _roam,
    "roaming, lost": _roam_lossy,
    "LTE": _lte,
    "full queue": _queue,
    "three bursts": _bursts,
}
# The durations of the disturbances that take more than 10 s.
SPANS_S = {"step of 80 ms": 20, "LTE": 20, "three bursts": 45}


def traces(kind: str, seed: int) -> tuple[Trace, Trace, float]:
    """Return the disturbed stream, the reference, and the end of the disturbance in s."""
    random = np.random.default_rng([seed, 77])
    count = int((QUIET_S + SPANS_S.get(kind, 10) + AFTER_S) * 50)
    sent_s: Floats = np.arange(1, count + 1, dtype=np.float64) * 0.02
    quiet_s: Floats = sent_s + (1 + random.exponential(1.5, count)) / 1000
    found = KINDS[kind](sent_s, np.random.default_rng([seed, 78]))
    arrival_s = quiet_s + found.added_ms / 1000
    arrived = np.isfinite(arrival_s)
    in_place = arrived if found.is_ordered else found.added_ms == 0
    arrival_s[in_place] = in_order(arrival_s[in_place])
    touched = arrived & (sent_s < found.end_s)
    over_s = max(found.end_s, float(arrival_s[touched].max()))
    return _trace(kind, sent_s, arrival_s), _trace("quiet", sent_s, in_order(quiet_s)), over_s


def _trace(name: str, sent_s: Floats, arrival_s: Floats) -> Trace:
    count = len(sent_s)
    return Trace(
        name=name,
        family="udp",
        place=np.arange(count) * PACKET,
        length=np.full(count, PACKET),
        sent_s=sent_s,
        arrival_s=arrival_s,
        item=np.zeros(count, int),
        last=np.zeros(count, bool),
    )


@lru_cache(1)
def _source() -> speech.Signal:
    longest_s = QUIET_S + max(SPANS_S.values()) + AFTER_S
    return speech.source(RATE_HZ, longest_s + 1)[0]


@attrs.frozen(eq=False)
class Measured:
    """The figures of one run."""

    delay_ms: Floats  # the mean delay of each second after the end of the disturbance
    gaps: int
    concealed_ms: float
    scaled_percent: float


def _measure(played: Played, over_s: float) -> Measured:
    first = np.flatnonzero(played.is_played)[0]
    last = np.flatnonzero(played.time_s < played.time_s[-1] - END_S)[-1]
    rows = played.between(int(first), int(last))
    sound = rows.is_played & (rows.source > 0)
    time_s, weight = rows.time_s[sound], rows.length[sound]
    delay_ms = (time_s - (rows.place[sound] + PACKET) / RATE_HZ) * 1000
    second = np.floor(time_s - over_s).astype(int)
    after = (second >= 0) & (second < AFTER_S)
    total = np.bincount(second[after], weight[after], AFTER_S)
    summed = np.bincount(second[after], (weight * delay_ms)[after], AFTER_S)
    hidden = ~rows.is_played & (rows.time_s >= QUIET_S - 1)
    change = np.abs(rows.length - rows.source)[sound & (rows.time_s >= over_s)].sum()
    return Measured(
        np.divide(summed, total, out=np.full(AFTER_S, np.inf), where=total > 0),
        len(gaps_of(rows.start[hidden], rows.length[hidden])),
        float(rows.length[hidden].sum() / RATE_HZ * 1000),
        float(100 * change / max(1, weight[time_s >= over_s].sum())),
    )


def run(make: Callable[[], Buffer], seed: int) -> list[tuple[str, Figures]]:
    """Return the figures of each kind of disturbance."""
    references: dict[int, Played] = {}
    found = []
    for kind in KINDS:
        disturbed, quiet, over_s = traces(kind, seed)
        count = len(quiet.sent_s)
        if count not in references:
            references[count] = simulate.play(quiet, make(), _source())
        ours = _measure(simulate.play(disturbed, make(), _source()), over_s)
        reference = _measure(references[count], over_s)
        found.append((kind, _figures(ours, reference)))
    return found


def _figures(ours: Measured, reference: Measured) -> Figures:
    # The last WINDOW_S seconds are left out, because the buffer runs empty at the end.
    count = AFTER_S - WINDOW_S
    above_ms = (ours.delay_ms - reference.delay_ms)[:count]
    mean_ms = np.convolve(above_ms, np.ones(WINDOW_S) / WINDOW_S, "valid")
    far = np.flatnonzero(mean_ms > NEAR_MS)
    return {
        "recovery": float(far[-1] + 1) if len(far) else 0.0,
        "gaps": float(ours.gaps - reference.gaps),
        "conc": ours.concealed_ms - reference.concealed_ms,
        "scaled": ours.scaled_percent - reference.scaled_percent,
    }
