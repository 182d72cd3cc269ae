"""
Computes the figures of one trace that was played through one buffer.

A gap is a part of the output that has no sound of the source. Output before the first and after the
last played sample is not a gap. Two gaps that are less than 20 ms apart count as one gap. A seam is
a border between two parts of the output that do not follow each other in the source.

The delay of a sample is the time at which the sample was played, minus its ideal time. The ideal
time is the time at which the sample would be played if all packets were as fast as the fastest one.

Figures of live mode:

=======  ======================================================================================
mean     mean delay, ms
p95      95th percentile of the delay, ms
max      largest delay, ms
conc     duration of the gaps, % of the output
audible  duration of the gaps that are followed by active speech, % of the output
events   count of gaps per minute
intr     count of gaps of 150 ms or more, per minute
discard  received samples that were not played, % of the received samples
acc      samples that time scaling removed, % of the output
dec      samples that time scaling inserted, % of the output
clicks   clicks at seams per minute
lsd      distance between the spectra of stretched output and of the source, dB
plc      distance between the spectra of concealed output and of the lost source, dB
J        mean + 20 * (conc + discard); NetEq weighs delay and loss with the same ratio
R        rating of ITU-T G.107, for 100 ms of delay outside the buffer and a packet-loss
         robustness (Bpl) of 25.1
trend    growth of the delay in the last two thirds of the trace, ms per minute
=======  ======================================================================================

Figures of burst mode:

=======  ======================================================================================
ttfa     mean time from the first packet of an utterance to its first played sample, ms
ttfa95   95th percentile of this time, ms
stall    duration of the gaps, ms per utterance
audible  duration of the gaps that are followed by active speech, ms per utterance
events   count of gaps per minute
lost     samples that were not played, % of the source
acc      samples that time scaling removed, % of the source
dec      samples that time scaling inserted, % of the source
clicks   clicks at seams per minute
fin      time from the first packet to the last played sample, minus the source's duration, ms
tail     duration of the sound after the end of an utterance, ms
J        ttfa + 2 * audible + 250 * (mean count of gaps of an utterance)
=======  ======================================================================================
"""

from __future__ import annotations

import numpy as np

from benchmarks.playout.simulate import Played
from benchmarks.playout.spectrum import Clicks, concealment_distance, stretch_distance
from benchmarks.playout.speech import Mask, Signal
from benchmarks.playout.traces import RATE_HZ, Floats, Integers, Trace

Figures = dict[str, float]

MERGED = round(0.020 * RATE_HZ)
INTERRUPTION = round(0.150 * RATE_HZ)
OTHER_DELAY_MS = 100.0
BPL = 25.1


def rating(delay_ms: float, missing_percent: float) -> float:
    """Return the rating R of ITU-T G.107 for G.711 with concealment."""
    total_ms = OTHER_DELAY_MS + delay_ms
    impairment = 0.0
    if total_ms > 100:
        x = np.log2(total_ms / 100)
        impairment = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return float(93.2 - impairment - 95 * missing_percent / (missing_percent + BPL))


def gaps_of(start: Integers, length: Integers) -> Integers:
    """Return the lengths of the gaps. Gaps less than 20 ms apart are merged."""
    found: list[list[int]] = []
    for first, size in zip(start, length, strict=True):
        if found and first - found[-1][1] < MERGED:
            found[-1][1] = first + size
        else:
            found.append([first, first + size])
    return np.array([end - begin for begin, end in found], int)


def coverage(places: Integers, sizes: Integers, total: int) -> Mask:
    """Return a mask of the samples of the source that were played."""
    edges = np.zeros(total + 1, int)
    np.add.at(edges, np.clip(places, 0, total), 1)
    np.add.at(edges, np.clip(places + sizes, 0, total), -1)
    return np.cumsum(edges)[:-1] > 0


def before_speech(played: Played, active: Mask, end: int) -> Mask:
    """Return a mask of the gaps. The mask is True if active speech follows the gap."""
    sound = played.is_played
    place = np.where(sound, played.place, -1)
    following = end
    for index in range(len(place) - 1, -1, -1):
        if sound[index]:
            following = int(place[index])
        place[index] = following
    place = np.clip(place[~sound], 0, len(active) - 1)
    return np.asarray(active[place] | active[np.maximum(0, place - 160)])


def quantile(values: Floats, weights: Integers, share: float) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(summed, share)])


def live_figures(
    trace: Trace, played: Played, source: Signal, active: Mask, clicks: Clicks | None
) -> Figures:
    """Return the figures of live mode. If *clicks* is None, leave out clicks, lsd and plc."""
    sound = np.flatnonzero(played.is_played)
    inner = played.between(sound[0], sound[-1])
    hidden = ~inner.is_played
    total = int(inner.length.sum())
    minutes = total / RATE_HZ / 60
    concealed = inner.length[hidden]
    gaps = gaps_of(inner.start[hidden], concealed)
    said = before_speech(inner, active, int(inner.place[-1]))

    arrived = np.isfinite(trace.arrival_s)
    best_s = np.min(trace.arrival_s[arrived] - trace.sent_s[arrived])
    place, length, taken = (x[~hidden] for x in (inner.place, inner.length, inner.source))
    packet = np.clip(np.searchsorted(trace.place, place, "right") - 1, 0, len(trace.place) - 1)
    due_s = trace.sent_s[packet] + (place - trace.place[packet]) / RATE_HZ + best_s
    time_s = inner.time_s[~hidden]
    delay_ms = (time_s - due_s) * 1000
    mean_ms = float((delay_ms * length).sum() / length.sum())

    there = np.zeros(trace.total, bool)
    for index in np.flatnonzero(arrived):
        there[trace.place[index] : trace.place[index] + trace.length[index]] = True
    unheard = there & ~coverage(place, taken, trace.total)
    discard = float(100 * unheard.sum() / max(1, there.sum()))
    change = taken - length
    conc = float(100 * concealed.sum() / total)
    late = time_s - time_s[0] > (time_s[-1] - time_s[0]) / 3
    slope = np.polyfit((time_s - time_s[0])[late] / 60, delay_ms[late], 1)[0]
    figures = {
        "mean": mean_ms,
        "p95": quantile(delay_ms, length, 0.95),
        "max": float(delay_ms.max()),
        "conc": conc,
        "audible": float(100 * (concealed * said).sum() / total),
        "events": len(gaps) / minutes,
        "intr": float((gaps >= INTERRUPTION).sum() / minutes),
        "discard": discard,
        "acc": float(100 * change[change > 0].sum() / total),
        "dec": float(-100 * change[change < 0].sum() / total),
        "J": mean_ms + 20 * (conc + discard),
        "R": rating(mean_ms, conc + discard),
        "trend": float(slope),
    }
    if clicks is not None:
        figures["clicks"] = clicks.count(played) / minutes
        figures["lsd"] = stretch_distance(played, source)
        figures["plc"] = concealment_distance(played, source)
    return figures


def utterance_figures(played: Played, active: Mask, low: int, high: int, first_s: float) -> Figures:
    """
    Return the figures of one item.

    The item has the samples from *low* to *high* of the source. The first packet of the item
    arrived at *first_s*.
    """
    mine = played.is_played & (played.place < high) & (played.place + played.source > low)
    index = np.flatnonzero(mine)
    if not len(index):
        return {"ttfa": np.nan, "stall": 0, "audible": 0, "events": 0, "lost": high - low}
    inner = played.between(index[0], index[-1])
    hidden = ~inner.is_played
    stalled = inner.length[hidden]
    # A gap that is partly silence and partly concealment is one event.
    begins = inner.start[hidden]
    events = int(len(begins) > 0) + int(np.sum(np.diff(begins) - stalled[:-1] >= MERGED))
    taken, made = inner.source[~hidden], inner.length[~hidden]
    change = taken - made
    change = change[np.abs(change) < 4000]
    heard = coverage(inner.place[~hidden] - low, taken, high - low)
    end = int(inner.start[-1] + inner.length[-1])
    after = played.output[end : end + RATE_HZ]
    return {
        "ttfa": (inner.time_s[0] - first_s) * 1000,
        "stall": stalled.sum() / RATE_HZ * 1000,
        "audible": (stalled * before_speech(inner, active, high - 1)).sum() / RATE_HZ * 1000,
        "events": events,
        "lost": int((~heard).sum()),
        "acc": change[change > 0].sum(),
        "dec": -change[change < 0].sum(),
        "fin": (inner.time_s[-1] + inner.length[-1] / RATE_HZ - first_s) * 1000
        - (high - low) / RATE_HZ * 1000,
        "tail": 1000 * np.sum(np.abs(after) > 0.02) / RATE_HZ,
    }


def burst_figures(trace: Trace, played: Played, active: Mask, clicks: Clicks) -> Figures:
    """Return the figures of burst mode for all utterances of a trace."""
    rows = []
    for item in np.unique(trace.item):
        mine = trace.item == item
        low = int(trace.place[mine][0])
        high = int(trace.place[mine][-1] + trace.length[mine][-1])
        rows.append(utterance_figures(played, active, low, high, trace.arrival_s[mine][0]))

    def column(name: str) -> Floats:
        return np.array([row[name] for row in rows if name in row], float)

    seconds = trace.total / RATE_HZ
    figures = {
        "ttfa": float(np.nanmean(column("ttfa"))),
        "ttfa95": float(np.nanquantile(column("ttfa"), 0.95)),
        "stall": float(column("stall").mean()),
        "audible": float(column("audible").mean()),
        "events": float(column("events").sum() / seconds * 60),
        "fin": float(np.nanmean(column("fin"))),
        "tail": float(column("tail").mean()),
        "clicks": clicks.count(played) / seconds * 60,
    }
    for name in ("lost", "acc", "dec"):
        figures[name] = float(100 * column(name).sum() / RATE_HZ / seconds)
    per_item = figures["events"] * seconds / 60 / len(rows)
    figures["J"] = figures["ttfa"] + 2 * figures["audible"] + 250 * per_item
    return figures
