"""Lets OpenAL, which Panda3D uses, write to a pipe or to a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.audio_pipe import AudioPipe

__all__ = ["AHEAD_BYTES", "HEADER_BYTES", "openal_file", "openal_pipe"]

_PERIOD_FRAMES = 480
_FRAME_BYTES = 4
# The size of the header of the file, before the audio.
HEADER_BYTES = 68

# OpenAL is ahead of the test by at most this many bytes. This is the sum of the sizes of the pipe,
# of the buffer of the file, and of four periods.
AHEAD_BYTES = 4096 + 4096 + 4 * _PERIOD_FRAMES * _FRAME_BYTES

_CONFIGURATION = """\
[general]
drivers=wave
frequency={rate_hz}
channels=stereo
sample-type=int16
dither=false
period_size={period_frames}
[wave]
file={path}
"""


@contextlib.contextmanager
def openal_pipe(folder: Path, rate_hz: int) -> Iterator[tuple[Any, AudioPipe]]:
    """
    Return an audio manager of Panda3D, and the pipe that gets the manager's audio in stereo.

    OpenAL plays in real time, and waits while the pipe is full. A process can call this function
    only once, because OpenAL reads its configuration only once.
    """
    path = folder / "sound"
    with AudioPipe(path, _FRAME_BYTES, rate_hz, HEADER_BYTES) as pipe, _opened(path, rate_hz) as it:
        try:
            yield it, pipe
        finally:
            pipe.close()  # so that OpenAL does not wait when the manager is closed


@contextlib.contextmanager
def openal_file(path: Path, rate_hz: int) -> Iterator[Any]:
    """
    Return an audio manager of Panda3D, whose audio in stereo is written to a file.

    OpenAL plays in real time, and never waits. The file is complete when the context ends. A
    process can call this function or :func:`openal_pipe` only once.
    """
    with _opened(path, rate_hz) as manager:
        yield manager


@contextlib.contextmanager
def _opened(path: Path, rate_hz: int) -> Iterator[Any]:
    from panda3d.core import AudioManager, load_prc_file_data

    configuration = path.with_name("openal.conf")
    configuration.write_text(
        _CONFIGURATION.format(rate_hz=rate_hz, period_frames=_PERIOD_FRAMES, path=path)
    )
    os.environ["ALSOFT_CONF"] = str(configuration)
    load_prc_file_data("", "audio-library-name p3openal_audio\nwindow-type none")
    manager = AudioManager.create_AudioManager()
    try:
        yield manager
    finally:
        manager.shutdown()
        del os.environ["ALSOFT_CONF"]
