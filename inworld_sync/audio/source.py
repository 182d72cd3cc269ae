"""
Audio in: whatever a user holds becomes 16-bit little-endian mono PCM at one rate.

Bytes, arrays, files and devices are told apart here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from inworld_sync.audio.files import AudioFile, is_audio_file, open_file
from inworld_sync.audio.pcm import s16_from_f32
from inworld_sync.audio.resample import MAX_CHANNELS, MAX_HZ, Resampler, mixed_to_mono
from inworld_sync.errors import AudioError, ConfigError
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import AudioSource

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

__all__ = ["AudioData", "AudioInput", "AudioLike", "open_source"]

# Raw PCM as bytes, or samples: int16, or floats in [-1, 1], shaped (frames,) or (frames, channels).
AudioData: TypeAlias = "Buffer | npt.NDArray[np.int16] | npt.NDArray[np.floating]"
AudioLike: TypeAlias = (
    "AudioData | str | os.PathLike[str] | AudioSource | Iterable[Buffer | npt.NDArray[Any]]"
)

_BLOCK_MS: Final = 100
# Long enough that no speech looks like this much text.
_TEXT_BYTES: Final = 64
# Floats of other programs overshoot a little; integers in floats by far.
_LOUDEST_FLOAT: Final = 16.0
_RAW_SUFFIXES: Final = frozenset({".pcm", ".raw", ".s16", ".s16le"})


class AudioInput:
    """
    Converts the chunks of one stream.

    Args:
        from_hz: Samples a second of the chunks.
        to_hz: Samples a second wanted.
        channels: Samples a frame of chunks that are bytes or one-dimensional; arrays of another
            shape say so themselves.

    Raises:
        ConfigError: A rate or the number of channels is out of its range.

    Thread safety:
        One stream, one thread at a time.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int = 1) -> None:
        self._channels = channels
        self._resampler = Resampler(from_hz, to_hz, channels)
        self._seen_bytes = 0

    def feed(self, chunk: AudioData) -> bytes:
        """
        Convert the next chunk to 16-bit mono.

        Args:
            chunk: 16-bit little-endian PCM as ``bytes``, ``bytearray`` or ``memoryview``, where a
                sample may be cut between two chunks; or an array, or any other buffer, of int16
                or of floats in [-1, 1]. Louder floats are clipped.

        Raises:
            AudioError: NaN or infinity, integers in a float array, another type of sample, an
                array of another number of channels, or text instead of sound.
            ClosedError: After :meth:`finish`.
        """
        view = _view(chunk)
        if not _is_raw(view):
            return self._resampler.feed(_interleaved(view, self._channels))
        raw = view.cast("B")
        if not self._seen_bytes:
            _check_no_text(raw)
        self._seen_bytes += len(raw)
        return self._resampler.feed(raw)

    def finish(self) -> bytes:
        """
        Give the rest. After this nothing can be fed.

        Raises:
            AudioError: The last sample was cut.
        """
        return self._resampler.finish()


class _ConvertedSource:
    """Blocks of another source or of data, converted; an ``AudioSource``."""

    def __init__(self, blocks: AudioFile | AudioSource, from_hz: int, to_hz: int, channels: int):
        self._blocks = blocks
        self._input = AudioInput(from_hz, to_hz, channels)
        self.sample_rate_hz = to_hz
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            if self._closed:
                return
            if pcm := self._input.feed(block):
                yield pcm
        if not self._closed and (rest := self._input.finish()):
            yield rest

    def close(self) -> None:
        self._closed = True
        self._blocks.close()


def open_source(
    audio: AudioLike, *, to_hz: int, from_hz: int | None = None, channels: int = 1
) -> AudioSource:
    """
    Turn anything that holds sound into a source of 16-bit mono blocks of about 100 ms.

    Args:
        audio: A path of an audio file; the bytes of one; raw 16-bit PCM as bytes; an array of
            int16 or of floats in [-1, 1], shaped (frames,) or (frames, channels); an iterable of
            raw PCM or arrays; or another source, such as a microphone.
        to_hz: Samples a second wanted.
        from_hz: Samples a second of raw PCM and arrays, which do not know it; a path that ends in
            ``.pcm`` or ``.raw`` is raw PCM too. Files and sources say it themselves.
        channels: Samples a frame of raw PCM.

    Returns:
        A source that can be iterated once. Close it to free the file, or the other source.

    Raises:
        AudioError: It is no sound, or of a kind that nothing installed can decode.
        ConfigError: *from_hz* is needed and missing, or a number is out of its range.
        OSError: The file cannot be read.
    """
    require_whole("channels", channels, 1, MAX_CHANNELS)
    if from_hz is not None:
        require_whole("sample_rate_hz", from_hz, 1, MAX_HZ)
    if isinstance(audio, AudioSource):
        return _ConvertedSource(audio, audio.sample_rate_hz, to_hz, 1)
    if isinstance(audio, (str, os.PathLike)):
        path = Path(audio)
        if path.suffix.lower() in _RAW_SUFFIXES:
            return _open_raw(path.read_bytes(), to_hz, _known(from_hz, path.name), channels)
        return _open_file(open_file(path), to_hz)
    if _is_pieces(audio):
        pieces = iter(cast("Iterable[Buffer]", audio))
        rate_hz = _known(from_hz, "pieces of audio")
        return _open_file(AudioFile(pieces, rate_hz, channels), to_hz)
    view = _view(audio)
    if _is_raw(view) and is_audio_file(view.cast("B")[:_TEXT_BYTES].tobytes()):
        return _open_file(open_file(view.cast("B")), to_hz)
    if view.ndim == 2 and view.shape:
        channels = view.shape[1]
    return _open_raw(cast("AudioData", audio), to_hz, _known(from_hz, "raw audio"), channels)


def _open_file(file: AudioFile, to_hz: int) -> AudioSource:
    return _ConvertedSource(file, file.sample_rate_hz, to_hz, file.channels)


def _open_raw(audio: AudioData, to_hz: int, from_hz: int, channels: int) -> AudioSource:
    view = _view(audio)
    pcm = view.cast("B") if _is_raw(view) else memoryview(_interleaved(view, channels))
    step = max(from_hz * _BLOCK_MS // 1000, 1) * 2 * channels
    blocks = (pcm[at : at + step] for at in range(0, len(pcm), step))
    return _open_file(AudioFile(blocks, from_hz, channels), to_hz)


def _known(from_hz: int | None, what: str) -> int:
    if from_hz is None:
        raise ConfigError(f"the sample rate of {what} is not known: pass sample_rate_hz")
    return from_hz


def _view(data: object) -> memoryview:
    if isinstance(data, str):
        raise AudioError(
            f"audio must be bytes or an array, got a text of {len(data)} characters: "
            "base64 must be decoded first"
        )
    try:
        return memoryview(data)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise AudioError(
            f"audio must be bytes or an array of int16 or floats, got {type(data).__name__}"
        ) from error


def _is_pieces(audio: object) -> bool:
    """Whether it is an iterable of audio, and not audio itself."""
    try:
        memoryview(audio)  # type: ignore[arg-type]
    except TypeError:
        return isinstance(audio, Iterable)
    except ValueError:
        pass
    return False


def _is_raw(view: memoryview) -> bool:
    return view.format in ("B", "b", "c")


def _check_no_text(raw: memoryview) -> None:
    head = raw[:_TEXT_BYTES].tobytes()
    if len(head) == _TEXT_BYTES and head.isascii() and head.decode("ascii").isprintable():
        raise AudioError(
            "audio must be 16-bit PCM, got bytes of text: base64 must be decoded first",
            offset_bytes=0,
        )


def _interleaved(view: memoryview, channels: int) -> bytes:
    """16-bit interleaved samples of an array of numbers."""
    import numpy as np

    samples = np.asarray(view)
    if samples.ndim > 2 or (samples.ndim == 2 and samples.shape[1] != channels != 1):
        raise AudioError(
            f"an array of {channels}-channel audio has the shape (frames, {channels}), "
            f"got {samples.shape}"
        )
    if samples.dtype.kind == "f":
        pcm = _from_floats(samples)
    elif samples.dtype.kind == "i" and samples.dtype.itemsize == 2:
        pcm = samples.astype("<i2").tobytes()
    else:
        raise AudioError(f"an array must hold int16 or floats in [-1, 1], got {samples.dtype}")
    if samples.ndim == 2 and channels == 1:
        return mixed_to_mono(pcm, samples.shape[1])
    return pcm


def _from_floats(samples: npt.NDArray[np.floating]) -> bytes:
    import numpy as np

    if not np.isfinite(samples).all():
        at = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise AudioError(f"float samples must be finite, got {samples.flat[at]} at sample {at}")
    loudest = float(np.abs(samples).max()) if samples.size else 0.0
    if loudest > _LOUDEST_FLOAT:
        raise AudioError(
            f"float samples must be in [-1, 1], got {loudest:g}: divide by 32768, or pass int16"
        )
    return s16_from_f32(samples.astype("<f4").tobytes())
