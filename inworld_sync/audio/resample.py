"""
Converts 16-bit PCM to another sample rate and to mono, chunk by chunk.

soxr and numpy are imported only if the rates differ or channels are mixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inworld_sync.audio.pcm import SampleCarry
from inworld_sync.audio.samples import MAX_CHANNELS, MAX_HZ, contiguous_samples
from inworld_sync.errors import ClosedError
from inworld_sync.models.checks import require_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from inworld_sync.audio.samples import AudioData

__all__ = ["MAX_CHANNELS", "MAX_HZ", "Resampler", "mixed_to_mono"]


class Resampler:
    """
    Converts one stream to another sample rate and to mono.

    The output has *to_hz* / *from_hz* times as many samples as the input, rounded to a whole
    number. The output does not depend on how the input is divided into chunks. Noise and distortion
    are 90 dB below a tone. This is as low as the noise of 16-bit samples. Frequencies that the
    lower rate cannot represent are removed. With equal rates, samples are not changed.

    Args:
        from_hz: The sample rate of the input, 1 to 768000.
        to_hz: The sample rate of the output, 1 to 768000.
        channels: The number of interleaved channels of the input, 1 to 64. They are mixed in equal
            parts.

    Raises:
        ConfigError: A value is out of range.

    Thread safety:
        Use one object for each stream, on one thread at a time.

    >>> resampler = Resampler(48000, 16000)
    >>> len(resampler.feed(bytes(9600)) + resampler.finish())
    3200
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int = 1) -> None:
        require_whole("from_hz", from_hz, 1, MAX_HZ)
        require_whole("to_hz", to_hz, 1, MAX_HZ)
        require_whole("channels", channels, 1, MAX_CHANNELS)
        self._carry = SampleCarry(2 * channels)
        self._channels = channels
        self._stream = None if from_hz == to_hz else _open_stream(from_hz, to_hz)
        self._finished = False

    def feed(self, pcm: AudioData) -> bytes:
        """
        Convert the next chunk, which may end inside a frame.

        Args:
            pcm: 16-bit little-endian PCM as bytes, or an array of samples.

        Returns:
            The audio that is ready, which may be shorter or longer than the chunk. The first calls
            may return no audio.

        Raises:
            AudioError: *pcm* is not audio.
            ClosedError: :meth:`finish` was called before this call.
        """
        if self._finished:
            raise ClosedError("feed() was called after finish(): use a new Resampler")
        return self._convert(
            self._carry.feed(contiguous_samples(pcm, "s16", self._channels)), last=False
        )

    def finish(self) -> bytes:
        """
        Return the remaining audio and end the stream. A second call returns nothing.

        Raises:
            AudioError: The last frame is incomplete. Then the remaining audio is lost too.
        """
        if self._finished:
            return b""
        self._finished = True
        self._carry.finish()
        rest = self._convert(memoryview(b""), last=True)
        self._stream = None
        return rest

    def _convert(self, frames: memoryview, *, last: bool) -> bytes:
        pcm = bytes(frames)
        if self._channels > 1:
            pcm = mixed_to_mono(pcm, self._channels)
        if self._stream is None:
            return pcm
        import numpy as np

        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        converted: npt.NDArray[np.float32] = np.rint(
            self._stream.resample_chunk(samples, last=last)
        )
        return converted.clip(-32768, 32767).astype("<i2").tobytes()


def mixed_to_mono(pcm: bytes, channels: int) -> bytes:
    """
    Mix the channels of interleaved 16-bit little-endian frames in equal parts.

    Args:
        pcm: Whole frames.
        channels: Samples per frame.
    """
    import numpy as np

    frames = np.frombuffer(pcm, "<i2").reshape(-1, channels)
    mixed: npt.NDArray[np.int16] = np.rint(frames.mean(axis=1)).astype("<i2")
    return mixed.tobytes()


# The types of soxr's classes differ between its versions.
def _open_stream(from_hz: int, to_hz: int) -> Any:
    import soxr

    # With int16, soxr would add dither, which is random.
    return soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
