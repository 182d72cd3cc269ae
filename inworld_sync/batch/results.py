"""Keeps the results of a batch in a folder with a journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from inworld_sync.batch.jobs import BatchItem
from inworld_sync.batch.journal import Journal
from inworld_sync.batch.work import ItemResult
from inworld_sync.errors import ConfigError
from inworld_sync.models.batch import BatchFailure

__all__ = ["LocalResults", "Results"]


class Results(Protocol):
    """
    Stores the outputs of a batch, and records which items are done.

    Thread safety: any thread may call :meth:`partial`, :meth:`commit` and :meth:`fail`.
    """

    def left(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        """Return the items that are not done yet."""
        ...

    def partial(self, item: BatchItem) -> Path:
        """Return the file to which the output is written until the output is complete."""
        ...

    def commit(self, item: BatchItem, result: ItemResult) -> None:
        """Put the complete output in its place, and record that the item is done."""

    def fail(self, item: BatchItem, failure: BatchFailure) -> None:
        """Record that the item failed."""


class LocalResults:
    """
    Stores results in a folder.

    Args:
        folder: The folder of the outputs.
        journal: The journal in this folder.
        overwrite: Whether outputs that the journal does not know may be replaced.
    """

    def __init__(self, folder: Path, journal: Journal, *, overwrite: bool) -> None:
        self._folder = folder
        self._journal = journal
        self._overwrite = overwrite

    def left(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        """
        Return the items that are not done yet.

        Raises:
            ConfigError: An output exists that the journal does not know.
        """
        left = [item for item in items if not self._is_done(item)]
        known = self._journal.outputs
        for item in () if self._overwrite else left:
            if item.output not in known and (self._folder / item.output).exists():
                raise ConfigError(
                    f"{item.row}: the output {item.output!r:.200} exists, but is not from this "
                    "batch: choose another folder or template, or pass overwrite=True"
                )
        return left

    def partial(self, item: BatchItem) -> Path:
        """Return a hidden file next to the output. The name of the file depends only on the key."""
        output = self._folder / item.output
        return output.with_name(f".{item.key}.partial")

    def commit(self, item: BatchItem, result: ItemResult) -> None:
        """Record the complete output in the journal, then give the file its final name."""
        facts = {"key": item.key, "id": item.id, "output": item.output}
        self._journal.append({**facts, "bytes": result.size_bytes})
        # If the process ends here, the next run completes the renaming.
        self.partial(item).replace(self._folder / item.output)

    def fail(self, item: BatchItem, failure: BatchFailure) -> None:
        """Record that the item failed."""
        facts = {"key": item.key, "id": item.id, "output": item.output}
        error = {"error": failure.kind, "message": failure.message, "attempts": failure.attempts}
        self._journal.append({**facts, **error})

    def _is_done(self, item: BatchItem) -> bool:
        """
        Return whether the item is in the journal and its output is complete. If the partial file is
        complete, rename it first.
        """
        record = self._journal.records.get(item.key)
        if record is None or "bytes" not in record:
            return False
        output, partial = self._folder / item.output, self.partial(item)
        if _size(partial) == record["bytes"]:
            partial.replace(output)
        if _size(output) == record["bytes"]:
            return True
        # The output is missing or has another size. Without this entry, a later partial file with
        # the recorded size would count as complete.
        self._journal.append({"key": item.key, "again": True})
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
