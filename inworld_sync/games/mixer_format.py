"""Converts 16-bit mono samples to the sample format and the channels of pygame's mixer."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from inworld_sync.errors import ConfigError

__all__ = ["Gains", "MixerFormat"]

Gains: TypeAlias = tuple[float, float]

# The numpy type of each size that pygame.mixer.get_init() reports. pygame uses the byte order of
# the machine. A mixer that was opened with the size 32 reports -32.
_TYPES = {-16: "i2", 16: "u2", -8: "i1", 8: "u1", -32: "f4", 32: "f4"}


@attrs.frozen
class MixerFormat:
    """
    The format of pygame's mixer, with the values of ``pygame.mixer.get_init()``.

    Attributes:
        sample_rate_hz: Frames per second.
        size: The bits of a sample; negative if the samples are signed. A sample of 32 bits
            is a float.
        channels: Samples per frame.

    Raises:
        ConfigError: The sample format is unknown.
    """

    sample_rate_hz: int
    size: int
    channels: int

    def __attrs_post_init__(self) -> None:
        if self.size not in _TYPES:
            raise ConfigError(
                f"samples of size {self.size} are not supported: open the mixer with the size 8, "
                "-8, 16, -16 or 32"
            )

    def encode(self, pcm: bytes, before: Gains = (1.0, 1.0), after: Gains = (1.0, 1.0)) -> bytes:
        """
        Convert 16-bit little-endian mono samples.

        The first two channels get the audio. Further channels are silent.

        Args:
            pcm: Samples with the rate of the mixer.
            before: The factors for the left and the right channel at the first sample. A mixer with
                one channel uses the first factor.
            after: The factors at the last sample. The factors change evenly from *before* to
                *after*.
        """
        import numpy as np

        if self.size == -16 and before == after == (1.0, 1.0):
            unchanged = np.zeros((len(pcm) // 2, self.channels), np.int16)
            unchanged[:, :2] = np.frombuffer(pcm, "<i2")[:, np.newaxis]
            return unchanged.tobytes()
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        frames = np.zeros((len(samples), self.channels), np.float32)
        for channel in range(min(self.channels, 2)):
            if before[channel] == after[channel]:
                frames[:, channel] = samples * np.float32(after[channel])
            else:
                steps = np.linspace(before[channel], after[channel], len(samples), dtype="f4")
                frames[:, channel] = samples * steps
        bits = abs(self.size)
        if bits == 32:
            return (frames / np.float32(32768)).astype("f4").tobytes()
        whole = np.rint(frames).clip(-32768, 32767).astype(np.int32) >> (16 - bits)
        zero = 0 if self.size < 0 else 1 << (bits - 1)
        return (whole + zero).astype(_TYPES[self.size]).tobytes()
