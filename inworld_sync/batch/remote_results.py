"""
Keeps the results of a batch in a folder or behind an fsspec URL, without a journal file.

Workers on several machines share the results, and an object store cannot append to a file. So each
item has a marker, which is a separate file: ``.batch/<key>.done`` is written after the output is
complete, and ``.batch/<key>.failed`` has the error of an item that failed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from inworld_sync.batch.jobs import BatchItem
from inworld_sync.batch.work import ItemResult
from inworld_sync.models.batch import BatchFailure

__all__ = ["RemoteResults"]

_FOLDER = ".batch"
_DONE, _FAILED = ".done", ".failed"


class RemoteResults:
    """
    Stores results behind an fsspec URL.

    Args:
        url: A folder, such as ``/srv/out`` or ``s3://bucket/out``.
        options: The options of the file system, such as its credentials.

    Raises:
        ModuleNotFoundError: fsspec, or its part for this kind of URL, is not installed.
        ValueError: fsspec does not know this kind of URL.

    Thread safety: every method may be called from any thread. Close the object after use.
    """

    def __init__(self, url: str, options: dict[str, Any] | None = None) -> None:
        try:
            from fsspec.core import url_to_fs
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "results of several machines need fsspec: pip install 'inworld-sync[celery]'",
                name="fsspec",
            ) from None
        self._system, root = url_to_fs(url, **(options or {}))
        self._root = str(root).rstrip("/")
        self._folder = Path(tempfile.mkdtemp(prefix="inworld-batch-"))

    def close(self) -> None:
        """Remove the folder of the files on this machine, with all partial outputs."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> RemoteResults:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def left(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        """Return the items without a ``.done`` marker."""
        return [item for item in items if not self._system.exists(self._marker(item.key, _DONE))]

    def partial(self, item: BatchItem) -> Path:
        """Return the path of a file on this machine. The output is copied from this file later."""
        return self._folder / item.key

    def commit(self, item: BatchItem, result: ItemResult) -> None:
        """Write the output to its place, and then write the marker."""
        partial = self.partial(item)
        try:
            self._put(partial, f"{self._root}/{item.output}")
        finally:
            partial.unlink(missing_ok=True)
        self._mark(item.key, _DONE, {"id": item.id, "output": item.output, **attrs.asdict(result)})
        self.forget_failures([item.key])

    def fail(self, item: BatchItem, failure: BatchFailure) -> None:
        """Write the marker with the error."""
        self._mark(item.key, _FAILED, attrs.asdict(failure))

    def forget_failures(self, keys: Iterable[str]) -> None:
        """Remove the ``.failed`` markers of items that are done now, or that are tried again."""
        self._remove(keys, _FAILED)

    def forget_outputs(self, keys: Iterable[str]) -> None:
        """Remove the ``.done`` markers of items whose outputs will be replaced."""
        self._remove(keys, _DONE)

    def _remove(self, keys: Iterable[str], suffix: str) -> None:
        for key in keys:
            marker = self._marker(key, suffix)
            if self._system.exists(marker):
                self._system.rm_file(marker)

    def finished(self) -> tuple[set[str], set[str]]:
        """Return the keys of the done items, and the keys of the failed items."""
        folder = f"{self._root}/{_FOLDER}"
        # Some file systems of fsspec cache the list of a folder, and would not show the new markers
        # of other workers.
        self._system.invalidate_cache(folder)
        try:
            names = [str(path).rpartition("/")[2] for path in self._system.ls(folder, detail=False)]
        except FileNotFoundError:
            names = []
        done = {name.removesuffix(_DONE) for name in names if name.endswith(_DONE)}
        failed = {name.removesuffix(_FAILED) for name in names if name.endswith(_FAILED)}
        return done, failed - done

    def failure(self, key: str) -> BatchFailure:
        """Return the error of an item that has failed."""
        return BatchFailure(**json.loads(self._system.cat_file(self._marker(key, _FAILED))))

    def _marker(self, key: str, suffix: str) -> str:
        return f"{self._root}/{_FOLDER}/{key}{suffix}"

    def _mark(self, key: str, suffix: str, facts: dict[str, object]) -> None:
        marker = self._folder / f"{key}{suffix}"
        marker.write_text(json.dumps(facts), encoding="utf-8")
        try:
            self._put(marker, self._marker(key, suffix))
        finally:
            marker.unlink(missing_ok=True)

    def _put(self, source: Path, target: str) -> None:
        """Copy a file so that no reader can see an incomplete copy."""
        system = self._system
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        if "file" not in (
            (system.protocol,) if isinstance(system.protocol, str) else system.protocol
        ):
            # In an object store, an object appears only when it is complete.
            system.put_file(str(source), target)
            return
        partial = Path(target).with_name(f".{source.name}-{self._folder.name}.partial")
        try:
            shutil.copyfile(source, partial)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
