"""The loudness of speech is measured over time."""

import numpy as np
import pytest

from inworld_sync.emulator.recognition.loudness import loudness, quietest_byte

from support.speech import pcm_of


def test_level():
    """A constant level is measured correctly. About 10 ms after the sound, the level is zero."""
    wave = np.zeros(3200)
    wave[:1600] = 0.5

    levels = loudness(pcm_of(wave)) / 32767

    assert levels[800] == pytest.approx(0.5, rel=0.001)
    assert levels[1600] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert 0 == levels[1770:].max()


def test_quietest():
    """Only the audio between the two positions is searched for the quietest moment."""
    wave = np.full(16_000, 0.5)
    wave[2000:3000] = 0.0
    wave[9000:9600] = 0.1

    at = quietest_byte(pcm_of(wave), 16_000, 28_000)

    assert 0 == at % 2
    assert 18_000 <= at <= 19_200


def test_nothing():
    """Without samples, the quietest position is the start."""
    assert 0 == loudness(b"").size
    assert 10 == quietest_byte(bytes(10), 10, 10)
