"""
Synthesizes speech from formants, so that the evaluation needs no recordings.

The speech has voiced syllables with moving formants and falling pitch, fricatives, stops, and
pauses between words and phrases. The same seed makes the same sound, so the figures of
two runs can be compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Signal = NDArray[np.float32]
Mask = NDArray[np.bool_]
_Wave = NDArray[np.float64]

# The first three formants of some vowels, in Hz, and the bandwidth of each formant.
VOWELS_HZ = [
    (700, 1220, 2600),
    (500, 1500, 2500),
    (310, 2100, 2900),
    (400, 1900, 2550),
    (450, 1000, 2300),
    (320, 800, 2250),
    (610, 1900, 2450),
    (640, 1190, 2390),
]
BANDWIDTHS_HZ = (80, 100, 140)
GLIDES = 4  # steps in which the formants of a syllable move
PITCH_JITTER = 0.006
ROOM_NOISE_DB = -66
ACTIVE_DB = -45
LOUDEST = 0.98


def resonator(wave: _Wave, center_hz: float, bandwidth_hz: float, rate_hz: int) -> _Wave:
    """Apply a filter with two poles at a formant."""
    radius = np.exp(-np.pi * bandwidth_hz / rate_hz)
    poles = [1, -2 * radius * np.cos(2 * np.pi * center_hz / rate_hz), radius * radius]
    return np.asarray(lfilter([1 - radius], poles, wave))


def glottal(length: int, pitch_hz: _Wave, rate_hz: int, random: np.random.Generator) -> _Wave:
    """Return the derivative of a train of Rosenberg pulses."""
    wave = np.zeros(length + rate_hz // 40)
    at = 0.0
    while at < length:
        wobble = 1 + PITCH_JITTER * random.standard_normal()
        period = rate_hz / pitch_hz[min(int(at), length - 1)] * wobble
        first = int(at)
        open_length = int(period * 0.6)
        phase = np.arange(open_length) / open_length
        pulse = np.sin(np.pi * phase**1.6) ** 2
        wave[first : first + open_length] += pulse[: max(0, min(open_length, len(wave) - first))]
        at += period
    return np.diff(wave[: length + 1]) * rate_hz / 4000.0


def fricative(rate_hz: int, random: np.random.Generator) -> _Wave:
    """Return noise around a high resonance."""
    length = int(random.uniform(0.05, 0.11) * rate_hz)
    noise = random.standard_normal(length)
    center_hz = min(random.uniform(2500, 5500), rate_hz * 0.42)
    noise = resonator(noise, center_hz, 900, rate_hz)
    return noise * np.hanning(length) * 0.10 / (np.std(noise) + 1e-9)


def stop(rate_hz: int, random: np.random.Generator) -> _Wave:
    """Return a stop consonant: silence with a burst of noise at its end."""
    length = int(random.uniform(0.03, 0.06) * rate_hz)
    wave = np.zeros(length)
    burst = int(0.008 * rate_hz)
    wave[-burst:] = random.standard_normal(burst) * np.hanning(burst) * 0.15
    return wave


def voiced(length: int, pitch_hz: _Wave, rate_hz: int, random: np.random.Generator) -> _Wave:
    """Return a vowel that glides into another vowel."""
    pulses = glottal(length, pitch_hz, rate_hz, random)
    begin = VOWELS_HZ[random.integers(8)]
    end = VOWELS_HZ[random.integers(8)]
    wave = np.zeros(length)
    for step in range(GLIDES):
        low, high = length * step // GLIDES, length * (step + 1) // GLIDES
        share = (step + 0.5) / GLIDES
        filtered = pulses
        for index, bandwidth_hz in enumerate(BANDWIDTHS_HZ):
            center_hz = begin[index] * (1 - share) + end[index] * share
            if center_hz < rate_hz * 0.45:
                filtered = resonator(filtered, center_hz, bandwidth_hz, rate_hz)
        window = np.zeros(length)
        window[low:high] = 1
        edge = length // (4 * GLIDES)
        if edge > 1:
            window = np.convolve(window, np.ones(edge) / edge, "same")
        wave += filtered * window
    ramp = np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.015 * rate_hz)
    level = random.uniform(0.6, 1.0) * 0.16 / (np.std(wave) + 1e-9)
    return wave * (np.minimum(1, ramp) * level)


def active(wave: _Wave, rate_hz: int) -> Mask:
    """
    Return a mask of the active samples.

    The level of the 20 ms around such a sample exceeds -45 dBFS.
    """
    width = int(0.02 * rate_hz)
    power = np.convolve(np.asarray(wave, float) ** 2, np.ones(width) / width, "same")
    return np.asarray(np.sqrt(power) > 10 ** (ACTIVE_DB / 20))


def source(rate_hz: int, seconds: float, seed: int = 1) -> tuple[Signal, Mask]:
    """Return speech with samples in [-1, 1], and a mask of the samples where speech is active."""
    random = np.random.default_rng(seed)
    length = int(seconds * rate_hz)
    wave = np.zeros(length + rate_hz)
    at = int(0.05 * rate_hz)

    def add(part: _Wave) -> None:
        nonlocal at
        wave[at : at + len(part)] += part[: max(0, len(wave) - at)]
        at += len(part)

    while at < length:
        begin, phrase_end = at, at + int(random.uniform(1.5, 4.0) * rate_hz)
        pitch_hz = random.uniform(105, 190)
        while at < min(phrase_end, length):
            for _ in range(int(random.integers(1, 4))):
                if random.random() < 0.55:
                    add((fricative if random.random() < 0.5 else stop)(rate_hz, random))
                if at >= length:
                    break
                size = int(random.uniform(0.09, 0.24) * rate_hz)
                said = (at - begin) / max(1, phrase_end - begin)
                bend = np.sin(np.linspace(0, np.pi, size) * random.uniform(0.5, 2))
                fall = pitch_hz * (1.15 - 0.3 * said) * (1 + 0.06 * bend)
                add(voiced(size, fall, rate_hz, random))
                if at >= length:
                    break
            at += int(random.uniform(0.0, 0.09) * rate_hz)
        at += int(random.uniform(0.18, 0.75) * rate_hz)
    clean = wave[:length]
    spoken = active(clean, rate_hz)
    noisy = clean + random.standard_normal(length) * 10 ** (ROOM_NOISE_DB / 20)
    return np.clip(noisy, -LOUDEST, LOUDEST).astype(np.float32), spoken
