"""
Uses WebRTC's audio processing, from the package livekit.

The library of that package ends the process if a frame is not a whole multiple of 10 ms. So the
length of every frame is checked here.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Final

from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.errors import AudioError, ConfigError, DeviceError

__all__ = ["FRAME_MS", "RATES_HZ", "Processor", "has_processor"]

FRAME_MS: Final = 10
RATES_HZ: Final = (16_000, 24_000, 32_000, 48_000)
# The library refuses larger delays.
_MOST_DELAY_MS: Final = 500


def has_processor() -> bool:
    """Return whether the extra ``echo`` is installed."""
    try:
        return importlib.util.find_spec("livekit.rtc") is not None
    except ModuleNotFoundError:
        return False


def _rtc() -> Any:
    """
    Import the package. Its classes have no usable types.

    Raises:
        DeviceError: livekit is not installed, or its library cannot be loaded.
    """
    try:
        from livekit import rtc
    except (ImportError, OSError) as error:
        raise DeviceError(
            "echo cancellation, noise suppression and automatic gain need livekit: "
            "pip install 'inworld-sync[echo]'; without it, use headphones or "
            "Microphone(mute_while=speaker)"
        ) from error
    return rtc


class Processor:
    """
    Processes mono audio in frames of 10 ms.

    For each frame, call :meth:`process` once. The output of a frame is 9 ms late, or 15 ms with
    noise suppression.

    Args:
        sample_rate_hz: The sample rate of all frames: 16000, 24000, 32000 or 48000.
        cancel_echo: Whether to remove the echo of the played audio.
        noise_suppression: Whether to reduce steady noise.
        auto_gain: Whether to adjust the volume of speech.
        delay_ms: The expected time from a frame of played audio to its echo, 0 to 500.

    Raises:
        ConfigError: The sample rate or the delay is not supported.
        DeviceError: livekit is not installed.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        *,
        cancel_echo: bool,
        noise_suppression: bool,
        auto_gain: bool,
        delay_ms: int,
    ) -> None:
        if sample_rate_hz not in RATES_HZ:
            raise ConfigError(f"sample_rate_hz must be one of {RATES_HZ}, got {sample_rate_hz!r}")
        if not 0 <= delay_ms <= _MOST_DELAY_MS:
            raise ConfigError(f"delay_ms must be 0 to {_MOST_DELAY_MS}, got {delay_ms!r}")
        self._rtc = _rtc()
        self._rate_hz = sample_rate_hz
        self._delay_ms = delay_ms
        self._cancels_echo = cancel_echo
        self.frame_samples: Final = sample_rate_hz * FRAME_MS // 1000
        self._module = self._rtc.AudioProcessingModule(
            echo_cancellation=cancel_echo,
            noise_suppression=noise_suppression,
            high_pass_filter=True,
            auto_gain_control=auto_gain,
        )

    def process(self, played: bytes, recorded: bytes) -> bytes:
        """
        Remove the echo of *played* from *recorded*.

        Args:
            played: 10 ms of 16-bit samples of the speaker. Without *cancel_echo*, these samples are
                not used.
            recorded: 10 ms of 16-bit samples of the microphone.

        Returns:
            10 ms of 16-bit samples.

        Raises:
            AudioError: A frame is not 10 ms long.
        """
        frame_bytes = self.frame_samples * SAMPLE_BYTES
        for pcm in (played, recorded) if self._cancels_echo else (recorded,):
            if len(pcm) != frame_bytes:
                raise AudioError(
                    f"a frame must have {FRAME_MS} ms, which are {frame_bytes} bytes at "
                    f"{self._rate_hz} Hz, got {len(pcm)} bytes"
                )
        # The library changes frames in place, so it gets copies.
        near = self._frame(recorded)
        if self._cancels_echo:
            self._module.process_reverse_stream(self._frame(played))
            self._module.set_stream_delay_ms(self._delay_ms)
        self._module.process_stream(near)
        return bytes(near.data.cast("B"))

    def _frame(self, pcm: bytes) -> Any:
        return self._rtc.AudioFrame(bytearray(pcm), self._rate_hz, 1, self.frame_samples)
