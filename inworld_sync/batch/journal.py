"""
Writes the journal of a batch, which survives ``kill -9`` and a loss of power.

The journal is a file of JSON lines. New lines are appended, and old lines are never changed. A line
is complete when it ends with a newline, so an incomplete last line is cut off. The last line with a
key has the state of the item with this key:

- ``{"key", "output", "bytes"}``: the output is complete in a partial file, which is renamed to
  *output* after this line is written. So if the partial file still exists, the file is complete and
  only has to be renamed.
- ``{"key", "output", "error", "message", "attempts"}``: the item failed.
- ``{"key", "again": true}``: the item must be done again, because its output is missing or has
  another size.

An output belongs to the last key with which the output was written. A record with an earlier key is
ignored, because the file of that record was replaced.

Lock rule: ``_changed`` guards the lines that are not written yet. ``_changed`` is not held during
``write`` and ``fsync``. One thread writes the lines of all waiting threads, so that many items need
few calls of ``fsync``.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from inworld_sync.errors import ClosedError, ConfigError
from inworld_sync.locks import Condition

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["JOURNAL_NAME", "Journal", "sync_folder"]

JOURNAL_NAME = "journal.jsonl"

_WAIT_SECONDS = 1.0


class Journal:
    """
    The journal in a folder. Only one process may have it open.

    Args:
        folder: The folder of the outputs. The folder must exist.
        logger: Receives a warning for a line that cannot be read.

    Attributes:
        records: The last record of each key at the time when the journal was opened.
        outputs: The outputs that the batch has written, each with its last key.

    Raises:
        ConfigError: Another process has the journal open.
        OSError: The file cannot be opened.

    Thread safety: any thread may call :meth:`append`.
    """

    def __init__(self, folder: Path, logger: logging.Logger) -> None:
        self._path = folder / JOURNAL_NAME
        self.records: dict[str, Mapping[str, object]] = {}
        self.outputs: dict[str, str] = {}
        self._changed = Condition()
        self._waiting: list[bytes] = []
        self._added = self._synced = 0
        self._is_writing = False
        self._failure: OSError | None = None
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | _O_BINARY, 0o666)
        try:
            _lock(self._file, self._path)
            self._size = self._load(logger)
            sync_folder(folder)
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, object]) -> None:
        """
        Write a record, and return when the record is on the disk.

        Raises:
            OSError: The disk is full or has failed. After this error, the journal accepts no
                further records.
        """
        line = json.dumps(record, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
        with self._changed:
            self._waiting.append(line)
            self._added += 1
            number = self._added
            while self._synced < number:
                if self._failure is not None:
                    raise OSError(self._failure.errno, self._failure.strerror, str(self._path))
                if self._is_writing:
                    self._changed.wait(_WAIT_SECONDS)
                    continue
                try:
                    self._is_writing = True
                    lines, self._waiting, upto = self._waiting, [], self._added
                    self._changed.run_unlocked(functools.partial(self._write, b"".join(lines)))
                    self._synced = upto
                except OSError as error:
                    self._failure = error
                finally:
                    self._is_writing = False
                    self._changed.notify_all()

    def close(self) -> None:
        """Close and unlock the file. This method may be called twice."""
        with self._changed:
            file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            raise ClosedError("the journal was closed")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            # Remove an incomplete line from the file.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _load(self, logger: logging.Logger) -> int:
        """Read all records, cut off an incomplete last line, and return the remaining size."""
        data = self._path.read_bytes() if sys.platform != "win32" else _read_all(self._file)
        size = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:size].splitlines(), 1):
            try:
                record = json.loads(line)
                key, output = record["key"], record.get("output")
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                logger.warning("%s line %d cannot be read and is ignored", self._path, number)
                continue
            self.records[str(key)] = record
            if isinstance(output, str) and "bytes" in record:
                before = self.outputs.get(output)
                if before is not None and before != str(key):
                    self.records.pop(before, None)
                self.outputs[output] = str(key)
        if size < len(data):
            os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        return size


_O_BINARY = getattr(os, "O_BINARY", 0)


def _read_all(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    blocks = []
    while block := os.read(file, 1 << 20):
        blocks.append(block)
    return b"".join(blocks)


def _lock(file: int, path: Path) -> None:
    """Lock the journal until the file is closed. The end of the process also closes the file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # The locked byte is far behind the end of the file, since Windows refuses to read a
            # locked byte.
            os.lseek(file, 1 << 30, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(
            f"another process works on this batch and has {str(path)!r} open: wait until the "
            "process ends, or choose another folder"
        ) from None


def sync_folder(folder: Path) -> None:
    """Write the entries of a folder to the disk, if the system supports this."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
