"""
Implements a speaker for machines without PortAudio, where a program of the system plays the
samples.

The speaker has no thread. A program that reads a pipe gets samples as soon as they are written.
With such a program, ``write`` waits while more than ``buffer_ms`` of audio is not played. A program
that reads files gets each utterance as a temporary file.

Lock rule: as in :class:`~inworld_sync.devices.null.NullSpeaker`. ``_changed`` guards the process
too. The lock is held while a process is started or ended and while samples are written to the pipe
of the process. The pipe is non-blocking.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

import attrs

from inworld_sync.audio.wav import WavWriter
from inworld_sync.devices._sink import deadline_after
from inworld_sync.devices.null import NullSpeaker
from inworld_sync.errors import ConfigError, DeviceError

__all__ = ["ProgramSpeaker"]

# The largest number of seconds that a program may run after the end of its input. During this time,
# the program plays its last samples. A sound server buffers up to 2 s.
_LAST_SAMPLES_SECONDS = 5.0

# The largest number of seconds that a program may run after it was asked to terminate. After this
# time, the program is killed.
_EXIT_SECONDS = 1.0

# The interval at which a wait checks whether the program has exited.
_POLL_SECONDS = 0.02

# A program that reads files starts when the utterance is complete, so the whole utterance is kept.
_UNLIMITED_SAMPLES = 1 << 62

_MAX_ERROR_CHARACTERS = 300


@attrs.frozen
class _Program:
    """
    A program that plays 16-bit little-endian mono PCM.

    Attributes:
        name: The name of the executable.
        arguments: A function that returns the program's arguments for a sample rate in Hz and the
            path of a WAV file.
        is_streamed: Whether the program plays its standard input. Otherwise it plays the WAV file.
    """

    name: str
    arguments: Callable[[int, str], Sequence[str]]
    is_streamed: bool = True


# The programs, in the order in which they are tried. Their options are from the manual pages.
_PROGRAMS: Final = (
    _Program(
        "pw-play",
        lambda rate, _: ["--raw", f"--rate={rate}", "--format=s16", "--channels=1", "-"],
    ),
    _Program(
        "paplay", lambda rate, _: ["--raw", f"--rate={rate}", "--format=s16le", "--channels=1"]
    ),
    _Program("aplay", lambda rate, _: ["-q", "-t", "raw", "-f", "S16_LE", "-c1", f"-r{rate}", "-"]),
    # Raw audio has one channel by default. The option for the number of channels differs between
    # versions, so this option is left out.
    _Program(
        "ffplay",
        lambda rate, _: [
            *("-loglevel", "error", "-nodisp", "-autoexit"),
            *("-f", "s16le", "-sample_rate", str(rate), "-i", "-"),
        ],
    ),
    _Program(
        "mpv",
        lambda rate, _: [
            *("--no-config", "--no-terminal", "--no-video", "--demuxer=rawaudio"),
            *("--demuxer-rawaudio-format=s16le", "--demuxer-rawaudio-channels=1"),
            *(f"--demuxer-rawaudio-rate={rate}", "-"),
        ],
    ),
    _Program("afplay", lambda _, path: [path], is_streamed=False),
    # The path is an argument of its own, so that PowerShell never parses it as code.
    _Program(
        "powershell",
        lambda _, path: [
            *("-NoProfile", "-NonInteractive", "-Command"),
            "& { param($path) (New-Object Media.SoundPlayer $path).PlaySync() }",
            path,
        ],
        is_streamed=False,
    ),
)


class ProgramSpeaker(NullSpeaker):
    """
    Plays 16-bit mono PCM with a program of the system.

    The programs are ``pw-play``, ``paplay``, ``aplay``, ``ffplay``, ``mpv``, ``afplay`` and
    ``powershell``. No program reports what was heard, so :attr:`heard_samples` is computed from the
    monotonic clock. The count is too high by the latency of the program and the sound server,
    usually less than 200 ms. ``afplay`` and ``powershell`` cannot read a pipe, so they play an
    utterance from a temporary file after :meth:`end` or :meth:`drain`. Prefer
    :class:`~inworld_sync.Speaker` where PortAudio can be installed.

    Attributes:
        program: The name of the program.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self, sample_rate_hz: int = 24000, *, program: str | None = None, buffer_ms: int = 400
    ) -> None:
        """
        Find the program. The program is started when the first sample is written.

        Args:
            sample_rate_hz: The sample rate of the audio that is written, 1000 to 192000.
            program: One of the names above; None uses the first program that is installed.
            buffer_ms: How much audio may be written and not yet heard, 10 to 3600000.

        Raises:
            ConfigError: A value is out of range, or *program* is not one of the names.
            DeviceError: *program* is not installed. With None, none of the programs is installed.
        """
        super().__init__(sample_rate_hz, buffer_ms=buffer_ms)
        self._program, self._path = _find(program)
        self.program: Final = self._program.name
        if not self._program.is_streamed:
            self._capacity_samples = _UNLIMITED_SAMPLES
            self._paused = True
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._wav: Path | None = None
        # Samples that were not written to the pipe or to a file yet.
        self._queue = bytearray()

    def end(self) -> None:
        """Mark the utterance as complete. A program that plays files now starts to play."""
        with self._changed:
            self._end(deadline_after(None))

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Wait until all written audio was played and the program has exited.

        Raises:
            DeadlineExceeded: *timeout* seconds passed. Playback continues.
            DeviceError: The program failed, or did not exit.
            ClosedError: The speaker is closed.
        """
        deadline = deadline_after(timeout)
        super().drain(timeout=timeout)
        with self._changed:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
            self._await_exit(min(deadline, deadline_after(_LAST_SAMPLES_SECONDS)))

    def _keep(self, samples: memoryview) -> None:
        self._queue += samples

    def _drop(self) -> None:
        self._queue.clear()
        self._end_process()

    def _write(self, samples: memoryview, deadline: float) -> None:
        super()._write(samples, deadline)
        if self._program.is_streamed:
            self._feed(deadline)

    def _end(self, deadline: float, /) -> None:
        if self._queue and not self._program.is_streamed:
            self._await_exit(deadline)
            self._play_file()

    def _feed(self, deadline: float) -> None:
        """Write the queued samples to the pipe. Wait while the pipe is full."""
        if self._queue and self._process is None:
            self._start("")
        clears = self._clears
        while self._queue and clears == self._clears and not self._closed:
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                written = self._process.stdin.write(self._queue)
            except BrokenPipeError:
                self._await_exit(deadline_after(_EXIT_SECONDS))
                raise self._failure("ended too early") from None
            if written:
                del self._queue[:written]
            else:
                self._wait(self._rate_hz // 50, deadline)

    def _play_file(self) -> None:
        handle, name = tempfile.mkstemp(suffix=".wav")
        self._wav = Path(name)
        with os.fdopen(handle, "wb") as file, WavWriter(file, self.sample_rate_hz) as writer:
            writer.write(self._queue)
        self._queue.clear()
        self._start(name)
        self._since = time.monotonic()
        self._paused = False

    def _start(self, path: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the program ended
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, constant arguments
                [self._path, *self._program.arguments(self.sample_rate_hz, path)],
                stdin=subprocess.PIPE if self._program.is_streamed else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                bufsize=0,
            )
        except OSError as error:
            self._free()
            raise DeviceError(f"cannot run {self._path}: {error}") from error
        # If the pipe were blocking, write() could wait, with the lock held, for a program that does
        # not read.
        if self._process.stdin is not None and os.name == "posix":
            os.set_blocking(self._process.stdin.fileno(), False)

    def _await_exit(self, deadline: float) -> None:
        """
        Wait for the program to exit, if it was started.

        Raises:
            DeviceError: The program failed or did not exit.
        """
        process = self._process
        while process is not None and process is self._process and process.poll() is None:
            if time.monotonic() >= deadline:
                self._end_process()
                raise DeviceError(f"{self.program} did not exit after the last sample")
            self._wait_for_change(_POLL_SECONDS)
        if process is None or process is not self._process:
            return
        failure = self._failure(f"ended with status {process.returncode}")
        self._end_process()
        if process.returncode != 0:
            raise failure

    def _failure(self, what: str) -> DeviceError:
        text = ""
        if self._errors is not None:
            self._errors.seek(0)
            text = self._errors.read().decode(errors="replace").strip()[-_MAX_ERROR_CHARACTERS:]
        return DeviceError(f"{self.program} {what}" + (f": {text}" if text else ""))

    def _end_process(self) -> None:
        """End the program, if it was started, and free its resources."""
        if self._process is not None:
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._process.terminate()
            try:
                self._process.wait(_EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_EXIT_SECONDS)
        self._free()

    def _free(self) -> None:
        self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._wav is not None:
            self._wav.unlink(missing_ok=True)
            self._wav = None
            self._stand_still()
            self._paused = True


def _find(name: str | None) -> tuple[_Program, str]:
    names = [program.name for program in _PROGRAMS]
    if name is not None and name not in names:
        raise ConfigError(f"program must be one of {', '.join(names)}, got {name!r}")
    for program in _PROGRAMS:
        path = shutil.which(program.name) if name in {None, program.name} else None
        if path is not None:
            return program, path
    missing = f"{name} is not" if name else f"none of {', '.join(names)} is"
    raise DeviceError(f"{missing} installed: install such a program, or PortAudio for Speaker()")
