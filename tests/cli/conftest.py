"""Fixtures that run commands as a shell does, in this process or in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from inworld_sync import cli
from inworld_sync.emulator import Emulator

from support.commands import Done, Run, start_command
from support.spelling import SpellingSynthesizer


@pytest.fixture(scope="session")
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@pytest.fixture
def environment(server: Emulator) -> Mapping[str, str]:
    """Return the environment variables of a user who has the key of the emulator."""
    other = ("INWORLD_", "PYTHONUNBUFFERED")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    return {**rest, "INWORLD_API_KEY": server.api_key}


@pytest.fixture
def run(
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Run:
    """Return a function that runs a command in this process."""
    for name in os.environ:
        if name.startswith("INWORLD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INWORLD_API_KEY", environment["INWORLD_API_KEY"])

    def run(*arguments: str) -> Done:
        capfdbinary.readouterr()
        try:
            cli.run(list(arguments))
            status: object = 0
        except SystemExit as end:
            status = end.code
        out, err = capfdbinary.readouterr()
        assert isinstance(status, int)
        return Done(status, out, err.decode())

    return run


@pytest.fixture
def start(environment: Mapping[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a command in another process."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        process = start_command(
            [sys.executable, "-m", "inworld_sync", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
