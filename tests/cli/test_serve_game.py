"""Tests of the command ``inworld-sync serve-game``."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from inworld_sync.emulator import Emulator

from support.commands import Run
from support.engine import Engine
from support.spelling import spelled

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_line(start: Start, server: Emulator, end: signal.Signals, status: int) -> None:
    """
    The command prints the URL of the server, serves an engine, and ends when a signal arrives.
    """
    options = ("--port", "0", "--token", "sesame-open", "--base-url", server.url, "--json")
    process = start("serve-game", *options)
    assert process.stdout is not None
    text = b""
    while not text.rstrip().endswith(b"}"):
        line = process.stdout.readline()
        assert line, process.communicate(timeout=30)
        text += line
    with Engine(json.loads(text)["url"], {"token": "sesame-open"}) as engine:
        engine.send("speak", line=1, text="Halt!")
        line = engine.play(1)
        # The signal arrives while the engine is connected.
        process.send_signal(end)
        _, err = process.communicate(timeout=30)
        code = engine.until_closed()

    assert "Halt!" == spelled(line.pcm)
    assert (status, 1001) == (process.returncode, code)
    assert err.strip() in (b"", b"interrupted")
    assert b"sesame" not in text + err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-engines", "0"), "--max-engines"),
        (("--port", "70000"), "--port"),
        (("--allow-origin", "localhost"), "--allow-origin"),
    ],
)
def test_wrong_options(run: Run, server: Emulator, options: tuple[str, ...], words: str) -> None:
    """The error for a wrong value names the option."""
    done = run("serve-game", "--port", "0", "--base-url", server.url, *options)

    assert done.status != 0
    assert words in done.err
