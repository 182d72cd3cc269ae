"""
Shows or selects the instruction set of the C core, for diagnosis, comparisons and tests.

When the package is imported, it selects the best instruction set that the processor has. The
environment variable ``INWORLD_SYNC_LEVEL`` selects another instruction set. With every instruction
set, the results have the same bits.
"""

from __future__ import annotations

from inworld_sync._native import force_level, level, levels

__all__ = ["force_level", "level", "levels"]
