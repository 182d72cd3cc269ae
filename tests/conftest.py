"""Fixtures for every test: it uses the installed package, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No test is timed: a machine with much else to do must not fail one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# How long the threads and sockets of a test may take to go after it; a healthy one takes none.
_GRACE_SECONDS = 10.0

_DESCRIPTORS = Path("/proc/self/fd")


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("inworld-")}


def _sockets() -> set[str]:
    """Name this process's open sockets and pipes, where the system tells."""
    found = set()
    for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS.exists() else ():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed since it was listed, as the listing's own is
        if target.startswith(("socket:", "pipe:")):
            found.add(target)
    return found


@pytest.fixture(autouse=True, scope="session")
def away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run elsewhere: a Python that a test starts must find the package as it is installed."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test whose ``inworld-`` threads, sockets or pipes outlive it."""
    threads, sockets = _threads(), _sockets()
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while (_threads() - threads or _sockets() - sockets) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert not [thread.name for thread in _threads() - threads], "threads outlive the test"
    assert not _sockets() - sockets, "sockets or pipes outlive the test"
