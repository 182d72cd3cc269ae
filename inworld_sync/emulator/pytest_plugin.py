"""
Implements a pytest plugin with two fixtures. ``inworld_local`` is a started emulator.
``phone_call`` makes simulated phone calls.

pytest loads this plugin in every run, also in projects that do not use it. So the plugin imports
only pytest until a fixture is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from inworld_sync.emulator.phone import SimulatedCall
    from inworld_sync.emulator.server import Emulator

__all__ = ["inworld_local", "phone_call"]


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


@pytest.fixture
def phone_call() -> Iterator[Callable[..., SimulatedCall]]:
    """
    A function that makes a simulated phone call, with the arguments of ``SimulatedCall``.

    All calls are ended after the test.
    """
    from inworld_sync.emulator.phone import SimulatedCall

    with contextlib.ExitStack() as calls:
        yield lambda *args, **kwargs: calls.enter_context(SimulatedCall(*args, **kwargs))
