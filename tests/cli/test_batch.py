"""The output, the exit status and the interruption of ``inworld-sync batch``."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from inworld_sync import cli
from inworld_sync.cli.batch import _facts
from inworld_sync.emulator import Emulator
from inworld_sync.models.batch import BatchProgress

from support.commands import Done, Run
from support.spelling import spelled


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.csv"
    path.write_text("id,text\na,One.\nb,Two.\n", "utf-8")
    return path


@pytest.fixture
def batch(run: Run, server: Emulator) -> Callable[..., Done]:
    return lambda *arguments: run("batch", "--base-url", server.url, *map(str, arguments))


def spoken(path: Path) -> str:
    with wave.open(str(path)) as file:
        return spelled(file.readframes(file.getnframes()))


def test_files(batch: Callable[..., Done], jobs: Path, tmp_path: Path) -> None:
    """Each text is spoken into a file. A second run of the command skips all texts."""
    done = batch(jobs, "-o", tmp_path / "out")
    assert (0, b"") == (done.status, done.out)
    assert "2 items done in" in done.err
    assert ("One.", "Two.") == (spoken(tmp_path / "out/a.wav"), spoken(tmp_path / "out/b.wav"))
    again = batch(jobs, "-o", tmp_path / "out", "--json")
    summary = json.loads(again.out)
    assert (2, 2, 0, []) == (
        summary["total"],
        summary["skipped"],
        summary["done"],
        summary["failures"],
    )


def test_a_failure(batch: Callable[..., Done], tmp_path: Path) -> None:
    """If an item fails, a message names the item, and the exit status is 1."""
    path = tmp_path / "jobs.jsonl"
    path.write_text('{"id": "a", "text": "One."}\n{"id": "b", "text": "Two.", "voice": "No"}\n')
    done = batch(path, "-o", tmp_path / "out", "--template", "{id}.wav")

    assert 1 == done.status
    assert "inworld-sync: b: NotFoundError: " in done.err
    assert "1 items done" in done.err
    assert "1 failed" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--template", "../{id}.wav"], "may lead outside the folder"),
        (["--template", "a.wav"], "line 2 and line 3 have the same output"),
        (["--template", "{name}.wav"], "--template has the field {name}"),
        (["--jobs-at-once", "0"], "--jobs-at-once"),
        (["--redis", "localhost"], "must be the address of Redis"),
    ],
)
def test_wrong_usage(
    batch: Callable[..., Done], jobs: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Wrong usage has exit status 2, and nothing is sent."""
    done = batch(jobs, "-o", tmp_path / "out", *arguments)

    assert 2 == done.status
    assert message in done.err
    assert not list((tmp_path).glob("out/*.wav"))


def test_without_redis_py(jobs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Without redis-py, the error says how to install the extra."""
    monkeypatch.setitem(sys.modules, "redis", None)
    url = "redis://localhost:6379/0"
    with pytest.raises(SystemExit) as ended:
        cli.run(["batch", str(jobs), "-o", str(tmp_path / "out"), "--local", "--redis", url])

    assert 2 == ended.value.code
    assert "pip install 'inworld-sync[redis]'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT")
def test_ctrl_c(start, server: Emulator, tmp_path: Path) -> None:
    """Ctrl-C ends the command with status 130 and the message "interrupted"."""
    path = tmp_path / "jobs.jsonl"
    rows = [json.dumps({"id": f"n{n}", "text": f"Number {n}. " * 50}) for n in range(3000)]
    path.write_text("\n".join(rows))
    process = start("batch", "--base-url", server.url, str(path), "-o", str(tmp_path / "out"))
    journal, deadline = tmp_path / "out" / "journal.jsonl", time.monotonic() + 60
    while not journal.exists() or not journal.stat().st_size:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert (130, "interrupted") == (process.returncode, errors.decode().strip())


def test_the_progress() -> None:
    """The progress bar shows the rate, the remaining time and the failures."""
    progress = BatchProgress(
        total=9000, done=10, failed=2, items_per_second=2.5, remaining_seconds=3725.4
    )

    assert "2.5/s  1:02:05 left  2 failed" == _facts(progress)
