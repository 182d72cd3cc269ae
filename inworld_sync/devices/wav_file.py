"""
Implements a source that plays a recording, and a sink that writes a WAV file.

Locks: as in :class:`~inworld_sync.devices.null.NullSpeaker`. ``_changed`` guards the file too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from inworld_sync.audio.closing import Closing
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.reader import is_seekable
from inworld_sync.audio.source import AudioLike, ConvertedSource, open_source
from inworld_sync.audio.wav import WavWriter
from inworld_sync.devices.null import NullSpeaker
from inworld_sync.errors import AudioError
from inworld_sync.locks import Event
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import AudioSource

__all__ = ["WavSink", "WavSource"]


class WavSource(Closing):
    """
    Plays a recording as a source of 16-bit mono PCM, in real time or as fast as the program reads.

    The source reads every form of audio that :meth:`iw.stt.transcribe()
    <inworld_sync.Stt.transcribe>` accepts, and never holds more than a few blocks of a file. Every
    iteration starts at the beginning. A pipe or an iterable can be read only once.

    Attributes:
        sample_rate_hz: The sample rate of the recording.
        duration_ms: The duration of the recording; None if the duration is known only after the
            whole recording was read.

    Thread safety: one thread uses an iteration; any thread may call :meth:`close`.
    """

    def __init__(
        self,
        source: AudioLike,
        *,
        sample_rate_hz: int | None = None,
        channels: int = 1,
        raw_format: str | None = None,
        realtime: bool = False,
        block_ms: int = 20,
    ) -> None:
        """
        Open the recording.

        Args:
            source: The path or the bytes of an audio file, an open binary file (which is not
                closed), an array, or another form that ``transcribe`` accepts.
            sample_rate_hz: The sample rate of raw samples and arrays, 1 to 768000.
            channels: The channels of raw samples, 1 to 64; they are mixed to one.
            raw_format: The format of raw samples, such as ``mulaw``; 16-bit by default.
            realtime: Whether to yield each block at the time at which a microphone would yield the
                block.
            block_ms: The length of a block, 1 to 1000. The last block may be shorter.

        Raises:
            AudioError: *source* is not audio, or no installed library can decode *source*.
            ConfigError: A value is out of range. Or *sample_rate_hz* is missing, which raw samples
                and arrays need.
            OSError: The file cannot be read.
        """
        require_whole("block_ms", block_ms, 1, 1000)
        self._source = source
        self._start = cast("BinaryIO", source).tell() if _is_seekable(source) else None
        self._open = partial(
            open_source,
            source,
            from_hz=sample_rate_hz,
            channels=channels,
            raw_format=raw_format,
        )
        first = self._open()
        # The first iteration takes this source. Later iterations open the recording again.
        self._unread = [first]
        self.sample_rate_hz: Final = first.sample_rate_hz
        self.duration_ms: Final = first.duration_ms
        self._realtime = realtime
        self._block_bytes = max(first.sample_rate_hz * block_ms // 1000, 1) * SAMPLE_BYTES
        self._closed = Event()

    def __iter__(self) -> Iterator[bytes]:
        """
        Yield blocks of PCM in order until the source is closed.

        With ``realtime``, a late reader gets the overdue blocks without waiting. No block is
        skipped.

        Raises:
            AudioError: The file is damaged, or a pipe or an iterable is read a second time.
            OSError: The file cannot be read.
        """
        if self._closed.is_set():
            return
        source = self._open_next()
        start, samples = time.monotonic(), 0
        try:
            for block in self._blocks(source):
                samples += len(block) // SAMPLE_BYTES
                if self._realtime:
                    due = start + samples / self.sample_rate_hz
                    self._closed.wait(max(due - time.monotonic(), 0.0))
                if self._closed.is_set():
                    return
                yield block
        finally:
            source.close()

    def close(self) -> None:
        """End all iterations. Any thread may call this method, even more than once."""
        self._closed.set()
        with contextlib.suppress(IndexError):
            self._unread.pop().close()

    def _open_next(self) -> ConvertedSource:
        with contextlib.suppress(IndexError):
            return self._unread.pop()
        source = self._source
        if self._start is not None:
            cast("BinaryIO", source).seek(self._start)
        elif _is_read_once(source):
            raise AudioError(
                "a pipe, an iterable or an AudioSource can be read only once: "
                "create another WavSource"
            )
        return self._open()

    def _blocks(self, source: ConvertedSource) -> Iterator[bytes]:
        waiting = bytearray()
        for pcm in source:
            waiting += pcm
            while len(waiting) >= self._block_bytes:
                yield bytes(waiting[: self._block_bytes])
                del waiting[: self._block_bytes]
        if waiting:
            yield bytes(waiting)


def _is_seekable(source: object) -> bool:
    return hasattr(source, "read") and is_seekable(source)


def _is_read_once(source: object) -> bool:
    if isinstance(source, (str, os.PathLike)):
        return not Path(source).is_file()
    return hasattr(source, "read") or isinstance(source, (Iterator, AudioSource))


class WavSink(NullSpeaker):
    """
    Writes audio to a WAV file, in real time or as fast as the program writes.

    The file has exactly the samples that :attr:`heard_samples` counts. If the target is a path, the
    samples are first written to a partial file, such as ``talk.partial-1a2b3c4d.wav`` for
    ``talk.wav``. The partial file is playable at any moment. :meth:`close` replaces the file at the
    path with the partial file. After an exception in the ``with`` block, the file at the path is
    unchanged and the partial file is kept. A call that cannot write raises ``OSError`` with the
    names of both files.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        sample_rate_hz: int = 24000,
        *,
        realtime: bool = False,
        buffer_ms: int = 2000,
    ) -> None:
        """
        Begin to write the file.

        Args:
            target: A path, or a binary file. A file at the path is replaced; a binary file is not
                closed.
            sample_rate_hz: The sample rate of the audio that is written, 1000 to 192000.
            realtime: Whether to take as long as a speaker would. Then the audio that :meth:`clear`
                drops is not written. By default, a sample counts as heard when it is written.
            buffer_ms: With *realtime*, how much audio may be written and not yet heard, 10 to
                3600000.

        Raises:
            ConfigError: A value is out of range. No file was created.
            OSError: The file cannot be written.
        """
        super().__init__(sample_rate_hz, buffer_ms=buffer_ms)
        self._realtime = realtime
        self._queue = bytearray()
        self._stored_samples = 0
        self._writer = WavWriter(target, sample_rate_hz)

    def close(self) -> None:
        """
        Stop at once and finish the file. Any thread may call this method, even more than once.

        Raises:
            OSError: The file cannot be written.
        """
        try:
            super().close()
        finally:
            with self._changed:
                self._writer.close()

    def __exit__(self, *raised: object) -> None:
        try:
            super().close()
        finally:
            with self._changed:
                self._writer.__exit__(*raised)

    @property
    def partial_path(self) -> Path | None:
        """The partial file; None after ``close()``, or if the target is not a path."""
        return self._writer.partial_path

    def _heard(self) -> int:
        if self._closed:
            return self._stored_samples
        heard = super()._heard() if self._realtime else self._written_frames
        size_bytes = (heard - self._stored_samples) * SAMPLE_BYTES
        if size_bytes:
            self._writer.write(self._queue[:size_bytes])
            del self._queue[:size_bytes]
            self._stored_samples = heard
        return heard

    def _keep(self, samples: memoryview) -> None:
        self._queue += samples
        self._heard()

    def _drop(self) -> None:
        self._queue.clear()
