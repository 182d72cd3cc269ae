from __future__ import annotations

from pathlib import Path

import pytest

from support.drivers import compile_core
from support.levels import level as level


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the object files of the C core, which the C programs of the tests use."""
    return compile_core(tmp_path_factory.mktemp("core"))
