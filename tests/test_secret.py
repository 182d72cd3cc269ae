"""Secrets are masked in texts of the service."""

from __future__ import annotations

import gc

from inworld_sync.secret import Secret, mask_known


def test_a_secret_is_freed_while_a_text_is_masked() -> None:
    """The garbage collector may free a secret at any moment of the masking."""
    kept = Secret("a-secret-that-is-kept")
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        for number in range(100):
            holder: list[object] = [Secret(f"secret-of-a-cycle-{number}")]
            holder.append(holder)
        gc.set_threshold(1)
        gc.enable()
        assert "the key *** is wrong" == mask_known(f"the key {kept} is wrong")
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
