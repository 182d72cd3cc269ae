"""
Removes WAV headers from streamed chunks, and writes WAV files while the audio arrives.

The format is 16-bit little-endian PCM. If the length is not known when the header is written, the
header has a length of 4 GiB, which players understand as "until the end".
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from inworld_sync._native import ffi, lib
from inworld_sync.audio._memory import readable
from inworld_sync.audio.pcm import SAMPLE_BYTES, SampleCarry
from inworld_sync.audio.reader import is_seekable
from inworld_sync.audio.samples import contiguous_samples
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.errors import AudioError, ClosedError

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from inworld_sync.audio.samples import AudioData

__all__ = ["HEADER_BYTES", "WavWriter", "header", "strip_riff"]

HEADER_BYTES: Final = 44

_PCM = 1
_UNKNOWN = 0xFFFF_FFFF
# The RIFF length counts the samples and the part of the header after the length field.
_RIFF_EXTRA_BYTES = HEADER_BYTES - 8
_MAX_DATA_BYTES = _UNKNOWN - 1 - _RIFF_EXTRA_BYTES

PathLike: TypeAlias = "str | os.PathLike[str]"


def strip_riff(chunk: Buffer) -> memoryview:
    """
    Return the samples of one chunk, which may begin with a WAV header.

    The service puts a header before the first chunk and before the short last chunk of every flush.
    Each header has the length of its own chunk. The chunks between these two chunks have no header.
    So the client calls this function for every chunk. A length that cannot be right (0, 4 GiB, more
    than the chunk has) means "to the end". A header without a data chunk is assumed to have 44
    bytes.

    Args:
        chunk: Any object with a contiguous buffer. The buffer is not copied.

    Returns:
        A view of the bytes of *chunk* after the header, or of all bytes if there is no header.

    Raises:
        AudioError: *chunk* is not a contiguous buffer.

    Thread safety:
        Any thread may call the function at any time.

    Source: Inworld TTS WebSocket, LINEAR16 as seen from the live service.
    """
    try:
        view = memoryview(chunk).cast("B")
    except (TypeError, ValueError, BufferError) as error:
        raise AudioError(
            f"expected bytes or another contiguous buffer, got {type(chunk).__name__}"
        ) from error
    if view[:4].tobytes() != b"RIFF":
        return view
    found = ffi.new("struct iw_wav *")
    lib.iw_wav_find(found, readable(view), len(view))
    return view[found.data_offset_bytes :][: found.data_bytes]


def header(sample_rate_hz: int, channels: int = 1, data_bytes: int | None = None) -> bytes:
    """
    Return the 44-byte header of a 16-bit PCM file.

    Args:
        sample_rate_hz: Samples per second of each channel, at least 1.
        channels: Samples per frame, 1 to 32767.
        data_bytes: Bytes of samples that follow; None if the length is not known yet.

    Raises:
        AudioError: A value does not fit into the header.
    """
    numbers = (channels, sample_rate_hz, 0 if data_bytes is None else data_bytes)
    if not all(type(each) is int for each in numbers):
        raise AudioError(f"the numbers of a WAV header must be integers, got {numbers}")
    frame_bytes = channels * SAMPLE_BYTES
    if not 1 <= channels <= 0x7FFF or not 1 <= sample_rate_hz <= _UNKNOWN // frame_bytes:
        raise AudioError(
            "a WAV header can have 1 to 32767 channels and less than 4 GiB per second, "
            f"got {channels!r} channels at {sample_rate_hz!r} Hz"
        )
    if data_bytes is not None and not 0 <= data_bytes <= _MAX_DATA_BYTES:
        raise AudioError(
            f"data_bytes of a WAV file must be 0 to {_MAX_DATA_BYTES}, got {data_bytes!r}"
        )
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        _UNKNOWN if data_bytes is None else data_bytes + _RIFF_EXTRA_BYTES,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        channels,
        sample_rate_hz,
        sample_rate_hz * frame_bytes,
        frame_bytes,
        SAMPLE_BYTES * 8,
        b"data",
        _UNKNOWN if data_bytes is None else data_bytes,
    )


class WavWriter:
    """
    Writes a 16-bit PCM file while the audio arrives.

    If the target is a path, the audio is first written to a partial file, such as
    ``talk.partial-1a2b3c4d.wav`` for ``talk.wav``. :meth:`close` replaces the file at the path with
    the partial file. After an error of a write, an exception in the ``with`` block or Ctrl-C, the
    file at the path is unchanged and the partial file is kept.

    The header has an unknown length until the file is closed, so that the file is playable at any
    moment. If the header cannot be rewritten (in a pipe, a file opened to append, or gzip), the
    length stays unknown.

    Attributes:
        data_bytes: The number of bytes of whole frames that were written.

    Thread safety:
        One thread at a time may use an object.
    """

    def __init__(self, target: PathLike | BinaryIO, sample_rate_hz: int, channels: int = 1) -> None:
        """
        Begin the file.

        Args:
            target: A path, or a binary file. A file at the path is replaced. A binary file is
                written from its current position and not closed.
            sample_rate_hz: Samples per second of each channel.
            channels: Samples per frame.

        Raises:
            AudioError: A value does not fit into the header, or *target* is neither a path nor a
                binary file. No file was created.
            OSError: The file cannot be written.
        """
        first_header = header(sample_rate_hz, channels)
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._carry = SampleCarry(channels * SAMPLE_BYTES)
        self.data_bytes = 0
        self._path: Path | None = None
        self._whole: WholeFile | None = None
        self._has_failed = False
        if isinstance(target, (str, os.PathLike)):
            self._path = Path(target)
            try:
                self._whole = WholeFile(self._path, keeps_partial=True)
            except ValueError as error:
                raise AudioError(f"a path must not contain NUL, got {target!r}") from error
            file = self._whole.file
        elif hasattr(target, "write"):
            file = target
        else:
            raise AudioError(f"target must be a path or a binary file, got {type(target).__name__}")
        self._file: BinaryIO | None = file
        self._rewrites = is_seekable(file) and not _is_append_only(file)
        self._start = file.tell() if self._rewrites else 0
        try:
            with self._noting_errors():
                _write_all(file, first_header)
        except BaseException:
            self._end_file(is_complete=False)
            raise
        self._rewrites = self._rewrites and self._can_seek_back(file)

    @property
    def partial_path(self) -> Path | None:
        """The partial file; None after ``close()``, or if the target is not a path."""
        return None if self._whole is None else self._whole.partial_path

    def write(self, pcm: AudioData) -> None:
        """
        Add samples. A frame may be divided between two calls.

        Args:
            pcm: 16-bit little-endian PCM as bytes, or an array of samples.

        Raises:
            AudioError: *pcm* is not audio, or the file would be larger than 4 GiB, the limit of the
                format. Nothing was written.
            ClosedError: The writer is closed.
            OSError: The file cannot be written. The error names the path and the partial file,
                which ``close()`` then keeps.
        """
        if self._file is None:
            raise ClosedError("write() was called on a closed WavWriter")
        samples = contiguous_samples(pcm, "s16", self._channels)
        size_bytes = self.data_bytes + self._carry.pending_bytes + len(samples)
        if self._rewrites and size_bytes > _MAX_DATA_BYTES:
            raise AudioError(
                f"a WAV file can have up to {_MAX_DATA_BYTES} bytes of samples, got {size_bytes}: "
                "start a second file"
            )
        frames = self._carry.feed(samples)
        with self._noting_errors():
            _write_all(self._file, frames)
        self.data_bytes += len(frames)

    def close(self) -> None:
        """
        Write the length into the header, and replace the file at the path. May be called twice.

        Raises:
            AudioError: The last frame is incomplete. The file has all other frames.
            OSError: The file cannot be written.
        """
        self._end_file(is_complete=not self._has_failed)
        self._carry.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end_file(is_complete=kind is None and not self._has_failed)
        if kind is None:
            self._carry.finish()

    def _end_file(self, *, is_complete: bool) -> None:
        """Finish the header. Replace the file at the path if the new file is complete."""
        file, self._file = self._file, None
        if file is None:
            return
        if not is_complete:
            # The error that made the file incomplete is raised already.
            with contextlib.suppress(OSError):
                self._finish_header(file)
            if self._whole is not None:
                self._whole.abandon()
            return
        try:
            with self._noting_errors():
                self._finish_header(file)
                if self._whole is not None:
                    self._whole.commit()
        except BaseException:
            if self._whole is not None:
                self._whole.abandon()
            raise

    def _finish_header(self, file: BinaryIO) -> None:
        if self._rewrites:
            # The size is taken from the file, since an interrupted write may have written more
            # than data_bytes counts.
            written = file.tell() - self._start - HEADER_BYTES
            self.data_bytes = written - written % (self._channels * SAMPLE_BYTES)
            end = self._start + HEADER_BYTES + self.data_bytes
            if self._whole is not None:
                file.truncate(end)
            file.seek(self._start)
            _write_all(file, header(self._sample_rate_hz, self._channels, self.data_bytes))
            file.seek(end)
        flush = getattr(file, "flush", None)
        if flush is not None:
            flush()

    def _can_seek_back(self, file: BinaryIO) -> bool:
        """Return whether the header can be rewritten. A gzip file can only seek forward."""
        try:
            file.seek(self._start)
        except OSError:
            return False
        file.seek(self._start + HEADER_BYTES)
        return True

    @contextlib.contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Add the path and the partial file to errors of the file."""
        try:
            yield
        except OSError as error:
            self._has_failed = True
            if self._path is not None:
                error.filename = str(self._path)
                if self.partial_path is not None:
                    error.filename2 = str(self.partial_path)
            raise


def _write_all(file: BinaryIO, data: Buffer) -> None:
    """Write all bytes. A raw file may accept only a part of them in one call."""
    written: int | None = file.write(data)
    rest = memoryview(data)
    # A file object of another library may return None after it has written all bytes.
    while written is not None and written < len(rest):
        if written <= 0:
            raise OSError(errno.EIO, "the file accepted no bytes")
        rest = rest[written:]
        written = file.write(rest)


def _is_append_only(file: BinaryIO) -> bool:
    """
    Return whether every write goes to the end of the file, as with the mode ``ab`` or ``>>`` of a
    shell.
    """
    if "a" in str(getattr(file, "mode", "")):
        return True
    try:
        import fcntl

        return bool(fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND)
    except (ImportError, AttributeError, OSError, ValueError):
        return False
