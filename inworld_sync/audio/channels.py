"""
Selects, separates and mixes the channels of interleaved 16-bit little-endian samples.

Channels are numbered from 0. numpy is imported only if there is more than one channel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inworld_sync.audio.resample import mixed_to_mono
from inworld_sync.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    _Frames: TypeAlias = npt.NDArray[np.int16]

__all__ = ["Downmix", "Warn", "log_warning", "require_channel", "select_channel", "split_channels"]

Warn: TypeAlias = Callable[[str], object]
"""Called with the text of a warning."""

# If the mix has less than this fraction (20 dB) of the power of the loudest channel, that channel
# is used instead.
_CANCELED: Final = 0.01
# The mix is used again when, in one block, it has at least this fraction (10 dB) of the power of
# the loudest channel.
_RESTORED: Final = 0.1
# Power is averaged over time: the weight of older audio halves with this period.
_HALF_LIFE_SECONDS: Final = 0.1
# A channel below -60 dBFS is silent. A silent channel never replaces the mix.
_SILENCE_POWER: Final = (32768 / 1000) ** 2


def log_warning(text: str) -> None:
    """Log a warning with the package's logger. Callers that have no client use this function."""
    logging.getLogger("inworld_sync").warning("%s", text)


def require_channel(channel: object, channels: int, name: str) -> int:
    """
    Return *channel* if a recording has a channel with this number.

    Args:
        channel: The number of a channel.
        channels: How many channels the recording has.
        name: How the error names the recording.

    Raises:
        ConfigError: *channel* is not the number of a channel.
    """
    if type(channel) is int and 0 <= channel < channels:
        return channel
    has = "only channel 0" if channels == 1 else f"the channels 0 to {channels - 1}"
    raise ConfigError(f"channel must be a channel of {name}, which has {has}, got {channel!r}")


def split_channels(pcm: bytes, channels: int) -> list[bytes]:
    """Divide whole frames into the samples of each channel."""
    if channels == 1:
        return [pcm]
    frames = _frames(pcm, channels)
    return [frames[:, channel].tobytes() for channel in range(channels)]


def select_channel(pcm: bytes, channels: int, channel: int) -> bytes:
    """Return the samples of one channel from whole frames."""
    return pcm if channels == 1 else _frames(pcm, channels)[:, channel].tobytes()


class Downmix:
    """
    Mixes the channels of one recording in equal parts, rounded to the nearest sample.

    Channels with inverted phase cancel each other. While the mix is 20 dB or more below the loudest
    channel, the loudest channel is returned instead, and a warning is given once.

    Args:
        channels: Samples per frame.
        sample_rate_hz: Frames per second.
        warn: Called with the text of the warning.

    Thread safety:
        Use one object for each recording, on only one thread at a time.
    """

    def __init__(self, channels: int, sample_rate_hz: int, warn: Warn) -> None:
        self._channels = channels
        self._sample_rate_hz = sample_rate_hz
        self._warn = warn
        self._has_warned = False
        # The channel that is used instead of the mix.
        self._channel: int | None = None
        # The power of each channel and of the mix; None before the first audio.
        self._powers: Any = None

    def feed(self, pcm: bytes) -> bytes:
        """Mix the next whole frames."""
        if self._channels == 1 or not pcm:
            return pcm
        import numpy as np

        frames = _frames(pcm, self._channels)
        mixed = mixed_to_mono(pcm, self._channels)
        # The samples become floats, since the square of a sample does not fit into 16 bits.
        self._choose(np.column_stack((frames, np.frombuffer(mixed, "<i2"))).astype(np.float32))
        return mixed if self._channel is None else frames[:, self._channel].tobytes()

    def _choose(self, both: npt.NDArray[np.float32]) -> None:
        """Decide whether to use a channel instead of the mix. The mix is the last column."""
        import numpy as np

        new = np.einsum("ij,ij->j", both, both, dtype=np.float64) / len(both)
        weight = 0.5 ** (len(both) / (self._sample_rate_hz * _HALF_LIFE_SECONDS))
        old = new if self._powers is None else self._powers
        self._powers = old * weight + new * (1.0 - weight)
        if self._channel is not None:
            loudest = new[:-1].max()
            if loudest > _SILENCE_POWER and new[-1] >= loudest * _RESTORED:
                self._channel = None
            return
        loudest = self._powers[:-1].max()
        if loudest > _SILENCE_POWER and self._powers[-1] < loudest * _CANCELED:
            self._channel = int(self._powers[:-1].argmax())
            if not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"the mix of the {self._channels} channels is 20 dB or more below channel "
                    f"{self._channel}, so that channel is used instead: another channel may be its "
                    "inverse; pass channel to choose one"
                )


def _frames(pcm: bytes, channels: int) -> _Frames:
    import numpy as np

    return np.frombuffer(pcm, "<i2").reshape(-1, channels)
