"""Run a test once for every instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import _native


@pytest.fixture(params=_native.levels())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the name of the instruction set that the test uses."""
    name: str = request.param
    _native.force_level(name)
    yield name
    _native.force_level(None)
