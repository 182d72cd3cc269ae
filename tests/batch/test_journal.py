"""After the process of a journal has ended at any point, the journal can be read and continued."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path

import pytest

from inworld_sync import ConfigError
from inworld_sync.batch.journal import JOURNAL_NAME, Journal

LOGGER = logging.getLogger("inworld_sync")


def opened(folder: Path) -> Journal:
    return Journal(folder, LOGGER)


def test_records_are_read_again(tmp_path: Path) -> None:
    """For each key, only the last record is valid."""
    with opened(tmp_path) as journal:
        journal.append({"key": "a", "output": "a.wav", "bytes": 1})
        journal.append({"key": "b", "output": "b.wav", "bytes": 2})
        journal.append({"key": "a", "again": True})
    with opened(tmp_path) as journal:
        assert {
            "a": {"key": "a", "again": True},
            "b": {"key": "b", "output": "b.wav", "bytes": 2},
        } == (journal.records)
        assert {"a.wav": "a", "b.wav": "b"} == journal.outputs


def test_a_cut_line(tmp_path: Path) -> None:
    """Wherever the last line is cut, the complete lines are read, and lines can be appended."""
    with opened(tmp_path) as journal:
        journal.append({"key": "a", "output": "a.wav", "bytes": 1})
        journal.append({"key": "b", "output": "é.wav", "bytes": 2})
    path = tmp_path / JOURNAL_NAME
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole)):
        path.write_bytes(whole[:size])
        with opened(tmp_path) as journal:
            assert ["a"] == list(journal.records)
            journal.append({"key": "c"})
        with opened(tmp_path) as journal:
            assert ["a", "c"] == list(journal.records)


def test_a_damaged_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A complete line that cannot be read is ignored, with a warning."""
    damaged = b"{oops}\n[1]\n\0\0\n" + b"[" * 100_000 + b"\n"
    (tmp_path / JOURNAL_NAME).write_bytes(b'{"key": "a"}\n' + damaged + b'{"key": "b"}\n')
    with opened(tmp_path) as journal:
        assert ["a", "b"] == list(journal.records)
    assert 4 == caplog.text.count("cannot be read and is ignored")


def test_a_replaced_output(tmp_path: Path) -> None:
    """An output belongs to the last key that wrote it. A failed item has no output."""
    with opened(tmp_path) as journal:
        journal.append({"key": "a", "output": "x.wav", "bytes": 1})
        journal.append({"key": "b", "output": "x.wav", "bytes": 1})
        journal.append({"key": "c", "output": "y.wav", "error": "E", "message": "m"})
    with opened(tmp_path) as journal:
        assert ["b", "c"] == list(journal.records)
        assert {"x.wav": "b"} == journal.outputs


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A journal that is open cannot be opened again before it is closed."""
    with opened(tmp_path), pytest.raises(ConfigError, match="another process works on this batch"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_many_threads(tmp_path: Path) -> None:
    """If many threads append, no record is lost, and each record causes at most one fsync."""
    counts: list[int] = []
    fsync = os.fsync

    def counted(file: int) -> None:
        counts.append(file)
        fsync(file)

    with pytest.MonkeyPatch.context() as patch, opened(tmp_path) as journal:
        patch.setattr(os, "fsync", counted)
        barrier = threading.Barrier(16)

        def append(number: int) -> None:
            barrier.wait(30)
            for step in range(20):
                journal.append({"key": f"{number}-{step}"})

        threads = [threading.Thread(target=append, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    lines = (tmp_path / JOURNAL_NAME).read_bytes().splitlines()

    assert 320 == len({json.loads(line)["key"] for line in lines})
    assert len(counts) <= 320


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk is full, append() raises an error, and no incomplete line stays in the file."""
    with opened(tmp_path) as journal:
        journal.append({"key": "a"})
        write = os.write

        def full(file: int, data: bytes) -> int:
            if len(data) < 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(file, bytes(data)[:5])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OSError, match=JOURNAL_NAME):
                journal.append({"key": "b"})
        with pytest.raises(OSError, match="No space left"):
            journal.append({"key": "c"})

    assert b'{"key": "a"}\n' == (tmp_path / JOURNAL_NAME).read_bytes()
