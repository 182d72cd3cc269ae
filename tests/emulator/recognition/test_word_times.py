"""Without an aligner, words get estimated times."""

import numpy as np
import pytest

from inworld_sync.emulator.recognition.word_times import proportional_times

from support.sentences import SENTENCES
from support.speech import noise, pcm_of, say


def test_near_the_truth():
    """Words begin within 110 ms of the synthesizer's times, on average."""
    differences = []
    for text in SENTENCES:
        spoken = say(text)
        spans = proportional_times(spoken.pcm, [word for word, _, _ in spoken.words])
        differences += [
            found - start for (found, _), (_, start, _) in zip(spans, spoken.words, strict=True)
        ]

    assert 110 > np.abs(differences).mean()


def test_order():
    """Words follow each other without gaps, inside the voiced part."""
    pcm = bytes(16_000) + pcm_of(noise(1, 0.1)) + bytes(16_000)

    spans = proportional_times(pcm, ["a", "longer", "b", "c"] * 100)

    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert edges[1:-1:2] == edges[2::2]
    assert 480 <= edges[0] < edges[-1] <= 1520


def test_pauses():
    """The letters of the words share the voiced audio. The pause between two words is left out."""
    voiced = pcm_of(noise(0.5, 0.1))

    spans = proportional_times(voiced + bytes(64_000) + voiced, ["same", "long"])

    assert 480 <= spans[0][1] <= 2520
    assert 2900 <= spans[1][1] <= 3020


@pytest.mark.parametrize("pcm", [b"", b"\x00\x00", bytes(3200)])
def test_silence(pcm):
    """Each word gets a time, even if the audio is silent or empty."""
    assert 2 == len(proportional_times(pcm, ["a", "b"]))


def test_no_words():
    """Without words, there are no times."""
    assert () == proportional_times(bytes(3200), [])
