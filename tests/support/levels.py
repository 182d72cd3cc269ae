"""A fixture that runs a test once for each instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import _native


@pytest.fixture(params=_native.levels())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Select an instruction set for the test, and return the name of the set."""
    name: str = request.param
    _native.force_level(name)
    yield name
    _native.force_level(None)
