"""
Converts recorded audio from the sample rate of one device to the sample rate of the microphone.

If a speaker is given, the echo of the speaker is removed too. An object of this module is used as
long as its device is open.
"""

from __future__ import annotations

from typing import Final

from inworld_sync.audio.echo.canceller import EchoCanceller, EchoSettings
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.streams import MicrophoneRing, clock_ns
from inworld_sync.audio.taps import SampleTap

__all__ = ["ProcessedAudio", "RecordedAudio"]


class RecordedAudio:
    """
    Reads the ring of a device.

    Args:
        ring: The ring. No other code reads the ring.
        rate_hz: The sample rate of the device.
        sample_rate_hz: The sample rate of the result.

    Thread safety: one thread at a time uses this object.
    """

    def __init__(self, ring: MicrophoneRing, rate_hz: int, sample_rate_hz: int) -> None:
        self._ring = ring
        self._rate_hz = rate_hz
        self._sample_rate_hz = sample_rate_hz
        self._resampler = Resampler(rate_hz, sample_rate_hz)

    def read(self, missing_bytes: int) -> bytes:
        """Return audio that is ready, about *missing_bytes*, without waiting."""
        # The division rounds up, so that the resampler gets input even if less than one sample is
        # missing.
        frames = -(-missing_bytes * self._rate_hz // (SAMPLE_BYTES * self._sample_rate_hz))
        return self._resampler.feed(self._ring.read(frames))

    def finish(self) -> bytes:
        """Return the remaining audio, after the device has stopped."""
        rest = self._resampler.feed(self._ring.read(self._ring.stats.waiting_samples))
        return rest + self._resampler.finish()


class ProcessedAudio(RecordedAudio):
    """
    Reads the ring of a device, and removes the echo of a speaker.

    Args:
        ring: The ring. No other code reads the ring.
        rate_hz: The sample rate of the device.
        sample_rate_hz: The sample rate of the result.
        settings: The further processing, such as noise suppression.
        tap: The audio that the speaker plays; None means that there is no speaker.
        played_hz: The sample rate of *tap*.

    Raises:
        DeviceError: livekit is not installed.

    Attributes:
        canceller: The echo canceller, which also does the further processing.
    """

    def __init__(
        self,
        ring: MicrophoneRing,
        rate_hz: int,
        sample_rate_hz: int,
        settings: EchoSettings,
        tap: SampleTap | None,
        played_hz: int | None,
    ) -> None:
        super().__init__(ring, rate_hz, sample_rate_hz)
        self._tap = tap
        self._played_blocks = None if tap is None else tap.blocks()
        self._played_end = 0
        self._recorded_blocks = ring.blocks()
        self.canceller: Final = EchoCanceller(
            settings,
            recorded_hz=rate_hz,
            sample_rate_hz=sample_rate_hz,
            played_hz=played_hz,
        )

    def read(self, missing_bytes: int) -> bytes:
        """Return all audio that is ready, without waiting."""
        del missing_bytes
        self._collect()
        return self.canceller.process(clock_ns())

    def finish(self) -> bytes:
        """Return the remaining audio, after the device has stopped."""
        self._collect()
        return self.canceller.finish()

    def _collect(self) -> None:
        stats = self._ring.stats
        position = stats.captured_samples - stats.waiting_samples
        pcm = self._ring.read(stats.waiting_samples)
        self.canceller.add_recorded(position, pcm, self._recorded_blocks.read())
        if self._tap is None or self._played_blocks is None:
            return
        # The times are read before the audio, so that the audio of each of these times is read too.
        blocks = self._played_blocks.read()
        played = self._tap.read(self._played_end)
        self._played_end = played.position + len(played.pcm) // SAMPLE_BYTES
        self.canceller.add_played(played.position, played.pcm, blocks)
