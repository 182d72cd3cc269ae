"""
Runs a separate PulseAudio server with two null sinks, and records the output of the sinks.

The server changes no file outside a temporary folder. This module needs the system packages
libportaudio2, pulseaudio, pulseaudio-utils and libasound2-plugins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["RATE_HZ", "Recorder", "pactl", "play_file", "pulse_server"]

RATE_HZ = 24000

_PROGRAMS = ("pulseaudio", "pactl", "pacat", "parec")
_SERVER = (
    "pulseaudio",
    "-n",
    "--daemonize=no",
    "--exit-idle-time=-1",
    "--disable-shm=yes",
    "--use-pid-file=no",
)
_MODULES = (
    "--load=module-native-protocol-unix",
    f"--load=module-null-sink sink_name=one rate={RATE_HZ} channels=1",
    f"--load=module-null-sink sink_name=two rate={RATE_HZ} channels=1",
)
_FORMAT = (f"--rate={RATE_HZ}", "--channels=1", "--format=s16le")
_PATIENCE_S = 20.0


@contextlib.contextmanager
def pulse_server() -> Iterator[None]:
    """Run the server during the block. PortAudio in this process then plays to the sink "one"."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise SystemExit(
            f"{', '.join(missing)} not found: apt-get install --no-install-recommends "
            "libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins"
        )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = os.environ["PULSE_RUNTIME_PATH"] = folder
        os.environ["PULSE_SERVER"] = f"unix:{folder}/native"
        server = subprocess.Popen([*_SERVER, *_MODULES], stderr=subprocess.DEVNULL)
        try:
            _wait_for(lambda: pactl("info", check=False).returncode == 0, "the sound server")
            pactl("set-default-sink", "one")
            yield
        finally:
            server.terminate()
            server.wait(_PATIENCE_S)


def pactl(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run pactl, which controls the server."""
    return subprocess.run(["pactl", *arguments], check=check, capture_output=True, timeout=10)


def play_file(sink: str, pcm: bytes) -> subprocess.Popen[bytes]:
    """Start a process that plays samples to a sink."""
    with tempfile.TemporaryFile() as file:
        file.write(pcm)
        file.seek(0)
        return subprocess.Popen(["pacat", "-d", sink, *_FORMAT, "--latency-msec=80"], stdin=file)


class Recorder:
    """
    Records the monitor of a sink, with the time at which each piece arrived.

    A second client plays silence during the recording, because a sink without a client stops.
    """

    def __init__(self, sink: str = "one") -> None:
        self._lock = threading.Lock()
        self._pcm = bytearray()
        self._arrivals: list[tuple[int, float]] = []
        with Path("/dev/zero").open("rb") as zeros:
            self._silence = subprocess.Popen(
                ["pacat", "-d", sink, *_FORMAT, "--latency-msec=20"], stdin=zeros
            )
        self._parec = subprocess.Popen(
            ["parec", "-d", f"{sink}.monitor", *_FORMAT, "--latency-msec=5"],
            stdout=subprocess.PIPE,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        _wait_for(lambda: len(self._pcm) > RATE_HZ, "the recorder")

    def _run(self) -> None:
        assert self._parec.stdout is not None
        while piece := self._parec.stdout.read1(65536):
            with self._lock:
                self._pcm += piece
                self._arrivals.append((len(self._pcm) // 2, time.monotonic()))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._silence, self._parec):
            process.terminate()
            process.wait(_PATIENCE_S)
        self._thread.join(_PATIENCE_S)
        assert self._parec.stdout is not None
        self._parec.stdout.close()

    @property
    def length(self) -> int:
        """The number of samples so far."""
        with self._lock:
            return len(self._pcm) // 2

    def samples(self, start: int = 0) -> npt.NDArray[np.int16]:
        """Return the recording from *start* on."""
        with self._lock:
            return np.frombuffer(bytes(self._pcm[2 * start : len(self._pcm) // 2 * 2]), "<i2")

    def settle(self, seconds: float = 0.5) -> None:
        """Wait until all played samples are recorded."""
        enough = self.length + int(seconds * RATE_HZ)
        _wait_for(lambda: self.length >= enough, "the recorder")

    def times(self) -> npt.NDArray[np.float64]:
        """
        Return the time at which each sample was played, by ``time.monotonic``.

        A sample arrives after it was played, because the pipe adds a delay. The earliest arrival in
        each second has the least delay, so these arrivals show the clock of the sink.
        """
        with self._lock:
            ends, arrivals = np.array(self._arrivals).T
        offsets = arrivals - ends / RATE_HZ
        seconds = (ends // RATE_HZ).astype(int)
        floors = np.array([offsets[seconds == one].min() for one in np.unique(seconds)])
        samples = np.arange(self.length)
        return samples / RATE_HZ + np.interp(samples, (np.unique(seconds) + 0.5) * RATE_HZ, floors)


def _wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} is not ready after {_PATIENCE_S:g} s")
        time.sleep(0.01)
