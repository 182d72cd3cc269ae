"""
WAV files as a source and as a sink of audio.

Locks: as in :class:`~inworld_sync.devices.null.NullSpeaker`; its lock guards the file too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO, Final

from inworld_sync.audio.closing import Closing
from inworld_sync.audio.wav import WavWriter, read_wav
from inworld_sync.devices._pcm import SAMPLE_BYTES, require_between
from inworld_sync.devices.null import NullSpeaker
from inworld_sync.errors import AudioError

__all__ = ["WavSink", "WavSource"]


class WavSource(Closing):
    """
    Gives the samples of a 16-bit mono WAV file.

    Every iteration starts at the beginning of the file.

    Attributes:
        sample_rate_hz: Samples a second of the file.
        duration_ms: How long it sounds.

    Thread safety: one thread a iteration; any thread may call :meth:`close`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        realtime: bool = False,
        block_ms: int = 20,
    ) -> None:
        """
        Read the file.

        Args:
            source: A path, or a binary file, which is read to its end and left open.
            realtime: Give each block when a microphone would have it: after its last sample.
            block_ms: The length of a block, 1 to 1000; the last one may be shorter.

        Raises:
            AudioError: Not a WAV file, not 16-bit PCM, or not mono.
            ConfigError: *block_ms* is out of its range.
            OSError: The file cannot be read.
        """
        require_between("block_ms", block_ms, 1, 1000, "ms")
        wav = read_wav(source)
        if wav.channels != 1:
            raise AudioError(f"a mono file was expected, got {wav.channels} channels")
        self._pcm = memoryview(wav.pcm)
        self.sample_rate_hz: Final = wav.sample_rate_hz
        self.duration_ms: Final = len(self._pcm) / SAMPLE_BYTES * 1000.0 / wav.sample_rate_hz
        self._realtime = realtime
        self._block_ms = block_ms
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        """
        Blocks of PCM in order; the iteration ends early when the source is closed.

        Pacing follows the clock and not the blocks, so a slow reader is not held back: it gets
        what is due at once, and nothing is left out.
        """
        size_bytes = self.sample_rate_hz * self._block_ms // 1000 * SAMPLE_BYTES
        start = time.monotonic()
        for offset in range(0, len(self._pcm), size_bytes):
            block = bytes(self._pcm[offset : offset + size_bytes])
            if self._realtime:
                due_samples = (offset + len(block)) // SAMPLE_BYTES
                self._closed.wait(start + due_samples / self.sample_rate_hz - time.monotonic())
            if self._closed.is_set():
                return
            yield block

    def close(self) -> None:
        """Give no more sound; a waiting iteration ends. May be called twice, from any thread."""
        self._closed.set()


class WavSink(NullSpeaker):
    """
    Writes audio to a WAV file, at once or in real time.

    The file has exactly the samples that :attr:`heard_samples` counts. It is playable at any
    moment. :meth:`close` and the end of a ``with`` block, even with an exception, write the right
    length into its header. A call that cannot write to the file raises ``OSError``.

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
        Begin the file.

        Args:
            target: A path, which is created or replaced, or a binary file, which is not closed.
            sample_rate_hz: The sample rate of the audio that is written, 1000 to 192000.
            realtime: Take as long as a speaker, and write the audio that was heard; the file does
                not have the audio that :meth:`clear` drops. Without it, a sample is heard when it
                is written.
            buffer_ms: With *realtime*, how much audio may be written and not yet heard, 10 to
                3600000.

        Raises:
            ConfigError: A value is out of range; no file was created.
            OSError: The file cannot be written.
        """
        super().__init__(sample_rate_hz, buffer_ms=buffer_ms)
        self._realtime = realtime
        self._queue = bytearray()
        self._stored_samples = 0
        self._writer = WavWriter(target, sample_rate_hz)

    def close(self) -> None:
        """
        Stop at once and finish the file. Any thread may call it, more than once.

        Raises:
            OSError: The file cannot be written.
        """
        try:
            super().close()
        finally:
            with self._changed:
                self._writer.close()

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
