"""Provides what all measurements use: outcomes, noise, and a thread that holds the GIL."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.sound.pulse import RATE_HZ
from inworld_sync import AudioChunk, AudioEncoding, WordTime

__all__ = ["NoiseSpeech", "Outcome", "holding_the_gil", "noise", "spread"]


class Outcome(NamedTuple):
    """The result of a measurement."""

    goal: str
    met: bool
    figures: dict[str, Any]


def noise(seconds: float, seed: int) -> npt.NDArray[np.int16]:
    """Return noise that has no zero sample. The same seed gives the same noise."""
    generator = np.random.default_rng(seed)
    values = generator.integers(1, 8000, int(seconds * RATE_HZ))
    return (values * generator.choice([-1, 1], len(values))).astype("<i2")


@contextlib.contextmanager
def holding_the_gil() -> Iterator[None]:
    """Run a thread that sleeps in C for 300 of every 400 ms, and holds the GIL while it sleeps."""
    over = threading.Event()

    def run() -> None:
        usleep = ctypes.PyDLL(None).usleep
        while not over.is_set():
            usleep(300_000)
            time.sleep(0.1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class NoiseSpeech:
    """A speech stream without a service. It yields noise. The first chunk has all words."""

    def __init__(self, samples: npt.NDArray[np.int16], words: tuple[WordTime, ...] = ()) -> None:
        self._samples = samples
        self._words = words
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[AudioChunk]:
        words = self._words
        for start in range(0, len(self._samples), RATE_HZ // 10):
            if self._closed.is_set():
                return
            piece = self._samples[start : start + RATE_HZ // 10].tobytes()
            yield AudioChunk("noise", piece, AudioEncoding.PCM, RATE_HZ, words=words)
            words = ()

    def close(self) -> None:
        self._closed.set()


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile and the largest of the values."""
    marks = {"median": 50.0, "p95": 95.0, "worst": 100.0}
    return {name: round(float(np.percentile(values, mark)), 2) for name, mark in marks.items()}
