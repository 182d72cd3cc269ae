"""
A simulated sound card that replaces the module sounddevice, including its C callbacks.

The streams of the sound card call the C callbacks on a thread in real time, as PortAudio does. Each
stream records every block, with the time at which the block is played.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from cffi import FFI

__all__ = ["Block", "SoundCard", "until"]

PERIOD_S = 0.005
LATENCY_S = 0.02

_CDEF = """
typedef struct { double input_time, current_time, output_time; } PaStreamCallbackTimeInfo;
typedef int PaStreamCallback(const void *, void *, unsigned long,
                             const PaStreamCallbackTimeInfo *, unsigned long, void *);
typedef void PaStreamFinishedCallback(void *);
"""

# In a test that succeeds, every wait is much shorter than this time.
PATIENCE_S = 30.0


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.001)


class PortAudioError(Exception):
    """Replaces the exception of the same name in sounddevice."""


class Block(SimpleNamespace):
    """A block of output, and the monotonic time at which its first frame is played."""

    heard_at: float
    pcm: bytes


class _Device(SimpleNamespace):
    def as_dict(self, index: int) -> dict[str, object]:
        return {
            "name": self.name,
            "index": index,
            "hostapi": 0,
            "max_input_channels": self.inputs,
            "max_output_channels": self.outputs,
            "default_samplerate": float(self.rates[0]),
        }


class SoundCard:
    """Simulates the devices of a machine, and replaces the module sounddevice."""

    def __init__(self) -> None:
        self.devices: list[_Device] = []
        self.listed: list[_Device] = []
        self.streams: list[_Stream] = []
        self.host_api = "ALSA"
        self.microphone = b""
        self.initialized = 1
        ffi = self.ffi = FFI()
        ffi.cdef(_CDEF)
        self.module: Any = SimpleNamespace(
            __version__="0.5.1",
            PortAudioError=PortAudioError,
            WasapiSettings=lambda **settings: settings,
            default=SimpleNamespace(device=[-1, -1]),
            query_devices=self._query_devices,
            query_hostapis=self._query_hostapis,
            check_output_settings=self._check_output,
            check_input_settings=self._check_input,
            _ffi=ffi,
            _StreamBase=self._open,
            _terminate=self._terminate,
            _initialize=self._initialize,
        )
        self.plug_in("built-in")

    def plug_in(
        self,
        name: str,
        *,
        rates: tuple[int, ...] = (48000, 44100, 24000, 16000),
        channels: tuple[int, int] = (1, 2),
        inputs: int = 2,
        outputs: int = 2,
    ) -> None:
        """
        Add a device, which becomes the default device at the next call of look().

        The first device of the machine becomes the default device at once. The first of *rates* is
        the default rate of the device.
        """
        self.devices.insert(
            0,
            _Device(
                name=name,
                rates=rates,
                least=channels[0],
                inputs=inputs,
                outputs=outputs,
                there=True,
            ),
        )
        if len(self.devices) == 1:
            self.look()

    def unplug(self, name: str) -> None:
        """Remove a device and end its streams. Only look() removes the device from the list."""
        device = next(device for device in self.devices if device.name == name)
        self.devices.remove(device)
        device.there = False
        for stream in self.streams:
            if stream.device is device:
                stream.end()

    @property
    def played(self) -> bytes:
        """All output of all streams, in the order in which the streams were opened."""
        return b"".join(block.pcm for stream in self.streams for block in list(stream.blocks))

    def close(self) -> None:
        """Stop the streams that the test has not stopped."""
        for stream in self.streams:
            stream.end()

    # ---- the module sounddevice
    # ---------------------------------------------------------------

    def look(self) -> None:
        """Update the list of devices, as PortAudio does when it starts."""
        self.listed = list(self.devices)
        default = 0 if self.listed else -1
        self.module.default.device = [default, default]

    def _terminate(self) -> None:
        self.initialized -= 1
        for stream in self.streams:
            stream.end()

    def _initialize(self) -> None:
        self.initialized += 1
        self.look()

    def _query_devices(self, device: int | str | None = None, kind: str | None = None) -> object:
        if device is None and kind is None:
            return [device.as_dict(index) for index, device in enumerate(self.listed)]
        if device is None:
            device = 0 if self.listed else -1
        if isinstance(device, str):
            full = [f"{one.name}, {self.host_api}" for one in self.listed]
            found = [index for index, name in enumerate(full) if device in name]
            if len(found) != 1:
                raise ValueError(f"{len(found)} {kind} devices match {device!r}")
            device = found[0]
        if not 0 <= device < len(self.listed):
            raise PortAudioError(f"Error querying device {device}")
        return self.listed[device].as_dict(device)

    def _query_hostapis(self) -> tuple[dict[str, object], ...]:
        default = self.module.default.device[0]
        return (
            {
                "name": self.host_api,
                "default_input_device": default,
                "default_output_device": default,
            },
        )

    def _check_output(self, *, device: int, channels: int, samplerate: int, **_: object) -> None:
        self._check(self.listed[device], channels, self.listed[device].outputs, samplerate)

    def _check_input(self, *, device: int, channels: int, samplerate: int, **_: object) -> None:
        self._check(self.listed[device], channels, self.listed[device].inputs, samplerate)

    def _check(self, device: _Device, channels: int, most: int, samplerate: int) -> None:
        if samplerate not in device.rates:
            raise PortAudioError("Invalid sample rate")
        if not device.least <= channels <= most:
            raise PortAudioError("Invalid number of channels")

    def _open(self, kind: str, *, device: int, **settings: Any) -> _Stream:
        if not self.listed[device].there:
            raise PortAudioError("Device unavailable")
        stream = _Stream(self, kind, self.listed[device], settings)
        self.streams.append(stream)
        return stream


class _Stream:
    """A stream of a device."""

    def __init__(
        self, card: SoundCard, kind: str, device: _Device, settings: dict[str, Any]
    ) -> None:
        self.card = card
        self.kind = kind
        self.device = device
        self.settings = settings
        self.blocks: list[Block] = []
        self.latency = LATENCY_S
        self.active = False
        self.stuck = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sound-card", daemon=True)

    def start(self) -> None:
        """Begin to call the callback, as in sounddevice."""
        self.active = True
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        """Stop the stream, as in sounddevice."""
        self.end()

    def end(self) -> None:
        """Stop calling the callback."""
        self._over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE_S)

    def play_on(self, blocks: int) -> None:
        """Wait until the stream has requested *blocks* more blocks."""
        enough = len(self.blocks) + blocks
        until(lambda: len(self.blocks) >= enough)

    def _run(self) -> None:
        ffi, rate = self.card.ffi, self.settings["samplerate"]
        time_info = ffi.new("PaStreamCallbackTimeInfo *")
        call = self._play if self.kind == "output" else self._record
        start, done = time.monotonic(), 0
        while not self._over.wait(max(start + done / rate - time.monotonic(), 0.0)):
            frames = int(rate * PERIOD_S)
            if not self.stuck:
                call(frames, done, time_info)
            done += frames
        self.active = False
        self.settings["finished_callback"](self.settings["userdata"])

    def _play(self, frames: int, done: int, time_info: Any) -> None:
        ffi, channels = self.card.ffi, self.settings["channels"]
        out = ffi.new("int16_t[]", frames * channels)
        time_info.current_time = time.monotonic()
        time_info.output_time = time_info.current_time + LATENCY_S
        self.settings["callback"](ffi.NULL, out, frames, time_info, 0, self.settings["userdata"])
        self.blocks.append(Block(heard_at=time_info.output_time, pcm=ffi.buffer(out)[:]))

    def _record(self, frames: int, done: int, time_info: Any) -> None:
        channels = self.settings["channels"]
        size = frames * channels * 2
        block = self.card.microphone[done * channels * 2 :][:size]
        time_info.current_time = time.monotonic()
        time_info.input_time = time_info.current_time - LATENCY_S
        self.settings["callback"](
            block + bytes(size - len(block)),
            self.card.ffi.NULL,
            frames,
            time_info,
            0,
            self.settings["userdata"],
        )


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    """Replace the sound cards of this machine by a simulated sound card."""
    card = SoundCard()
    monkeypatch.setitem(sys.modules, "sounddevice", card.module)
    yield card
    card.close()
