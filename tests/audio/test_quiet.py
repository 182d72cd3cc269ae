"""The position at which audio may be cut."""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync.audio.quiet import quietest_sample


def reference(samples: list[int]) -> int:
    """Try every position, one after the other."""
    size = len(samples) * 3 // 10
    energies = [
        sum(value * value for value in samples[at : at + size])
        for at in range(len(samples) - size + 1)
    ]
    return energies.index(min(energies)) + size // 2


@pytest.mark.parametrize("length", [10, 11, 57, 400])
@pytest.mark.parametrize("seed", range(5))
def test_quietest(length: int, seed: int) -> None:
    """The result is the same as of a search over all positions; full scale does not overflow."""
    samples = np.random.default_rng(seed).integers(-32768, 32768, length)

    assert reference(samples.tolist()) == quietest_sample(samples.astype("<i2").tobytes())


def test_first_of_equals() -> None:
    """The result for silence is near its beginning."""
    assert 150 == quietest_sample(bytes(2000))


@pytest.mark.parametrize("length", range(4))
def test_next_to_nothing(length: int) -> None:
    """The result for audio that is too short is 0."""
    assert 0 == quietest_sample(bytes(2 * length))
