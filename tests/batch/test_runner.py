"""A batch does each item once, even if the batch is interrupted several times."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    BatchProgress,
    ConfigError,
    Inworld,
)
from inworld_sync.batch import work
from inworld_sync.emulator import Emulator, Settings

from support.numbered_texts import expected, jobs, spoken
from support.spelling import SpellingSynthesizer, spoken_part

# The time limit for events that occur at once if the test succeeds.
PATIENCE_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@pytest.fixture
def iw(server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=server.api_key, base_url=server.url, max_retries=0) as iw:
        yield iw


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_bytes().splitlines()]


def test_all_items(iw: Inworld, tmp_path: Path) -> None:
    """Each text is spoken to its file, and a second run does nothing."""
    seen: list[BatchProgress] = []
    summary = iw.batch(jobs(30), tmp_path / "out", on_progress=seen.append)

    assert expected(30) == spoken(tmp_path / "out")
    assert (30, 30, 0, ()) == (summary.total, summary.done, summary.skipped, summary.failures)
    assert sum(len(job["text"]) for job in jobs(30)) == summary.characters
    assert summary.audio_seconds > 0
    assert summary.items_per_second > 0
    assert (0, 30, 30) == (seen[0].done, seen[-1].done, seen[-1].total)
    assert 0 == seen[-1].remaining_seconds
    again = iw.batch(jobs(30), tmp_path / "out")
    assert (0, 30) == (again.done, again.skipped)
    assert ["journal.jsonl"] == [p.name for p in (tmp_path / "out").iterdir() if p.suffix != ".wav"]


def test_changed_items_are_done_again(iw: Inworld, tmp_path: Path) -> None:
    """A second run does only new items and items whose text has changed."""
    iw.batch(jobs(5), tmp_path)
    changed = [*jobs(6)[:-1], {"id": "n5", "text": "New."}]
    changed[2] = {"id": "n2", "text": "Other."}
    summary = iw.batch(changed, tmp_path)

    assert (2, 4) == (summary.done, summary.skipped)
    assert {**expected(5), "n2": "Other.", "n5": "New."} == spoken(tmp_path)


def test_a_change_that_is_undone(iw: Inworld, tmp_path: Path) -> None:
    """An item is done again after its text is changed back, even if all outputs have equal size."""
    for text in ("Once.", "Ever.", "Once."):
        assert 1 == iw.batch([{"id": "a", "text": text}], tmp_path).done
        assert {"a": text} == spoken(tmp_path)


def test_missing_outputs_are_written_again(iw: Inworld, tmp_path: Path) -> None:
    """An output that was removed, or that has another size, is written again."""
    iw.batch(jobs(3), tmp_path)
    (tmp_path / "n0.wav").unlink()
    (tmp_path / "n1.wav").write_bytes(b"cut")
    summary = iw.batch(jobs(3), tmp_path)

    assert (2, 1) == (summary.done, summary.skipped)
    assert expected(3) == spoken(tmp_path)


def test_other_files_are_not_replaced(iw: Inworld, tmp_path: Path) -> None:
    """A file that the batch did not write is replaced only with overwrite=True."""
    (tmp_path / "n1.wav").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"item 2: the output 'n1\.wav' exists"):
        iw.batch(jobs(3), tmp_path)
    assert b"mine" == (tmp_path / "n1.wav").read_bytes()
    assert 3 == iw.batch(jobs(3), tmp_path, overwrite=True).done


def test_errors_of_items(iw: Inworld, tmp_path: Path) -> None:
    """An item that fails does not stop the other items. The next run tries the item again."""
    items = jobs(4)
    items[1]["voice"] = "Nobody"
    summary = iw.batch(items, tmp_path)

    [failure] = summary.failures
    assert ("n1", "n1.wav", "NotFoundError", 1) == (
        failure.id,
        failure.output,
        failure.kind,
        failure.attempts,
    )
    assert 3 == summary.done
    [record] = [record for record in records(tmp_path) if "error" in record]
    assert ("n1", failure.message) == (record["id"], record["message"])
    assert not list(tmp_path.glob(".*.partial"))
    del items[1]["voice"]
    assert (1, 3) == ((done := iw.batch(items, tmp_path)).done, done.skipped)
    assert expected(4) == spoken(tmp_path)


def test_retries(server: Emulator, iw: Inworld, tmp_path: Path, monkeypatch) -> None:
    """An item whose connection is lost is retried. With retries=0, the item fails."""
    monkeypatch.setattr("inworld_sync.batch.runner._FIRST_DELAY_SECONDS", 0.001)
    server.faults.add("drop@1")
    [failure] = iw.batch(jobs(1), tmp_path, retries=0).failures
    assert ("ConnectionLost", 1) == (failure.kind, failure.attempts)
    server.faults.add("drop@1")
    server.faults.add("drop@1")
    assert 1 == iw.batch(jobs(1), tmp_path, retries=2).done
    assert expected(1) == spoken(tmp_path)


def test_a_refused_credential_ends_the_batch(server: Emulator, tmp_path: Path) -> None:
    """If the service refuses the credential, no further items are tried."""
    with Inworld(api_key="d3Jvbmc6d3Jvbmc=", base_url=server.url) as iw, pytest.raises(AuthError):
        iw.batch(jobs(50), tmp_path, concurrency=2)
    assert not records(tmp_path)


def test_a_full_disk(iw: Inworld, tmp_path: Path, monkeypatch) -> None:
    """If an output cannot be written, the batch raises OSError. A later run does all items."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(work.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            iw.batch(jobs(3), tmp_path)
    assert {} == spoken(tmp_path)
    assert 3 == iw.batch(jobs(3), tmp_path).done
    assert not list(tmp_path.glob(".*.partial"))


def test_killed_before_the_renaming(iw: Inworld, tmp_path: Path, monkeypatch) -> None:
    """
    If the process ends after it has written the journal line and before it renames the output,
    the item is not spoken again.
    """

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        patch.setattr(threading, "excepthook", lambda _: None)
        iw.batch(jobs(1), tmp_path)
    assert {} == spoken(tmp_path)
    assert 1 == len(list(tmp_path.glob(".*.partial")))
    summary = iw.batch(jobs(1), tmp_path)

    assert (0, 1) == (summary.done, summary.skipped)
    assert expected(1) == spoken(tmp_path)
    assert not list(tmp_path.glob(".*.partial"))


def test_the_progress_raises(iw: Inworld, tmp_path: Path) -> None:
    """An exception in on_progress, such as Ctrl-C, ends the batch. The next run does the rest."""

    def stop(progress: BatchProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        iw.batch(jobs(40), tmp_path, on_progress=stop, concurrency=2)
    assert iw.batch(jobs(40), tmp_path).failures == ()
    assert expected(40) == spoken(tmp_path)


PROGRAM = """
import sys
from inworld_sync import Inworld
url, key, folder, count = sys.argv[1:]
with Inworld(api_key=key, base_url=url) as iw:
    jobs = [{"id": f"n{n}", "text": f"Number {n}."} for n in range(int(count))]
    iw.batch(jobs, folder)
"""


def run_and_kill(server: Emulator, folder: Path, count: int, after: int) -> None:
    """Run a batch in another process. Kill the process when the journal has *after* lines."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url, server.api_key, str(folder), str(count)]
    )
    try:
        journal, deadline = folder / "journal.jsonl", time.monotonic() + PATIENCE_SECONDS
        while not journal.exists() or journal.read_bytes().count(b"\n") < after:
            assert process.poll() is None
            assert time.monotonic() < deadline
            threading.Event().wait(0.002)
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def test_killed_twice(tmp_path: Path) -> None:
    """After two kills and a third run, each output exists once and was recorded once."""
    count, folder = 60, tmp_path / "out"
    # The service is slow enough that no run completes before it is killed.
    settings = Settings(pace=0.05)
    with Emulator(synthesizer=SpellingSynthesizer(), settings=settings) as server:
        run_and_kill(server, folder, count, 10)
        first = len(records_with_bytes(folder))
        run_and_kill(server, folder, count, first + 10)
        with Inworld(api_key=server.api_key, base_url=server.url) as iw:
            summary = iw.batch(jobs(count), folder)

    assert expected(count) == spoken(folder)
    assert 20 <= summary.skipped < count
    done = [record["output"] for record in records_with_bytes(folder)]
    assert sorted(done) == sorted(set(done))
    assert count == len(done)
    assert not list(folder.glob(".*.partial"))


def records_with_bytes(folder: Path) -> list[dict[str, Any]]:
    found = []
    for line in (folder / "journal.jsonl").read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n") and "bytes" in (record := json.loads(line)):
            found.append(record)
    return found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "concurrency must be an integer from 1 to 1000"),
        ({"retries": -1}, "retries must be an integer from 0 to 100"),
        ({"timeout": -1}, "timeout must be"),
        ({"on_progress": 3}, "on_progress must be callable"),
        ({"output": 3}, "output must be the path of a folder"),
    ],
)
def test_wrong_arguments(
    iw: Inworld, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    """A wrong argument is refused before anything is sent."""
    with pytest.raises(ConfigError, match=message):
        iw.batch(jobs(1), **{"output": tmp_path, **settings})


def test_long_texts(iw: Inworld, tmp_path: Path) -> None:
    """A text of any length becomes one file."""
    text = " ".join(f"Sentence {number} of a long text." for number in range(400))
    iw.batch([{"id": "long", "text": text}], tmp_path)

    assert {"long": spoken_part(text)} == spoken(tmp_path)
