"""
Uses PortAudio through sounddevice, for the list of devices and for streams with a C callback.

sounddevice calls PortAudio through cffi, and lets library authors pass a C function instead of a
Python function. ``_StreamBase`` accepts any pointer of its own ``ffi`` as *callback*,
*finished_callback* and *userdata*. The callbacks here are C functions of the compiled core, so no
Python code runs in the device's thread. Source: sounddevice, ``_StreamBase``, "should only be used
by library authors ... the callback parameter also accepts a C function pointer"; python-rtmixer
does the same.

Locks: ``_lock`` is held while a stream is opened or closed and while PortAudio restarts, since
PortAudio requires that the caller serializes these calls. A thread that holds ``_lock`` acquires no
other lock.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from inworld_sync.audio.streams import MicrophoneRing, SpeakerFeed, StreamCallback
from inworld_sync.errors import ConfigError, DeviceError
from inworld_sync.locks import Condition, Event
from inworld_sync.models.devices import DeviceInfo

__all__ = [
    "DeviceStream",
    "Format",
    "choose_format",
    "find_device",
    "list_devices",
    "refresh_devices",
    "reopen_stream",
    "require_device",
]

Kind: TypeAlias = Literal["input", "output"]

_INSTALL: Final = {
    "linux": "install it, for example with 'apt install libportaudio2' or 'dnf install portaudio'",
    "darwin": "install it with 'brew install portaudio'",
}
# The versions whose _StreamBase accepts C callbacks in this way.
_SOUNDDEVICE: Final = "versions 0.4.6 to 0.5"
# A device calls back many times per second. A device that does not call back for this time counts
# as lost, because macOS does not report a lost device. The longest known pause of a working device
# is 0.8 s, when a sound server woke up.
_SILENT_SECONDS: Final = 5.0
_WASAPI: Final = "Windows WASAPI"
# The rates that are tried after the requested rate and the device's default rate. Nearly every
# device supports one of them.
_COMMON_RATES_HZ = (48_000, 44_100)

_lock = Condition()
# All open streams, each with the object that its callback uses. This reference keeps the object
# alive until the stream is closed.
_open_streams: dict[int, tuple[Any, object]] = {}
_numbers = itertools.count()
_exiting = Event()


@functools.cache
def _close_at_exit() -> None:
    # The exit function that is registered last runs first. So _shut_down is registered after the
    # import of sounddevice, and runs before the exit function of sounddevice.
    atexit.register(_shut_down)


def _shut_down() -> None:
    """
    Stop all devices. No device can be opened after this call.

    The threads of devices must end before the interpreter ends.
    """
    with _lock:
        _exiting.set()
        _close_all()


def _sounddevice() -> Any:
    """
    Return the module sounddevice. Its stream class and its cffi have no type annotations.

    Raises:
        DeviceError: sounddevice or PortAudio is not installed.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise DeviceError(
            "speakers and microphones need sounddevice: pip install 'inworld-sync[audio]'"
        ) from error
    except OSError as error:
        raise DeviceError(
            "sounddevice is installed, but the PortAudio library that it needs is not: "
            + _INSTALL.get(sys.platform, "reinstall sounddevice, whose wheel contains it")
        ) from error
    _close_at_exit()
    if _exiting.is_set():
        raise DeviceError("the interpreter is shutting down: no device can be opened")
    return sounddevice


def list_devices() -> list[DeviceInfo]:
    """
    Return the sound devices.

    PortAudio makes the list once, when it starts. :func:`refresh_devices` restarts PortAudio.

    Raises:
        DeviceError: sounddevice or PortAudio is not installed.
    """
    sd = _sounddevice()
    with _lock, _translated(sd, "listing sound devices"):
        hosts = sd.query_hostapis()
        return [_info(sd, device, hosts) for device in sd.query_devices()]


def refresh_devices() -> None:
    """
    Update the list of devices after a device was connected or disconnected.

    PortAudio restarts, so every stream of this process that uses sounddevice ends. A
    :class:`~inworld_sync.Speaker` and a :class:`~inworld_sync.Microphone` open their streams again
    at their next use. Your program must open its own streams again.

    Raises:
        DeviceError: sounddevice or PortAudio is not installed, or PortAudio cannot start.
    """
    sd = _sounddevice()
    with _lock:
        _close_all()
        with _translated(sd, "starting PortAudio"):
            sd._terminate()  # noqa: SLF001 - the only way to update the list of devices
            sd._initialize()  # noqa: SLF001


def require_device(device: object, on_change: object) -> None:
    """Raise `ConfigError` if the arguments of a speaker or microphone have a wrong type."""
    is_name = isinstance(device, (int, str)) and not isinstance(device, bool)
    if device is not None and not is_name:
        raise ConfigError(f"device must be an index, a name or None, got {device!r}")
    if on_change is not None and not callable(on_change):
        raise ConfigError(f"on_change must be a function or None, got {on_change!r}")


def find_device(kind: Kind, device: int | str | None) -> DeviceInfo:
    """
    Find a device by its index or by a part of its name. None finds the default device.

    Raises:
        ConfigError: No device or several devices have this name.
        DeviceError: There is no device, or a library is not installed (sounddevice or PortAudio).
    """
    sd = _sounddevice()
    with _lock, _translated(sd, f"finding {_called(kind, device)}"):
        hosts = sd.query_hostapis()
        wanted = _default(hosts, kind) if device is None else device
        if wanted is None and sd.default.device["io".index(kind[0])] == -1:
            raise DeviceError(
                f"PortAudio finds no {kind} device on this machine: connect one, or use a WAV "
                "file or a NullSpeaker instead"
            )
        try:
            found = sd.query_devices(wanted, kind)
        except ValueError as error:
            raise ConfigError(f"{_called(kind, device)} was not found: {error}") from error
        return _info(sd, found, hosts)


class Format(NamedTuple):
    """A device, and the sample rate and channels with which to open it."""

    device: DeviceInfo
    sample_rate_hz: int
    channels: int

    def lasting_name(self, device: int | str | None) -> str | None:
        """Return a name that finds the user's *device* again, since indices change."""
        return f"{self.device.name}, {self.device.host_api}" if isinstance(device, int) else device


class DeviceStream:
    """
    A running stream of 16-bit samples with a C callback.

    Attributes:
        last_seen: The time at which :meth:`is_gone` last found that the device had called back;
            before the first such time, the time of the start.

    Thread safety: any thread may call :meth:`close`; the owner's lock guards the rest.
    """

    def __init__(
        self, kind: Kind, wanted: Format, called: SpeakerFeed | MicrophoneRing, latency_ms: float
    ) -> None:
        """
        Open the device and start it.

        Args:
            kind: ``input`` or ``output``.
            wanted: The device and its format; see :meth:`supports`.
            called: The object that the device's thread calls. The stream keeps the object until the
                device has stopped.
            latency_ms: The latency to request. The device uses the nearest latency that it
                supports.

        Raises:
            DeviceError: The device cannot be opened or started.
        """
        name = wanted.device.name
        self._called = called
        self._progress = -1
        self.last_seen = time.monotonic()
        with _lock:
            sd = _sounddevice()
            with _translated(sd, f"opening {name!r}"):
                self._stream = _open(sd, kind, wanted, called.callback, latency_ms)
            self._number = next(_numbers)
            _open_streams[self._number] = (self._stream, called)
            weakref.finalize(self, _close, self._number).atexit = False
            try:
                with _translated(sd, f"starting {name!r}"):
                    self._stream.start()
            except DeviceError:
                self.close()
                raise

    def is_gone(self) -> bool:
        """Whether the device was closed or unplugged, failed, or has not called back for 5 s."""
        now, stats = time.monotonic(), self._called.stats
        if stats.progress != self._progress:
            self._progress, self.last_seen = stats.progress, now
        with _lock:
            is_active = self._number in _open_streams and bool(self._stream.active)
        return stats.finished or not is_active or now - self.last_seen > _SILENT_SECONDS

    def close(self) -> None:
        """Stop at once. May be called more than once."""
        _close(self._number)

    @staticmethod
    def supports(kind: Kind, wanted: Format) -> bool:
        """Whether the device supports 16-bit samples with this rate and number of channels."""
        sd = _sounddevice()
        check = sd.check_output_settings if kind == "output" else sd.check_input_settings
        try:
            with _lock:
                check(**_settings(sd, wanted))
        except (sd.PortAudioError, ValueError):
            return False
        return True


def choose_format(
    kind: Kind, device: int | str | None, sample_rate_hz: int, *, exactly: bool = False
) -> Format:
    """
    Find a device, and a format that it supports: mono at the requested rate if possible.

    Args:
        kind: ``input`` or ``output``.
        device: An index, a part of a name, or None for the default.
        sample_rate_hz: The requested sample rate.
        exactly: Whether to try only the requested sample rate.

    Raises:
        ConfigError: No device or several devices have this name.
        DeviceError: There is no device, or the device does not support 16-bit samples at any of the
            rates.
    """
    found = find_device(kind, device)
    most = found.input_channels if kind == "input" else found.output_channels
    others = () if exactly else (found.sample_rate_hz, *_COMMON_RATES_HZ)
    rates_hz = dict.fromkeys((sample_rate_hz, *others))
    for rate_hz in rates_hz:
        for channels in dict.fromkeys((1, 2, most)):
            wanted = Format(found, rate_hz, channels)
            if channels <= most and DeviceStream.supports(kind, wanted):
                return wanted
    listed = ", ".join(f"{rate_hz} Hz" for rate_hz in rates_hz)
    raise DeviceError(
        f"{found.name!r} ({found.host_api}) does not support 16-bit samples at {listed}"
    )


def reopen_stream(kind: Kind, open_again: Callable[[], DeviceStream]) -> DeviceStream:
    """
    Return a stream of *open_again*, to replace the stream of a lost device.

    If the first call of *open_again* fails, PortAudio restarts to update its list of devices, and
    *open_again* is called once more. The restart ends all streams of this process that use
    sounddevice; see :func:`refresh_devices`.

    Raises:
        DeviceError: No device could be opened.
    """
    try:
        return open_again()
    except (ConfigError, DeviceError):
        pass
    refresh_devices()
    try:
        return open_again()
    except ConfigError as error:
        raise DeviceError(
            f"the {kind} device was lost and could not be opened again: {error}"
        ) from error


def _close(number: int) -> None:
    with _lock:
        stream, _ = _open_streams.pop(number, (None, None))
        if stream is not None:
            stream.close(ignore_errors=True)


def _close_all() -> None:
    for number in list(_open_streams):
        _close(number)


@contextlib.contextmanager
def _translated(sd: Any, doing: str) -> Iterator[None]:
    try:
        yield
    except sd.PortAudioError as error:
        raise DeviceError(f"{doing} failed: {error}") from error


def _settings(sd: Any, wanted: Format) -> dict[str, Any]:
    """Return the arguments of sounddevice for a device and a format."""
    # Without auto_convert, WASAPI supports only the rate of the system's mixer.
    is_wasapi = wanted.device.host_api == _WASAPI
    return {
        "device": wanted.device.index,
        "channels": wanted.channels,
        "dtype": "int16",
        "samplerate": wanted.sample_rate_hz,
        "extra_settings": sd.WasapiSettings(auto_convert=True) if is_wasapi else None,
    }


def _open(sd: Any, kind: Kind, wanted: Format, callback: StreamCallback, latency_ms: float) -> Any:
    try:
        return sd._StreamBase(  # noqa: SLF001 - it is intended for other libraries
            kind,
            blocksize=0,
            latency=latency_ms / 1000.0,
            callback=sd._ffi.cast("PaStreamCallback *", callback.function),  # noqa: SLF001
            finished_callback=sd._ffi.cast(  # noqa: SLF001
                "PaStreamFinishedCallback *", callback.finished
            ),
            userdata=sd._ffi.cast("void *", callback.user),  # noqa: SLF001
            **_settings(sd, wanted),
        )
    except sd.PortAudioError:
        raise
    except Exception as error:
        raise DeviceError(
            f"sounddevice {getattr(sd, '__version__', '?')} does not accept a C callback the way "
            f"{_SOUNDDEVICE} do: install one of these versions"
        ) from error


def _called(kind: Kind, device: int | str | None) -> str:
    return f"the default {kind} device" if device is None else f"{kind} device {device!r}"


def _default(hosts: tuple[Mapping[str, Any], ...], kind: Kind) -> int | None:
    # PortAudio's default on Windows is MME, which has several times the latency of WASAPI and cuts
    # names at 31 characters. On other systems, PortAudio's default is right.
    for host in hosts:
        if host["name"] == _WASAPI and host[f"default_{kind}_device"] >= 0:
            return int(host[f"default_{kind}_device"])
    return None


def _info(sd: Any, device: Mapping[str, Any], hosts: tuple[Mapping[str, Any], ...]) -> DeviceInfo:
    host = hosts[device["hostapi"]]
    index = int(device["index"])
    defaults = [_default(hosts, kind) for kind in ("input", "output")]
    if defaults == [None, None]:
        defaults = list(sd.default.device)
    return DeviceInfo(
        index=index,
        name=str(device["name"]),
        host_api=str(host["name"]),
        input_channels=int(device["max_input_channels"]),
        output_channels=int(device["max_output_channels"]),
        sample_rate_hz=int(device["default_samplerate"]),
        default_input=index == defaults[0],
        default_output=index == defaults[1],
    )
