"""The middle of the quietest part of audio is found, so that the audio can be cut there."""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync.audio.quiet import quietest_sample


def reference(samples: list[int]) -> int:
    """Compare all parts that are 30 % of the audio; return the middle of the quietest part."""
    size = len(samples) * 3 // 10
    energies = [
        sum(value * value for value in samples[at : at + size])
        for at in range(len(samples) - size + 1)
    ]
    return energies.index(min(energies)) + size // 2


@pytest.mark.parametrize("length", [10, 11, 57, 400])
@pytest.mark.parametrize("seed", range(5))
def test_quietest(length: int, seed: int) -> None:
    """The position is the same as in a full search. Samples at full scale do not overflow."""
    samples = np.random.default_rng(seed).integers(-32768, 32768, length)

    assert reference(samples.tolist()) == quietest_sample(samples.astype("<i2").tobytes())


def test_first_of_equals() -> None:
    """In silence, all parts are equally quiet, and the middle of the first part is returned."""
    assert 150 == quietest_sample(bytes(2000))


@pytest.mark.parametrize("length", range(4))
def test_audio_that_is_too_short(length: int) -> None:
    """If the audio is too short for a search, the position is 0."""
    assert 0 == quietest_sample(bytes(2 * length))
