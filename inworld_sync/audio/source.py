"""
Converts every form of audio input to 16-bit little-endian mono PCM at one sample rate.

:func:`open_source` accepts recordings: files, memory, arrays, iterables and other sources.
:class:`AudioInput` accepts the chunks of a live stream.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inworld_sync.audio.channels import (
    Downmix,
    Warn,
    log_warning,
    require_channel,
    select_channel,
    split_channels,
)
from inworld_sync.audio.files import (
    AudioFile,
    decode_file,
    format_of,
    has_file_suffix,
    raw_file,
)
from inworld_sync.audio.pcm import SAMPLE_BYTES, SampleCarry
from inworld_sync.audio.raw_formats import format_of_suffix, sample_decoder
from inworld_sync.audio.reader import ByteReader
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.samples import (
    MAX_CHANNELS,
    MAX_HZ,
    AudioData,
    ChannelOrder,
    check_floats,
    contiguous_samples,
    converted,
    frames_of,
    is_array,
    raw_bytes,
)
from inworld_sync.errors import AudioError, ConfigError
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import AudioSource

if TYPE_CHECKING:
    from typing import BinaryIO

    import numpy.typing as npt
    from typing_extensions import Buffer

    _Array: TypeAlias = npt.NDArray[Any]

__all__ = [
    "TEXT_BYTES",
    "AudioData",
    "AudioInput",
    "AudioLike",
    "ConvertedSource",
    "SeparateChannels",
    "open_recording",
    "open_separate",
    "open_source",
    "refuse_text",
]

AudioLike: TypeAlias = (
    "AudioData | str | os.PathLike[str] | BinaryIO | AudioSource | Iterable[Buffer | _Array]"
)
"""Everything that :func:`open_source` accepts."""

_BLOCK_MS: Final = 100
# Raw recordings of phone calls have one channel for each side.
_CALL_CHANNELS: Final = 2
# Matches the beginning of a JSON object with a key, or the beginning of a WAV, MP3, Ogg or FLAC
# file in base64. No samples of a recording match.
_TEXT: Final = re.compile(
    rb'\s*\{\s*"[A-Za-z_]{2,}"\s*:|(UklGR|UklGW|SUQz|T2dnUw|ZkxhQw)[A-Za-z0-9+/=\r\n]{24,}'
)
TEXT_BYTES: Final = 64


class AudioInput:
    """
    Converts the chunks of one live stream to 16-bit mono PCM.

    Args:
        from_hz: The sample rate of the chunks, 1 to 768000.
        to_hz: The sample rate of the result, 1 to 768000.
        channels: The number of channels of the chunks, 1 to 64; :class:`Downmix` mixes the
            channels.
        warn: Called with a warning if the channels cancel each other.

    Raises:
        ConfigError: A number is out of range.

    Thread safety:
        Use one object for each stream, on one thread at a time.
    """

    def __init__(
        self, from_hz: int, to_hz: int, channels: int = 1, warn: Warn = log_warning
    ) -> None:
        require_whole("channels", channels, 1, MAX_CHANNELS)
        self._channels = channels
        self._is_converted = channels > 1 or from_hz != to_hz
        self._resampler = Resampler(from_hz, to_hz)
        self._carry = SampleCarry(SAMPLE_BYTES * channels)
        self._downmix = Downmix(channels, from_hz, warn)
        self._order = ChannelOrder()
        self._is_started = False

    @property
    def is_unchanged(self) -> bool:
        """Whether :meth:`feed` returns the next whole samples unchanged."""
        return self._is_started and not self._is_converted and not self._carry.pending_bytes

    def feed(self, chunk: AudioData) -> bytes:
        """
        Convert the next chunk.

        Args:
            chunk: 16-bit little-endian PCM as bytes, where a sample may be cut between two chunks;
                or an array of int16, int32, uint8 or floats in [-1, 1] with the shape (frames,),
                (frames, channels) or (channels, frames). Louder floats are clipped.

        Raises:
            AudioError: *chunk* is text, or has NaN, infinity, integers in a float array, another
                type of sample, an ambiguous shape or another number of channels.
            ClosedError: :meth:`finish` was called before this call.
        """
        pcm = contiguous_samples(chunk, "s16", self._channels, strict=True, order=self._order)
        if not self._is_started and len(pcm):
            refuse_text(bytes(pcm[:TEXT_BYTES]))
            self._is_started = True
        return self._resampler.feed(self._downmix.feed(bytes(self._carry.feed(pcm))))

    def finish(self) -> bytes:
        """
        Return the remaining audio and end the stream.

        Raises:
            AudioError: The last sample is incomplete. Then the remaining audio is lost too.
        """
        self._carry.finish()
        return self._resampler.finish()


class _Frames:
    """Yields a recording in blocks of whole frames, and has its channels, rate and duration."""

    def __init__(self, blocks: AudioFile | AudioSource) -> None:
        self.channels, frames = 1, None
        if isinstance(blocks, AudioFile):
            self.channels, frames = blocks.channels, blocks.frames
        self.sample_rate_hz = blocks.sample_rate_hz
        self.duration_ms = None if frames is None else frames * 1000.0 / blocks.sample_rate_hz
        self._blocks = blocks
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        carry = SampleCarry(SAMPLE_BYTES * self.channels)
        for block in self._blocks:
            if self.is_closed:
                return
            if frames := bytes(carry.feed(contiguous_samples(block, "s16", self.channels))):
                yield frames
        if not self.is_closed:
            carry.finish()

    def close(self) -> None:
        self.is_closed = True
        self._blocks.close()


class ConvertedSource:
    """
    An ``AudioSource`` that converts a recording or another source to mono and to another rate.

    Args:
        blocks: The recording.
        to_hz: The sample rate of the blocks; None means the sample rate of the recording.
        channel: The channel to use; None mixes all channels.
        warn: Called with a warning if the channels cancel each other.

    Attributes:
        sample_rate_hz: The sample rate of the blocks.
        duration_ms: The duration of the recording; None if the duration is not known before all
            audio was read.
    """

    def __init__(
        self,
        blocks: AudioFile | AudioSource,
        to_hz: int | None,
        channel: int | None = None,
        warn: Warn = log_warning,
    ) -> None:
        self._frames = _Frames(blocks)
        self._channel = channel
        self._downmix = Downmix(self._frames.channels, blocks.sample_rate_hz, warn)
        self.sample_rate_hz = to_hz or blocks.sample_rate_hz
        self.duration_ms = self._frames.duration_ms
        self._resampler = Resampler(blocks.sample_rate_hz, self.sample_rate_hz)

    def __iter__(self) -> Iterator[bytes]:
        for frames in self._frames:
            if pcm := self._resampler.feed(self._mono(frames)):
                yield pcm
        if not self._frames.is_closed and (rest := self._resampler.finish()):
            yield rest

    def close(self) -> None:
        """Free the file, or close the other source; iteration ends."""
        self._frames.close()

    def _mono(self, frames: bytes) -> bytes:
        if self._channel is None:
            return self._downmix.feed(frames)
        return select_channel(frames, self._frames.channels, self._channel)


class SeparateChannels:
    """
    Converts each channel of a recording to another rate separately. The object can be iterated
    once.

    The iteration yields lists with one block for each channel. All blocks of a list have the same
    length.

    Attributes:
        channels: How many channels the recording has.
        duration_ms: The duration of the recording; None if the duration is not known before all
            audio was read.
    """

    def __init__(self, blocks: AudioFile, to_hz: int) -> None:
        self._frames = _Frames(blocks)
        self.channels = blocks.channels
        self.duration_ms = self._frames.duration_ms
        self._resamplers = [Resampler(blocks.sample_rate_hz, to_hz) for _ in range(self.channels)]

    def __iter__(self) -> Iterator[list[bytes]]:
        for frames in self._frames:
            blocks = split_channels(frames, self.channels)
            yield [
                resampler.feed(block)
                for resampler, block in zip(self._resamplers, blocks, strict=True)
            ]
        if not self._frames.is_closed:
            yield [resampler.finish() for resampler in self._resamplers]

    def close(self) -> None:
        """Free the file; iteration ends."""
        self._frames.close()


def open_source(
    audio: AudioLike,
    *,
    to_hz: int | None = None,
    from_hz: int | None = None,
    channels: int = 1,
    raw_format: str | None = None,
    channel: int | None = None,
    warn: Warn = log_warning,
) -> ConvertedSource:
    """
    Open any form of audio as a source of 16-bit mono blocks of about 100 ms.

    Args:
        audio: As for :func:`open_recording`; or another source, such as a microphone.
        to_hz: The sample rate of the result, 1 to 768000. None means the sample rate of *audio*.
        from_hz: As for :func:`open_recording`.
        channels: As for :func:`open_recording`.
        raw_format: As for :func:`open_recording`.
        channel: The channel to use, from 0; None mixes all channels.
        warn: Called with a warning if the channels cancel each other.

    Returns:
        A source that can be iterated once. Its ``close()`` frees the file, or closes the other
        source.

    Raises:
        AudioError: *audio* is not audio, or has a format that no installed library can decode.
        ConfigError: *from_hz* is missing, the recording does not have *channel*, or an argument is
            out of range.
        OSError: The file cannot be read.
    """
    if to_hz is not None:
        require_whole("to_hz", to_hz, 1, MAX_HZ)
    if not isinstance(audio, AudioFile) and isinstance(audio, AudioSource):
        if channel is not None:
            raise _is_mono(audio)
        return ConvertedSource(audio, to_hz)
    file = open_recording(audio, sample_rate_hz=from_hz, channels=channels, raw_format=raw_format)
    if channel is not None:
        try:
            require_channel(channel, file.channels, file.name)
        except BaseException:
            file.close()
            raise
    return ConvertedSource(file, to_hz, channel, warn)


def open_separate(
    audio: AudioLike,
    *,
    to_hz: int,
    from_hz: int | None = None,
    raw_format: str | None = None,
) -> SeparateChannels:
    """
    Open a recording whose channels are read separately.

    Args:
        audio: As for :func:`open_recording`. Raw samples have two channels; a one-dimensional array
            has one channel.
        to_hz: The sample rate of the result, 1 to 768000.
        from_hz: As for :func:`open_recording`.
        raw_format: As for :func:`open_recording`.

    Raises:
        AudioError: *audio* is not audio, or has a format that no installed library can decode.
        ConfigError: *audio* is a source, which has one channel; *from_hz* is missing; or an
            argument is out of range.
        OSError: The file cannot be read.
    """
    if not isinstance(audio, AudioFile) and isinstance(audio, AudioSource):
        raise _is_mono(audio)
    file = _open(audio, from_hz, _CALL_CHANNELS, 1, raw_format)
    return SeparateChannels(file, to_hz)


def _is_mono(source: object) -> ConfigError:
    return ConfigError(
        f"a {type(source).__name__} has one channel, so no channel can be selected: pass the "
        "path or the bytes of the recording"
    )


def open_recording(
    audio: AudioLike,
    *,
    sample_rate_hz: int | None = None,
    channels: int = 1,
    raw_format: str | None = None,
) -> AudioFile:
    """
    Open a recording at its own sample rate and with all its channels.

    The result depends only on the content of *audio*, not on its form.

    Args:
        audio: A path, also of a FIFO or a device; an open binary file, a pipe or an upload object,
            which is read from its position and not closed; the bytes of a file; raw samples as
            bytes; an array, see :mod:`inworld_sync.audio.samples`; or an iterable of blocks of
            bytes or of arrays.
        sample_rate_hz: The sample rate of raw samples and arrays, 1 to 768000. Files have their own
            rate.
        channels: The channels of raw samples, 1 to 64.
        raw_format: The format of raw samples, such as ``mulaw``; see
            :mod:`inworld_sync.audio.raw_formats`. If *raw_format* is None, the suffix of a file
            decides (``.pcm``, ``.ul``, ``.al`` ...), and other raw samples are 16-bit
            little-endian.

    Returns:
        The recording. Close it to free the file.

    Raises:
        AudioError: *audio* is not audio, or has a format that no installed library can decode.
        ConfigError: *sample_rate_hz* is missing, or an argument is out of range.
        OSError: The file cannot be read.
    """
    require_whole("channels", channels, 1, MAX_CHANNELS)
    return _open(audio, sample_rate_hz, channels, channels, raw_format)


def _open(
    audio: AudioLike,
    sample_rate_hz: int | None,
    raw_channels: int,
    array_channels: int,
    raw_format: str | None,
) -> AudioFile:
    """Open a recording; *raw_channels* is for raw samples, and *array_channels* is for arrays."""
    if isinstance(audio, AudioFile):
        return audio
    if sample_rate_hz is not None:
        require_whole("sample_rate_hz", sample_rate_hz, 1, MAX_HZ)
    if raw_format is not None:
        sample_decoder(raw_format)
    reader = _reader_of(audio, raw_channels)
    if isinstance(reader, ByteReader):
        try:
            file = _open_bytes(reader, sample_rate_hz, raw_channels, raw_format)
        except BaseException:
            reader.close()
            raise
        if reader.is_file:
            file.name = reader.name
        return file
    if raw_format is not None:
        raise ConfigError("raw_format is for raw bytes: leave it out for arrays")
    return _open_arrays(reader, _known(sample_rate_hz, "an array"), array_channels)


def _reader_of(audio: object, channels: int) -> ByteReader | Iterator[object]:
    """Return a reader of bytes, or an iterator of arrays."""
    if isinstance(audio, (str, os.PathLike)):
        return ByteReader.of_path(audio)
    raw = raw_bytes(audio)
    if raw is not None:
        return ByteReader.of_memory(raw)
    if is_array(audio):
        return iter([audio])
    if hasattr(audio, "read"):
        return ByteReader.of_file(audio)
    if not isinstance(audio, Iterable):
        raise AudioError(
            "audio must be a path, a binary file, bytes, an array, an iterable of these or a "
            f"source, got {type(audio).__name__}"
        )
    blocks = iter(audio)
    for block in blocks:
        blocks = itertools.chain([block], blocks)
        if is_array(block):
            return blocks
        order = ChannelOrder()
        # The first block is bytes. So an array among the blocks is converted to 16-bit samples.
        return ByteReader.of_blocks(
            contiguous_samples(each, "s16", channels, strict=True, order=order) for each in blocks
        )
    return ByteReader.of_memory(b"")


def _open_bytes(
    reader: ByteReader, sample_rate_hz: int | None, channels: int, raw_format: str | None
) -> AudioFile:
    declared = raw_format or format_of_suffix(reader.suffix)
    if raw_format is None:
        # Only raw samples need a sample rate, but a caller may also declare the rate of a file.
        name = format_of(reader, may_be_raw=declared is not None)
        is_raw = declared is not None or not (sample_rate_hz is None or has_file_suffix(reader))
        if name is not None or (not is_raw and reader.is_file):
            return decode_file(reader, name)
        refuse_text(reader.peek(TEXT_BYTES))
    rate_hz = _known(sample_rate_hz, f"the raw audio of {reader.name}")
    return raw_file(reader, sample_decoder(declared or "s16le"), rate_hz, channels)


def _open_arrays(arrays: Iterator[object], sample_rate_hz: int, channels: int) -> AudioFile:
    """
    Open an iterator of arrays. The first array decides the number of channels.

    Later blocks may also be bytes of 16-bit PCM.
    """
    order = ChannelOrder()
    first = frames_of(next(arrays), channels, order)
    channels = first.shape[1] if first.ndim == 2 else channels

    def blocks() -> Iterator[Buffer]:
        for block in itertools.chain([first], arrays):
            raw = raw_bytes(block)
            if raw is not None:
                yield raw
                continue
            frames = first if block is first else frames_of(block, channels, order)
            check_floats(frames)
            step = max(sample_rate_hz * _BLOCK_MS // 1000, 1)
            step *= 1 if frames.ndim == 2 else channels
            for at in range(0, len(frames), step):
                yield converted(frames[at : at + step], "s16", channels)

    return AudioFile(blocks(), sample_rate_hz, channels)


def _known(sample_rate_hz: int | None, what: str) -> int:
    if sample_rate_hz is None:
        raise ConfigError(f"the sample rate of {what} is not known: pass sample_rate_hz")
    return sample_rate_hz


def refuse_text(head: bytes) -> None:
    """Raise :class:`AudioError` if a recording begins with JSON, or with the base64 of a file."""
    if _TEXT.match(head):
        raise AudioError(
            "audio must be bytes of samples or of a file, got text: JSON must be parsed and base64 "
            "must be decoded first",
            offset_bytes=0,
        )
