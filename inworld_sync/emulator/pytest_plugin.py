"""
Has a pytest plugin with the fixture ``inworld_local``, a started emulator.

The plugin is installed with the package, so it imports only pytest until the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from inworld_sync.emulator.server import Emulator

__all__ = ["inworld_local"]


@pytest.fixture(scope="session")
def inworld_local() -> Iterator[Emulator]:
    """A started emulator with real speech, shared by the whole test session."""
    try:
        from inworld_sync.emulator.server import Emulator
    except ImportError as error:
        pytest.fail(
            f"the fixture inworld_local needs the extra 'local' ({error.name} is missing): "
            "pip install 'inworld-sync[local]'",
            pytrace=False,
        )
    with Emulator() as server:
        yield server
