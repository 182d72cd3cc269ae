"""The gate passes speech from its beginning, and replaces all other audio by silence."""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync.audio.voice_gate import VoiceGate, open_detector
from inworld_sync.errors import DeviceError

from support.speech import noise, pcm_of, say

WINDOW = 512  # 32 ms at 16 kHz
BEFORE = 6  # windows of 32 ms in 0.2 s
AFTER = 19


class Scripted:
    """A detector that takes any sample above 1000 for speech."""

    window_samples = WINDOW

    def probability(self, window: bytes) -> float:
        return float(np.abs(np.frombuffer(window, "<i2").astype(int)).max() > 1000)


def gated(pcm: np.ndarray, rate_hz: int = 16000, block: int = 160) -> np.ndarray:
    gate = VoiceGate(rate_hz, Scripted())
    parts = [pcm[at : at + block].tobytes() for at in range(0, len(pcm), block)]
    return np.frombuffer(b"".join(map(gate.feed, parts)), "<i2")


@pytest.mark.parametrize("block", [7, 160, 5000, 100_000])
def test_passes_speech(block: int) -> None:
    """Speech passes, with 0.2 s before the speech and 0.6 s after it. No sample is shifted."""
    pcm = np.full(100 * WINDOW, 5, "<i2")
    pcm[30 * WINDOW : 40 * WINDOW] = 2000
    found = gated(pcm, block=block)
    is_open = np.flatnonzero(found)

    assert len(found) == (100 - BEFORE) * WINDOW
    assert is_open[0] in range((30 - BEFORE) * WINDOW, 30 * WINDOW)
    assert is_open[-1] + 1 in range((40 + AFTER - 1) * WINDOW, (40 + AFTER + 2) * WINDOW)
    assert (found[is_open] == pcm[is_open]).all()
    assert len(is_open) == is_open[-1] + 1 - is_open[0]


def test_ignores_a_click() -> None:
    """One window above the threshold does not open the gate."""
    pcm = np.full(50 * WINDOW, 5, "<i2")
    pcm[20 * WINDOW + 100] = 3000

    assert not gated(pcm).any()


@pytest.mark.parametrize("rate_hz", [8000, 24000, 44100])
def test_other_rates(rate_hz: int) -> None:
    """At any sample rate, the samples are unchanged while the gate is open."""
    pcm = np.full(3 * rate_hz, 5, "<i2")
    pcm[rate_hz : 2 * rate_hz] = 2000
    found = gated(pcm, rate_hz)
    is_open = np.flatnonzero(found)

    assert len(pcm) - len(found) == pytest.approx(0.27 * rate_hz, abs=0.08 * rate_hz)
    assert rate_hz * 0.8 == pytest.approx(is_open[0], abs=0.07 * rate_hz)
    assert (found[is_open] == pcm[is_open]).all()


def test_detects_real_speech() -> None:
    """The installed detector opens the gate for speech, and not for noise."""
    gate = VoiceGate(16000, open_detector())
    spoken = say("The gate opens for this sentence.").pcm
    hiss = pcm_of(noise(2.0, 0.003))
    heard = np.frombuffer(gate.feed(hiss + spoken + hiss), "<i2")
    voiced = np.abs(np.frombuffer(spoken, "<i2").astype(int)) > 1000

    assert not heard[:24000].any()
    assert heard[32000 : 32000 + len(voiced)][voiced].all()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a detector, the error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(DeviceError, match=r"inworld-sync\[local\]"):
        open_detector()
