"""Speech for recognition: synthesized speech with word times, recordings, and noise."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import attrs
import numpy as np
import soundfile
import soxr

from inworld_sync.emulator.synthesis import default_synthesizer
from inworld_sync.emulator.voices import VOICES

__all__ = ["RATE_HZ", "Spoken", "noise", "pcm_of", "recording", "say", "silence"]

RATE_HZ = 16_000


@attrs.frozen
class Spoken:
    """A text as 16-bit PCM at 16 kHz, and its words with start and end in ms."""

    text: str
    pcm: bytes
    words: tuple[tuple[str, float, float], ...]


@functools.cache
def say(text: str) -> Spoken:
    """Speak *text* with a voice of the emulator. The result is always the same."""
    engine = default_synthesizer()
    waves, words, done = [], [], 0
    for sentence in engine.speak(text, VOICES[0]):
        wave = np.frombuffer(sentence.pcm, "<i2") / 32768
        for word in sentence.words:
            times = (done + word.start_samples, done + word.end_samples)
            start_ms, end_ms = (1000 * at / engine.sample_rate_hz for at in times)
            words.append((text[word.start_char : word.end_char], start_ms, end_ms))
        waves.append(wave)
        done += len(wave)
    pcm = pcm_of(soxr.resample(np.concatenate(waves), engine.sample_rate_hz, RATE_HZ))
    return Spoken(text, pcm, tuple(words))


@functools.cache
def recording(name: str) -> bytes:
    """Return a recording of human speech from the moonshine-voice wheel, as PCM at 16 kHz."""
    spec = importlib.util.find_spec("moonshine_voice")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "assets" / name
    wave, rate_hz = soundfile.read(path)
    return pcm_of(wave if rate_hz == RATE_HZ else soxr.resample(wave, rate_hz, RATE_HZ))


def silence(seconds: float) -> bytes:
    """Return samples of silence."""
    return bytes(round(seconds * RATE_HZ) * 2)


def noise(seconds: float, level: float, *, pink: bool = True, seed: int = 0) -> np.ndarray:
    """Return noise whose root mean square is *level*. The same seed returns the same noise."""
    wave = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    if pink:
        spectrum = np.fft.rfft(wave)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        wave = np.fft.irfft(spectrum, len(wave))
    return wave / wave.std() * level


def pcm_of(wave: np.ndarray) -> bytes:
    """Return floats in [-1, 1] as 16-bit little-endian samples."""
    return (np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes()
