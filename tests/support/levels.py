"""Run a test once on every instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import _native


@pytest.fixture(params=_native.levels())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the instruction set that is in use for the test."""
    name: str = request.param
    _native.force_level(name)
    yield name
    _native.force_level(None)
