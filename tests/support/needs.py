"""Marks for tests that need a package of the extra "test" which some Pythons do not have."""

from __future__ import annotations

import sys

import pytest

__all__ = ["NEEDS_GEVENT"]

NEEDS_GEVENT = pytest.mark.skipif(
    sys.version_info >= (3, 14) or sys.implementation.name != "cpython",
    reason="the extra 'test' has gevent only for CPython before 3.14",
)
