"""
Compares the measured figures of the playout buffer with their limits.

Most limits are figures of another buffer, multiplied by a factor. The name of such a goal ends with
the factor and the other buffer. "(0.65 NetEq)" means at most 0.65 times the figure of NetEq, and
"(1.20 fixed)" means at most 1.20 times the figure of a fixed buffer of 120 ms. ``metrics.py``
defines the figures, such as the rating R, the cost J and the distances of spectra.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.playout.metrics import Figures
from benchmarks.playout.runs import Results

ANCHORS = json.loads(Path(__file__).with_name("anchors.json").read_text())


def neteq(kind: str, seeds: Sequence[int]) -> Figures:
    """
    Return the recorded figures of NetEq.

    If no figures were recorded for *seeds*, return the figures for the first recorded seeds.
    """
    recorded: dict[str, Figures] = ANCHORS[kind]
    return recorded.get(",".join(map(str, seeds))) or next(iter(recorded.values()))


# Each row has a profile, four factors and an offset. The factors multiply NetEq's mean delay, p95
# delay, gaps a minute and concealment. The offset is added to NetEq's R rating.
LIVE_FACTORS = [
    ("interactive", 0.65, 0.80, 1.65, 1.70, 4.5),
    ("balanced", 0.80, 0.80, 1.15, 1.25, 3.0),
    ("smooth", 0.90, 0.85, 1.00, 1.05, 2.0),
]


@attrs.frozen
class Goal:
    """
    A measured figure and its limit.

    The limit is the highest accepted figure. With ``at_least``, the limit is the lowest accepted
    figure.
    """

    name: str
    figure: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """True if the figure is within the limit."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        word = "ok  " if self.met else "MISS"
        return f"{word} {self.name:58} {self.figure:8.2f} {sign} {self.limit:8.2f}"


def live_goals(results: Results) -> Iterator[Goal]:
    """Yield the goals of each profile for live streams. Most limits depend on NetEq."""
    anchor = neteq("live", results.seeds)
    for profile, mean, p95, events, conc, rating in LIVE_FACTORS:
        ours, name = results.mean("live", profile), f"live {profile}:"
        yield Goal(f"{name} mean delay, ms ({mean:.2f} NetEq)", ours["mean"], mean * anchor["mean"])
        yield Goal(f"{name} p95 delay, ms ({p95:.2f} NetEq)", ours["p95"], p95 * anchor["p95"])
        yield Goal(
            f"{name} gaps a minute ({events:.2f} NetEq)", ours["events"], events * anchor["events"]
        )
        yield Goal(f"{name} concealed, % ({conc:.2f} NetEq)", ours["conc"], conc * anchor["conc"])
        limit = anchor["R"] + rating
        yield Goal(f"{name} rating R (NetEq + {rating})", ours["R"], limit, at_least=True)
        yield Goal(f"{name} received samples not played, %", ours["discard"], 0.05)


# Each row has a profile and three limits: the mean recovery time of all disturbances in s, the
# longest recovery time in s, and the mean count of gaps of a disturbance.
RECOVERY_LIMITS = [
    ("interactive", 5.0, 15.0, 6.5),
    ("balanced", 12.0, 30.0, 6.5),
    ("smooth", 18.0, 45.0, 6.5),
]
# A recovery within this time meets the goal, even if NetEq recovers sooner.
SHORT_S = 5.0


def recovery_goals(results: Results) -> Iterator[Goal]:
    """Yield the goals of each profile for the time after a disturbance."""
    recorded = ANCHORS["recovery"]["501,502"]
    for profile, mean_s, worst_s, gaps in RECOVERY_LIMITS:
        name = f"recovery {profile}:"
        ours = results.by_trace("recovery", profile, "recovery")
        mean = results.mean("recovery", profile)
        yield Goal(f"{name} mean recovery time, s", mean["recovery"], mean_s)
        yield Goal(f"{name} longest recovery time, s", max(ours.values()), worst_s)
        yield Goal(f"{name} mean count of gaps, each disturbance", mean["gaps"], gaps)
        slower = [kind for kind in ours if ours[kind] > max(SHORT_S, recorded[kind]["recovery"])]
        yield Goal(f"{name} recoveries slower than NetEq", len(slower), 0)


def goals(results: Results) -> Iterator[Goal]:
    """Yield all goals."""
    yield from live_goals(results)
    yield from recovery_goals(results)
    balanced = results.mean("live", "balanced")
    yield Goal("live balanced: clicks a minute", balanced["clicks"], 1.0)
    yield Goal("live balanced: spectral distance, stretched speech, dB", balanced["lsd"], 0.65)
    limit = neteq("loss", results.seeds)["plc"]
    plc = results.mean("loss", "balanced")["plc"]
    yield Goal("loss: spectral distance, concealed speech, dB (1.00 NetEq)", plc, limit)
    worst = results.worst("drift", "balanced", "max")
    yield Goal("drift +-200 ppm, 600 s: largest delay, ms", worst, 100)
    worst = results.worst("drift", "balanced", "events")
    yield Goal("drift +-200 ppm, 600 s: gaps a minute", worst, 1.0)
    burst = results.mean("burst", "burst")
    fixed = results.mean("burst", "fixed 120 ms")
    yield Goal("burst: samples lost, %", burst["lost"], 0)
    yield Goal("burst: samples removed by time scaling, %", burst["acc"], 0)
    yield Goal("burst: sound after the end of an utterance, ms", burst["tail"], 0)
    yield Goal("burst: time to first sound, ms (1.20 fixed)", burst["ttfa"], 1.2 * fixed["ttfa"])
    yield Goal(
        "burst: audible stall, ms an utterance (0.65 fixed)",
        burst["audible"],
        0.65 * fixed["audible"],
    )
    yield Goal("burst: cost J (0.90 fixed)", burst["J"], 0.9 * fixed["J"])
    yield Goal("burst: clicks a minute", burst["clicks"], 0.3)
