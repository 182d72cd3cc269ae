"""Fixtures for all tests. Tests use the installed package, and leave no thread or socket open."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from inworld_sync.audio.echo.processor import Processor

from support.descriptors import describe, open_descriptors, record_sockets

# Hypothesis has no time limit for an example, so a busy machine does not make a test fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# The threads, sockets and pipes of a test must end within this many seconds after the test.
_GRACE_SECONDS = 60.0

record_sockets()


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("inworld-")}


@pytest.fixture(autouse=True, scope="session")
def away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a temporary folder, so that subprocesses of tests import the installed package."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def audio_processing() -> None:
    """Load the library of echo cancellation, so that its two sockets do not count as left open."""
    Processor(16_000, cancel_echo=True, noise_suppression=False, auto_gain=False, delay_ms=0)


@pytest.fixture(autouse=True)
def no_open_threads_or_sockets() -> Iterator[None]:
    """Fail a test whose ``inworld-`` threads, sockets or pipes still exist after the test."""
    threads, before = _threads(), open_descriptors().keys()
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while True:
        # A finalizer may start a short thread at any moment. So the error message below uses the
        # values that were checked here, and does not look again.
        late, opened = _threads() - threads, open_descriptors()
        is_clean = not (late or opened.keys() - before)
        if is_clean or time.monotonic() >= deadline:
            break
        gc.collect()
        time.sleep(0.01)
    assert not [thread.name for thread in late], "threads outlive the test"
    left = [describe(*each) for each in opened.items() if each[0] not in before]
    assert not left, "\n".join(["sockets or pipes outlive the test", *left])
