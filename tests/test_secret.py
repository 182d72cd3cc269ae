"""Secrets are masked in texts of the service."""

from __future__ import annotations

import gc

import pytest

from inworld_sync.secret import Secret, mask_known


@pytest.mark.parametrize("allocations", range(1, 20))
def test_a_secret_is_freed_while_a_text_is_masked(allocations: int) -> None:
    """Masking works even if the garbage collector frees another secret during the masking."""
    kept = Secret("a-secret-that-is-kept")
    text = f"the key {kept} is wrong"
    thresholds = gc.get_threshold()
    gc.collect()
    gc.disable()
    try:
        cycle: list[object] = [Secret("a-secret-of-a-cycle")]
        cycle.append(cycle)
        del cycle
        gc.set_threshold(allocations)
        gc.enable()
        masked = mask_known(text)
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
    assert "the key *** is wrong" == masked
