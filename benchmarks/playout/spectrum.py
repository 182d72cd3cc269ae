"""Compares the output with the source: counts clicks, and measures distances of spectra."""

from __future__ import annotations

import itertools

import numpy as np

from benchmarks.playout.simulate import Kind, Played
from benchmarks.playout.speech import Mask, Signal
from benchmarks.playout.traces import RATE_HZ, Floats, Integers

# The edges of 16 bands, in bins of 40 Hz. The bands are about equally wide in human hearing.
BANDS = np.array([0, 3, 5, 8, 11, 14, 18, 23, 29, 37, 47, 60, 77, 98, 125, 160, 200])
FRAMES_MOST = 3000
MS = RATE_HZ // 1000


class Clicks:
    """
    Counts clicks within 10 ms of a seam, or in stretched speech.

    A seam is a border between two parts of the output that do not follow each other in the source.
    The signal is the second difference of the samples. The statistic of a millisecond is the peak
    of this signal, divided by the level of the signal in the 30 ms around the millisecond. A
    millisecond has a click if its peak is large and its statistic exceeds 99.95 % of the statistics
    of the unchanged source.
    """

    def __init__(self, source: Signal) -> None:
        statistic, peak = self._statistic(source)
        self._relative = float(np.quantile(statistic, 0.9995))
        self._absolute = float(0.25 * np.quantile(peak, 0.99))

    @staticmethod
    def _statistic(wave: Signal) -> tuple[Floats, Floats]:
        bend = np.abs(np.diff(np.asarray(wave, float), 2, append=[0, 0]))
        count = len(bend) // MS
        blocks = bend[: count * MS].reshape(-1, MS)
        peak = blocks.max(1)
        total = np.concatenate([[0], np.cumsum((blocks**2).mean(1))])
        index = np.arange(count)

        def mean(low: Integers, high: Integers) -> Floats:
            low, high = np.clip(low, 0, count), np.clip(high, 0, count)
            return (total[high] - total[low]) / np.maximum(1, high - low)

        around = np.maximum(mean(index - 15, index - 1), mean(index + 2, index + 16))
        return peak / (np.sqrt(around) + 2e-4), peak

    def count(self, played: Played) -> int:
        """Return the count of clicks in the output. Clicks less than 4 ms apart are one click."""
        statistic, peak = self._statistic(played.output)
        hit = (statistic > self._relative) & (peak > self._absolute)
        hit &= self._near_seams(played, len(hit))
        found = np.flatnonzero(hit)
        return int(1 + np.sum(np.diff(found) > 3)) if len(found) else 0

    @staticmethod
    def _near_seams(played: Played, count: int) -> Mask:
        end = played.place + played.source
        sound = played.is_played
        plain = np.zeros(len(sound), bool)
        plain[1:] = sound[1:] & sound[:-1] & (np.abs(played.place[1:] - end[:-1]) < 1)
        plain &= played.length == played.source
        silent = np.zeros(len(sound), bool)
        silent[1:] = (played.kind[1:] == played.kind[:-1]) & ~sound[1:]
        silent[1:] &= played.kind[1:] != Kind.CONCEALED
        near = np.zeros(count + 32, bool)
        for index in np.flatnonzero(~(plain | silent)):
            first = int(played.start[index]) // MS
            last = int(played.start[index] + played.length[index]) // MS
            stretched = sound[index] and played.length[index] != played.source[index]
            near[max(0, first - 10) : (last if stretched else first) + 11] = True
            if not sound[index]:
                near[max(0, last - 10) : last + 11] = True
        return near[:count]


def levels(wave: Signal, centers: Integers, width: int = 400) -> Floats:
    """Return the level of each band in *width* samples around each of *centers*, in dB."""
    index = centers[:, None] + np.arange(-width // 2, width // 2)[None, :]
    frames = wave[np.clip(index, 0, len(wave) - 1)] * np.hanning(width)
    power = np.abs(np.fft.rfft(frames, 400, axis=1)) ** 2
    return np.asarray(10 * np.log10(np.add.reduceat(power, BANDS, axis=1)[:, :-1] + 1e-4))


def distance(first: Floats, second: Floats) -> Floats:
    """Return the distance between two sets of levels, in dB."""
    return np.asarray(np.sqrt(np.mean((first - second) ** 2, axis=1)))


def stretch_distance(played: Played, source: Signal) -> float:
    """
    Return the mean distance between stretched output and the source, in dB.

    The output is divided into blocks of 10 ms. The function uses each stretched block, the block
    before it and the block after it. The spectrum of a block is computed from the 25 ms around its
    center. The function compares the spectrum with the most similar spectrum of the source within 8
    ms of the expected place. Blocks without active speech are ignored.
    """
    change = np.abs(played.length - played.source)
    stretched = played.is_played & (change > 0) & (change < 800)
    if not stretched.any():
        return 0.0
    blocks = np.unique((played.start[stretched] + played.length[stretched] / 2) // 160)
    blocks = np.unique(np.concatenate([blocks - 1, blocks, blocks + 1])).astype(int)
    centers = blocks * 160 + 80
    centers = centers[(centers > 400) & (centers < len(played.output) - 400)]
    part = np.clip(np.searchsorted(played.start, centers, "right") - 1, 0, len(played.kind) - 1)
    sound = played.is_played[part]
    centers, part = centers[sound], part[sound]
    into = (centers - played.start[part]) * played.source[part]
    places = (played.place[part] + into / np.maximum(1, played.length[part])).astype(int)
    if len(centers) > FRAMES_MOST:
        chosen = np.linspace(0, len(centers) - 1, FRAMES_MOST).astype(int)
        centers, places = centers[chosen], places[chosen]
    if not len(centers):
        return 0.0
    heard = levels(played.output, centers)
    best = np.full(len(centers), np.inf)
    for shift in range(-128, 129, 16):
        best = np.minimum(best, distance(heard, levels(source, places + shift)))
    best = best[heard.max(1) > -15]
    return float(best.mean()) if len(best) else 0.0


def concealment_distance(played: Played, source: Signal) -> float:
    """Return the mean distance between concealed output and the lost sound of the source, in dB."""
    centers, places = [], []
    sound = np.flatnonzero(played.is_played)
    for before, after in itertools.pairwise(sound):
        if after == before + 1:
            continue
        end = int(played.start[before] + played.length[before])
        gap = int(played.start[after]) - end
        lost = int(played.place[before] + played.source[before])
        if 160 <= gap <= 1600 and abs(int(played.place[after]) - lost - gap) <= 200:
            centers += [end + offset for offset in range(80, gap, 160)]
            places += [lost + offset for offset in range(80, gap, 160)]
    center, place = np.array(centers, int), np.array(places, int)
    inside = (center > 400) & (center < len(played.output) - 400)
    center, place = center[inside], place[inside]
    if not len(center):
        return float("nan")
    missing = levels(source, place, 320)
    best = np.full(len(center), np.inf)
    for shift in range(-192, 193, 16):
        best = np.minimum(best, distance(levels(played.output, center + shift, 320), missing))
    best = best[missing.max(1) > -10]
    return float(best.mean()) if len(best) else float("nan")
