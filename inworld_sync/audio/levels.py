"""
Shows or selects the instruction set of the C core, for diagnosis, comparisons and tests.

The import selects the best instruction set. The environment variable ``INWORLD_SYNC_LEVEL`` selects
another instruction set. Every instruction set computes the same bits.
"""

from __future__ import annotations

from inworld_sync._native import force_level, level, levels

__all__ = ["force_level", "level", "levels"]
