"""Simulates the carriers of phone calls, for tests of programs that answer calls."""

from __future__ import annotations

from inworld_sync.emulator.phone.call import SimulatedCall

__all__ = ["SimulatedCall"]
