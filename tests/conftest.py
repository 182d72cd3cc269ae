"""Fixtures for every test: it uses the installed package, and leaves no thread or socket open."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a test must not fail on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# How long after a test its threads may end and its sockets may close. Normally they need no time.
_GRACE_SECONDS = 10.0

_DESCRIPTORS = Path("/proc/self/fd")


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("inworld-")}


def _sockets() -> set[str]:
    """Return the open sockets and pipes of this process, on systems that can list them."""
    found = set()
    for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS.exists() else ():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed after it was listed, such as the file of the listing itself
        if target.startswith(("socket:", "pipe:")):
            found.add(target)
    return found


@pytest.fixture(autouse=True, scope="session")
def away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a temporary folder, so that subprocesses of tests import the installed package."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test if an ``inworld-`` thread still runs or a socket or pipe is open after it."""
    threads, sockets = _threads(), _sockets()
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while (_threads() - threads or _sockets() - sockets) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert not [thread.name for thread in _threads() - threads], "threads still run after the test"
    assert not _sockets() - sockets, "sockets or pipes are open after the test"
