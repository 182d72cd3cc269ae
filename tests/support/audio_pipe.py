"""Gives a test the audio that an engine plays. The test decides how fast the engine plays."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

__all__ = ["AudioPipe"]

_F_SETPIPE_SZ = 1031
_TIMEOUT_SECONDS = 20.0


class AudioPipe:
    """
    A named pipe that an audio driver writes to instead of a file.

    The driver waits while the pipe is full, so the time of the driver advances only when the test
    reads. The driver can write ahead of the test until the pipe (4096 bytes), the buffers of the
    driver and the buffer of the file are full.

    Args:
        path: The path at which the pipe is created.
        frame_bytes: The size of a frame.
        sample_rate_hz: Frames per second.
        header_bytes: The size of the file header before the audio. The header is skipped.
    """

    def __init__(
        self, path: Path, frame_bytes: int, sample_rate_hz: int, header_bytes: int = 0
    ) -> None:
        # Only Linux can change the size of a pipe.
        import fcntl

        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._descriptor, _F_SETPIPE_SZ, 4096)
        self._frame_bytes = frame_bytes
        self._rate_hz = sample_rate_hz
        self._header_bytes = header_bytes
        self.played = bytearray()

    def __enter__(self) -> AudioPipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pipe, so that the driver no longer waits. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def seconds(self) -> float:
        """How many seconds of audio were read. This number is the clock of the engine."""
        return len(self.played) / self._frame_bytes / self._rate_hz

    def read(self, seconds: float) -> None:
        """Read audio until the clock has advanced by *seconds*."""
        size_bytes = round(seconds * self._rate_hz) * self._frame_bytes
        self._skip_header()
        end = len(self.played) + size_bytes
        while len(self.played) < end:
            self.played += self._receive(end - len(self.played))

    def _skip_header(self) -> None:
        while self._header_bytes:
            self._header_bytes -= len(self._receive(self._header_bytes))

    def _receive(self, size_bytes: int) -> bytes:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            select.select([self._descriptor], [], [], 0.5)
            try:
                data = os.read(self._descriptor, size_bytes)
            except BlockingIOError:
                continue
            if data:
                return data
            time.sleep(0.001)  # no driver has opened the pipe yet
        raise TimeoutError("the audio driver has written nothing")
