"""From what a user asks for to a running stream: which device, rate and channel count."""

from __future__ import annotations

from collections.abc import Callable

from inworld_sync.devices.portaudio import DeviceStream, Format, Kind, find_device, refresh_devices
from inworld_sync.errors import ConfigError, DeviceError

__all__ = ["choose_format", "reopen_stream"]

# What nearly every device takes, when it takes neither the wanted rate nor the one it prefers.
_COMMON_RATES_HZ = (48_000, 44_100)


def choose_format(
    kind: Kind, device: int | str | None, sample_rate_hz: int, *, exactly: bool = False
) -> Format:
    """
    Find the device, and the nearest to mono of the wanted rate that it takes.

    Args:
        kind: Which way the sound goes.
        device: An index, a part of a name, or None for the default.
        sample_rate_hz: What is wanted.
        exactly: No other rate will do.

    Raises:
        ConfigError: No device, or more than one, has this name.
        DeviceError: There is no device, or it takes no 16-bit samples of any usual rate.
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
    raise DeviceError(f"{found.name!r} ({found.host_api}) takes no 16-bit samples of {listed}")


def reopen_stream(kind: Kind, open_again: Callable[[], DeviceStream]) -> DeviceStream:
    """
    Open a device that went away, or the one that took its place.

    PortAudio knows the devices of the moment when it started. So the second try starts it again,
    which ends all streams on sounddevice in this process; see :func:`refresh_devices`.

    Raises:
        DeviceError: There is no device, or none that does.
    """
    try:
        return open_again()
    except (ConfigError, DeviceError):
        pass
    refresh_devices()
    try:
        return open_again()
    except ConfigError as error:
        raise DeviceError(f"the {kind} device went away and did not come back: {error}") from error
