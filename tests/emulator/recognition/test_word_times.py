"""Word times without an aligner."""

import numpy as np
import pytest

from inworld_sync.emulator.recognition.word_times import proportional_times, quietest_byte

from support.sentences import SENTENCES
from support.speech import noise, pcm_of, say


def test_near_the_truth():
    """Words begin within 150 ms of where the synthesiser put them, on average."""
    differences = []
    for text in SENTENCES:
        spoken = say(text)
        spans = proportional_times(spoken.pcm, [word for word, _, _ in spoken.words])
        differences += [
            found - start for (found, _), (_, start, _) in zip(spans, spoken.words, strict=True)
        ]

    assert 150 > np.abs(differences).mean()


def test_order():
    """Words follow each other without gaps, inside the voiced part."""
    pcm = bytes(16_000) + pcm_of(noise(1, 0.1)) + bytes(16_000)

    spans = proportional_times(pcm, ["a", "longer", "b", "c"])

    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert edges[1:-1:2] == edges[2::2]
    assert 480 <= edges[0] < edges[-1] <= 1520


@pytest.mark.parametrize("pcm", [b"", b"\x00\x00", bytes(3200)])
def test_silence(pcm):
    """Silence, however short, gives each word a place."""
    assert 2 == len(proportional_times(pcm, ["a", "b"]))


def test_no_words():
    """No words need no times."""
    assert () == proportional_times(bytes(3200), [])


def test_quietest():
    """The quietest moment is found between two others, and only there."""
    wave = np.full(16_000, 0.5)
    wave[2000:3000] = 0.0
    wave[9000:9600] = 0.1

    at = quietest_byte(pcm_of(wave), 16_000, 28_000)

    assert 0 == at % 2
    assert 18_000 <= at <= 19_200
