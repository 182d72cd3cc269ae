"""
Which instruction set the C core uses: for diagnoses, comparisons and tests.

The best one is chosen at import; the environment variable ``INWORLD_SYNC_LEVEL`` names another.
Every level gives the same bits.
"""

from __future__ import annotations

from inworld_sync._native import force_level, level, levels

__all__ = ["force_level", "level", "levels"]
