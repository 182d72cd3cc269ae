"""Replaces a file as a whole, so that no reader sees an incomplete file."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

__all__ = ["WholeFile"]


class WholeFile:
    """
    A new file that replaces the file at *path* when the new file is complete.

    Until then the bytes are in a partial file in the same folder, such as
    ``talk.partial-1a2b3c4d.wav`` for ``talk.wav``. After an error the partial file is removed,
    unless *keeps_partial* is true. A device, a pipe or another path that is not a regular file is
    written directly. Use the object as a context manager, which calls :meth:`commit` after the
    block, or :meth:`abandon` after an exception.

    Args:
        path: The file. A symbolic link is followed.
        keeps_partial: Whether the partial file is kept after an error.

    Attributes:
        file: The open file to write to.
        partial_path: The partial file. None if *path* is written directly, if :meth:`commit` was
            called, or if the partial file was removed.

    Raises:
        OSError: The file cannot be created. The error names *path*.

    Thread safety: one thread at a time may use an object.
    """

    def __init__(self, path: str | os.PathLike[str], *, keeps_partial: bool = False) -> None:
        self._path = Path(path)
        self._keeps_partial = keeps_partial
        self.partial_path: Path | None = None
        self._target = Path(os.path.realpath(self._path))
        if self._target.exists() and not self._target.is_file():
            self.file: BinaryIO = self._path.open("wb")
            return
        # The new file gets the permissions of the file that it replaces. Without such a file, the
        # umask decides.
        name = f"{self._target.stem}.partial-{os.urandom(4).hex()}{self._target.suffix}"
        partial = self._target.with_name(name)
        with self._naming_path():
            self.file = partial.open("xb")
        self.partial_path = partial
        if self._target.exists():
            with contextlib.suppress(OSError):
                shutil.copymode(self._target, partial)

    def commit(self) -> None:
        """
        Close the partial file, which then replaces the file at *path*. May be called twice.

        Raises:
            OSError: The disk is full, or *path* cannot be replaced. The file at *path* is
                unchanged.
        """
        try:
            with self._naming_path():
                self.file.close()
                if self.partial_path is not None:
                    self.partial_path.replace(self._target)
                    self.partial_path = None
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the partial file; the file at *path* is unchanged. May be called twice."""
        with contextlib.suppress(OSError):
            self.file.close()
        if self.partial_path is not None and not self._keeps_partial:
            with contextlib.suppress(OSError):
                self.partial_path.unlink()
            self.partial_path = None

    def __enter__(self) -> BinaryIO:
        return self.file

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
            return
        self.abandon()
        # An error of a write has no file name. An error with a name is about another file.
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(self._path)

    @contextlib.contextmanager
    def _naming_path(self) -> Iterator[None]:
        """Replace the path of the partial file in errors with the caller's path."""
        try:
            yield
        except OSError as error:
            error.filename = str(self._path)
            # If ``filename2`` were None, the text of the error would end with "-> None".
            del error.filename2
            raise
