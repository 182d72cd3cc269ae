"""No word of speech changes if the network loses and delays packets, measured in virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import Inworld

from support.lossy_network import DECODERS, Sentence, sentences

SEEDS = 3
TEXTS = [
    "How long does it take to fly from Paris to Rome?",
    "The meeting has been moved to Wednesday morning.",
    "Press the green button to start the machine.",
    "Nobody knows what will happen next year.",
    "The museum opens at ten and closes at six in the evening.",
    "Winter is coming and the days are getting shorter.",
    "The blue car is parked behind the supermarket.",
]


@pytest.fixture(scope="module")
def spoken() -> Iterator[list[Sentence]]:
    with Inworld(local=True) as iw:
        yield sentences(iw, TEXTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("side", DECODERS)
def test_words(spoken: list[Sentence], side: str) -> None:
    """With 5 % loss and delays of 0 to 60 ms, no word is changed."""
    assert [each.errors(side, 0, loss=0.0, delay=0.0) for each in spoken] == [0] * len(spoken)
    found = [
        each.errors(side, seed, loss=0.05, delay=0.06) for seed in range(SEEDS) for each in spoken
    ]
    assert sum(found) == 0, found
