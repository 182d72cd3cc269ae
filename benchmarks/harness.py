"""
Compares the times of calls.

Every candidate runs once in each round, in rotating order. A ratio is our time divided by a peer's
time in the same round, so a busy machine affects both times in the same way. A row has the median
and the quartiles of the ratios over all rounds. A target is the largest ratio that is good enough.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Call", "Case", "Row", "Settings", "compare", "cpu_of"]

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """
    One operation, performed by this package and by the peers.

    Attributes:
        name: The operation.
        size: How much data one call processes, in ``unit``.
        unit: The unit of ``size``, for example ``bytes`` or ``samples``.
        ours: The call of this package.
        peers: The calls of the peers, by name.
        targets: The largest ratio that is good enough, by peer and level. The level ``any`` stands
            for all levels except ``scalar``.
        returns_seconds: If true, each call is one round and returns the seconds for one unit of
            work. If false, the call is timed, and is repeated until the round is over.
        rounds: The largest number of rounds. It is small for calls that take long.
    """

    name: str
    size: int
    unit: str
    ours: Call
    peers: Mapping[str, Call]
    targets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    returns_seconds: bool = False
    rounds: int = 1000


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    rounds: int = 31
    round_seconds: float = 0.0005
    is_quick: bool = False


@dataclass(frozen=True)
class Row:
    """
    The result of a case with one peer.

    Attributes:
        name: The name of the case. ``size`` and ``unit`` are copied from the case too.
        peer: The name of the peer.
        ours_us: Our median time, in microseconds.
        peer_us: The peer's median time, in microseconds.
        ratio: Our time divided by the peer's time: the median over the rounds.
        lower_quartile: The lower quartile of this ratio over the rounds.
        upper_quartile: The upper quartile of this ratio over the rounds.
        target: The largest ratio that is good enough. None if this level has no target.
        met: Whether the ratio meets the target. None if there is no target.
    """

    name: str
    size: int
    unit: str
    peer: str
    ours_us: float
    peer_us: float
    ratio: float
    lower_quartile: float
    upper_quartile: float
    target: float | None
    met: bool | None


def cpu_of(call: Call, times: int) -> float:
    """Make *times* calls. Return the mean CPU seconds of a call, on all threads of the process."""
    begin = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begin) / times


def _seconds(call: Call, times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times


def compare(case: Case, level: str, settings: Settings) -> list[Row]:
    """Measure a case and return a row for each peer."""
    calls = {"": case.ours, **case.peers}
    if case.returns_seconds:
        runs = {name: _self_timed(call) for name, call in calls.items()}
        rounds = min(case.rounds, 3) if settings.is_quick else case.rounds
    else:
        runs = {name: _timed(call, settings.round_seconds) for name, call in calls.items()}
        rounds = case.rounds
    found = _run_rounds(runs, min(rounds, settings.rounds))
    ours = found.pop("")
    return [_row(case, peer, level, ours, theirs) for peer, theirs in found.items()]


def _self_timed(call: Call) -> Callable[[], float]:
    def run() -> float:
        seconds = call()
        assert isinstance(seconds, float)
        return seconds

    return run


def _timed(call: Call, round_seconds: float) -> Callable[[], float]:
    times = max(1, int(round_seconds / max(_seconds(call, 8), 1e-9)))
    return lambda: _seconds(call, times)


def _run_rounds(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                found[name].append(runs[name]())
    finally:
        gc.enable()
    return found


def _row(case: Case, peer: str, level: str, ours: list[float], theirs: list[float]) -> Row:
    ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
    lower, ratio, upper = (
        statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    )
    targets = case.targets.get(peer, {})
    target = targets.get(level, None if level == "scalar" else targets.get("any"))
    return Row(
        case.name,
        case.size,
        case.unit,
        peer,
        statistics.median(ours) * 1e6,
        statistics.median(theirs) * 1e6,
        ratio,
        lower,
        upper,
        target,
        None if target is None else ratio <= target,
    )
