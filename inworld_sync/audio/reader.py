"""
Reads the bytes of a recording, in order, from a file, memory, a pipe or an iterable of blocks.

Locks: none; one thread at a time uses a :class:`ByteReader`.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, BinaryIO, Final, cast

from inworld_sync.errors import AudioError

__all__ = ["ByteReader", "is_seekable"]

_COPY_BYTES: Final = 64 * 1024


class ByteReader:
    """
    Reads bytes in order and can look ahead.

    Attributes:
        name: The name of the file, or a description, for errors.
        suffix: The suffix of the file's name in lower case, such as ``.wav``; empty if unknown.
        is_file: Whether the bytes come from a file, and not from memory or a pipe.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        name: str,
        file: BinaryIO | None = None,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Create a reader.

        Args:
            read: A function that gets a number n, and returns 1 to n bytes, or no bytes at the end.
            name: The path or name of the file, or a description.
            file: The file that *read* reads, if the file is seekable.
            close: A function that frees the source.
        """
        self.name = PurePath(name).name or name
        self.suffix = PurePath(name).suffix.lower()
        self.is_file = False
        self._read = read
        self._file = file
        self._start = file.tell() if file is not None else 0
        self._close = close
        self._ahead = memoryview(b"")
        self._consumed: bytearray | None = bytearray()
        self._copy: BinaryIO | None = None

    @classmethod
    def of_path(cls, path: str | os.PathLike[str]) -> ByteReader:
        """
        Open a file, a FIFO or a device by its path.

        Raises:
            AudioError: *path* contains NUL, or is too long to be a path.
            OSError: The file cannot be opened.
        """
        try:
            # Without a buffer, a read of a pipe returns the bytes that have arrived.
            file = io.FileIO(path)
        except ValueError as error:
            raise AudioError(f"a path must not contain NUL, got {path!r}") from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise AudioError(
                    f"a path was expected, got a text of {len(os.fsdecode(path))} characters: "
                    "base64 must be decoded first"
                ) from None
            raise
        seekable = cast("BinaryIO", file) if file.seekable() else None
        reader = cls(file.read, name=os.fsdecode(path), file=seekable, close=file.close)
        reader.is_file = seekable is not None
        return reader

    @classmethod
    def of_memory(cls, content: bytes | bytearray | memoryview) -> ByteReader:
        """Read bytes in memory."""
        file = io.BytesIO(content)
        return cls(file.read, name=f"{len(content)} bytes", file=file)

    @classmethod
    def of_file(cls, file: Any) -> ByteReader:
        """
        Read an open binary file or an upload object from its current position. The file stays open.

        Raises:
            AudioError: The file is not empty, but its position is at the end.
        """
        name = f"a {type(file).__name__}"
        for attribute in ("name", "filename"):
            found = getattr(file, attribute, None)
            if isinstance(found, str) and found:
                name = found
        read = _reading(file)
        seekable = file if is_seekable(file) else None
        if seekable is not None and (start := seekable.tell()):
            seekable.seek(0, os.SEEK_END)
            end = seekable.tell()
            seekable.seek(start)
            if start >= end:
                raise AudioError(
                    f"{name} is read from its position, which is at its end ({start} "
                    "bytes): call seek(0) before you pass it"
                )
        reader = cls(read, name=name, file=seekable)
        reader.is_file = seekable is not None
        return reader

    @classmethod
    def of_blocks(cls, blocks: Iterator[bytes | bytearray | memoryview]) -> ByteReader:
        """Read an iterator of blocks of bytes."""

        def read(_: int) -> bytes:
            return next((bytes(block) for block in blocks if len(block)), b"")

        return cls(read, name="blocks of bytes")

    def peek(self, size_bytes: int) -> bytes:
        """Return *size_bytes* bytes, or fewer at the end, without consuming them."""
        if len(self._ahead) < size_bytes:
            ahead = bytearray(self._ahead)
            while len(ahead) < size_bytes and (more := self._read(size_bytes - len(ahead))):
                ahead += more
            self._ahead = memoryview(bytes(ahead))
        return bytes(self._ahead[:size_bytes])

    def read_some(self, size_bytes: int) -> bytes:
        """Return 1 to *size_bytes* bytes as soon as there are some; return no bytes at the end."""
        if not self._ahead:
            self._ahead = memoryview(self._read(size_bytes))
        return self._consume(size_bytes)

    def read(self, size_bytes: int) -> bytes:
        """Consume and return *size_bytes* bytes, or fewer at the end."""
        self.peek(size_bytes)
        return self._consume(size_bytes)

    def skip(self, size_bytes: int) -> bool:
        """Consume *size_bytes*; return False if there were fewer bytes."""
        while size_bytes > 0:
            found = self.read_some(min(size_bytes, _COPY_BYTES))
            if not found:
                return False
            size_bytes -= len(found)
        return True

    @property
    def left_bytes(self) -> int | None:
        """The number of bytes that were not read yet; None if the source cannot seek."""
        if self._file is None:
            return None
        at = self._file.tell()
        self._file.seek(0, os.SEEK_END)
        end = self._file.tell()
        self._file.seek(at)
        return end - at + len(self._ahead)

    def begin_samples(self) -> None:
        """Stop keeping the bytes that are read, because the header has been read."""
        self._consumed = None

    def as_file(self) -> BinaryIO:
        """
        Return a seekable binary file whose position 0 is the beginning of the recording.

        A source that cannot seek is copied to a temporary file. Before this call, only the header
        may have been read. After this call, the reader must not be used, except to close it.
        """
        if self._file is not None:
            return cast("BinaryIO", _Window(self._file, self._start))
        import tempfile

        self._copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed by close()
        self._copy.write((self._consumed or b"") + self._ahead)
        while found := self._read(_COPY_BYTES):
            self._copy.write(found)
        self._copy.seek(0)
        return self._copy

    def _consume(self, size_bytes: int) -> bytes:
        found, self._ahead = bytes(self._ahead[:size_bytes]), self._ahead[size_bytes:]
        if self._consumed is not None and self._file is None:
            self._consumed += found
        return found

    def close(self) -> None:
        """Free the source. A file that the caller opened stays open."""
        if self._copy is not None:
            self._copy.close()
        self._close()


class _Window(io.RawIOBase):
    """Presents the part of a seekable file after *start* as a file of its own."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        found = self._file.read(len(out))
        out[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            offset += self._start
        self._file.seek(offset, whence)
        return self._file.tell() - self._start


def _reading(file: Any) -> Callable[[int], bytes]:
    """Return a function that reads a file. Its errors say what is wrong with the file."""
    if isinstance(file, io.TextIOBase):
        raise AudioError("a file of audio must be opened in binary mode ('rb'), got a text file")
    # read() of a buffered pipe waits until all bytes that were requested have arrived.
    read = getattr(file, "read1", None) or file.read

    def read_bytes(size_bytes: int) -> bytes:
        try:
            found = read(size_bytes)
        except ValueError as error:
            raise AudioError(f"the {type(file).__name__} cannot be read: {error}") from error
        if not isinstance(found, (bytes, bytearray, memoryview)):
            raise AudioError(
                f"read() of a file of audio must return bytes, got {type(found).__name__} from a "
                f"{type(file).__name__}: open it in binary mode ('rb')"
            )
        return bytes(found)

    return read_bytes


def is_seekable(file: Any) -> bool:
    """Return whether a file can seek."""
    try:
        # Some upload objects can seek, but have no method `seekable`.
        if not getattr(file, "seekable", lambda: True)():
            return False
        file.seek(file.tell())
    except (AttributeError, OSError, ValueError):
        return False
    return True
