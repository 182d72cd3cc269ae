"""
Decodes recordings of any format, block by block.

| format | decoded by |
|---|---|
| raw samples, WAV | the package itself |
| AIFF, AU, CAF, FLAC, NIST, rare encodings in WAV | soundfile, else PyAV |
| MP3, Ogg with Vorbis or Opus | PyAV, else soundfile |
| AAC (ADTS, M4A, MP4), WebM, AMR, ASF, AVI and others | PyAV |

A format is decoded by the same library for every source of the bytes. The bytes at the beginning of
a recording show its format. The content of raw samples never shows a format.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from inworld_sync.audio.mpeg import mpeg_format
from inworld_sync.audio.pcm import SampleCarry
from inworld_sync.audio.raw_formats import SampleDecoder
from inworld_sync.audio.reader import ByteReader
from inworld_sync.audio.samples import MAX_CHANNELS, MAX_HZ, contiguous_samples
from inworld_sync.audio.wav_reader import is_wav, read_wav_header
from inworld_sync.errors import AudioError
from inworld_sync.locks import make_lock

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "AudioFile",
    "decode_file",
    "format_of",
    "has_file_suffix",
    "is_audio_file",
    "open_file",
    "raw_file",
]

_HEAD_BYTES: Final = 64
_BLOCK_MS: Final = 100

_SOUNDFILE: Final = ("soundfile", "av")
_AV: Final = ("av", "soundfile")
_LIBRARIES: Final = {
    **dict.fromkeys(("WAV", "AIFF", "AU", "CAF", "FLAC", "NIST"), _SOUNDFILE),
    **dict.fromkeys(("Ogg", "MP3"), _AV),
}
# The extra of the package that installs each library.
_EXTRAS: Final = {"soundfile": "files", "av": "media"}
# The formats without a reliable signature, by the suffix of the file.
_BY_SUFFIX: Final = {".mp3": "MP3", ".mp2": "MP3", ".aac": "AAC"}
# A file with one of these suffixes is never taken for raw samples.
_FILE_SUFFIXES: Final = {
    *_BY_SUFFIX,
    *(".wav", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".caf", ".flac", ".amr", ".wma"),
    *(".ogg", ".oga", ".opus", ".m4a", ".mp4", ".mov", ".3gp", ".webm", ".mka", ".mkv", ".avi"),
}
# Subtypes of soundfile whose samples have at most 16 bits.
_UP_TO_16_BITS: Final = {
    *("PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"),
    *("VOX_ADPCM", "G721_32", "G723_24", "G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24"),
}
# Formats of soundfile whose number of frames may be an estimate.
_LOSSY: Final = {"MP3", "OGG"}
# Formats of PyAV whose samples are rounded here, since ffmpeg would not round them.
_WIDE: Final = {"s32", "s32p", "s64", "s64p", "dbl", "dblp"}
# The offset of a signature, the signature, and the format.
_SIGNATURES: Final = (
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"fLaC", "FLAC"),
    (0, b"NIST_1A", "NIST"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (4, b"ftyp", "M4A"),
    (0, b"\x1aE\xdf\xa3", "WebM"),
    (0, b"#!AMR", "AMR"),
    (8, b"AVI ", "AVI"),
    (0, bytes.fromhex("3026b2758e66cf11"), "ASF"),
    (0, b"RIFF", "RIFF"),
)


class AudioFile:
    """
    A recording as blocks of 16-bit little-endian interleaved samples. It can be read once.

    Args:
        blocks: Blocks of whole frames, or of any bytes of raw PCM.
        sample_rate_hz: Frames per second.
        channels: Samples per frame.
        close: Frees the file.
        frames: The number of frames, if the file states this number.

    Attributes:
        name: The name of the file for errors, or a description.
        is_raw: Whether the recording has no header. Then the caller has declared the rate and the
            channels.

    Thread safety:
        One thread iterates; any thread may call :meth:`close`. A file is freed at its end, or after
        :meth:`close` as soon as the block that is being read is complete.
    """

    def __init__(
        self,
        blocks: Iterator[Buffer],
        sample_rate_hz: int,
        channels: int,
        close: Callable[[], object] = lambda: None,
        frames: int | None = None,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.frames = frames
        self.name = "the recording"
        self.is_raw = False
        self._blocks = blocks
        self._free = close
        self._lock = make_lock()
        self._reading = False
        self._closed = False

    def __iter__(self) -> Iterator[Buffer]:
        while (block := self._next()) is not None:
            yield block

    def close(self) -> None:
        """Free the file without waiting, and end the iteration. May be called more than once."""
        with self._lock:
            closed, self._closed = self._closed, True
            if closed or self._reading:
                return
        self._free()

    def _next(self) -> Buffer | None:
        with self._lock:
            if self._closed:
                return None
            self._reading = True
        block = None
        try:
            block = next(self._blocks, None)
        finally:
            if self._end_reading(is_last=block is None):
                self._free()
        return block

    def _end_reading(self, *, is_last: bool) -> bool:
        """Return whether to free the file, because it has ended or was closed during the read."""
        with self._lock:
            self._reading = False
            self._closed = self._closed or is_last
            return self._closed


def is_audio_file(head: bytes) -> bool:
    """
    Return whether *head*, the first bytes of a recording, begins a known format.

    MP3 and AAC have no signature. For these formats, one header of a frame in *head* is enough.
    """
    return bool(_signed_format(head) or mpeg_format(lambda size: head[:size], is_whole=False))


def open_file(content: Buffer) -> AudioFile:
    """
    Open an audio file in memory.

    Raises:
        AudioError: *content* is not an audio file, or nothing that is installed can decode it.
    """
    reader = ByteReader.of_memory(memoryview(content).cast("B"))
    return decode_file(reader, format_of(reader))


def format_of(reader: ByteReader, *, may_be_raw: bool = False) -> str | None:
    """
    Return the name of the format of a recording, or None if the format is unknown.

    Args:
        reader: The recording. The reader must be at its beginning.
        may_be_raw: Whether the recording is probably raw. Then only a format with a signature is
            recognized.
    """
    name = _signed_format(reader.peek(_HEAD_BYTES))
    if name or may_be_raw:
        return name
    return mpeg_format(reader.peek) or _BY_SUFFIX.get(reader.suffix if reader.peek(1) else "")


def has_file_suffix(reader: ByteReader) -> bool:
    """Return whether the name of a recording shows that the recording is not raw."""
    return reader.suffix in _FILE_SUFFIXES


def decode_file(reader: ByteReader, name: str | None) -> AudioFile:
    """
    Open a recording of the format *name*. Closing the result closes the reader.

    Raises:
        AudioError: The format is unknown, the file is damaged, or nothing that is installed can
            decode it.
    """
    if name is None and not reader.peek(1):
        raise AudioError(f"{reader.name} is empty: expected an audio file")
    if name is None and has_file_suffix(reader):
        raise AudioError(f"{reader.name} cannot be decoded: it is not in a known audio format")
    if name is None:
        raise AudioError(
            f"{reader.name} is not in a known audio format; raw samples need sample_rate_hz, and "
            "raw_format if they are not 16-bit little-endian"
        )
    return (_open_wav(reader) if name == "WAV" else None) or _open_by_library(reader, name)


def raw_file(
    reader: ByteReader, decoder: SampleDecoder, sample_rate_hz: int, channels: int
) -> AudioFile:
    """Open samples without a header. Closing the result closes the reader."""
    frame_bytes = decoder.sample_bytes * channels
    step_bytes = max(sample_rate_hz * _BLOCK_MS // 1000, 1) * frame_bytes

    def blocks() -> Iterator[bytes]:
        carry = SampleCarry(frame_bytes)
        while some := read(step_bytes):
            if frames := carry.feed(some):
                yield decoder.decode(bytes(frames))
        carry.finish()

    # From a pipe, samples are passed on as they arrive.
    read = reader.read_some if reader.left_bytes is None else reader.read
    reader.begin_samples()
    frames = None if reader.left_bytes is None else reader.left_bytes // frame_bytes
    file = AudioFile(blocks(), sample_rate_hz, channels, reader.close, frames)
    file.is_raw = True
    return file


def _signed_format(head: bytes) -> str | None:
    if is_wav(head):
        return "WAV"
    found = (name for at, magic, name in _SIGNATURES if head[at : at + len(magic)] == magic)
    return next(found, None)


def _checked(name: str, sample_rate_hz: int, channels: int) -> None:
    """Refuse a header with impossible numbers."""
    if not (1 <= sample_rate_hz <= MAX_HZ and 1 <= channels <= MAX_CHANNELS):
        raise AudioError(
            f"{name}: expected 1 to {MAX_HZ} Hz and 1 to {MAX_CHANNELS} channels, got "
            f"{sample_rate_hz} Hz and {channels} channels"
        )


def _open_wav(reader: ByteReader) -> AudioFile | None:
    """Open a WAV file; return None if its encoding needs a library."""
    header = read_wav_header(reader)
    _checked(reader.name, header.sample_rate_hz, header.channels)
    if header.decoder is None:
        return None
    sample_bytes, decode = header.decoder
    frame_bytes = sample_bytes * header.channels
    step_bytes = max(header.sample_rate_hz * _BLOCK_MS // 1000, 1) * frame_bytes
    data_bytes = header.data_bytes

    def blocks() -> Iterator[bytes]:
        left_bytes = math.inf if data_bytes is None else data_bytes
        while left_bytes >= frame_bytes:
            some = reader.read(int(min(step_bytes, left_bytes)))
            whole_bytes = len(some) // frame_bytes * frame_bytes
            if not whole_bytes:
                return
            left_bytes -= len(some)
            yield decode(some[:whole_bytes])

    reader.begin_samples()
    frames = None
    if reader.left_bytes is not None:
        known = reader.left_bytes if data_bytes is None else min(data_bytes, reader.left_bytes)
        frames = known // frame_bytes
    return AudioFile(blocks(), header.sample_rate_hz, header.channels, reader.close, frames)


def _open_by_library(reader: ByteReader, name: str) -> AudioFile:
    content = reader.as_file()
    failures, missing = [], []
    for library in _LIBRARIES.get(name, ("av",)):
        try:
            module = importlib.import_module(library)
        except (ImportError, OSError):  # soundfile raises OSError without libsndfile
            missing.append(library)
            continue
        content.seek(0)
        try:
            return _OPENERS[library](module, content, reader)
        except _NotDecoded as error:
            failures.append(f"{library}: {error}")
    if failures:
        raise AudioError(f"{reader.name} ({name}) cannot be decoded ({'; '.join(failures)})")
    extras = " or ".join(f"pip install 'inworld-sync[{_EXTRAS[each]}]'" for each in missing)
    raise AudioError(f"{reader.name} ({name}) needs {' or '.join(missing)} to be decoded: {extras}")


class _NotDecoded(Exception):
    """A library cannot decode the file."""


def _open_soundfile(soundfile: Any, content: BinaryIO, reader: ByteReader) -> AudioFile:
    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        # After each block, soundfile seeks to its present position. With this seek, the MP3 decoder
        # would lose its state and print a message to standard error.
        def seekable(self) -> bool:
            return False

    try:
        file = Forward(content)
    except soundfile.SoundFileError as error:
        raise _NotDecoded(error) from error
    _checked(reader.name, file.samplerate, file.channels)
    step = max(file.samplerate * _BLOCK_MS // 1000, 1)
    # With "int16", soundfile would cut wider integers to 16 bits instead of rounding them, and
    # would not scale floats.
    dtype = "int16" if file.subtype in _UP_TO_16_BITS else "float64"

    def blocks() -> Iterator[Buffer]:
        try:
            while len(block := file.read(step, dtype=dtype, always_2d=True)):
                yield contiguous_samples(block.reshape(-1), "s16")
        except soundfile.SoundFileError as error:
            raise _damaged(reader, error) from error

    def close() -> None:
        file.close()
        reader.close()

    frames = file.frames if file.format not in _LOSSY else None
    return AudioFile(blocks(), file.samplerate, file.channels, close, frames)


def _open_av(av: Any, content: BinaryIO, reader: ByteReader) -> AudioFile:
    try:
        container = av.open(content, "r", metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise _NotDecoded(error) from error
    stream = container.streams.best("audio")
    frames = _av_frames(av, container, stream, reader)
    try:
        first = None if stream is None else next(frames, None)
    except AudioError as error:
        container.close()
        raise _NotDecoded(error) from error
    if first is None:
        container.close()
        raise _NotDecoded("there is no audio in it")
    rate_hz, layout = first.sample_rate, first.layout
    channels = layout.nb_channels

    def blocks() -> Iterator[Buffer]:
        resampler: Any = None
        made_for = None
        for frame in itertools.chain([first], frames, [None]):
            kind = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
            if kind is not None and kind != made_for:
                wide = "dbl" if frame.format.name in _WIDE else "s16"
                resampler, made_for = av.AudioResampler(wide, layout, rate_hz), kind
            for part in resampler.resample(frame):
                dtype = "<f8" if part.format.name == "dbl" else "<i2"
                size_bytes = part.samples * channels * int(dtype[-1])
                yield _s16(bytes(part.planes[0])[:size_bytes], dtype)

    def close() -> None:
        container.close()
        reader.close()

    _checked(reader.name, rate_hz, channels)
    return AudioFile(blocks(), rate_hz, channels, close)


def _av_frames(av: Any, container: Any, stream: Any, reader: ByteReader) -> Iterator[Any]:
    """
    Decode all frames of a stream.

    Before the first frame and after the last frame, bytes that cannot be decoded are left out,
    because files begin inside a frame and end with tags. Such bytes between frames are an error.
    """
    fault, is_started = None, False
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                fault = error
                continue
            if frames and fault is not None and is_started:
                raise _damaged(reader, fault) from fault
            for frame in frames:
                fault, is_started = None, True
                yield frame
    except av.error.FFmpegError as error:
        raise _damaged(reader, error) from error


def _s16(data: bytes, dtype: str) -> Buffer:
    if dtype == "<i2":
        return data
    import numpy as np

    return contiguous_samples(np.frombuffer(data, dtype), "s16")


def _damaged(reader: ByteReader, error: Exception) -> AudioError:
    return AudioError(f"{reader.name} is cut or damaged: {error}")


_OPENERS: Final[dict[str, Callable[[Any, BinaryIO, ByteReader], AudioFile]]] = {
    "soundfile": _open_soundfile,
    "av": _open_av,
}
