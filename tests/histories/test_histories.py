"""If messages are lost, repeated, delayed and reordered, the client is usable afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from histories import realtime, stt, tts
from histories.history import History, run_history

COUNT = 40


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(realtime.HISTORY, id="realtime"),
        pytest.param(stt.HISTORY, id="stt"),
        pytest.param(tts.HISTORY, id="tts"),
    ],
)
def test_histories(history: History[object]) -> None:
    """Every call returns a result or raises an InworldError, and a later call succeeds."""
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda seed: run_history(history, seed), range(COUNT)))

    faults = {name for outcome in outcomes for name in outcome.faults}
    assert {"sent", "lost", "repeated", "delayed", "reordered"} == faults
