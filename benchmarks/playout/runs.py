"""Plays the traces through the buffers in several processes, and averages the figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import get_context

import attrs
import numpy as np

from benchmarks.playout import buffers, metrics, recovery, simulate, spectrum, speech, traces
from benchmarks.playout.metrics import Figures
from benchmarks.playout.simulate import Buffer

OURS: dict[str, Callable[[], Buffer]] = {
    "interactive": lambda: buffers.OurPlayout("live", "interactive"),
    "balanced": lambda: buffers.OurPlayout("live", "balanced"),
    "smooth": lambda: buffers.OurPlayout("live", "smooth"),
}
OURS_BURST: dict[str, Callable[[], Buffer]] = {"burst": lambda: buffers.OurPlayout("burst")}


@attrs.frozen
class Job:
    """A task of one process: play all traces of one kind and one seed through one buffer."""

    kind: str  # live, loss, drift, recovery or burst
    name: str  # the name of the buffer
    seed: int


def buffer_of(job: Job) -> Buffer:
    """Create the buffer of a job."""
    if job.kind == "burst":
        return (OURS_BURST | buffers.burst_peers())[job.name]()
    return (OURS | buffers.live_peers())[job.name]()


def run(job: Job) -> tuple[Job, list[tuple[str, Figures]]]:
    """Return the figures of each trace."""
    if job.kind == "burst":
        return job, [run_burst(job, trace) for trace in traces.burst_traces(job.seed)]
    if job.kind == "recovery":
        return job, recovery.run(lambda: buffer_of(job), job.seed)
    made = {
        "live": lambda: traces.live_traces(60, job.seed),
        "loss": lambda: traces.lossy_traces(120, job.seed),
        "drift": lambda: traces.drift_traces(600, job.seed),
    }[job.kind]()
    seconds = {"live": 70, "loss": 125, "drift": 610}[job.kind]
    source, active = speech.source(traces.RATE_HZ, seconds)
    clicks = None if job.kind == "drift" else spectrum.Clicks(source)
    found = []
    for trace in made:
        played = simulate.play(trace, buffer_of(job), source)
        found.append((trace.name, metrics.live_figures(trace, played, source, active, clicks)))
    return job, found


def run_burst(job: Job, trace: traces.Trace) -> tuple[str, Figures]:
    """Return the figures of one burst trace."""
    source, active = speech.source(traces.RATE_HZ, trace.total / traces.RATE_HZ + 1)
    source, active = traces.shaped(trace, source, active)
    played = simulate.play(trace, buffer_of(job), source)
    return trace.name, metrics.burst_figures(trace, played, active, spectrum.Clicks(source))


@attrs.frozen
class Results:
    """All figures. ``rows[kind, buffer]`` has one entry for each trace of each seed."""

    seeds: Sequence[int]
    rows: dict[tuple[str, str], list[tuple[str, Figures]]]

    def mean(self, kind: str, name: str) -> Figures:
        """Return the mean of each figure over all traces and seeds. Ignore missing values."""
        rows = [figures for _, figures in self.rows[kind, name]]
        return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}

    def by_trace(self, kind: str, name: str, key: str) -> Figures:
        """Return the mean of one figure over the seeds, for each trace."""
        found: dict[str, list[float]] = defaultdict(list)
        for trace, figures in self.rows[kind, name]:
            found[trace].append(figures[key])
        return {trace: float(np.mean(values)) for trace, values in found.items()}

    def worst(self, kind: str, name: str, key: str) -> float:
        """Return the largest value of one figure over all traces and seeds."""
        return max(figures[key] for _, figures in self.rows[kind, name])

    def names(self, kind: str) -> list[str]:
        """Return the buffers that played traces of this kind, in the order of their jobs."""
        return [name for found, name in self.rows if found == kind]


def jobs_for(seeds: Sequence[int], *, peers: bool) -> list[Job]:
    """Return the jobs. Buffers other than the playout play only live and burst traces."""
    live = [*OURS, *(buffers.live_peers() if peers else ())]
    # "fixed 120 ms" always runs, because some goals of burst mode are multiples of the figures of
    # this buffer.
    burst = [*OURS_BURST, *(buffers.burst_peers() if peers else ["fixed 120 ms"])]
    found = [Job("drift", "balanced", seeds[0])]
    # With the seeds 1 and 2, these jobs play the traces for which NetEq's figures are recorded.
    found += [Job("recovery", name, 500 + seed) for name in OURS for seed in seeds[:2]]
    found += [Job("live", name, seed) for name in live for seed in seeds]
    found += [Job("burst", name, seed) for name in burst for seed in seeds]
    return found + [Job("loss", "balanced", seed) for seed in seeds[:2]]


def run_all(jobs: Iterable[Job], seeds: Sequence[int], processes: int) -> Results:
    """Run the jobs in parallel."""
    rows: dict[tuple[str, str], list[tuple[str, Figures]]] = defaultdict(list)
    wanted = list(jobs)
    with get_context("spawn").Pool(processes) as pool:
        found = dict(pool.imap_unordered(run, wanted))
    for job in wanted:
        rows[job.kind, job.name] += found[job]
    return Results(seeds, dict(rows))
